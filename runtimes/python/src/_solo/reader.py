"""Reads a service before it is one: its errors, its functions, what it imports. Runs none of it."""

import ast
import marshal
import sys
import warnings

from componentize_py_types import Err
from wit_world.exports.reader import Function, Reading
from wit_world.exports.source import Failure, Stage
from wit_world.imports import files

from . import library, modules
from .service import CONVENTIONS

SOLO = "solo"


class Import:
    """One import: its whole name, the names taken of it, and whether the service cannot do without."""

    __slots__ = ("name", "names", "node", "is_needed")

    def __init__(self, name, names, node, is_needed):
        self.name = name
        self.names = names
        self.node = node
        self.is_needed = is_needed


def read(entry):
    """Everything that is the sender's own, and of packages what is imported from there."""
    warnings.simplefilter("ignore")
    roots = files.roots()
    packages = roots[2:]
    compiled, functions, others = {}, [], False
    left = [entry, *own_files("", packages)]
    while left:
        path = left.pop(0)
        if path in compiled:
            continue
        is_own = not any(path.startswith(f"{root}/") for root in packages)
        try:
            text = files.read(path)
            tree = compile(text, path, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
            imports = list(imports_of(tree, path, roots))
            if path == entry:
                functions, others = functions_of(tree)
            compiled[path] = modules.MAGIC + marshal.dumps(compile(tree, path, "exec", dont_inherit=True))
        except (SyntaxError, ValueError):
            # What is wrong with a package, and nobody here can mend, is found out when it is imported.
            if is_own:
                raise
            continue
        for found in imports:
            reached = follow(found, roots)
            if reached is None and is_own and found.is_needed:
                raise Err(missing(path, found))
            left += [path for path in reached or () if path not in compiled]
    return Reading(functions, others, list(compiled.items()))


def own_files(folder, packages):
    for name in files.names(folder):
        path = modules.join(folder, name)
        if path in packages:
            continue
        if files.kind_of(path) == files.Kind.FOLDER:
            yield from own_files(path, packages)
        elif name.endswith(".py"):
            yield path


def imports_of(tree, path, roots):
    """The imports of a module, outermost first; those that may fail are not needed."""
    nodes = [(node, True) for node in tree.body]
    while nodes:
        node, is_needed = nodes.pop(0)
        match node:
            case ast.Import(names):
                for alias in names:
                    yield Import(alias.name, (), node, is_needed)
            case ast.ImportFrom(module, names, level):
                name = absolute(module, level, path, roots)
                if name is not None:
                    yield Import(name, [alias.name for alias in names], node, is_needed)
            case ast.If(test) if "TYPE_CHECKING" in ast.dump(test):
                nodes += [(child, is_needed) for child in node.orelse]
            case ast.If() | ast.Try() | ast.TryStar() | ast.FunctionDef() | ast.AsyncFunctionDef():
                nodes += [(child, False) for child in ast.iter_child_nodes(node)]
            case ast.stmt() | ast.ExceptHandler() | ast.match_case():
                nodes += [(child, is_needed) for child in ast.iter_child_nodes(node)]


def absolute(module, level, path, roots):
    """The whole name of what is imported, by the path of who imports it."""
    if level == 0:
        return module
    root = max((root for root in roots if not root or path.startswith(f"{root}/")), key=len, default="")
    parts = path.removeprefix(root).strip("/").split("/")[:-level]
    return ".".join([*parts, *([module] if module else [])]) or None


def follow(found, roots):
    """Files that it leads to; none: a module of the library. None: there is nothing."""
    parts, folders, paths = found.name.split("."), roots, []
    for index, part in enumerate(parts):
        module = modules.locate(part, folders) if folders is not None else None
        if module is None:
            whole = found.name.split(".")[0] if index else found.name
            name = found.name if library.has(found.name) else whole
            return paths if paths and index else known(found.name, name)
        paths += [module.path] if module.path else []
        folders = module.folders
    for name in found.names:
        module = modules.locate(name, folders) if folders is not None else None
        if module is not None and module.path:
            paths.append(module.path)
    return paths


def known(name, first):
    return [] if name == SOLO or library.has(name) or library.has(first) and "." in name else None


def missing(path, found):
    name = found.name
    why = modules.hint(name)
    message = f"No module named {name!r}" + (f": {why}" if why else "")
    return Failure(Stage.IMPORT, "ModuleNotFoundError", message, path, found.node.lineno, found.node.col_offset + 1, "")


def functions_of(tree):
    """What can be called: what `__all__` names, or all functions that are defined and have no underscore."""
    named = None
    defined, others = {}, False
    for node in statements(tree.body):
        match node:
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name):
                others |= name in CONVENTIONS
                if name not in CONVENTIONS:
                    defined[name] = function(node)
            case ast.Assign([ast.Name("__all__")], ast.List(items) | ast.Tuple(items)):
                named = [item.value for item in items if isinstance(item, ast.Constant)]
            case ast.Assign([ast.Name(name)], ast.Lambda() as work):
                defined[name] = signature(name, work.args, None)
            case ast.Assign() | ast.AnnAssign():
                # It may be one: who knows what it is assigned.
                others = True
    if named is not None:
        rest = [name for name in named if name not in defined and name not in CONVENTIONS]
        others |= bool(rest)
        return [defined[name] for name in named if name in defined] + [unknown(name) for name in rest], others
    return [found for name, found in defined.items() if not name.startswith("_")], others


def statements(body):
    for node in body:
        yield node
        match node:
            case ast.If() | ast.With() | ast.Try():
                yield from statements(node.body)
                yield from statements(getattr(node, "orelse", []))


def function(node):
    return signature(node.name, node.args, node.returns)


def unknown(name):
    return Function(name, [], "any", f"{name}: func(...)")


def signature(name, arguments, returns):
    parameters = []
    for argument in [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]:
        if argument is not None:
            star = "*" if argument is arguments.vararg else "**" if argument is arguments.kwarg else ""
            parameters.append((star + argument.arg, typed(argument.annotation)))
    result = typed(returns)
    shown = ast.unparse(arguments)
    return Function(name, parameters, result, f"{name}: func({shown}) -> {result}")


def typed(annotation):
    if annotation is None:
        return "any"
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return annotation.value
    return ast.unparse(annotation)
