"""What serving needs, derived and not listed: modules from the service's imports, packages from those and the pickles.

Nothing of the learner's is run here. Imports are read from the syntax tree, and the names in a pickle from its opcodes.
"""

from __future__ import annotations

import ast
import contextlib
import os
import pickletools
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import TypeGuard
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
from packaging.utils import canonicalize_name as normalized

# The image is Linux, whatever the grading machine is.
LINUX = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
NEVER_SERVED = ("TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'", "'__main__' == __name__")
CUDA = re.compile(r"(nvidia|cuda)-.*|triton")


def canonical(name: str) -> str:
    """A package's name in the one spelling that indexes use."""
    return str(normalized(name))


@dataclass
class Imports:
    """`files`: the project's own, relative to its folder; `outside`: the first names of everything else."""

    files: set[str] = field(default_factory=set)
    outside: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)  # files of the project that the code names in a string
    late: dict[str, str] = field(default_factory=dict)  # its modules that a function imports, and in which file
    words: set[str] = field(default_factory=set)  # names that the code uses
    problem: str = ""


def follow_imports(folder: Path, entry: str) -> Imports:
    """Everything that importing `entry` (service, package.service) from that folder imports, now or later; what only
    functions that nothing calls would import is left out."""
    found = _follow(folder, entry, None)
    while (less := _follow(folder, entry, found.words)).words != found.words:
        found = less
    return less


def _follow(folder: Path, entry: str, used: set[str] | None) -> Imports:
    found, waiting = Imports(), [entry]
    while waiting:
        for path in module_files(folder, waiting.pop()):
            if (name := path.relative_to(folder).as_posix()) in found.files:
                continue
            found.files.add(name)
            try:
                tree = ast.parse(path.read_text(encoding="utf-8"))
            except (SyntaxError, UnicodeDecodeError, OSError) as wrong:
                found.problem = f"{name} cannot be read: {wrong}"
                continue
            package = ".".join(path.relative_to(folder).parent.parts)
            nodes = list(served(tree, used))
            modules = set(imported(nodes, package))
            own = {module for module in modules if module_files(folder, module)}
            waiting += own
            found.outside |= {module.split(".")[0] for module in modules - own} - dispensable(tree)
            found.named |= named_files(folder, path, set(strings(nodes)))
            found.late |= {module: name for module in imported(in_functions(nodes), package) if module in own}
            found.words |= words(nodes)
    found.outside -= sys.stdlib_module_names
    return found


def module_files(folder: Path, module: str) -> list[Path]:
    """The files that importing a.b.c runs: a/__init__.py, a/b/__init__.py, a/b/c.py; none if it is another's."""
    parts = module.split(".")
    packages = [folder.joinpath(*parts[:i], "__init__.py") for i in range(1, len(parts) + 1)]
    files = [p for p in [*packages, folder.joinpath(*parts).with_suffix(".py")] if p.is_file() or p.is_symlink()]
    return files if parts[0] and (files or folder.joinpath(*parts).is_dir()) else []


def served(tree: ast.AST, used: set[str] | None = None) -> Iterator[ast.AST]:
    """All of the tree but what stands under `if TYPE_CHECKING` or `if __name__ == "__main__"`, and a module's functions
    whose names are none of `used`, decorated ones apart: nothing that serves runs those."""
    waiting = [tree]
    while waiting:
        yield (node := waiting.pop())
        left_out = set(map(id, node.body if _is_never_served(node) else []))
        if isinstance(node, ast.Module) and used is not None:
            left_out = {id(part) for part in node.body if _is_unused(part, used)}
        waiting += [part for part in ast.iter_child_nodes(node) if id(part) not in left_out]


def _is_never_served(node: ast.AST) -> TypeGuard[ast.If]:
    return isinstance(node, ast.If) and ast.unparse(node.test) in NEVER_SERVED


def _is_unused(node: ast.AST, used: set[str]) -> bool:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.decorator_list:
        return False
    return node.name not in used and not node.name.startswith("__")


def in_functions(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Those of the nodes that run when a function is called, and not when the module is imported."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from served(node)


def words(nodes: Iterable[ast.AST]) -> set[str]:
    """Every name by which these could mean a function: also in strings, and where it is imported from."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 100:
            found |= set(re.findall(r"\w+", node.value))
    return found


def imported(nodes: Iterable[ast.AST], package: str) -> Iterator[str]:
    """Names of modules, dotted."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*up, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if node.level or not node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "import_module"):
            yield from (a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str))


