"""Where a learner stands, by the text of the TODOs, whatever an editor did to the notebook; hints; update."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, run_lab

from grader.errors import Refused, UnknownName
from grader.kit import Kit, Lab
from grader.model import CheckResult, Verdict
from grader.notebooks import build, make_notebook
from grader.workspace import Workspace, write_atomic
from labs.helpers.teaching import guide, magic, stubs
from labs.helpers.teaching.cells import UnreadableNotebook, read_cells
from labs.helpers.teaching.update import update

KIT = Kit(ROOT)
NAME = "01_write_a_number.ipynb"
Book = dict[str, Any]


@pytest.fixture
def ws(toykit: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    build(Kit(toykit), write=True)
    monkeypatch.setenv("LAB_KIT", str(toykit))
    monkeypatch.setenv("LAB_WORK", str(toykit / "work"))
    monkeypatch.delenv("LAB_WORKSPACE", raising=False)
    made = Workspace(Kit(toykit), toykit / "work")
    made.provide()
    return made


@pytest.fixture
def labs(tmp_path: Path) -> Workspace:
    """A learner's workspace of the real kit, as `./lab start` leaves it."""
    made = Workspace(KIT, tmp_path / "work")
    for lab in KIT.labs():
        write_atomic(made.root / lab.notebook, (ROOT / "labs" / lab.notebook).read_bytes())
    return made


def edit(path: Path, change: Callable[[Book], None]) -> None:
    book = json.loads(path.read_text())
    change(book)
    path.write_text(json.dumps(book))


def drop_ids(book: Book) -> None:
    book["nbformat_minor"] = 4
    for cell in book["cells"]:
        del cell["id"]


def renew_ids(book: Book) -> None:
    for i, cell in enumerate(book["cells"]):
        cell["id"] = f"{i:08x}-aaaa"


def double_cells(book: Book) -> None:
    book["cells"] = [copy for cell in book["cells"] for copy in (cell, json.loads(json.dumps(cell)))]


def shift_ids(book: Book) -> None:
    ids = [cell["id"] for cell in book["cells"]]
    for cell, other in zip(book["cells"], [*ids[1:], ids[0]], strict=True):
        cell["id"] = other


def solve(lab: Lab, keep: bool) -> Callable[[Book], None]:
    """Puts the solution's text into each cell; `keep`: the TODO's line stays above it."""
    cells = json.loads((ROOT / "solutions" / lab.notebook).read_text())["cells"]

    def change(book: Book) -> None:
        for cell, solved in zip(book["cells"], cells, strict=True):
            todos = [line for line in "".join(cell["source"]).splitlines() if line.strip().startswith("# TODO ")]
            text = "".join(solved["source"])
            for todo in todos if keep else []:
                text = text.replace(todo.replace("# TODO ", "# "), todo)
            cell["source"] = text

    return change


BREAK = [drop_ids, renew_ids, double_cells, shift_ids]


@pytest.mark.parametrize("lab", KIT.labs(), ids=lambda lab: lab.name)
@pytest.mark.parametrize("change", BREAK)
def test_a_todo_that_is_in_the_notebook_is_open_whatever_its_id(
    labs: Workspace, lab: Lab, change: Callable[[Book], None]
) -> None:
    path = labs.root / lab.notebook
    edit(path, change)
    states = guide.lab_states(labs, lab)
    assert states and {s.state for s in states} == {"open"}
    edit(labs.root / lab.notebook, lambda book: None if change is double_cells else solve(lab, True)(book))
    if change is not double_cells:
        assert {s.state for s in guide.lab_states(labs, lab)} == {"done"}


