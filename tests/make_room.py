"""Makes a class of thirty real submissions from a walk, ten of them hostile, with the verdict that sc3 should give.

    .venv/bin/python tests/make_room.py room            # from .lab/walk; then: ./lab class room sc3
    .venv/bin/python tests/make_room.py --check room    # compares room-graded/class.csv with what was to come

Not a test: thirty gradings take minutes. Files are shared by hard links, so the room takes little disk.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from test_cheats import IN_A_BOX
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


def both(name: str, code: str) -> Callable[[Path], None]:
    """The same code in service/ and in the Bento, as a build would have copied it."""

    def change(work: Path) -> None:
        for place in (work / "service" / name, bento(work) / "src" / name):
            write(place, code + place.read_text())

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


def paths_out(work: Path) -> None:
    path = bento(work) / "bento.yaml"
    write(path, path.read_text().replace("tag: demo_embedder:", "tag: /tmp/owned:"))


def nothing(_: Path) -> None:
    pass


FORKS = "import os, time\nwhile True:\n    os.fork() or time.sleep(60)\n"
FILLS = "open('/tmp/x', 'wb').write(b'x' * (1 << 31))\n"
LOOP = "import time\ntime.sleep(3600)\n"
RIGHT: dict[str, Callable[[Path], None]] = {
    "as-it-is": nothing, "zipped": packed("zip"), "tarred": packed("gztar"),
    "a-diary": add("diary.md", "It works."), "own-modules": add("random.py", "raise SystemExit"),
    "papermill": add("papermill/__main__.py", "raise SystemExit"), "broken-answers": add("answers.json", "{"),
    "a-notebook": add("scratch.ipynb", "{}"), "deep": add("a/b/c/d/e.txt", "x"), "umlauts": add("Übung/ß.txt", "ä"),
}  # fmt: skip
WRONG: dict[str, Callable[[Path], None]] = {
    "no-bento": remove("store/bentos"), "no-models": remove("store/models"), "nothing": remove("service"),
    "stale": add("service/preprocess.py", "def prepare(texts): return texts\n"),
    "a-test-in-it": add("src/tests/test_service.py", "def test(): pass\n", inside=True),
    "a-notebook-in-it": add("src/try.ipynb", "{}", inside=True),
    "data-in-it": add("src/data/tickets.csv", "a,b\n", inside=True),
    "dot-env-in-it": add("src/.env", "A=b\n", inside=True),
    "loose": edit("requirements.txt", "numpy==", "numpy>="),
    "cuda": edit("requirements.txt", "+cpu", ""),
}  # fmt: skip
HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "h-hangs": (both("preprocess.py", IN_A_BOX + LOOP), "fail"),
    "h-dies": (both("preprocess.py", "import os\nos._exit(0)\n"), "fail"),
    "h-forks": (both("preprocess.py", IN_A_BOX + FORKS), "fail"),
    "h-fills": (both("preprocess.py", IN_A_BOX + FILLS), "fail"),
    "h-eats": (both("preprocess.py", IN_A_BOX + "held = [b'x' * (1 << 27) for _ in range(80)]\n"), "fail"),
    "h-kills": (both("preprocess.py", IN_A_BOX + "import os\nos.kill(-1, 9)\n"), "fail"),
    "h-link": (as_link, "error"), "h-bomb": (bomb, "error"),
    "h-escapes": (escapes, "fail"), "h-paths": (paths_out, "fail"),
}  # fmt: skip


def make(walk: Path, room: Path) -> None:
    room.mkdir()
    changes = {**{n: (c, "pass") for n, c in RIGHT.items()}, **{n: (c, "fail") for n, c in WRONG.items()}, **HOSTILE}
    for name, (change, _) in changes.items():
        for part in PARTS:
            shutil.copytree(walk / part, room / name / part, copy_function=os.link, symlinks=True)
        change(room / name)
    room.with_name(f"{room.name}-wanted.json").write_text(json.dumps({n: v for n, (_, v) in changes.items()}, indent=1))


def check(room: Path) -> None:
    wanted = json.loads(room.with_name(f"{room.name}-wanted.json").read_text())
    with (room.with_name(f"{room.name}-graded") / "class.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["criterion"].startswith("sc3")]
    told: dict[str, set[str]] = {}
    for row in rows:
        told.setdefault(row["submission"].split(".")[0], set()).add(row["verdict"])
    found = {name: next(v for v in ("error", "fail", "not_run", "pass") if v in seen) for name, seen in told.items()}
    other = {
        name: f"{found.get(name)}, wanted {verdict}" for name, verdict in wanted.items() if found.get(name) != verdict
    }
    print(f"{len(found)} of {len(wanted)} were judged; otherwise than wanted: {other or 'none'}")
    sys.exit(bool(other))


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--check"]
    check(Path(words[0])) if "--check" in sys.argv else make(Kit().state / "walk", Path(words[0]))
