"""`./lab class` on the toy kit: a room of thirty, ten of them hostile; each is judged, and none disturbs another."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import copy_toykit, need_sandbox, run_lab
from test_cheats import IN_A_BOX, T6

from grader.processes import wait_until

RIGHT = "def prepare(texts): return [t.lower() for t in texts]\n"
WRONG = "def prepare(texts): return list(texts)\n"
HOSTILE = {
    "h-hangs": "import time\ntime.sleep(600)\n",
    "h-dies": "import os\nos._exit(0)\n",
    "h-fills": IN_A_BOX + "with open('/tmp/x', 'wb') as f:\n    while True: f.write(b'x' * (1 << 24))\n",
    "h-forks": IN_A_BOX + "import time\nwhile True:\n    os.fork() or time.sleep(60)\n",
    "h-lies": "import os\nfor fd in range(3, 9):\n    try: os.write(fd, b'[]\\n')\n    except OSError: pass\n",
    "h-kills": IN_A_BOX + "os.kill(-1, 9)\n",
}


def zipped(path: Path, files: dict[str, bytes], says: int = 0) -> None:
    """`says`: the unpacked size of the first file that the archive names; the true one without it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        if says:
            archive.filelist[0].file_size = says


def make_room(room: Path, honest: int) -> dict[str, str]:
    """The submissions, and the verdict that each should have."""
    wanted = {}
    for number in range(honest):
        name, right = f"a{number:02}", number % 3 > 0
        place = room / name / "service" if number % 2 else room / f"{name}.zip"
        wanted[place.name if not number % 2 else name] = "pass" if right else "fail"
        if number % 2:
            place.mkdir(parents=True)
            (place / "preprocess.py").write_text(RIGHT if right else WRONG)
        else:
            zipped(place, {f"{name}/service/preprocess.py": (RIGHT if right else WRONG).encode()})
    for name, code in HOSTILE.items():
        (room / name / "service").mkdir(parents=True)
        (room / name / "service" / "preprocess.py").write_text(code)
        wanted[name] = "fail"
    (room / "h-links").mkdir()
    (room / "h-links" / "service").symlink_to(room / "a01" / "service")
    zipped(room / "h-bomb.zip", {"service/zeros": bytes(1 << 20)}, says=5 << 30)
    zipped(room / "h-paths.zip", {"../../a01/service/preprocess.py": WRONG.encode(), "/tmp/owned": b"x"})
    (room / "h-broken.tar.gz").write_bytes(b"no archive")
    return wanted | {"h-links": "error", "h-bomb.zip": "error", "h-paths.zip": "fail", "h-broken.tar.gz": "error"}


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_sandbox()
    kit = copy_toykit(tmp_path_factory.mktemp("class") / "toykit")
    for name, text in T6.items():
        (kit / "grader" / "criteria" / name).write_text(text)
    return kit


def verdicts(out: Path) -> dict[str, str]:
    rows = csv.DictReader(io.StringIO((out / "class.csv").read_text()))
    return {row["submission"]: row["verdict"] for row in rows if row["check"] == "lowers"}


@pytest.mark.slow
def test_of_thirty_thirty_are_judged(kit: Path, tmp_path: Path) -> None:
    room, out = tmp_path / "room", tmp_path / "out"
    room.mkdir()
    wanted = make_room(room, 20)
    assert len(wanted) == 30
    done = run_lab(kit, "class", str(room), "t6", "--out", str(out), "--jobs", "3")
    assert verdicts(out) == wanted, done.stderr
    assert done.returncode == 2 and "[30 of 30]" in done.stderr and "30 submissions are graded" in done.stdout
    assert (room / "a01" / "service" / "preprocess.py").read_text() == RIGHT and not Path("/tmp/owned").exists()
    assert not (room / "a01" / "results").exists(), "reports stay out of the submissions"
    for name in ("a01", "h-hangs", "h-bomb"):
        report = json.loads((out / name / "report.json").read_text())
        assert {c["id"]: c["verdict"] for c in report["criteria"]}["t1-number-written"] == "not_run"
    assert (out / "class.html").read_text().count("<tr>") == 31


def test_it_goes_on_after_a_kill_and_judges_again_what_was_kept(kit: Path, tmp_path: Path) -> None:
    room, out = tmp_path / "room", tmp_path / "out"
    for name in ("ann", "ben", "eve"):
        (room / name / "service").mkdir(parents=True)
        (room / name / "service" / "preprocess.py").write_text(RIGHT)
    command = [sys.executable, "-m", "grader.cli", "class", str(room), "t6", "--out", str(out)]
    process = subprocess.Popen(command, env={**os.environ, "LAB_KIT": str(kit)}, stderr=subprocess.DEVNULL)
    assert wait_until((out / "ann" / "done.json").exists, 60)
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    (room / "eve" / "service" / "preprocess.py").write_text(WRONG)
    done = run_lab(kit, *command[3:])
    assert "ann: t6 pass (unchanged, not graded again)" in done.stderr, done.stderr
    assert verdicts(out) == {"ann": "pass", "ben": "pass", "eve": "fail"} and done.returncode == 0
    code = kit / "grader" / "criteria" / "t6.py"
    before = code.read_text()
    code.write_text(before.replace("text.lower() for", "text.upper() for"))
    changed = run_lab(kit, "class", str(room), "--out", str(out), "--judge")
    code.write_text(before)
    assert "ann: t6-prepares lowers: pass -> fail: prepare() gave known text" in changed.stdout
    assert "eve: t6-prepares" not in changed.stdout


