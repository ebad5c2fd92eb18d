"""A learner's work is never lost: updates of the kit, %%work, reset, damaged files."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from grader.errors import LabError, Refused, WrongCall
from grader.kit import Kit
from grader.notebooks import build, make_notebook, solve, unsolve
from grader.workspace import WALK, Workspace, at, locked, write_atomic
from labs.helpers.teaching import guide, magic

CELL = "x = 1\n# TODO the number\nn = ...\n# solution\nn = 42\n# end\nprint(n)"


@pytest.fixture
def ws(toykit: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    build(Kit(toykit), write=True)
    monkeypatch.setenv("LAB_KIT", str(toykit))
    monkeypatch.setenv("LAB_WORK", str(toykit / "work"))
    monkeypatch.delenv("LAB_WORKSPACE", raising=False)
    return Workspace(Kit(toykit), toykit / "work")


def edit_source(ws: Workspace, old: str, new: str) -> None:
    path = ws.kit.root / "solutions" / "01_write_a_number.py"
    path.write_text(path.read_text().replace(old, new))
    build(ws.kit, write=True)


def test_a_stub_for_the_learner_and_a_block_for_the_solution() -> None:
    assert unsolve(CELL) == "x = 1\n# TODO the number\nn = ...\nprint(n)"
    assert solve(CELL) == "x = 1\n# the number\nn = 42\nprint(n)"


def test_notebooks_are_the_same_at_every_build(ws: Workspace) -> None:
    assert build(ws.kit, write=False) == []
    book = json.loads(make_notebook(ws.kit.lab("01"), solved=True))
    assert [c["id"] for c in book["cells"]] == [f"01-{i:02}" for i in range(len(book["cells"]))]
    assert book["metadata"]["kernelspec"]["name"] == "python3"
    assert all(not c.get("outputs") for c in book["cells"])
    (ws.kit.root / "labs" / "01_write_a_number.ipynb").write_text("edited by hand")
    assert build(ws.kit, write=False) == ["labs/01_write_a_number.ipynb"]


def test_an_update_brings_new_labs_and_changes_what_nobody_touched(ws: Workspace) -> None:
    assert ws.provide() == ["added 01_write_a_number.ipynb", "added service/given.txt", "added 02_do_nothing.ipynb"]
    assert ws.provide() == []
    edit_source(ws, "A number has to be written.", "Write it.")
    assert ws.provide() == ["updated 01_write_a_number.ipynb, which you had not changed"]


def test_an_update_leaves_an_edited_lab_alone_and_says_so(ws: Workspace) -> None:
    ws.provide()
    mine = ws.root / "01_write_a_number.ipynb"
    mine.write_text(mine.read_text().replace('"..."', '"41"'))
    kept = mine.read_bytes()
    assert ws.provide() == []
    edit_source(ws, "A number has to be written.", "Write it.")
    (said,) = ws.provide()
    assert said.startswith("kept your 01_write_a_number.ipynb; the kit's has changed (`./lab update 01` brings it")
    assert mine.read_bytes() == kept


def test_reset_keeps_what_was_there(ws: Workspace) -> None:
    ws.provide()
    mine = ws.root / "01_write_a_number.ipynb"
    mine.write_text("mine")
    guide.reset(ws, "01")
    guide.reset(ws, "01")
    assert "mine" in [p.read_text() for p in ws.root.glob("backups/01*")]
    assert mine.read_text() == (ws.kit.root / "labs" / mine.name).read_text()


def test_work_writes_once_and_again_but_not_over_other_changes(
    ws: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    magic.work("service/a.py", "x = 1\n")
    magic.work("service/a.py", "x = 2\n")
    path = ws.root / "service" / "a.py"
    path.write_text("x = 'edited in the editor'\n")
    with pytest.raises(Refused, match="was changed outside this cell"):
        magic.work("service/a.py", "x = 3\n")
    assert "-x = 'edited in the editor'" in capsys.readouterr().out
    assert path.read_text() == "x = 'edited in the editor'\n"
    magic.work("service/a.py --over", "x = 3\n")
    assert path.read_text() == "x = 3\n"
    assert [p.read_text() for p in ws.root.glob("backups/a.py.*")] == ["x = 'edited in the editor'\n"]


def test_work_refuses_in_words_a_place_outside(ws: Workspace) -> None:
    for name in ("../outside.py", "/etc/x", ""):
        with pytest.raises(Refused, match="inside"):
            magic.work(name, "x")


def test_a_verdict_is_shown_once_as_a_card_or_in_words(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, str]] = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a kernel
    magic.grade("t1")
    (data,) = shown
    assert "✘ fail" in data["text/plain"] and "<" not in data["text/plain"] and "\x1b" not in data["text/plain"]
    assert "✘ fail" in data["text/html"] and data["text/html"].rstrip().endswith(">")


def test_the_walk_grades_at_its_end_and_not_in_a_cell(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(magic, "learner_workspace", lambda kit: Workspace(kit, ws.root, WALK))
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("it was graded"))
    magic.grade("t1")
    assert "The walk grades t1 when all notebooks have run" in capsys.readouterr().out


def test_hints_go_in_three_steps_and_then_the_solution_is_offered(ws: Workspace) -> None:
    ws.provide()
    with pytest.raises(LabError, match="after the third hint"):
        guide.diff(ws, "01")
    said = [guide.hint(ws, "number-is-right") for _ in range(4)]
    assert [line[0].split(": ", 1)[1] for line in said] == [
        "which number?", "the answer to everything", "echo 42 >service/number.txt", "echo 42 >service/number.txt"
    ]  # fmt: skip
    assert "./lab diff 01" in said[2][1]
    assert "+42" in guide.diff(ws, "01")


def test_status_names_the_next_cell_until_all_is_done(ws: Workspace) -> None:
    ws.provide()
    assert guide.next_cell(ws) == ["01_write_a_number.ipynb, cell 01-02: the number"]
    for lab in ws.kit.labs():
        (ws.root / lab.notebook).write_text(make_notebook(lab, solved=True))
    assert guide.next_cell(ws) == ["every TODO is done"]


def test_a_damaged_file_is_named_and_kept(ws: Workspace) -> None:
    (ws.root / "answers.json").write_text("{half")
    with pytest.raises(LabError, match=r"answers\.json cannot be read"):
        ws.answers()
    assert (ws.root / "answers.json").read_text() == "{half"


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.json"
    write_atomic(path, b"old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_second_owner_of_the_lock_waits_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    times = {}

    def second() -> None:
        with locked(tmp_path / "lock", "the walk", said.append):
            times["second"] = time.monotonic()

    with locked(tmp_path / "lock", "the walk", said.append):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        assert said and said[0].startswith("waiting: the walk is in use by process ")
        times["freed"] = time.monotonic()
    thread.join(5)
    assert times["second"] >= times["freed"]


def test_a_workspace_that_is_none_is_a_wrong_call(toykit: Path) -> None:
    with pytest.raises(WrongCall):
        at(Kit(toykit), toykit / "absent")
    with pytest.raises(WrongCall):
        at(Kit(toykit), toykit / "live.txt" if (toykit / "live.txt").exists() else toykit / "requirements.lock")
