"""Makes a class of thirty real submissions from a walk, ten of them hostile, with the verdicts of sc1 to sc3 to come.

    .venv/bin/python tests/make_room.py room            # from .lab/walk; then: ./lab class room
    .venv/bin/python tests/make_room.py --check room    # compares room-graded/class.csv with what was to come

Not a test: thirty gradings take half an hour. Files are shared by hard links, so the room takes little disk.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from test_cheats import CHANNEL, IDENTITY, IN_A_BOX
from test_class import zipped

from grader.kit import Kit

NAME = "demo_text_intelligence"
PARTS = ("service", "store/models", "store/bentos")


def bento(work: Path) -> Path:
    place = work / "store" / "bentos" / NAME
    return place / (place / "latest").read_text().strip()


def write(path: Path, text: str) -> None:
    """In the place of a hard link: the walk's own file stays as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text)


def edit(name: str, find: str, put: str) -> Callable[[Path], None]:
    def change(work: Path) -> None:
        for path in work.rglob(name):
            write(path, path.read_text().replace(find, put))

    return change


def add(name: str, text: str, inside: bool = False) -> Callable[[Path], None]:
    return lambda work: write((bento(work) if inside else work) / name, text)


def remove(name: str) -> Callable[[Path], None]:
    return lambda work: shutil.rmtree(work / name)


def both(name: str, code: str, after: str = "") -> Callable[[Path], None]:
    """The same code in service/ and in the Bento, as a build would have copied it; `after` stands at its end."""

    def change(work: Path) -> None:
        for place in (work / "service" / name, bento(work) / "src" / name):
            write(place, code + place.read_text() + after)

    return change


def packed(kind: str) -> Callable[[Path], None]:
    def change(work: Path) -> None:
        shutil.make_archive(str(work), kind, work.parent, work.name)
        shutil.rmtree(work)

    return change


def as_link(work: Path) -> None:
    shutil.rmtree(work / "service")
    (work / "service").symlink_to("/etc")


def bomb(work: Path) -> None:
    shutil.rmtree(work)
    zipped(work.with_suffix(".zip"), {"service/zeros": bytes(1 << 20)}, says=9 << 30)


def escapes(work: Path) -> None:
    path = bento(work) / "bento.yaml"
    write(path, path.read_text().replace("service: service:svc", 'service: "\\e]0;owned\\a\\e[31mservice:svc"'))


def huge(work: Path) -> None:
    with (work / "service" / "big.bin").open("wb") as file:
        file.truncate(50 << 30)


def nothing(_: Path) -> None:
    pass


FORKS = "import os, time\nwhile True:\n    os.fork() or time.sleep(60)\n"
FILLS = "open('/tmp/x', 'wb').write(b'x' * (1 << 31))\n"
LOOP = "import time\ntime.sleep(3600)\n"
ALL_PASS, ALL_FAIL, NOT_TAKEN = ("pass",) * 3, ("fail",) * 3, ("error",) * 3
IN_BENTO = ("pass", "pass", "fail")  # wrong in the Bento alone
RIGHT: dict[str, Callable[[Path], None]] = {
    "as-it-is": nothing, "zipped": packed("zip"), "tarred": packed("gztar"),
    "a-diary": add("diary.md", "It works."), "own-modules": add("random.py", "raise SystemExit"),
    "papermill": add("papermill/__main__.py", "raise SystemExit"), "broken-answers": add("answers.json", "{"),
    "a-notebook": add("scratch.ipynb", "{}"), "deep": add("a/b/c/d/e.txt", "x"), "umlauts": add("Übung/ß.txt", "ä"),
}  # fmt: skip
WRONG: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "no-bento": (remove("store/bentos"), IN_BENTO), "no-models": (remove("store/models"), ALL_FAIL),
    "nothing": (remove("service"), ALL_FAIL),
    "stale": (add("service/preprocess.py", "def prepare(texts): return texts\n"), ALL_FAIL),
    "a-test-in-it": (add("src/tests/test_service.py", "def test(): pass\n", inside=True), IN_BENTO),
    "a-notebook-in-it": (add("src/try.ipynb", "{}", inside=True), IN_BENTO),
    "data-in-it": (add("src/data/tickets.csv", "a,b\n", inside=True), IN_BENTO),
    "dot-env-in-it": (add("src/.env", "A=b\n", inside=True), IN_BENTO),
    "loose": (edit("requirements.txt", "numpy==", "numpy>="), IN_BENTO),
    "cuda": (edit("requirements.txt", "+cpu", ""), IN_BENTO),
}  # fmt: skip
HOSTILE: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "h-hangs": (both("preprocess.py", IN_A_BOX + LOOP), ALL_FAIL),
    "h-dies": (both("preprocess.py", "import os\nos._exit(0)\n"), ALL_FAIL),
    "h-forks": (both("preprocess.py", IN_A_BOX + FORKS), ALL_FAIL),
    "h-fills": (both("preprocess.py", IN_A_BOX + FILLS), ALL_FAIL),
    "h-lies": (both("preprocess.py", IN_A_BOX + CHANNEL, IDENTITY), ("fail", "", "")),  # sc2, sc3: by what it breaks
    "h-kills": (both("preprocess.py", IN_A_BOX + "import os\nos.kill(-1, 9)\n"), ALL_FAIL),
    "h-link": (as_link, NOT_TAKEN), "h-bomb": (bomb, NOT_TAKEN), "h-huge": (huge, NOT_TAKEN),
    "h-escapes": (escapes, IN_BENTO),
}  # fmt: skip
SHORTS = ("sc1", "sc2", "sc3")


def make(walk: Path, room: Path) -> None:
    room.mkdir()
    changes = {**{n: (c, ALL_PASS) for n, c in RIGHT.items()}, **WRONG, **HOSTILE}
    for name, (change, _) in changes.items():
        for part in PARTS:
            shutil.copytree(walk / part, room / name / part, copy_function=os.link, symlinks=True)
        change(room / name)
    wanted = {name: dict(zip(SHORTS, verdicts, strict=True)) for name, (_, verdicts) in changes.items()}
    room.with_name(f"{room.name}-wanted.json").write_text(json.dumps(wanted, indent=1))


def check(room: Path) -> None:
    """What was graded so far, against what was to come; "" is any verdict."""
    wanted = json.loads(room.with_name(f"{room.name}-wanted.json").read_text())
    with (room.with_name(f"{room.name}-graded") / "class.csv").open() as file:
        rows = [(row["submission"].split(".")[0], row["criterion"].split("-")[0], row) for row in csv.DictReader(file)]
    told: dict[tuple[str, str], set[str]] = {}
    for name, short, row in rows:
        told.setdefault((name, short), set()).add(row["verdict"])
    found = {key: next(v for v in ("error", "fail", "not_run", "pass") if v in seen) for key, seen in told.items()}
    judged = [name for name in wanted if any((name, short) in found for short in SHORTS)]
    pairs = {(name, short): wanted[name][short] for name in judged for short in SHORTS if (name, short) in found}
    other = {
        " ".join(key): f"{found[key]}, wanted {verdict}"
        for key, verdict in pairs.items()
        if verdict and found[key] not in (verdict, "not_run")
    }
    print(f"{len(judged)} of {len(wanted)} were judged; otherwise than wanted: {other or 'none'}")
    sys.exit(bool(other) or len(judged) < len(wanted))


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--check"]
    check(Path(words[0])) if "--check" in sys.argv else make(Kit().state / "walk", Path(words[0]))
