"""Runs an image for probes: a container of it on a free port of this machine, gone when the block is left.

with running("127.0.0.1:5001/demo-text-intelligence@sha256:...") as box:
    if box.problem:  # it exited or was never ready: facts, not exceptions
        return {"problem": box.problem, "log": box.log()}
    httpx.post(f"{box.url}/classify", ...)
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import httpx

from grader.environ import PROXIES
from grader.errors import LabError
from grader.model import Facts
from grader.processes import Completed, free_port, run
from grader.world import listeners, pace, web

# What the restricted Pod Security profile asks of a pod, as an engine says it; the user stays the image's own.
GUARDS = ("--cap-drop=ALL", "--security-opt=no-new-privileges", "--memory=3g", "--pids-limit=512")
SERVE = ("serve", "--port", "3000", "--api-workers", "1")
JSON = {"content-type": "application/json"}
READY = """python -c 'import urllib.request as u; print(u.urlopen("http://127.0.0.1:3000/readyz", timeout=9).status)'"""
GONE = "cannot connect to the docker daemon|is the docker daemon running|error during connect"
TROUBLES = {
    "no space left": "Free some disk: `docker system df` shows what Docker takes.",
    "docker-credential|credentials": "Take credsStore out of ~/.docker/config.json, or install that helper.",
    "permission denied.*sock": "sudo usermod -aG docker $USER, then log out and in again",
    GONE: "`./lab doctor` names the command.",
    "port is already allocated|address already in use": "Grade again: another program took the port meanwhile.",
    "connection refused|proxyconnect|i/o timeout|gave HTTP response": "`./lab cluster up` starts the registry.",
    "cannot allocate memory|resource temporarily unavailable": "End what else is running, and grade again.",
}


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

    def ask(self, texts: list[str], limit: float = 15) -> Facts:
        """The answer's status and body; `status` is None without one. Raises where the machine made it late."""
        limit = pace.patience(limit)
        try:
            body = json.dumps({"texts": texts})
            got = web.post(f"{self.url}/classify", content=body, headers=JSON, timeout=limit, trust_env=False)
            return {"texts": texts, "status": got.status_code, "body": got.json(), "problem": ""}
        except httpx.HTTPError as broken:
            self.state()  # an engine that went took the answer with it
            if isinstance(broken, httpx.TimeoutException) and pace.is_at_work(self.cpu):
                raise pace.too_slow("the container's answer", limit) from broken
            return {"texts": texts, "status": None, "body": None, "problem": f"{type(broken).__name__}: {broken}"[:200]}
        except ValueError:
            return {"texts": texts, "status": got.status_code, "body": None, "problem": f"no JSON: {got.text[:80]!r}"}

    def state(self) -> list[str]:
        """Its status, its exit code, and whether it wanted too much memory. Raises where the engine cannot say."""
        words = "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}"
        done = run(["docker", "inspect", "--format", words, self.name], pace.patience(20))
        if not done.ok:
            raise LabError(f"Docker stopped answering: {done.tail(2)}", "`docker info` says how it is.")
        return done.stdout.split()

    def call(self, *words: str, limit: float = 20) -> Completed:
        """Runs that in it. Raises where the engine is why it does not; a `code` of None says that it did not end."""
        done = run(["docker", "exec", self.name, *words], pace.patience(limit))
        if not done.ok:
            if re.search(GONE, done.output, re.I):
                raise LabError(f"Docker stopped answering: {done.tail(2)}", "`docker info` says how it is.")
            self.state()
        return done

    def inside(self, command: str) -> str:
        """What a shell in it prints."""
        return self._in_time(self.call("sh", "-c", command)).stdout.strip()

    def look(self, port: int = 3000) -> Facts:
        """Who listens there (grader/world/listeners.py); {} where nobody can look. What the image adds to Python does
        not look with it."""
        script = f"{listeners.LOOK}\nimport json; print(json.dumps(look({port})))"
        done = self._in_time(self.call("python", "-I", "-S", "-c", script, limit=30))
        with contextlib.suppress(ValueError):
            return dict(json.loads(done.stdout or "{}"))
        return {}

    def _in_time(self, done: Completed) -> Completed:
        if done.code is None:
            raise pace.too_slow("a command in the container", done.seconds)
        return done

    def is_ready_inside(self) -> bool:
        """Whether it is ready to whoever asks in it."""
        return self.call("sh", "-c", READY, limit=30).stdout.strip() == "200"

    def cpu(self) -> float:
        """Seconds of CPU that its processes have used."""
        return pace.cpu_told(self.inside(pace.CPU))

    def user(self) -> str:
        """The numbers of the user that runs in it: uid:gid."""
        return self.inside("echo $(id -u):$(id -g)")


