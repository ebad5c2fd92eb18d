"""Runs one probe in a process of its own, where it may import what it likes, hang or die (`-m grader.look`).

It hands over its evidence by a file without a name, which is closed in what it starts: only the probe can write it.
"""

import json
import os
import sys
import tempfile
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from grader.errors import LabError
from grader.kit import Kit
from grader.model import Criterion, Evidence, Facts, Probe
from grader.needs import missing
from grader.processes import Completed, run
from grader.workspace import Workspace

RECORD = "LAB_RECORD"  # where a grading's own process finds its record; no child of it gets the name


def look(ws: Workspace, criterion: Criterion, probe: Probe) -> Evidence:
    """The probe's evidence. What goes wrong with the probe itself is its `problem`, never an exception."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    if lacking := missing(ws.kit, probe.needs):
        return Evidence(probe.name, at=at, lacking=str(lacking))
    environ = {name: value for name, value in ws.environ().items() if name != RECORD}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as out:
        command = [sys.executable, "-P", "-m", "grader.look", criterion.short, probe.name, str(ws.root), ws.name]
        done = run([*command, str(out.fileno())], probe.limit, Path(folder), environ, pass_fds=[out.fileno()])
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


def main(short: str, probe_name: str, work: str, name: str, out: str) -> None:
    os.set_inheritable(int(out), False)
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
