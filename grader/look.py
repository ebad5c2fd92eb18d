"""Runs one probe in a process of its own, where it may import what it likes, hang or die (`-m grader.look`)."""

import json
import sys
import tempfile
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path

from grader.kit import Kit
from grader.model import Criterion, Evidence, Probe
from grader.processes import run
from grader.workspace import Workspace, write_atomic


def look(ws: Workspace, criterion: Criterion, probe: Probe) -> Evidence:
    """The probe's evidence. What goes wrong with the probe itself is its `problem`, never an exception."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "evidence.json"
        command = [sys.executable, "-m", "grader.look", criterion.short, probe.name, str(ws.root), ws.name, str(out)]
        done = run(command, probe.limit, cwd=ws.root, env=ws.environ())
        told = json.loads(out.read_text()) if out.exists() else {}
    if done.code is None:
        told["problem"] = f"ran past its limit of {probe.limit:g} s and was ended"
    elif not told:
        told["problem"] = f"ended without evidence (exit code {done.code}): {done.tail(4) or 'it printed nothing'}"
    facts = {} if told.get("problem") else told["facts"]
    return Evidence(probe.name, facts, at, round(done.seconds, 2), told.get("problem", ""))


def main(short: str, probe_name: str, work: str, name: str, out: str) -> None:
    kit = Kit()
    probe = next(p for p in kit.criterion(short).probes if p.name == probe_name)
    began = time.monotonic()
    try:
        told = {"facts": probe.look(Workspace(kit, Path(work), name))}
        data = json.dumps(told)
    except Exception as broken:
        frame = traceback.extract_tb(broken.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        data = json.dumps(
            {"problem": f"broke after {time.monotonic() - began:.1f} s: {type(broken).__name__}: {broken} ({where})"}
        )
    write_atomic(Path(out), data.encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
