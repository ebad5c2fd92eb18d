"""Puts a command into a box when others' work is graded (box.py says what is in one). No box here: no grading.

`unshare` (util-linux) makes one without root in 0.1 s; bubblewrap does where that is forbidden; where neither is, a
container without a network, of an empty image that sees this machine's own Python. Learners who grade their own work
need none of it.
"""

import contextlib
import functools
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from grader.box import SETTINGS, SYSTEM
from grader.environ import child_environ, subject_environ
from grader.errors import LabError
from grader.processes import MARK, run

WANTED = "LAB_SANDBOX"  # one of WAYS: how probes box what they start of the submission; unset: not at all
NAMESPACES = ("--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--net", "--ipc", "--uts")
WAYS = ("unshare", "bwrap", "docker")
INIT, CARRIER = Path(__file__).with_name("box.py"), Path(__file__).with_name("carrier.py")
IMAGE, EMPTY = "serving-lab-box:empty", bytes(1024)  # an empty archive is an image in which there is nothing
MEMORY, PROCESSES, DISK = 4 << 30, 400, 1 << 30
NOT_BUILT = 98  # exit code: the box is our affair, so this is an error and no fact
NO_BOX = "others' work is graded in a sandbox, and this machine has none"


@dataclass
class Boxed:
    """What to start, in which environment and folder, and which files it inherits."""

    command: list[str]
    environ: dict[str, str]
    cwd: Path
    pass_fds: list[int] = field(default_factory=list)


@contextmanager
def boxed(
    command: Sequence[str], cwd: Path, environ: Mapping[str, str], shown: Sequence[Path], written: Sequence[Path] = (),
    pass_fds: Sequence[int] = (), port: int = 0,
) -> Iterator[Boxed]:  # fmt: skip
    """That command, in a box if this grading wants one. `environ` comes on top of what a subject gets. `port`: where it
    listens; from outside the same port of 127.0.0.1 leads there."""
    usual, way = subject_environ(), os.environ.get(WANTED, "")
    if not way:
        yield Boxed(list(command), {**usual, **environ}, cwd, list(pass_fds))
        return
    listener = socket.create_server(("127.0.0.1", port), backlog=1024) if port else None
    kept = [str(p) for p in written]
    seen = [str(p) for p in visible(*shown) if not any(p.is_relative_to(w) for w in written)]
    spec = {
        "build": way == "unshare", "root": str(empty_folder()), "cwd": str(cwd), "command": list(command),
        "shown": seen, "written": kept, "fds": list(pass_fds),
        "listener": listener.fileno() if listener else None, "port": port,
        "memory": MEMORY, "processes": PROCESSES, "disk": DISK,
    }  # fmt: skip
    inner = [sys.executable, "-I", str(INIT), json.dumps(spec)]
    home = {"HOME": "/tmp", "TMPDIR": "/tmp", "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    inherited, full = [*pass_fds, *([listener.fileno()] if listener else [])], {**usual, **home, **environ}
    with contextlib.ExitStack() as stack:
        if listener:
            stack.enter_context(listener)
        if way == "docker":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="box-"))
            yield Boxed(carried({**spec, "environ": full}, Path(folder)), child_environ(), Path("/"), inherited)
        else:
            yield Boxed([*outer(way, seen, kept), *inner], full, Path("/"), inherited)


def outer(way: str, shown: Sequence[str], written: Sequence[str]) -> list[str]:
    """What makes the namespaces; bubblewrap also puts the box together."""
    if way == "unshare":
        return ["unshare", *NAMESPACES]
    settings = [f"/etc/{name}" for name in SETTINGS]
    words = [word for path in [*SYSTEM, *settings, *shown] for word in ("--ro-bind-try", path, path)]
    words += [word for path in written for word in ("--bind", path, path)]
    flags = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--proc", "/proc"]
    return ["bwrap", *flags, "--dev", "/dev", "--tmpfs", "/tmp", *words]


def carried(box: dict[str, Any], folder: Path) -> list[str]:
    """The same box as a container's: carrier.py starts it and hands over what it inherits."""
    box["door"] = str(folder / "door")
    settings = [f"/etc/{name}" for name in SETTINGS if name != "hosts"]  # that one the engine writes
    shown = [path for path in (*SYSTEM, *settings, *box["shown"], str(folder)) if not path.startswith("/sys/")]
    words = [word for path in dict.fromkeys(shown) if Path(path).exists() for word in bind(path, ",readonly")]
    words += [word for path in box["written"] for word in bind(path)]
    limits = [f"--memory={MEMORY}", f"--pids-limit={PROCESSES}", "--tmpfs=/tmp:exec,mode=1777,size=512m"]
    guards = ["--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
    who = [f"--user={os.getuid()}:{os.getgid()}", "--shm-size=256m", "--label=serving-lab=box"]
    engine = ["docker", "run", "--rm", "--interactive", *guards, *limits, *who, *words]
    inner = [os.path.realpath(sys.executable), "-I", str(INIT)]
    spec = {"engine": engine, "image": IMAGE, "inner": inner, "box": box, "mark": MARK}
    return [sys.executable, "-I", str(CARRIER), json.dumps(spec)]


def bind(path: str, more: str = "") -> list[str]:
    """A mount of that path at itself; the engine reads the words as a line of CSV."""
    quoted = '"' + path.replace('"', '""') + '"'
    return ["--mount", f'type=bind,"source={quoted[1:-1]}","target={quoted[1:-1]}"{more}']


def make_image() -> None:
    """The empty image of the containers, if it is not there yet."""
    if not run(["docker", "image", "inspect", IMAGE], 20).ok:
        with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
            archive.write(EMPTY)
            archive.flush()
            run(["docker", "import", archive.name, IMAGE], 30)


def visible(*more: Path) -> list[Path]:
    """What a box shows besides: our Python, its packages, the kit's code, and the folders given; each once."""
    here = Path(__file__).parent
    python = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable), Path(sys.executable).resolve()]
    found = sorted({p.absolute() for p in [here, *python, *more] if p.exists()}, key=lambda p: len(p.parts))
    return [p for i, p in enumerate(found) if not any(p.is_relative_to(other) for other in found[:i])]


def empty_folder() -> Path:
    """Where a box is put together; it stays empty, since that happens in a namespace of its own."""
    folder = Path(tempfile.gettempdir()) / f"serving-lab-box-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def check_built(code: int | None, log: str) -> None:
    """Raises where a box was wanted and could not be made."""
    if os.environ.get(WANTED) and code == NOT_BUILT:
        raise RuntimeError(f"no sandbox could be made: {log.strip()[-300:]}")


@functools.cache
def find_way() -> str:
    """The first way to make a box that works here, tried out; raises LabError without one."""
    said = []
    for way in WAYS:
        if not (problem := try_way(way)):
            return way
        said.append(problem)
    remedy = "Linux with unprivileged user namespaces has one, or install bubblewrap or Docker; --trust grades without."
    raise LabError(f"{NO_BOX}: {'; '.join(said)}.", remedy)


def try_way(way: str) -> str:
    """Why that way makes no box here, or nothing."""
    if way in os.environ.get("LAB_WITHOUT", "").split(",") or not shutil.which(way):
        return f"no {way}"
    if way == "docker":
        make_image()
    with (
        mock.patch.dict(os.environ, {WANTED: way}),
        boxed([sys.executable, "-c", "print('in')"], Path("/"), {}, []) as box,
    ):
        done = run(box.command, 30, box.cwd, box.environ)
    good = done.ok and done.stdout.strip().endswith("in")
    return "" if good else f"{way}: {done.tail(1) or 'it said nothing'}"
