"""Runs an image for probes: a container of it on a free port of this machine, gone when the block is left.

with running("127.0.0.1:5001/demo-text-intelligence@sha256:...") as box:
    if box.problem:  # it exited or was never ready: facts, not exceptions
        return {"problem": box.problem, "log": box.log()}
    httpx.post(f"{box.url}/classify", ...)
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from grader.model import Facts
from grader.processes import free_port, run

# What the restricted Pod Security profile asks of a pod, as an engine says it; the user stays the image's own.
GUARDS = ("--cap-drop=ALL", "--security-opt=no-new-privileges", "--memory=3g", "--pids-limit=512")
JSON = {"content-type": "application/json"}


@dataclass
class Box:
    """A container that was started, ready when `problem` is empty; `seconds` until it was ready, or given up."""

    name: str
    url: str
    problem: str = ""
    seconds: float = 0.0

    def log(self, lines: int = 6) -> str:
        text = run(["docker", "logs", "--tail", "40", self.name], 20).output
        return "\n".join([line for line in text.splitlines() if "Deprecat" not in line][-lines:])

    def ask(self, texts: list[str], patience: float = 15) -> Facts:
        """The answer's status and body; `status` is None without one."""
        try:
            got = httpx.post(
                f"{self.url}/classify", content=json.dumps({"texts": texts}), headers=JSON, timeout=patience
            )
            return {"texts": texts, "status": got.status_code, "body": got.json(), "problem": ""}
        except httpx.HTTPError as broken:
            return {"texts": texts, "status": None, "body": None, "problem": f"{type(broken).__name__}: {broken}"[:200]}
        except ValueError:
            return {"texts": texts, "status": got.status_code, "body": None, "problem": f"no JSON: {got.text[:80]!r}"}

    def user(self) -> str:
        """The numbers of the user that runs in it: uid:gid."""
        return run(["docker", "exec", self.name, "sh", "-c", "echo $(id -u):$(id -g)"], 20).output.strip()


@contextlib.contextmanager
def running(image: str, limit: float = 90.0) -> Iterator[Box]:
    """A container of that image, serving as `bentoml serve` would, under the guards of the restricted profile."""
    name, port = f"serving-lab-try-{secrets.token_hex(4)}", free_port()
    box = Box(name, f"http://127.0.0.1:{port}")
    command = ["docker", "run", "--detach", "--name", name, "--publish", f"127.0.0.1:{port}:3000", *GUARDS]
    try:
        done = run([*command, image, "serve", "--port", "3000", "--api-workers", "1"], 120)
        if done.ok:
            wait_ready(box, limit)
        else:
            box.problem = f"the engine does not start it: {done.tail(2)}"
        yield box
    finally:
        run(["docker", "rm", "--force", "--volumes", name], 60)


def wait_ready(box: Box, limit: float) -> None:
    began = time.monotonic()
    while (passed := time.monotonic() - began) < limit:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{box.url}/readyz", timeout=5).status_code == 200:
                box.seconds = round(passed, 1)
                return
        state = run(
            ["docker", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", box.name], 20
        ).output.split()
        if state[:1] != ["running"]:
            box.problem = f"the container ended with code {state[-1]} after {passed:.0f} s"
            return
        time.sleep(0.3)
    box.problem = f"the container was not ready after {limit:g} s"
