"""Runs one probe in a process of its own, where it may import what it likes, hang or die (`-m grader.look`).

It hands over its evidence by a file without a name, which is closed in what it starts: only the probe can write it.
Probes that look at the same time have a folder, where the evidence of each is put when it has ended; a probe that
measures waits for the others there, and may judge by what they saw whether it is worth it:

    facts = seen_by(written, ws)
"""

import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from grader.errors import LabError
from grader.kit import Kit
from grader.model import Criterion, Evidence, Facts, Probe
from grader.needs import missing
from grader.processes import Completed, run, wait_until
from grader.workspace import Workspace, write_atomic

RECORD = "LAB_RECORD"  # where a grading's own process finds its record; no child of it gets the name
GRACE = 30  # seconds that one waits for another's evidence, beyond its limit
_beside: int | None = None  # in a probe's own process: that folder, open; nothing that it starts is told its name


def look(ws: Workspace, criterion: Criterion, probe: Probe, beside: Path | None = None) -> Evidence:
    """The probe's evidence. What goes wrong with the probe itself is its `problem`, never an exception. `beside`: the
    folder of those that look at the same time."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    if lacking := missing(ws.kit, probe.needs):
        return Evidence(probe.name, at=at, lacking=str(lacking))
    environ = {name: value for name, value in ws.environ().items() if name != RECORD}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as out, opened(beside) as others:
        command = [sys.executable, "-P", "-m", "grader.look", criterion.short, probe.name, str(ws.root), ws.name]
        files = [out.fileno(), *others]
        done = run([*command, *map(str, files)], probe.limit, Path(folder), environ, pass_fds=files)
        out.seek(0)
        told = read_evidence(out.read(), done, probe)
    facts = {} if told["problem"] else told["facts"]
    return Evidence(probe.name, facts, at, round(done.seconds, 2), told["problem"])


def read_evidence(data: bytes, done: Completed, probe: Probe) -> Facts:
    if done.code is None:
        return {"problem": f"ran past its limit of {probe.limit:g} s and was ended"}
    try:
        return {"problem": "", **json.loads(data)}
    except ValueError:
        return {"problem": f"ended without evidence (exit code {done.code}): {done.tail(4) or 'it printed nothing'}"}


def look_beside(ws: Workspace, criterion: Criterion, probe: Probe, beside: Path) -> None:
    """Looks, and puts the evidence into that folder. Whatever happens, there is some for who waits for it."""
    try:
        evidence = look(ws, criterion, probe, beside)
    except Exception as broken:
        evidence = Evidence(probe.name, problem=f"did not begin: {type(broken).__name__}: {broken}")
    write_atomic(beside / f"{probe.name}.json", json.dumps(asdict(evidence)).encode())


@contextmanager
def opened(folder: Path | None) -> Iterator[list[int]]:
    """The descriptor of that folder, or none."""
    files = [os.open(folder, os.O_RDONLY)] if folder else []
    try:
        yield files
    finally:
        for file in files:
            os.close(file)


def wait_for(folder: int, probe: Probe) -> Evidence:
    """What a probe put into that folder, when it has ended."""
    name = f"{probe.name}.json"
    wait_until(lambda: name in os.listdir(folder), probe.limit + GRACE, pause=0.05)
    with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=folder)) as file:
        return Evidence(**json.load(file))


def seen_by(probe: Probe, ws: Workspace) -> Facts:
    """In a probe: the facts of another one that looks beside it, when that has ended; none if it did not go well. A
    probe that looks alone looks for the other, too."""
    return probe.look(ws) if _beside is None else wait_for(_beside, probe).facts


def main(short: str, probe_name: str, work: str, name: str, out: str, *beside: str) -> None:
    from grader import look as imported  # which is not this module, that runs as __main__

    imported._beside = int(beside[0]) if beside else None
    for number in (out, *beside):
        os.set_inheritable(int(number), False)
    kit = Kit()
    probe = next(p for p in kit.criterion(short).probes if p.name == probe_name)
    began = time.monotonic()
    told: dict[str, Any]
    try:
        told = {"facts": probe.look(Workspace(kit, Path(work), name))}
        data = json.dumps(told)
    except LabError as trouble:  # the machine's, in words of its own
        data = json.dumps({"problem": f"cannot tell: {trouble}"})
    except Exception as broken:
        frame = traceback.extract_tb(broken.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        data = json.dumps(
            {"problem": f"broke after {time.monotonic() - began:.1f} s: {type(broken).__name__}: {broken} ({where})"}
        )
    with os.fdopen(int(out), "wb") as file:
        file.write(data.encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
