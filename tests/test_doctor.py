"""Doctor on broken machines: the likeliest faults are simulated, and each is named together with what mends it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from conftest import ROOT, run_lab

from cluster import machine
from grader.kit import Kit
from grader.needs import look_for

KIT = Kit(ROOT)
NO_DAEMON = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
DENIED = "permission denied while trying to connect to the Docker daemon socket"
DEAD_DOCKER = f'echo "server "; echo "{NO_DAEMON}" >&2; exit 1'  # as Docker does: the template first, then the error


def put_tool(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH, and empty: a machine without any tool. Tests put their fake ones there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LAB_KIT", str(tmp_path))  # whose .lab/bin is empty, too
    for name in ("LAB_WITHOUT", "LAB_WORK", "LAB_PORT", "LAB_REGISTRY_PORT", "BENTOML_PORT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run_doctor(bare: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`./lab doctor` in a kit with the same needs and without fetched tools."""
    (bare / "kit").mkdir()
    (bare / "kit" / "grader").symlink_to(ROOT / "grader")
    return run_lab(bare / "kit", "doctor", *words, PATH=str(bare), **env)


def ask(name: str) -> str:
    """The need's line of doctor, `found` or `missing` first."""
    need = look_for(KIT, name)
    return f"{'found' if need.there else 'missing'} {need}"


@pytest.fixture
def taken_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = int(server.getsockname()[1])
        for name in ("LAB_PORT", "LAB_REGISTRY_PORT"):
            monkeypatch.setenv(name, str(number))
        yield number


def test_a_taken_port_names_its_holder_and_another_port(taken_port: int) -> None:
    said = ask("port-jupyter")
    assert said.startswith(f"missing port {taken_port}, wanted for JupyterLab, is held by ")
    assert f"(process {os.getpid()}): LAB_PORT=8899 ./lab start" in said


def test_a_port_that_its_own_server_holds_is_found(taken_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = SimpleNamespace(pid=7, name=lambda: "python", cmdline=lambda: ["python", "-m", "jupyterlab"])
    monkeypatch.setattr(machine, "_listener", lambda number: holder)
    monkeypatch.setattr(machine, "_is_registry", lambda number: True)
    assert machine.port("LAB_PORT", "1", "JupyterLab") == (
        True,
        f"port {taken_port} is JupyterLab's (process 7), which is running",
    )
    assert machine.port("LAB_REGISTRY_PORT", "1", "the image registry")[0]


def test_docker_without_its_daemon(bare: Path) -> None:
    put_tool(bare, "docker", DEAD_DOCKER)
    said = ask("docker")
    assert said.startswith("missing Docker is installed, but its daemon does not run: sudo systemctl start docker")


def test_docker_that_this_user_may_not_use(bare: Path) -> None:
    put_tool(bare, "docker", f"echo '{DENIED}' >&2; exit 1")
    assert "sudo usermod -aG docker $USER" in ask("docker")


def test_docker_that_runs(bare: Path) -> None:
    put_tool(bare, "docker", "echo server 28.2.2")
    assert ask("docker") == "found Docker Engine 28.2.2"


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY"])
def test_a_proxy_that_would_swallow_the_own_server(name: str) -> None:
    there, said = machine.proxy({name: "http://anna:secret@proxy.example:3128", "NO_PROXY": "localhost,.example"})
    assert not there and "NO_PROXY lacks 127.0.0.1: your own server stays unreachable" in said
    assert "secret" not in said
    assert "export NO_PROXY=127.0.0.1,localhost" in KIT.needs["proxy"]["add"]


HARMLESS: tuple[dict[str, str], ...] = (
    {},
    {"http_proxy": ""},
    {"http_proxy": "http://p", "no_proxy": "127.0.0.1, localhost"},
    {"HTTP_PROXY": "http://p", "NO_PROXY": "*"},
)


@pytest.mark.parametrize("environ", HARMLESS)
def test_a_proxy_that_does_no_harm(environ: dict[str, str]) -> None:
    assert machine.proxy(environ)[0]


def test_too_little_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2 * 2**30))
    assert machine.disk() == (False, "2 GiB of disk free (6 are wanted)")
    assert KIT.needs["disk"]["add"].startswith("free some on the disk")


