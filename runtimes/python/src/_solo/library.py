"""The standard library in memory: there are no files when an instance runs.

What most programs import is imported when the component is built; of the rest the code is kept, and run when
it is imported.
"""

import gc
import importlib
import importlib.abc
import importlib.util
import marshal
import os
import sys

# Imported when the component is built.
WARM = """
    abc argparse array ast asyncio base64 binascii bisect calendar cmath codecs collections collections.abc
    concurrent.futures configparser contextlib contextvars copy csv dataclasses datetime decimal difflib email.message
    enum fnmatch fractions functools graphlib hashlib heapq hmac html html.parser importlib.metadata
    importlib.resources inspect io ipaddress itertools json keyword linecache locale logging math mimetypes numbers
    operator pathlib pkgutil platform pprint queue random re secrets shlex signal statistics string
    string.templatelib stringprep struct tempfile textwrap threading time token tokenize traceback types typing
    unicodedata unittest urllib.parse urllib.request uuid warnings weakref xml.etree.ElementTree zlib zoneinfo
""".split()

# Not part of what a service has.
LEFT_OUT = {
    "test", "idlelib", "tkinter", "turtledemo", "ensurepip", "pydoc_data", "site-packages", "lib-dynload", "_pyrepl",
    "venv", "__pycache__", "ctypes", "__phello__", "curses", "sqlite3", "dbm", "turtle.py", "antigravity.py", "this.py",
}

# Beside what the component was made of, whose own files are no library.
ROOT = "/python"

# Name: (code, whether it is a package).
_code = {}
# What there was to begin with, to be told from what a service brings.
_names = frozenset()


class Library(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds what is kept as code."""

    def find_spec(self, name, path=None, target=None):
        found = _code.get(name)
        if found is None:
            return None
        return importlib.util.spec_from_loader(name, self, origin=origin(name), is_package=found[1])

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        exec(self.get_code(module.__spec__.name), module.__dict__)

    def get_code(self, name):
        return marshal.loads(_code[name][0])

    def get_source(self, name):
        return None

    def is_package(self, name):
        return _code[name][1]


def origin(name):
    """The file that its frames name."""
    return "<python>/" + name.replace(".", "/")


def prepare():
    """Takes the library in."""
    for name in WARM:
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"not imported: {error}", file=sys.stderr)
    _keep(ROOT, "")


def close():
    """From now on there are no files. Last: the collector does not touch, and so copy, what all instances share."""
    global _names
    sys.meta_path[:] = [f for f in sys.meta_path if f.__name__ in ("BuiltinImporter", "FrozenImporter")]
    library = Library()
    sys.meta_path.append(library)
    # Some run a module of the library once more, under another name.
    for name, module in list(sys.modules.items()):
        if name in _code and getattr(module, "__spec__", None) is not None:
            module.__spec__.loader = module.__loader__ = library
    sys.path[:] = []
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()
    _names = frozenset(sys.builtin_module_names) | frozenset(_code) | frozenset(sys.modules)
    gc.collect()
    gc.freeze()


def has(name):
    """Whether the library, or the engine itself, has a module."""
    return name in _names


def _keep(folder, package):
    for file in sorted(os.listdir(folder)):
        path = f"{folder}/{file}"
        if file in LEFT_OUT:
            continue
        if file.endswith(".py"):
            name = ".".join(filter(None, [package, file[:-3]])) if file != "__init__.py" else package
            if name and name not in _code:
                with open(path, "rb") as source:
                    text = source.read()
                try:
                    code = compile(text, origin(name), "exec", dont_inherit=True)
                except SyntaxError:
                    continue
                _code[name] = (marshal.dumps(code), file == "__init__.py")
        elif os.path.isfile(f"{path}/__init__.py"):
            _keep(path, f"{package}.{file}" if package else file)
