"""What a service can do beside computing: talk to other services, keep values, log.

What it may reach was stated at its deployment; the rest is refused with an `Error` whose code is "denied".
"""

import json as _json

from componentize_py_types import Err as _Err
from wit_world.imports import atomics as _atomics
from wit_world.imports import context as _context
from wit_world.imports import functions as _functions
from wit_world.imports import log as _log
from wit_world.imports import messaging as _messaging
from wit_world.imports import secrets as _secrets
from wit_world.imports import wasi_config_store as _config
from wit_world.imports import wasi_keyvalue_store as _store

from _solo import values as _values

__all__ = [
    "Error", "Service", "call", "config", "demonitor", "kv", "log", "lookup", "monitor", "remaining_ms", "secret",
    "self_id", "send", "service", "trace_id",
]


class Error(Exception):
    """What another service, or Solo, says no with. `code`: denied, overloaded, timeout, crashed, unavailable,
    deadlock, failed; of values: denied, no-such-store, or what the store says."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


_TEXTS = {
    "Denied": "it was not granted, or is not there",
    "Overloaded": "its mailbox is full",
    "Timeout": "no answer in time",
    "Deadlock": "the call would wait for itself",
}


def _message_error(service, error):
    kind = type(error.value).__name__.rpartition("_")[2]
    text = _TEXTS.get(kind) or getattr(error.value, "value", "")
    return Error(kind.lower(), f"{service}: {text}")


def _store_error(error):
    match error.value:
        case _store.Error_NoSuchStore():
            return Error("no-such-store", "there is no such store")
        case _store.Error_AccessDenied():
            return Error("denied", "access denied")
        case _store.Error_Other(text):
            return Error(text.partition(":")[0], text)
        case other:
            return Error("failed", str(other))


def _bytes(value):
    answer = _values.to_bytes(value)
    return b"" if answer is None else answer


def _ask(service, ask):
    try:
        with _messaging.lookup(service) as reference:
            return ask(reference)
    except _Err as error:
        raise _message_error(service, error) from None


def call(service, what=b"", arguments=None, *, timeout_ms=None):
    """Calls a function of another service with a list of arguments, and answers its value; without a list, calls
    its `handle` with bytes or text, and answers bytes."""
    if arguments is None:
        return _ask(service, lambda reference: reference.call(_bytes(what), timeout_ms))
    given = _values.encode(list(arguments))
    return _json.loads(_ask(service, lambda reference: _functions.call(reference, what, given, timeout_ms)))


def send(service, what=b"", arguments=None):
    """As `call`, and waits for nothing."""
    if arguments is None:
        return _ask(service, lambda reference: reference.send(_bytes(what)))
    given = _values.encode(list(arguments))
    return _ask(service, lambda reference: _functions.send(reference, what, given))


def lookup(service):
    """The service, if it may be reached."""
    _ask(service, lambda reference: None)
    return Service(service)


def service(name, *, timeout_ms=None):
    """Its functions as methods: `service("adder").add(1, 2)`."""
    return Service(name, timeout_ms)


def monitor(service):
    """Has `on_down` called when it ends. Answers the number of the watch."""
    return _ask(service, lambda reference: reference.monitor())


def demonitor(watch):
    """Ends a watch. True: it had not been told yet, and will not be."""
    return _messaging.demonitor(watch)


class Service:
    """Another service."""

    def __init__(self, name, timeout_ms=None):
        self._name = name
        self._timeout_ms = timeout_ms

    def __getattr__(self, function):
        if function.startswith("__"):
            raise AttributeError(function)
        return lambda *arguments: call(self._name, function, arguments, timeout_ms=self._timeout_ms)

    def __repr__(self):
        return f"<service {self._name}>"


def self_id():
    """The id of this instance."""
    return _messaging.self_id()


def trace_id():
    """Names the chain of calls and sends that the message belongs to."""
    return _context.trace_id()


def remaining_ms():
    """Until the caller stops waiting. None: nobody waits."""
    return _context.remaining_ms()


def config(key):
    """An entry that the deployment gives, or None."""
    try:
        return _config.get(key)
    except _Err as error:
        raise Error("failed", str(error.value)) from None


def secret(key):
    """A secret that the deployment gives, as text, or None."""
    value = _secrets.get(key)
    return None if value is None else value.decode()


class _Log:
    """Lines of the service's log."""

    def __getattr__(self, level):
        if level not in ("trace", "debug", "info", "warn", "error"):
            raise AttributeError(level)
        return lambda *values: _log.log(_log.Level[level.upper()], " ".join(map(str, values)))


log = _Log()


class _Values:
    """Values that outlive the instance, durable when set."""

    def _with(self, work):
        try:
            with _store.open("default") as bucket:
                return work(bucket)
        except _Err as error:
            raise _store_error(error) from None

    def get_bytes(self, key):
        return self._with(lambda bucket: bucket.get(key))

    def get(self, key):
        value = self.get_bytes(key)
        return None if value is None else value.decode()

    def get_json(self, key):
        value = self.get_bytes(key)
        return None if value is None else _json.loads(value)

    def set(self, key, value):
        return self._with(lambda bucket: bucket.set(key, _bytes(value)))

    def set_json(self, key, value):
        return self.set(key, _values.encode(value))

    def delete(self, key):
        return self._with(lambda bucket: bucket.delete(key))

    def has(self, key):
        return self._with(lambda bucket: bucket.exists(key))

    __contains__ = has

    def increment(self, key, delta=1):
        return self._with(lambda bucket: _atomics.increment(bucket, key, delta))

    def keys(self):
        cursor = None
        while True:
            page = self._with(lambda bucket: bucket.list_keys(cursor))
            yield from page.keys
            cursor = page.cursor
            if cursor is None:
                return


kv = _Values()
