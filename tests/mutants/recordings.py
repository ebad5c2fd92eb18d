"""Evidence that is kept beside a criterion, so that a mutant with live state is judged again in milliseconds.

A recording is tied to all that made it: the mutant's own text, its fixture, the probes, and every module of the kit
that these import. When any of them changes it is stale, and proves nothing until the world is looked at again.
"""

import ast
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from grader.errors import LabError
from grader.judge import judge_criterion
from grader.kit import ROOT, Kit
from grader.model import Criterion, CriterionResult, Evidence, Facts
from grader.workspace import read_json, write_atomic

KINDS = ("grader", "cluster", "labs", "service")  # packages of the kit; all others are pinned by the lock file
# of a mutant: what is said of it, and what makes an incident of it in a learner's work (labs/helpers/teaching)
UNTIED = (
    "story", "says", "incident", "own", "in_place", "live", "shows", "shows_run", "causes", "cause", "right", "wrong",
)  # fmt: skip
DECLARE = ("grader.kit", "grader.model", "grader.errors")  # they name things; what a probe sees does not hang on them


class Stale(LabError):
    """The evidence kept for `mutant` was made by another text than today's, or none is kept."""

    def __init__(self, criterion: str, mutant: str, why: str) -> None:
        super().__init__(f"{mutant}: {why}", f"`./lab mutants {criterion} --live --record` looks at the world again.")
        self.mutant = mutant


def judge_recorded(kit: Kit, criterion: Criterion, mutant: Facts) -> CriterionResult:
    """The old evidence, judged by today's checks. Raises Stale."""
    kept = read_json(_file(kit, criterion)).get(mutant["id"])
    if kept is None:
        raise Stale(criterion.short, mutant["id"], "No evidence is recorded.")
    if kept.get("tie") != tie(kit, criterion, mutant):
        raise Stale(criterion.short, mutant["id"], "Its evidence is stale: what made it has changed since.")
    return judge_criterion(criterion, {name: Evidence(**e) for name, e in kept["evidence"].items()})


def is_fresh(kit: Kit, criterion: Criterion, mutant: Facts) -> bool:
    kept = read_json(_file(kit, criterion)).get(mutant["id"], {})
    return bool(kept) and kept.get("tie") == tie(kit, criterion, mutant)


def save_recorded(kit: Kit, criterion: Criterion, mutant: Facts, evidence: dict[str, Evidence]) -> None:
    entry = {"tie": tie(kit, criterion, mutant), "evidence": {name: asdict(e) for name, e in evidence.items()}}
    kept = {**read_json(_file(kit, criterion)), mutant["id"]: entry}
    write_atomic(_file(kit, criterion), (json.dumps(kept, indent=1, sort_keys=True) + "\n").encode())


def _file(kit: Kit, criterion: Criterion) -> Path:
    return kit.criteria_dir / f"{criterion.short}.recorded.json"


def tie(kit: Kit, criterion: Criterion, mutant: Facts) -> str:
    """Identifies what a recording hangs on. Comments, doc strings, checks and a mutant's story may change freely."""
    path = kit.criteria_dir / f"{criterion.short}.py"
    roots = [p.look.__name__ for p in criterion.probes] + [mutant[k] for k in ("around",) if k in mutant]
    made = {k: v for k, v in mutant.items() if k not in UNTIED}
    parts = [
        json.dumps(made, sort_keys=True),
        reached(path, tuple(roots)),
        *(shape(p) for p in imported(path, kit.root)),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def reached(path: Path, roots: tuple[str, ...]) -> str:
    """The definitions of that module which those names hang on, in order; its checks are left out."""
    body = ast.parse(path.read_text()).body
    named = {name: node for node in body for name in _names(node)}
    todo, found = list(roots), set[str]()
    while todo:
        if (name := todo.pop()) in named and name not in found:
            found.add(name)
            todo += [n.id for n in ast.walk(named[name]) if isinstance(n, ast.Name)]
    return "\n".join(_shape(node) for node in body if found & set(_names(node)))


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]


def imported(path: Path, root: Path) -> list[Path]:
    """Every module of the kit that this one imports, directly or not."""
    todo, found = [path], set[Path]()
    while todo:
        for name in _imports(todo.pop()):
            if (place := _place(name, root)) and place not in found:
                found.add(place)
                todo.append(place)
    return sorted(found)


@lru_cache
def _imports(path: Path) -> tuple[str, ...]:
    return tuple(name for node in ast.walk(ast.parse(path.read_text())) for name in _modules(node))


def _modules(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{name.name}" for name in node.names)


def _place(name: str, root: Path) -> Path | None:
    """The file of a module of the kit; None for others."""
    if name.split(".")[0] not in KINDS or name in DECLARE:
        return None
    places = [base / f"{name.replace('.', '/')}.py" for base in (root, ROOT)]
    return next((p for p in places if p.is_file()), None)


def shape(path: Path) -> str:
    return _shape(ast.parse(path.read_text()))


def _shape(tree: ast.AST) -> str:
    """The code without comments, places and doc strings."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            node.body = body[1:]  # type: ignore[attr-defined]
    return ast.dump(tree)