@contextlib.contextmanager
def running(image: str, limit: float = 90.0, words: Sequence[str] = SERVE) -> Iterator[Box]:
    """A container of that image, serving as `bentoml serve` would, under the guards of the restricted profile. Of the
    proxies that Docker's client hands to every container it gets none: it has to reach nobody but itself."""
    name, port = f"serving-lab-try-{secrets.token_hex(4)}", free_port()
    box = Box(name, f"http://127.0.0.1:{port}")
    command = ["docker", "run", "--detach", "--name", name, "--publish", f"127.0.0.1:{port}:3000", *GUARDS]
    command += [f"--env={name}=" for name in (*PROXIES, *map(str.upper, PROXIES))]
    try:
        done = run([*command, image, *words], 120)
        if done.ok:
            wait_ready(box, pace.patience(limit))
        else:
            refuse_trouble(done, f"start a container of {image}")
            box.problem = f"the engine does not start it: {done.tail(2)}"
        yield box
    finally:
        run(["docker", "rm", "--force", "--volumes", name], 60)


def wait_ready(box: Box, limit: float) -> None:
    began = time.monotonic()
    while (passed := time.monotonic() - began) < limit:
        with contextlib.suppress(httpx.HTTPError):
            if web.get(f"{box.url}/readyz", timeout=5, trust_env=False).status_code == 200:
                box.seconds = round(passed, 1)
                return
        state = box.state()
        if state[0] != "running":
            box.problem = f"the container ended with code {state[1]} after {passed:.0f} s"
            box.problem += " (it wanted more than 3 GB)" * (state[2:] == ["true"])
            return
        time.sleep(0.3)
    ready = box.is_ready_inside()
    if ready and box.look().get("loopback"):
        box.problem = "the server listens on the container's own loopback address, where nobody else gets to"
        return
    if ready:
        problem = f"The container is ready, and its port is not on this machine ({box.url})."
        raise LabError(problem, "The engine runs elsewhere (DOCKER_HOST, a dev container): grade on that machine.")
    if pace.is_at_work(box.cpu):
        raise pace.too_slow("the container", limit)
    box.problem = f"the container was not ready after {limit:g} s"


def pull(image: str) -> str:
    """Has the engine pull it from the registry, which has it: whatever fails now is the machine's trouble, but for an
    image that is for other machines. "" or that."""
    limit = pace.patience(180)
    done = run(["docker", "pull", "--quiet", image], limit)
    if "no matching manifest" in done.output:
        return f"there is no image for this machine: {done.tail(1)}"
    if not done.ok:
        refuse_trouble(done, f"pull {image}")
        raise LabError(f"Docker cannot pull {image}: {done.tail(2)}", "`./lab doctor` may know why.")
    return ""


def refuse_trouble(done: Completed, act: str) -> None:
    """Raises where the engine's answer is about this machine, and not about the image."""
    if done.code is None:
        raise LabError(f"Docker did not {act} within {done.seconds:.0f} s.", "End what else is running, and try again.")
    for sign, remedy in TROUBLES.items():
        if re.search(sign, done.output, re.I):
            raise LabError(f"Docker cannot {act}: {done.tail(2)}", remedy)