def dispensable(tree: ast.AST) -> set[str]:
    """First names of modules that the code does without where they are absent: `try: import orjson as json`, `except
    ImportError: import json`, or asked for first. Of a first choice that Python itself brings, the second is never
    imported."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) and (handlers := [h for h in node.handlers if _is_for_absence(h.type)]):
            first = _first_names(node.body)
            raised = any(isinstance(n, ast.Raise) for h in handlers for n in ast.walk(h))
            found |= set() if raised else first
            if first and first <= sys.stdlib_module_names:
                found |= _first_names([n for h in handlers for n in h.body])
        elif isinstance(node, ast.With) and any(_is_for_absence(item.context_expr) for item in node.items):
            found |= _first_names(node.body)  # with suppress(ImportError)
        elif isinstance(node, ast.If) and "find_spec" in ast.unparse(node.test):
            found |= _first_names(node.body) & set(strings(ast.walk(node.test)))
    return found - _first_names(getattr(tree, "body", []), deep=False)


def _is_for_absence(caught_by: ast.expr | None) -> bool:
    caught = ast.unparse(caught_by) if caught_by else ""
    return "ImportError" in caught or "ModuleNotFoundError" in caught


def _first_names(body: Iterable[ast.AST], *, deep: bool = True) -> set[str]:
    nodes = [n for part in body for n in (ast.walk(part) if deep else [part])]
    whole = [alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names]
    return {name.split(".")[0] for name in [*whole, *(n.module or "" for n in nodes if isinstance(n, ast.ImportFrom))]}


def strings(nodes: Iterable[ast.AST]) -> Iterator[str]:
    return (n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str))


def named_files(folder: Path, module: Path, said: set[str]) -> set[str]:
    """The project's files that a module with these strings can name, from the project's folder or its own: by a path or
    its parts ("lists" / "stop.txt"), by a pattern (`glob("*.txt")`), by another ending (`with_suffix(".txt")`)."""
    beside = {module.with_suffix(text) for text in said if re.fullmatch(r"\.\w+", text) and text != ".py"}
    found = {path for path in beside if path.is_file()}
    parts = {part for text in said if len(text) < 100 for part in text.split("/")}
    patterns = [part for part in parts if re.fullmatch(r"[\w.-]*\*[\w.-]*\.\w+", part)]
    for base in {folder, module.parent}:
        found |= {base / text for text in said if is_file_of(base, text)}
        below = {path for name in parts if is_folder_of(base, name) for path in (base / name).rglob("*")}
        found |= {path for path in below if path.is_file() and is_named(path.relative_to(base), parts, patterns)}
    return {name for path in found if not (name := os.path.relpath(path, folder)).startswith("..")}


def is_named(path: Path, parts: set[str], patterns: list[str]) -> bool:
    *folders, name = path.parts
    return set(folders) <= parts and (name in parts or any(fnmatch(name, pattern) for pattern in patterns))


def is_folder_of(folder: Path, name: str) -> bool:
    """A folder right below, and no environment: those are large, and nothing in them is the project's own."""
    if not re.fullmatch(r"[\w-][\w.-]*", name) or not (folder / name).is_dir() or (folder / name).is_symlink():
        return False
    return not (folder / name / "pyvenv.cfg").exists()


def is_file_of(folder: Path, text: str) -> bool:
    return 0 < len(text) < 100 and "\n" not in text and "\0" not in text and (folder / text).is_file()


def pickled_modules(path: Path) -> set[str]:
    """First names of the modules that unpickling this file will import. joblib writes arrays between the opcodes, where
    reading ends; by then the object's own class has been named."""
    found, memo, recent = set[str](), list[str | None](), list[str | None]()
    with path.open("rb") as file, contextlib.suppress(ValueError, IndexError):
        for op, arg, _ in pickletools.genops(file):
            if op.name == "MEMOIZE":
                memo.append(recent[-1] if recent else None)
                continue
            if op.name in ("BINGET", "LONG_BINGET", "GET") and isinstance(arg, int):
                recent.append(memo[arg] if arg < len(memo) else None)
            elif op.name == "STACK_GLOBAL":
                found.add((recent[-2] or "sys").split(".")[0])
                recent.append(None)
            elif op.name in ("GLOBAL", "INST") and isinstance(arg, str):
                found.add(arg.split(" ")[0].split(".")[0])
                recent.append(None)
            else:
                recent.append(arg if isinstance(arg, str) else None)
            del recent[:-3]
    return found - sys.stdlib_module_names


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


def packages_of(modules: Iterable[str]) -> dict[str, str]:
    """The package that gives each module here; its own name where nothing installed does."""
    return {m: canonical(_distributions().get(m, [m])[0]) for m in sorted(modules)}


@dataclass
class Pins:
    """A requirements file: exact versions by package, lines that fix none, and options such as an index."""

    exact: dict[str, str] = field(default_factory=dict)
    extras: dict[str, set[str]] = field(default_factory=dict)  # of a package in `exact`: uvicorn[standard]
    loose: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)


