"""The borders of the house, as a test on imports: who may know of whom (docs/principles.md)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from count_lines import count

ROOT = Path(__file__).resolve().parent.parent
SUBJECTS = ("bentoml", "docker", "kubernetes", "sklearn", "torch", "sentence_transformers", "locust")
# tests/ proves the kit; nothing of the kit needs it
DEVELOPERS = ("mutants", "conftest", "operators", "generated", "figures", "speed")
# what a notebook offers knows no subject: the engine is all that it uses
TEACHING = "labs/helpers/teaching"
ROOMS = tuple(f"labs.helpers.{p.name}" for p in ROOT.glob("labs/helpers/[a-z]*") if p != ROOT / TEACHING)
# who -> the beginnings of the names that it must not import
BORDERS = {
    "grader/*.py": (*SUBJECTS, *DEVELOPERS, "grader.criteria", "grader.world", "cluster", "labs", "service"),
    "grader/criteria/*.py": ("grader.criteria.", "labs", "service"),
    "grader/world/**/*.py": ("grader.criteria", "grader.judge", "grader.mutants", "labs", "service"),
    "tests/mutants/*.py": (*SUBJECTS, "grader.criteria", "grader.world", "cluster", "labs", "service"),
    "cluster/*.py": ("bentoml", "grader.criteria", "grader.world", "labs", "service"),
    "pages/*.py": (*SUBJECTS, "grader.criteria", "grader.world", "cluster", "labs", "service"),
    "labs/helpers/**/*.py": ("grader.criteria", "grader.judge", "grader.mutants", "service"),
    f"{TEACHING}/*.py": (*SUBJECTS, *DEVELOPERS, "grader.world", "cluster", "pages", *ROOMS),
    "labs/helpers/charts/*.py": (*SUBJECTS, "grader", "cluster"),
}
ALLOWED = {
    ("labs/helpers/lesson/practice.py", "grader.judge"),  # lab 00 shows the judge itself
    (f"{TEACHING}/incidents.py", "grader.mutants"),  # an incident is a mutant
    ("tests/mutants/entries.py", f"{TEACHING}/serve".replace("/", ".")),  # types a cell's commands as a cell does
}


def imports(path: Path) -> Iterator[str]:
    """Every module that the file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)


def crossings(border: str) -> list[str]:
    found = []
    for path in sorted(ROOT.glob(border)):
        here = path.relative_to(ROOT).as_posix()
        for name in imports(path):
            wrong = any(name == w.rstrip(".") or name.startswith(f"{w.rstrip('.')}.") for w in BORDERS[border])
            if wrong and not any(here == who and name.startswith(what) for who, what in ALLOWED):
                found.append(f"{here} imports {name}")
    return found


@pytest.mark.parametrize("border", BORDERS)
def test_nobody_imports_across_a_border(border: str) -> None:
    assert sorted(ROOT.glob(border)), f"nothing lies at {border}"
    assert crossings(border) == []


def test_each_package_opens_with_what_it_holds() -> None:
    for path in [
        *ROOT.glob("grader/**/__init__.py"),
        *ROOT.glob("labs/helpers/**/__init__.py"),
        ROOT / "tests/mutants/__init__.py",
        ROOT / "tests/speed/__init__.py",
        ROOT / "cluster/__init__.py",
        ROOT / "pages/__init__.py",
    ]:
        assert (ast.get_docstring(ast.parse(path.read_text())) or "").strip(), f"{path.relative_to(ROOT)} says nothing"


def test_criteria_holds_criteria_alone() -> None:
    names = [p.name for p in (ROOT / "grader" / "criteria").iterdir() if p.name not in ("__init__.py", "__pycache__")]
    assert [n for n in names if not n.startswith("sc")] == []


def test_the_engine_and_its_grading_path_are_short_and_no_module_is_long() -> None:
    """In lines of code."""
    lines = {p.stem: count(p) for p in (ROOT / "grader").glob("*.py")}
    path, todo = set[str](), ["grade", "look", "guard"]
    while todo:
        path.add(name := todo.pop())
        mine = [n.split(".")[1] for n in imports(ROOT / "grader" / f"{name}.py") if n.startswith("grader.")]
        todo += {n for n in mine if n in lines} - path
    assert max(lines.values()) <= 300
    assert sum(lines.values()) <= 2600
    assert sum(lines[name] for name in path) <= 1200, sorted(path)
