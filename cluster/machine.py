"""What this machine offers the labs: `python -m cluster.machine memory`. Prints one sentence; exit code 1: not enough.

Nothing here needs the network, and no question takes longer than LIMIT, also when a tool hangs.
"""

from __future__ import annotations

import http.client
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

MEMORY = 4  # GiB; two copies of torch and the embedder while a service runs
DISK = 6  # GiB; model stores, Bentos, an image of some GB, and the cluster's own images
LIMIT = 6.0  # seconds for a tool's answer; less than doctor's own limit, so that the sentence is ours
CGROUP = Path("/sys/fs/cgroup")
NO_HELPER = "take credsStore and credHelpers out of ~/.docker/config.json, or install that helper"
Finding = tuple[bool, str]


def python() -> Finding:
    return sys.version_info >= (3, 11), f"Python {'.'.join(map(str, sys.version_info[:3]))}"


def packages() -> Finding:
    """Whether .venv still is what the lock file made: a `%pip install` in a notebook changes it for all."""
    from importlib import metadata  # the other questions start quicker without

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lock = (Path(__file__).parent.parent / "requirements.lock").read_text()
    pins = [Requirement(line.rstrip(" \\")) for line in lock.splitlines() if re.match(r"[a-z0-9].*==", line)]
    here = {canonicalize_name(d.name): d.version for d in metadata.distributions()}
    wanted = {canonicalize_name(p.name): str(p.specifier)[2:] for p in pins if not p.marker or p.marker.evaluate()}
    odd = [f"{name} {here.get(name, 'is missing')} ({v})" for name, v in wanted.items() if here.get(name) != v]
    if odd:
        return False, f"{len(odd)} packages are not as the lock file has them: {', '.join(odd[:3])}"
    return True, f"{len(wanted)} packages are as the lock file has them"


def architecture() -> Finding:
    found = platform.machine()
    known = found.lower() in ("x86_64", "amd64", "arm64", "aarch64")
    return known, f"{platform.system()} on {found}" + ("" if known else ", for which there are no images and no torch")


def path() -> Finding:
    """circus, which starts BentoML's --reload, hands paths on without quotes."""
    here = Path(__file__).resolve().parent.parent
    odd = re.search(r"[\s'\"]", str(here))
    return not odd, f"the kit's folder is {here}" + (", and BentoML's --reload takes no space or quote" if odd else "")


def memory() -> Finding:
    found = min(psutil.virtual_memory().total, *_cgroup_limits()) / 2**30
    free = min(psutil.virtual_memory().available / 2**30, found)
    return found >= MEMORY, f"{found:.1f} GiB of memory, {free:.1f} of them free ({MEMORY} are wanted)"


def _cgroup_limits() -> list[float]:
    """In a container the machine's memory is not ours: what version 2 or 1 of cgroups allows, if anything."""
    files = [CGROUP / "memory.max", CGROUP / "memory" / "memory.limit_in_bytes"]
    texts = [f.read_text().strip() for f in files if f.is_file()]
    return [float(t) for t in texts if t.isdigit()] or [float("inf")]


def disk() -> Finding:
    folders = [Path(__file__).parent, Path(os.environ.get("LAB_WORK") or __file__)]
    found = min(shutil.disk_usage(f).free for f in folders if f.exists()) / 2**30
    return found >= DISK, f"{found:.0f} GiB of disk free ({DISK} are wanted)"


def port(variable: str, usual: str, purpose: str) -> Finding:
    """Free, or held by what belongs there: doctor is also run from a notebook, while JupyterLab has its port."""
    number = int(os.environ.get(variable) or usual)
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a port in TIME_WAIT counts as free
        try:
            s.bind(("127.0.0.1", number))
        except OSError:
            return _held(number, purpose)
    return True, f"port {number} is free for {purpose}"


def _held(number: int, purpose: str) -> Finding:
    who = _listener(number)
    if who and "jupyterlab" in " ".join(who.cmdline()) and purpose == "JupyterLab":
        return True, f"port {number} is JupyterLab's (process {who.pid}), which is running"
    if purpose == "the image registry" and _is_registry(number):
        return True, f"port {number} is held by an image registry, which answers"
    name = f"{who.name()} (process {who.pid})" if who else "a process of another user"
    return False, f"port {number}, wanted for {purpose}, is held by {name}"