def test_too_little_memory_in_the_machine_or_in_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    seen = SimpleNamespace(total=2 * 2**30, available=2**30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: seen)
    assert machine.memory() == (False, "2.0 GiB of memory, 1.0 of them free (4 are wanted)")
    seen.total = seen.available = 64 * 2**30
    assert machine.memory()[0]
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.memory()[0]
    (tmp_path / "memory.max").write_text(f"{3 * 2**30}\n")
    assert machine.memory() == (False, "3.0 GiB of memory, 3.0 of them free (4 are wanted)")
    assert "give the machine (or Docker Desktop, or WSL) more" in KIT.needs["memory"]["add"]


@pytest.mark.parametrize(
    ("name", "said", "line"),
    [
        ("kind", "kind v0.20.0 go1.20 linux/amd64", "missing kind 0.20.0 is older than 0.33: install kind 0.33"),
        ("kind", "kind v0.33.0 go1.25 linux/amd64", "found kind 0.33.0"),
        ("kubectl", "Client Version: v1.29.1", "missing kubectl 1.29.1 is older than 1.34: install kubectl 1.35"),
        ("kubectl", "Client Version: v1.35.8", "found kubectl 1.35.8"),
        ("kubectl", "Segmentation fault; exit 139", "missing kubectl broke: Segmentation fault: install kubectl"),
    ],
)
def test_versions(bare: Path, name: str, said: str, line: str) -> None:
    text, _, rest = said.partition(";")
    put_tool(bare, name, f"echo '{text}'\n{rest}")
    assert ask(name).startswith(line)


def test_a_tool_that_hangs_is_ended_with_its_children(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LIMIT", 0.5)
    put_tool(bare, "docker", "/bin/sleep 600.31 &\nwait")
    began = time.monotonic()
    assert machine.docker() == (False, "docker did not answer within 0.5 s")
    assert time.monotonic() - began < 3
    assert not [p for p in psutil.process_iter(["cmdline"]) if "600.31" in (p.info["cmdline"] or [])]


def test_a_machine_without_any_tool_gets_one_remedy_for_each(bare: Path) -> None:
    done = run_doctor(bare, "--json", str(bare / "class.json"), HTTPS_PROXY="http://p:1")
    lines = dict(
        line.removeprefix("missing  ").split(": ", 1) for line in done.stdout.splitlines() if "missing" in line
    )
    assert lines["no docker on the PATH"].endswith("https://docs.docker.com/engine/install/")
    assert lines["no kind on the PATH"].startswith("install kind 0.33")
    assert lines["no kubectl on the PATH"].startswith("install kubectl 1.35")
    assert lines["no prometheus on the PATH; no promtool on the PATH"].startswith("./lab cluster tools prometheus")
    assert lines["no Chromium"] == "apt-get install chromium"
    assert "no NVIDIA GPU" in lines and any("NO_PROXY" in line for line in lines)
    found = {n["name"]: n for n in json.loads((bare / "class.json").read_text())["needs"]}
    assert set(found) == set(KIT.needs) and not found["chromium"]["there"] and found["python"]["there"]


def test_doctor_is_quick_also_when_tools_hang(bare: Path) -> None:
    for name in ("docker", "kind", "kubectl", "prometheus", "nvidia-smi"):
        put_tool(bare, name, "exec /bin/sleep 600.32")
    began = time.monotonic()
    done = run_doctor(bare)
    assert "docker did not answer within 6 s: sudo systemctl start docker" in done.stdout
    assert done.returncode == 0 and time.monotonic() - began < 20


def test_no_question_uses_the_network(bare: Path) -> None:
    """Only this machine's own addresses are asked: a socket to anywhere else is refused by an audit hook."""
    hook = (
        "import sys\n"
        "def watch(event, args):\n"
        "    if event == 'socket.getaddrinfo' or event == 'socket.connect' and args[1][0] != '127.0.0.1':\n"
        "        raise SystemExit(f'network: {event} {args}')\n"
        "sys.addaudithook(watch)\n"
        "from cluster import machine\n"
        "for name, ask in machine.QUESTIONS.items():\n"
        "    ask(*(['LAB_PORT', '8888', 'JupyterLab'] if name == 'port' else []))\n"
    )
    done = subprocess.run([sys.executable, "-c", hook], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
