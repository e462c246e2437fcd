"""Modules of a service: found among what was sent, and run when they are imported."""

import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.resources.abc
import importlib.util
import io
import marshal
import sys

from wit_world.imports import files

# Which version of the language made it: a later one may find it where it was stored.
MAGIC = importlib.util.MAGIC_NUMBER

PROGRAM = "a program has it: deploy this as one"
NO_SOCKETS = f"services in Python have no sockets; other services are reached by `import solo`, and {PROGRAM}"
NO_PROCESSES = f"services in Python start no processes; {PROGRAM}"
NO_NATIVE = f"services in Python have no native code; {PROGRAM}"
NO_THREADS = f"services in Python have no threads: use async functions, or more instances; {PROGRAM}"
NO_SCREEN = "services have no screen and no keyboard"

# What cannot be had, and what to do instead.
UNAVAILABLE = {
    **dict.fromkeys(["_socket", "socket", "socketserver", "ssl", "_ssl", "ftplib", "smtplib", "poplib", "imaplib"], NO_SOCKETS),
    **dict.fromkeys(["http.client", "http.server", "xmlrpc", "wsgiref", "requests", "httpx", "aiohttp"], NO_SOCKETS),
    **dict.fromkeys(["multiprocessing", "_multiprocessing", "_posixsubprocess", "pty", "termios"], NO_PROCESSES),
    **dict.fromkeys(["_ctypes", "cffi", "mmap", "numpy", "pandas", "scipy", "torch", "lxml"], NO_NATIVE),
    **dict.fromkeys(["pydantic_core", "PIL", "cryptography", "psycopg2"], NO_NATIVE),
    **dict.fromkeys(["tkinter", "_tkinter", "curses", "_curses", "readline", "turtle", "idlelib"], NO_SCREEN),
    **dict.fromkeys(["sqlite3", "_sqlite3", "dbm", "shelve"], "services keep values with `solo.kv`"),
    **dict.fromkeys(["venv", "ensurepip", "pip"], "packages are sent along with the service"),
}


def hint(name):
    """What to do instead of importing it; None: it is nothing known."""
    while name:
        if name in UNAVAILABLE:
            return UNAVAILABLE[name]
        name = name.rpartition(".")[0]
    return None


class Found:
    """Where a module is: `path` of its file (None: a folder without one), `folders` of a package."""

    __slots__ = ("path", "folders")

    def __init__(self, path, folders):
        self.path = path
        self.folders = folders


def join(folder, name):
    return f"{folder}/{name}" if folder else name


def locate(name, folders):
    """The module of this last name in the first of these folders that has it."""
    spaces = []
    for folder in folders:
        base = join(folder, name)
        match files.kind_of(base):
            case files.Kind.FOLDER:
                begin = f"{base}/__init__.py"
                if files.kind_of(begin) == files.Kind.FILE:
                    return Found(begin, [base])
                spaces.append(base)
        if files.kind_of(f"{base}.py") == files.Kind.FILE:
            return Found(f"{base}.py", None)
    return Found(None, spaces) if spaces else None


def code_of(path):
    """The code of a file: as it was read, or, where nobody expected that it would be imported, compiled now."""
    compiled = files.compiled(path)
    if compiled is not None and compiled.startswith(MAGIC):
        return marshal.loads(memoryview(compiled)[len(MAGIC):])
    return compile(files.read(path), path, "exec", dont_inherit=True)


class Sent(importlib.abc.MetaPathFinder):
    """Finds modules among what was sent."""

    def __init__(self, roots):
        self.roots = roots

    def find_spec(self, name, path=None, target=None):
        found = locate(name.rpartition(".")[2], self.roots if path is None else path)
        if found is None:
            return None
        if found.path is None:
            spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = found.folders
            return spec
        loader = Loader(found.path)
        spec = importlib.util.spec_from_loader(name, loader, origin=found.path, is_package=found.folders is not None)
        if found.folders is not None:
            spec.submodule_search_locations = found.folders
        spec.has_location = True
        return spec

    def find_distributions(self, context=importlib.metadata.DistributionFinder.Context()):
        for root in self.roots:
            for name in files.names(root):
                if name.endswith(".dist-info") and context.name in (None, name.partition("-")[0]):
                    yield Distribution(join(root, name))


class Loader(importlib.abc.InspectLoader):
    """Runs one file."""

    def __init__(self, path):
        self.path = path

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        exec(code_of(self.path), module.__dict__)

    def get_code(self, name):
        return code_of(self.path)

    def get_source(self, name):
        return files.read(self.path).decode()

    def get_filename(self, name):
        return self.path

    def get_data(self, path):
        content = files.read(path)
        if content is None:
            raise FileNotFoundError(f"no file of this path was sent: {path}")
        return content

    def is_package(self, name):
        return self.path.endswith("/__init__.py")

    def get_resource_reader(self, name):
        return Resources(self.path.rpartition("/")[0])


class Resources(importlib.resources.abc.TraversableResources):
    def __init__(self, folder):
        self.folder = folder

    def files(self):
        return Entry(self.folder)


class Entry(importlib.resources.abc.Traversable):
    """A file or folder among what was sent."""

    def __init__(self, path):
        self.path = path

    @property
    def name(self):
        return self.path.rpartition("/")[2]

    def iterdir(self):
        return (Entry(join(self.path, name)) for name in files.names(self.path))

    def is_dir(self):
        return files.kind_of(self.path) == files.Kind.FOLDER

    def is_file(self):
        return files.kind_of(self.path) == files.Kind.FILE

    def joinpath(self, *names):
        path = self.path
        for part in "/".join(str(name) for name in names).split("/"):
            path = join(path, part) if part else path
        return Entry(path)

    __truediv__ = joinpath

    def read_bytes(self):
        content = files.read(self.path)
        if content is None:
            raise FileNotFoundError(f"no file of this path was sent: {self.path}")
        return content

    def read_text(self, encoding=None, errors=None):
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def open(self, mode="r", *args, **kwargs):
        content = io.BytesIO(self.read_bytes())
        return content if "b" in mode else io.TextIOWrapper(content, *args, **kwargs)

    def __str__(self):
        return self.path


class Distribution(importlib.metadata.Distribution):
    """What a wheel says of itself."""

    def __init__(self, folder):
        self.folder = folder

    def read_text(self, filename):
        content = files.read(join(self.folder, str(filename)))
        return None if content is None else content.decode()

    def locate_file(self, path):
        return Entry(join(self.folder.rpartition("/")[0], str(path)))


class Missing(importlib.abc.MetaPathFinder):
    """Says of what cannot be had what to do instead. The last one that is asked."""

    def find_spec(self, name, path=None, target=None):
        why = hint(name)
        last = name.rpartition(".")[2]
        native = [file for folder in path or () for file in files.names(folder) if file.startswith(f"{last}.") and file.endswith((".so", ".pyd"))]
        if native:
            why = NO_NATIVE
        if why is not None:
            raise ModuleNotFoundError(f"No module named {name!r}: {why}", name=name)
        return None


def begin():
    """From now on modules are found among what was sent: before those of the library, as Python does it."""
    roots = files.roots()
    for root in roots:
        for name in files.names(root):
            name = name.removesuffix(".py")
            # One of the library that is in memory would hide it.
            if name in sys.modules and name not in sys.builtin_module_names and not name.startswith("_"):
                for own in [own for own in sys.modules if own == name or own.startswith(f"{name}.")]:
                    del sys.modules[own]
    sys.meta_path.insert(2, Sent(roots))
    sys.meta_path.append(Missing())
    sys.path[:] = roots
