"""The environments of peers: .lab/peers/NAME, from a file of pins with hashes.

Torch and what the models are made with come from the kit's environment by a .pth file, which is read last: a peer's own
packages win, and there is one torch for all.
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path

from cluster.names import state
from grader.environ import child_environ
from grader.errors import LabError
from grader.processes import run
from grader.progress import Progress
from grader.workspace import locked, write_atomic
from grader.world import mlserver
from labs.helpers.peers.peers import HERE, Peer

LIMIT = 300.0  # seconds for one environment


class Absent(LabError):
    """This peer cannot be had on this machine, which is nobody's fault: it is "not run", and `problem` says why."""


def bin_of(peer: Peer) -> Path:
    """The folder of its programs."""
    if not peer.pins:
        return Path(sys.executable).parent
    return (mlserver.folder() if peer.pins == "mlserver" else folder(peer)) / "bin"


def folder(peer: Peer) -> Path:
    """Of the environment; peers with the same pins share one."""
    return state() / "peers" / Path(peer.pins).stem


def digest(pins: Path) -> str:
    """Of what the environment is made of: the pins, and the Python whose packages it shares."""
    return hashlib.sha256(pins.read_bytes() + sys.prefix.encode() + sys.version.encode()).hexdigest()[:16]


def bring(peer: Peer) -> str:
    """Makes the environment unless it is there; says in a few words how it is. Raises Absent."""
    if not peer.pins:
        return "the kit's own environment"
    if peer.pins == "mlserver":
        said = mlserver.bring()
        if not mlserver.look()[0]:
            raise Absent(said.removeprefix("not run: "))
        return said
    with locked(state() / "peers.lock", "the environments of peers", print):
        return fill(peer)


def fill(peer: Peer) -> str:
    pins, target = HERE / "pins" / peer.pins, folder(peer)
    made = target / "made"
    if made.is_file() and made.read_text() == digest(pins):
        return f"the packages of {peer.pins}"
    began = time.monotonic()
    with Progress(f"installing {peer.title}"):
        install(pins, target)
    write_atomic(made, digest(pins).encode())
    return f"the packages of {peer.pins}, installed in {time.monotonic() - began:.0f} s"


def install(pins: Path, target: Path) -> None:
    """An environment with those pins, and the kit's packages after them. Raises Absent."""
    uv, python = Path(sys.executable).with_name("uv"), target / "bin" / "python"
    environ = {**child_environ(), "UV_NO_CONFIG": "1"}
    empty = ["venv", "--clear", "--python", sys.executable, str(target)]
    packages = ["pip", "install", "--python", str(python), "--no-deps", "--require-hashes", "-r", str(pins)]
    for words in (empty, packages):
        if not (done := run([str(uv), "--quiet", *words], LIMIT, env=environ)).ok:
            raise Absent(f"{pins.name} could not be installed: {done.tail(2) or f'it took more than {LIMIT:g} s'}")
    own = next(target.glob("lib/python3*/site-packages"))
    (own / "kit.pth").write_text(f"{Path(sys.prefix) / own.relative_to(target)}\n")


def version(peer: Peer) -> str:
    """Of the package that gives the peer its name, in its environment; "" where it has none of its own."""
    if not peer.package:
        return ""
    code = f"from importlib.metadata import version; print(version({peer.package!r}))"
    done = run([str(bin_of(peer) / "python"), "-c", code], 60, env=child_environ())
    return f"{peer.package} {done.stdout.strip()}" if done.ok else ""