def read_pins(text: str) -> Pins:
    pins = Pins()
    for line in re.sub(r"\\\n", " ", text).splitlines():
        line = re.split(r"\s#|^#|\s--hash", line.strip())[0].strip()
        if line.startswith("-"):
            pins.options.append(line)
        elif line:
            _add_pin(pins, line)
    return pins


def _add_pin(pins: Pins, line: str) -> None:
    name, version = version_in_address(line)
    try:
        wanted = Requirement(f"{name}=={version}" if version else line)
    except InvalidRequirement:
        pins.loose.append(line)
        return
    if wanted.marker and not wanted.marker.evaluate(LINUX):
        return
    versions = [s.version for s in wanted.specifier if s.operator in ("==", "===") and "*" not in s.version]
    if wanted.url:
        versions = [fixed] if (fixed := version_in_address(wanted.url)[1] or commit_in(wanted.url)) else []
    name = canonical(wanted.name)
    if len(versions) == 1 and pins.exact.get(name, versions[0]) != versions[0]:
        pins.loose.append(f"{name} ({pins.exact[name]} and {versions[0]})")
    elif len(versions) == 1:
        pins.exact[name] = versions[0]
        pins.extras.setdefault(name, set()).update(wanted.extras)
    elif name not in pins.exact:
        pins.loose.append(line)


def version_in_address(address: str) -> tuple[str, str]:
    """Package and version of an archive by its address or path: its name says both. Two empty words for anything
    else."""
    archive = unquote(urlsplit(address).path).rpartition("/")[2]
    with contextlib.suppress(InvalidWheelFilename, InvalidSdistFilename):
        if archive.endswith(".whl"):
            return (str((found := parse_wheel_filename(archive))[0]), str(found[1]))
        if archive.endswith((".tar.gz", ".zip")):
            return (str((sdist := parse_sdist_filename(archive))[0]), str(sdist[1]))
    return "", ""


def commit_in(address: str) -> str:
    """The commit that an address of a repository fixes; a branch or a tag can move."""
    found = re.match(r"git\+[^#]*@([0-9a-f]{40})(?:#|$)", address)
    return found[1] if found else ""


INSTALLS = re.compile(  # pip3.11 install, python -m pip --no-cache-dir install
    r"\b(?:pip(?:3(?:\.\d+)?)?|uv\s+(?:pip|tool)|pipx)(?:\s+-[\w-]+(?:[= ][^\s-]\S*)?)*\s+install\b(?P<words>[^\n;&|]*)"
)
TOOLS = {"pip", "uv", "setuptools", "wheel"}  # with them the others are installed; no service imports them
WITH_VALUE = ("-r", "--requirement", "-c", "--constraint", "-i", "--index-url", "--extra-index-url", "-f",
              "--find-links", "--python", "-t", "--target", "--prefix", "--cache-dir")  # fmt: skip


def installed_loosely(script: str) -> list[str]:
    """What the steps of an image install by name without an exact version, beside the requirements file."""
    found = []
    script = re.sub(r"(?m)(^|\s)#.*$", "", script)
    script = re.sub(r"(?m)^\s*RUN\s+\[(.*)\]", lambda run: " ".join(re.findall(r'"([^"]*)"', run[1])), script)
    for match in INSTALLS.finditer(re.sub(r"\\\n", " ", script)):
        words = match["words"].replace('"', "").replace("'", "").split()
        named = [w for before, w in pairwise(["", *words]) if not w.startswith("-") and before not in WITH_VALUE]
        named = [w for w in named if not re.match(r"[./$]|\w+://", w) and not w.endswith((".whl", ".gz"))]
        found += read_pins("\n".join(w for w in named if canonical(w) not in TOOLS)).loose
    return found


def needed_by(name: str, extras: Iterable[str] = (), without: Callable[[str], object] = CUDA.fullmatch) -> set[str]:
    """What an installed package requires directly on Linux, CUDA's parts left out: a CPU build does without them."""
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return set()
    wanted = [Requirement(line) for line in lines]
    there = [w for w in wanted if not w.marker or any(w.marker.evaluate({**LINUX, "extra": e}) for e in ["", *extras])]
    found = {canonical(w.name) for w in there if not without(canonical(w.name))}
    for w in there:
        found |= needed_by(w.name, w.extras, without) if w.extras else set()
    return found


def closure(roots: Iterable[str], extras: Mapping[str, Iterable[str]] | None = None) -> set[str]:
    """Those packages and all that they need, as installed here; `extras` of some of them included."""
    found: set[str] = set()
    waiting = [canonical(r) for r in roots]
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += needed_by(name, (extras or {}).get(name, ()))
    return found
