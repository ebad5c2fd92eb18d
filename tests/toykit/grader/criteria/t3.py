"""A probe that hangs, with a child that left its session, beside one that works."""

import subprocess
import time

from grader.kit import check, probe
from grader.model import Facts, Finding
from grader.workspace import Workspace


@probe(limit=0.7)
def forever(ws: Workspace) -> Facts:
    subprocess.Popen(["sleep", "600.25"], start_new_session=True)
    time.sleep(600)
    return {}


@probe(limit=10)
def at_once(ws: Workspace) -> Facts:
    return {"fine": True}


@check(forever)
def ends(seen: Facts) -> Finding:
    return Finding(True, "it ended")


@check(at_once)
def is_fine(seen: Facts) -> Finding:
    return Finding(seen["fine"], "it is fine")
