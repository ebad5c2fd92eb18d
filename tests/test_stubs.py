"""A TODO is open until it is done, and only then: all cells of all labs, and what looks like a stub and is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import ROOT

from grader.errors import Refused
from grader.kit import Kit, Lab
from grader.notebooks import make_notebook
from labs.helpers.teaching.stubs import Stub, find_keys, find_todos, kit_stubs, refuse_undone

LABS = Kit(ROOT).labs()


def code_cells(lab: Lab, solved: bool) -> list[tuple[str, str]]:
    cells: list[dict[str, Any]] = json.loads(make_notebook(lab, solved))["cells"]
    return [(c["id"], "".join(c["source"])) for c in cells if c["cell_type"] == "code"]


def refused(cell: str) -> bool:
    try:
        refuse_undone(cell.splitlines(keepends=True))
    except Refused:
        return True
    return False


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_each_todo_of_the_kit_is_open_as_it_is_given_and_closed_when_solved(lab: Lab) -> None:
    stubs = kit_stubs(Kit(ROOT))
    solved = dict(code_cells(lab, solved=True))
    for cell_id, given in code_cells(lab, solved=False):
        todos = find_todos(given, stubs)
        assert all(todo.is_open for todo in todos), (cell_id, todos)
        assert len(todos) == given.count("# TODO ")
        if not given.startswith("%%answer"):
            assert refused(given) == bool(todos), cell_id
        assert not refused(solved[cell_id]), cell_id
        # a learner keeps the TODO's line above the solution
        for todo in todos:
            what = todo.what.partition(" (")[0] if given.startswith("%%answer") else todo.what
            kept = solved[cell_id].replace(f"# {what}", f"# TODO {what}")
            assert not [t for t in find_todos(kept, stubs) if t.is_open], (cell_id, kept)


def test_no_two_todos_have_the_same_text() -> None:
    keys = [key for lab in LABS for _, cell in code_cells(lab, solved=False) for _, key in find_keys(cell)]
    assert len(keys) == len(set(keys))


def open_in(cell: str, **stubs: str) -> list[int]:
    known = {what: Stub(tuple(stub.splitlines())) for what, stub in stubs.items()}
    return [todo.line for todo in find_todos(cell, known) if todo.is_open]


@pytest.mark.parametrize(
    "done",
    [
        "# TODO a type\nf: Callable[..., int] = g",
        "# TODO an index\nrow = array[..., 0]",
        '# TODO a text\nprint("training ...")',
        "# TODO a comment\nx = 1  # and so on ...",
        '# TODO a docstring\ndef f():\n    """Does ... things."""\n    return 1',
        "# TODO the class\nclass P(Protocol):\n    def f(self) -> int: ...\n    def g(self) -> int: ...",
        "# TODO a field\ntexts: list[str] = Field(..., min_length=1)",
        "%%work a.py\n# TODO a type\nf: Callable[..., X] = g\n",
        "%%work a.yaml\n# TODO the files\ninclude: [a.py]  # ... and more\n",
        "%%shell\n# TODO describe\ngit diff main...other\necho 'building ...'\n",
        "x = ...\n# a comment without the word",
        "y = ...\n# TODO later\nx = 1",
        "# TODO run it\n!ls ...\nx = 1",
        "# TODO await\nx = await f()\nfor i in x:\n    !echo {i}",
    ],
)
def test_what_is_done_is_never_refused(done: str) -> None:
    assert open_in(done) == []


@pytest.mark.parametrize(
    ("cell", "lines"),
    [
        ("# TODO a\nx = y = ...", [1]),
        ("# TODO a\nx, y = ..., ...", [1]),
        ("# TODO a\nf(a=..., b=1)", [1]),
        ("# TODO a\nx = f(1)\n# TODO b\n...", [3]),
        ("def f(x):\n    # TODO a\n    ...", [2]),
        ("def f(x):\n    # TODO a\n    return ...", [2]),
        ("# TODO a\nx = ...\nbroken(", [1]),
        ("files = !ls\n# TODO a\nx = ...\n", [2]),
        ("%%shell\n# TODO a\n...\n", [2]),
        ("%%shell --serve api\n# TODO a\n\n", [2]),
        ("%%work a.yaml\nx: 1\n# TODO a\n- ...\nb: 2\n# TODO b\nc: 1\n", [3]),
        ("%%work Dockerfile\n# TODO a\nRUN ...\n", []),
        ("%%work a.toml\n# TODO a\nname = ...\n", [2]),
    ],
)  # fmt: skip
def test_dots_for_a_whole_expression_are_a_stub(cell: str, lines: list[int]) -> None:
    assert open_in(cell) == lines


def test_the_kits_own_stub_is_one_without_dots_too() -> None:
    cell = "%%work Dockerfile\nFROM x\n# TODO in which order?\nCOPY . ./\nUSER y\n"
    assert open_in(cell) == [] and open_in(cell, **{"in which order?": "COPY . ./"}) == [3]
    done = cell.replace("COPY . ./", "COPY a ./a\nCOPY . ./")
    assert open_in(done, **{"in which order?": "COPY . ./"}) == []


def test_a_todo_without_a_stub_is_open_while_nothing_is_below_it() -> None:
    known = {"a": Stub((), "b: 2"), "c": Stub((), "")}
    for cell, lines in {"# TODO a\nb: 2": [2], "# TODO a\na: 1\nb: 2": [], "# TODO c\n# TODO a\nd: 1\n": [2]}.items():
        found = find_todos(f"%%work a.yaml\n{cell}\n", known)
        assert [t.line for t in found if t.is_open] == lines, cell
    assert [t.is_open for t in find_todos("%%work a.yaml\nb: 1\n# TODO c\n", known)] == [True]


def test_a_refusal_says_what_is_missing_and_where() -> None:
    with pytest.raises(Refused) as refusal:
        refuse_undone(["%%shell\n", "# TODO build the Bento\n", "...\n"])
    assert refusal.value.problem == "This cell is not done yet: line 2 still has a TODO: build the Bento"
    assert refusal.value.remedy.startswith("Put yours instead of line 3, `...`")
    assert not refused("%%answer 02a\n# TODO a number\n...\n"), "an open question has words of its own"