def test_an_archive_with_one_folder_is_that_folder(tmp_path: Path) -> None:
    from grader.intake import taken_in

    (tmp_path / "work" / "service").mkdir(parents=True)
    (tmp_path / "work" / "service" / "x.py").write_text("1")
    with tarfile.open(tmp_path / "ann.tgz", "w:gz") as archive:
        archive.add(tmp_path / "work", "ann-work")
    with taken_in(tmp_path / "ann.tgz") as taken:
        assert (taken.root / "service" / "x.py").read_text() == "1" and taken.left_out == []


def submission(folder: Path) -> Path:
    (folder / "service").mkdir(parents=True)
    (folder / "service" / "preprocess.py").write_text(RIGHT)
    return folder


def test_a_chain_of_links_that_leads_out_is_taken_away(tmp_path: Path) -> None:
    from grader.intake import NotTaken, taken_in

    eve = submission(tmp_path / "eve")
    (eve / "p" / "q" / "r").mkdir(parents=True)
    (eve / "p" / "q" / "r" / "up").symlink_to("../../..")
    (eve / "store").mkdir()
    (eve / "store" / "models").symlink_to("../p/q/r/up/../../../../../../run")
    (eve / "store" / "inside").symlink_to("../service")
    (eve / "store" / "round").symlink_to("round")
    with taken_in(eve) as taken:
        assert not (taken.root / "store" / "models").is_symlink()
        assert (taken.root / "store" / "inside" / "preprocess.py").is_file()
        assert [line.partition(" ")[0] for line in taken.left_out] == ["store/models", "store/round"]
    deeper = submission(tmp_path / "ben" / "work").parent
    (deeper / "work" / "store").symlink_to("service")
    with pytest.raises(NotTaken, match="store is a link"), taken_in(deeper):
        pass


def test_what_a_bento_holds_is_taken_whole_and_what_is_large_beside_it_is_not(tmp_path: Path) -> None:
    from grader.intake import taken_in

    ann = submission(tmp_path / "room" / "ann" / "repo-main" / "work")
    kept = ["store/bentos/b/v/src/results/raw.csv", "service/.ipynb_checkpoints/service-checkpoint.py"]
    kept += ["service/results/__init__.py"]
    names = [*kept, ".venv/lib/torch.so", "service/__pycache__/x.pyc", "results/sc1.ipynb"]
    for name in names:
        (ann / name).parent.mkdir(parents=True, exist_ok=True)
        (ann / name).write_text("x")
    (ann.parent / "README.md").write_text("x")
    with taken_in(tmp_path / "room" / "ann") as taken:
        assert taken.root.name == "work"
        assert [name for name in names if (taken.root / name).exists()] == kept
    lone = tmp_path / "room" / "ben_12_file_"
    lone.mkdir()
    with zipfile.ZipFile(lone / "WORK.ZIP", "w") as packed:
        packed.writestr("work/service/preprocess.py", RIGHT)
    with taken_in(lone) as taken:
        assert (taken.root / "service" / "preprocess.py").is_file()


def test_a_bomb_in_a_header_or_in_the_answers_harms_nobody(tmp_path: Path) -> None:
    from grader.intake import NotTaken, taken_in

    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    (tmp_path / "eve.tar").write_bytes(long.tobuf() + bytes(4096))
    with pytest.raises(NotTaken, match="a header of 1073741824 bytes"), taken_in(tmp_path / "eve.tar"):
        pass
    ben = submission(tmp_path / "ben")
    (ben / "answers.json").write_text("[" * (2 << 20))
    with taken_in(ben) as taken:
        assert taken.left_out == ["answers.json (more than 1 MiB)"]


def test_a_room_is_judged_to_its_end_whatever_is_in_it(tmp_path: Path, kit: Path) -> None:
    room, deep = tmp_path / "room", tmp_path / "room" / "deep"
    submission(room / "ann")
    (room / "cid.rar").write_bytes(b"Rar!")
    deep.mkdir()
    at = os.open(deep, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("a", dir_fd=at)
        at, before = os.open("a", os.O_RDONLY, dir_fd=at), at
        os.close(before)
    os.close(at)
    try:
        run_lab(kit, "class", str(room), "t6", "--out", str(tmp_path / "out"))
        assert verdicts(tmp_path / "out") == {"ann": "pass", "cid.rar": "error", "deep": "error"}
        again = run_lab(kit, "class", str(room), "t6", "--out", str(tmp_path / "out"))
        assert [line for line in again.stderr.splitlines() if "not graded again" in line and "ann" in line]
        assert not [line for line in again.stderr.splitlines() if "not graded again" in line and "ann" not in line]
    finally:
        subprocess.run(["rm", "-rf", str(deep)], check=True)


@pytest.mark.parametrize(
    ("cell", "written"), [("=1", "'=1"), ("a;=1", "a;'=1"), ("a - b; c", "a - b; c"), ("x\t@y", "x\t'@y")]
)
def test_no_cell_is_a_formula(cell: str, written: str) -> None:
    from grader.classroom import harmless

    assert harmless(cell) == written