def test_status_names_the_cell_and_never_calls_done_what_it_cannot_find(ws: Workspace) -> None:
    path = ws.root / NAME
    assert guide.next_cell(ws)[0] == f"{NAME}, cell 01-02: the number"
    edit(path, renew_ids)
    assert guide.next_cell(ws)[0] == f"{NAME}, cell 3 from the top: the number"

    def forget(book: Book) -> None:
        del book["cells"][2]
        book["cells"][3]["source"] = "%%answer T1\n4, I think"

    edit(path, forget)
    (ws.root / "02_do_nothing.ipynb").write_text(make_notebook(ws.kit.lab("02"), solved=True))
    first, *lost = guide.next_cell(ws)
    assert first == "every TODO that was found is done"
    assert lost[0] == f"cannot tell   {NAME} has no TODO 'the number' any more"


def test_after_start_at_the_next_cell_is_that_labs(ws: Workspace) -> None:
    ws.remember("start-at", "02")
    assert not guide.next_cell(ws)[0].startswith(NAME)


def test_a_hint_for_a_criterion_is_that_of_its_failed_check(labs: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    own = list(KIT.criterion("sc6").hints)
    failed = [CheckResult(name, Verdict.FAIL, "wrong") for name in ("models-listed", own[1])]
    monkeypatch.setattr(guide, "failures", lambda _: failed)
    assert guide.hint(labs, "sc6")[0].startswith(f"{own[1]}, hint 1 of ")
    with pytest.raises(UnknownName, match="no failed check in 'sc5'") as none:
        guide.hint(labs, "sc5")
    assert set(none.value.known) == set(KIT.criterion("sc5").hints)


def test_only_the_todos_line_deleted_is_still_open(ws: Workspace) -> None:
    path = ws.root / NAME
    path.write_text(path.read_text().replace("# TODO the number\\n", ""))
    assert guide.next_cell(ws)[0] == f"{NAME}, cell 01-02: the number"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<<<<<<< HEAD\n{}\n=======\n>>>>>>> theirs\n", "git merge"),
        ("", "is empty"),
        ('{"nbformat": 3, "worksheets": [{"cells": []}]}', "nbformat 3"),
        ("[]", "is no notebook"),
        ('{"cells": 3}', "is no notebook"),
        ("{half", "is no notebook"),
    ],
)
def test_what_is_no_notebook_is_two_sentences_and_an_error(ws: Workspace, text: str, why: str) -> None:
    (ws.root / NAME).write_text(text)
    for words in (["status"], ["diff", "01", "--anyway"], ["update", "01"]):
        done = run_lab(ws.kit.root, *words)
        assert done.returncode == 2 and why in done.stderr and len(done.stderr.splitlines()) == 2, done.stderr
    assert (ws.root / NAME).read_text() == text
    with pytest.raises(UnreadableNotebook):
        read_cells(ws.root / NAME)


def test_diff_finds_cells_without_their_ids_and_says_which_it_does_not_find(ws: Workspace) -> None:
    edit(ws.root / NAME, drop_ids)
    lines = guide.diff(ws, "01", anyway=True)
    assert "+42" in lines and "-..." in lines and not [line for line in lines if line.startswith("??")]
    edit(ws.root / NAME, lambda book: book["cells"].pop(2))
    lines = guide.diff(ws, "01", anyway=True)
    assert "?? no cell of yours was found for solution/01-02" in lines and "+42" in lines
    (ws.root / NAME).write_text(make_notebook(ws.kit.lab("01"), solved=True))
    assert guide.diff(ws, "01", anyway=True) == ["no difference"]


# ---------------------------------------------------------------- hints


