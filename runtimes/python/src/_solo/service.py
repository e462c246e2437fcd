"""The service: its entry module, and what is called in it."""

import _thread
import errno
import importlib
import inspect
import json
import os
import random
import socket
import subprocess
import sys
import threading
import types

from wit_world.exports.source import Loaded, Stage
from wit_world.imports.log import Level

from . import errors, foreign, loop, modules, output, values
from .errors import Refused

# Functions with a meaning of their own.
CONVENTIONS = {"init", "handle", "on_down", "terminate", "export_state", "import_state"}

_service = None
_functions = {}
_signatures = {}


def prepare():
    loop.prepare()
    foreign.prepare()
    refuse()
    # Warms what every load uses.
    exec(compile("async def warm(a: int = 1) -> int:\n    return a\n", "warm.py", "exec"), scope := {})
    inspect.signature(scope["warm"]).bind(1)
    values.encode(json.loads('[1, "a", {"b": null}]'))


def refuse():
    """What cannot be had says so, and what to do instead."""
    _thread.start_new_thread = _thread.start_joinable_thread = no_threads
    threading._start_joinable_thread = threading._start_new_thread = no_threads
    socket.socket.__init__ = no_sockets
    socket.getaddrinfo = socket.gethostbyname = socket.gethostbyaddr = no_sockets
    os.system = os.popen = subprocess.Popen.__init__ = no_processes


def no_threads(*_, **__):
    raise RuntimeError(f"can't start new thread: {modules.NO_THREADS}")


def no_sockets(*_, **__):
    raise OSError(errno.ENOTSUP, modules.NO_SOCKETS)


def no_processes(*_, **__):
    raise OSError(errno.ENOTSUP, modules.NO_PROCESSES)


def load(entry):
    """Runs the entry."""
    global _service
    random.seed(os.urandom(32))
    output.begin()
    loop.begin()
    modules.begin()
    name = entry.removesuffix(".py").rpartition("/")[2]
    if name == "__init__":
        name = entry.split("/")[-2]
    try:
        # No file of this name, but the one: another root may have one too.
        found = modules.Loader(entry)
        spec = importlib.util.spec_from_loader(name, found, origin=entry, is_package=entry.endswith("__init__.py"))
        spec.has_location = True
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations = [entry.rpartition("/")[0]]
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        found.exec_module(module)
        _service = module
        offered()
        loop.arm()
    finally:
        output.turn_ends()
    return Loaded(sorted(_functions), convention("handle") is not None, convention("on_down") is not None)


def offered():
    """Finds what can be called: what `__all__` names, or the functions that the entry defines."""
    names = getattr(_service, "__all__", None)
    for name, value in vars(_service).items():
        if not callable(value) or isinstance(value, type) or name in CONVENTIONS:
            continue
        if name in names if names is not None else not name.startswith("_") and is_own(value):
            _functions[name] = value


def is_own(value):
    return getattr(value, "__module__", None) == _service.__name__


def convention(name):
    value = getattr(_service, name, None)
    return value if callable(value) and is_own(value) else None


def run(work, *arguments):
    """Calls a function, and waits for it if it is an asynchronous one."""
    try:
        value = work(*arguments)
        if inspect.isawaitable(value):
            value = loop.run(awaited(value) if not isinstance(value, types.CoroutineType) else value)
        loop.arm()
        return value
    finally:
        output.turn_ends()


async def awaited(value):
    return await value


def optional(name, *arguments):
    work = convention(name)
    return None if work is None else run(work, *arguments)


def init():
    optional("init")


def call(name, arguments):
    work = _functions.get(name)
    if work is None:
        # One that was defined since, or is named so by a decorator.
        work = getattr(_service, name, None) if not name.startswith("_") and name not in CONVENTIONS else None
        if not callable(work) or isinstance(work, type) or not is_own(work):
            raise Refused(Stage.NO_SUCH_FUNCTION, f"there is no function {name}")
        _functions[name] = work
    try:
        given = json.loads(arguments)
    except ValueError as error:
        raise Refused(Stage.BAD_ARGUMENTS, str(error)) from None
    if not isinstance(given, list):
        raise Refused(Stage.BAD_ARGUMENTS, "the arguments are no JSON array")
    check(name, work, given)
    return values.encode(run(work, *given))


def check(name, work, given):
    signature = _signatures.get(name)
    if signature is None:
        try:
            signature = inspect.signature(work)
        except (TypeError, ValueError):
            return
        _signatures[name] = signature
    try:
        signature.bind(*given)
    except TypeError as error:
        raise Refused(Stage.BAD_ARGUMENTS, f"{name}: {error}") from None


def handle(payload):
    work = convention("handle")
    if work is None:
        raise Refused(Stage.NO_SUCH_FUNCTION, "it has no function handle: it takes no bytes")
    return values.to_bytes(run(work, payload)) or b""


def handle_down(down):
    optional("on_down", types.SimpleNamespace(
        monitor=down.monitor, service=down.service, instance=down.instance,
        reason=down.reason, message=down.message, restarts=down.restarts,
    ))


def tick():
    try:
        loop.tick()
        loop.arm()
    finally:
        output.turn_ends()


def terminate(reason):
    try:
        optional("terminate", reason)
    except BaseException as error:
        errors.report(lambda text: output.write(Level.ERROR, text), "terminate", error)


def export_state():
    return values.to_bytes(optional("export_state"))


def import_state(state):
    optional("import_state", state)