def _listener(number: int) -> psutil.Process | None:
    try:
        for connection in psutil.net_connections("tcp"):
            here = connection.laddr and connection.laddr.port == number
            if here and connection.status == psutil.CONN_LISTEN and connection.pid:
                return psutil.Process(connection.pid)
    except psutil.Error:  # macOS shows other processes' connections only to root
        pass
    return None


def _is_registry(number: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", number, timeout=2)
    try:
        connection.request("GET", "/v2/")
        return bool(connection.getresponse().getheader("Docker-Distribution-Api-Version"))
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def proxy(environ: Mapping[str, str] = os.environ) -> Finding:
    """A client that hands 127.0.0.1 to a proxy never reaches the learner's own server. Addresses are not shown: they
    may hold a password."""
    lower = {k.lower(): v for k, v in environ.items() if v}
    used = [name for name in ("http_proxy", "https_proxy", "all_proxy") if name in lower]
    if not used:
        return True, "no proxy is set"
    spared = {part.strip() for part in lower.get("no_proxy", "").split(",")}
    lacking = [host for host in ("127.0.0.1", "localhost") if not spared & {host, "*"}]
    if not lacking:
        return True, f"{', '.join(used)} is set, and NO_PROXY spares this machine"
    return (
        False,
        f"{', '.join(used)} is set and NO_PROXY lacks {' and '.join(lacking)}: your own server stays unreachable",
    )


def docker() -> Finding:
    there, said = ask("docker", "info", "--format", "server {{.ServerVersion}}")
    if version := re.search(r"server (\d\S*)", said):
        return there, f"Docker Engine {version[1]}"
    return False, engine_trouble(said)


def engine_trouble(said: str) -> str:
    """Why Docker's engine does not answer, from what the client said. A second line, `remedy: ...`, fits it better."""
    if "permission denied" in said.lower():
        return "Docker runs, but you may not use it\nremedy: sudo usermod -aG docker $USER, then log out and in again"
    if found := re.search(r"docker-credential-[\w-]+", said):
        return f"Docker's settings name the login helper {found[0]}, which is not there\nremedy: {NO_HELPER}"
    if "cannot connect" in said.lower() or "daemon" in said.lower():
        return "Docker is installed, but its daemon does not run"
    return said or "docker says nothing about its daemon"


def version(tool: str, oldest: tuple[int, int], newest: tuple[int, int], *words: str) -> Finding:
    """Whether the tool (a name on the PATH, or a path) answers with a version from `oldest` to `newest`."""
    name = Path(tool).name
    there, said = ask(tool, *words)
    found = re.search(r"\bv?(\d+)\.(\d+)\.\d+", said)
    if not there or not found:
        return False, said if said.startswith(name) or said.startswith("no ") else f"{name} broke: {said or 'no word'}"
    seen = int(found[1]), int(found[2])
    wrong = f" is older than {oldest[0]}.{oldest[1]}" if seen < oldest else ""
    wrong = f" is newer than {newest[0]}.{newest[1]}" if seen > newest else wrong
    return not wrong, f"{name} {found[0].lstrip('v')}{wrong}"


def ask(*command: str) -> Finding:
    """Whether the tool ended well, and what it said. A tool that hangs is ended with all that it started."""
    name = Path(command[0]).name
    if name == command[0] and not shutil.which(name):
        return False, f"no {name} on the PATH"
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", start_new_session=True,
        )  # fmt: skip
    except OSError as wrong:  # half a file, or one for another architecture
        return False, f"{name} cannot be run ({wrong.strerror})"
    with process:
        try:
            said = process.communicate(timeout=LIMIT)[0].strip()
            return process.returncode == 0, said
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return False, f"{name} did not answer within {LIMIT:g} s"


ALL = (python, packages, path, architecture, memory, disk, port, proxy, docker)
QUESTIONS: dict[str, Callable[..., Finding]] = {q.__name__: q for q in ALL}


def main(question: str, *details: str) -> None:
    good, said = QUESTIONS[question](*details)
    print(said)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