def test_each_todo_has_hints_written_or_made(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert guide.hint(ws) == ["the number, hint 1 of 3: The solution is one line."]
    hints = ws.kit.lab("01").source.with_suffix(".hints.toml")
    hints.write_text('"the number" = ["which?", "the answer", "write 42, because"]\n')
    with pytest.raises(Refused):
        stubs.refuse_undone(["# TODO the number\n", "..."])
    magic.hint("")
    magic.hint("NUMBER-is-right".lower())
    out = capsys.readouterr().out
    assert "the number, hint 2 of 3: the answer" in out and "number-is-right, hint 1 of 3: which number?" in out
    assert guide.hint(ws, "e numb")[0].startswith("the number, hint 3 of 3")
    assert "+42" in guide.diff(ws, "01"), "after a TODO's third hint, too"
    with pytest.raises(UnknownName, match="check or TODO with hints"):
        guide.hint(ws, "nothing like it")


@pytest.mark.parametrize("lab", KIT.labs(), ids=lambda lab: lab.name)
def test_each_ladder_of_a_todo_has_three_steps_and_its_todo(lab: Lab) -> None:
    ladders = {what: steps for what, (steps, number) in guide.todo_ladders(KIT).items() if number == lab.number}
    todos = {what: stub for what, stub in stubs.source_stubs(lab.source).items() if stub.ours}
    assert ladders.keys() == todos.keys(), "hints for a TODO that does not exist"
    for what, steps in ladders.items():
        assert len(steps) == 3 and "``" not in " ".join(steps), (what, steps)


def test_a_made_ladder_gives_away_the_solution_in_its_last_step_alone() -> None:
    nudge, pointer, worked = guide.make_ladder(stubs.Stub(("cd service",), "", ("cd service && bentoml build",)))
    assert nudge == "The solution is one line, with `bentoml`, `build`."
    assert pointer == "It begins with `cd service &&`."
    assert worked.endswith(":\n    cd service && bentoml build")


# ---------------------------------------------------------------- the kit changes under somebody's work


@pytest.mark.parametrize("lab", KIT.labs(), ids=lambda lab: lab.name)
def test_update_carries_what_was_written_at_each_todo(labs: Workspace, lab: Lab) -> None:
    path = labs.root / lab.notebook
    edit(path, solve(lab, keep=True))
    written = [c["source"] for c in json.loads(path.read_text())["cells"]]
    said = update(labs, lab.number)
    assert len([line for line in said if line.startswith("carried: ")]) == lab.source.read_text().count("# TODO ")
    assert not [line for line in said if line.startswith("not carried")]
    assert ["".join(c["source"]).rstrip() for c in json.loads(path.read_text())["cells"]] == [
        t.rstrip() for t in written
    ]


def change_kit(ws: Workspace, *pairs: tuple[str, str]) -> None:
    source = ws.kit.lab("01").source
    text = source.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    source.write_text(text)
    build(ws.kit, write=True)


def test_an_older_notebook_says_so_and_update_keeps_what_it_cannot_carry(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", f"deep/{NAME}")
    magic.say_if_older(None)
    assert capsys.readouterr().out == ""

    def work(book: Book) -> None:
        book["cells"][2]["source"] = "%%work service/number.txt\n# TODO the number\n41\n"
        book["cells"][4]["source"] = "%%answer T1\n# TODO your answer\n4, I think\n"
        book["cells"].append({**book["cells"][3], "id": "mine", "source": "print('an experiment of mine')"})

    edit(ws.root / NAME, work)
    change_kit(ws, ("# TODO your answer", "# TODO what you expect"), ("# %%work", "# a line more\n\n# %%work"))
    magic.say_if_older(None)
    assert "was made by an older version of the kit. `./lab update 01` brings the new one" in capsys.readouterr().out
    assert any(line.startswith("older ") for line in guide.status(ws))
    said = update(ws, "01")
    assert "carried: the number" in said
    assert [line for line in said if line.startswith("not carried")] == [
        "not carried, cell 5 of the old one: your answer (T1)", "not carried, cell 7 of the old one"
    ]  # fmt: skip
    assert "    4, I think" in said and "    print('an experiment of mine')" in said
    (kept,) = ws.root.glob(f"backups/{NAME}.*")
    assert "an experiment of mine" in kept.read_text() and "41" in (ws.root / NAME).read_text()
    assert not any(line.startswith("older ") for line in guide.status(ws))
