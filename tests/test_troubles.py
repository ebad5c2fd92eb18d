"""The machine's trouble is an error or not run, and never a fail; and what is understood wrongly is never removed."""

from __future__ import annotations

import http.server
import json
import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_tools import FakeTools, tools

from cluster import registry, up
from cluster.engine import inspect, kubectl_json
from cluster.names import Names
from grader import processes, subject
from grader.environ import child_environ
from grader.errors import LabError
from grader.judge import judge_criterion
from grader.kit import Kit
from grader.look import look
from grader.needs import look_for
from grader.processes import (
    carriers,
    free_port,
    listener,
    memory_kills,
    refuse_want,
    run,
    started,
    wait_until,
)
from grader.workspace import Workspace, locked
from grader.world import asker, mlserver, pace, servers

SLOT = Names(9, 5091)
KIT = Kit()
__all__ = ["tools"]  # a fixture
WARNING = "E0101 memcache.go:287] couldn't get resource list for metrics.k8s.io/v1beta1"


def quiet(_: str) -> None:
    pass


def ready_nodes(renewed: str) -> str:
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    items: list[dict[str, Any]] = [{"kind": "Node", "metadata": {"name": n}, "status": ready} for n in SLOT.nodes]
    items += [{"kind": "Lease", "metadata": {"name": n}, "spec": {"renewTime": renewed}} for n in SLOT.nodes]
    return json.dumps({"items": items})


# Tools that warn


def test_what_a_tool_prints_for_programs_is_kept_apart_from_its_warnings() -> None:
    done = run(["sh", "-c", "echo '{}'; echo careful >&2"], limit=10)
    assert done.stdout == "{}\n" and "careful" in done.output and done.tail() == done.output.strip()


def test_a_kubectl_and_a_docker_that_warn_are_read_all_the_same(tools: FakeTools) -> None:
    tools.answer("kubectl*get nodes*", ready_nodes("2026-11-25T00:00:00Z"), warning=WARNING)
    tools.answer("docker inspect --type=container x", '[{"Id": "1"}]', warning="WARNING: Error loading config file")
    assert len(kubectl_json(SLOT, "get", "nodes")["items"]) == 6
    assert inspect("container", "x") == {"Id": "1"}


# `cluster up` removes nothing that it does not understand


def cluster_of_three(tools: FakeTools, renewed: str = "2026-11-25T00:00:00Z", **answer: Any) -> None:
    tools.nodes(*SLOT.nodes)
    tools.registry(SLOT.registry, port=5091)
    tools.answer(f"docker exec {SLOT.nodes[0]} sh -c test*", "whole")
    tools.answer("kubectl*get nodes,leases*", ready_nodes(renewed), **answer)


@pytest.fixture(autouse=True)
def _impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".lab").mkdir()
    monkeypatch.setattr(up, "READY_LIMIT", 1.0)
    monkeypatch.setattr(registry, "answers", lambda names: True)


def test_a_kubectl_that_warns_does_not_cost_the_cluster(tools: FakeTools) -> None:
    cluster_of_three(tools, warning=WARNING)
    up.up(SLOT, quiet)
    assert not [call for call in tools.said() if "delete" in call or "create" in call]


@pytest.mark.parametrize("trouble", ["unreadable", "silent", "unseen", "lost node", "network gone"])
def test_what_cannot_be_mended_is_not_removed_without_a_word(tools: FakeTools, trouble: str) -> None:
    cluster_of_three(tools)
    match trouble:
        case "unreadable":
            tools.answer("kubectl*get nodes,leases*", "not JSON at all")
        case "silent":
            tools.answer("kubectl --context*", "", 1, warning="Unable to connect to the server: EOF")
        case "unseen":
            tools.answer(f"docker exec {SLOT.nodes[0]} sh -c test*", "", 126, warning="OCI runtime exec failed")
        case "lost node":
            tools.answer("docker ps --all --filter label=*", "\n".join(SLOT.nodes[:2]))
        case "network gone":
            tools.node(SLOT.nodes[1], "exited")
            tools.answer("docker start*", "", 1, warning="Error response from daemon: network abc not found")
    asked: list[str] = []
    with pytest.raises(LabError) as wrong:
        up.up(SLOT, quiet, lambda why: asked.insert(0, why) or False)  # type: ignore[func-returns-value]
    assert "goes all that runs in it" in asked[0] and "--anew" in wrong.value.remedy
    assert not [call for call in tools.said() if "delete" in call]
    up.up(SLOT, quiet, lambda why: True) if trouble == "lost node" else None
    assert bool([call for call in tools.said() if "kind delete" in call]) == (trouble == "lost node")


@pytest.mark.parametrize("trouble", ["half", "no control plane"])
def test_what_never_was_whole_is_made_anew(tools: FakeTools, trouble: str) -> None:
    cluster_of_three(tools)
    if trouble == "half":
        tools.answer(f"docker exec {SLOT.nodes[0]} sh -c test*", "half")
    else:
        tools.answer("docker ps --all --filter label=*", "\n".join(SLOT.nodes[1:]))
    up.up(SLOT, quiet)
    assert [call.split()[1] for call in tools.said() if call.startswith("kind")][-2:] == ["delete", "create"]


def test_a_clock_that_was_set_back_does_not_make_a_node_unready() -> None:
    now = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)
    assert up.is_fresh("2026-11-25T11:59:55.123456Z", "2026-11-25T13:30:00.1Z", now)  # started in the future, it seems
    assert not up.is_fresh("2026-11-25T13:40:00.000000Z", "2026-11-25T13:30:00.1Z", now)  # said before the clock moved
    assert not up.is_fresh("2026-11-25T11:00:00.000000Z", "2026-11-25T11:30:00.1Z", now)  # before a reboot
    assert not up.is_fresh("", "2026-11-25T11:30:00.1Z", now)


# A system that shows other processes' sockets to root alone


def test_a_listener_is_found_without_seeing_everybodys_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object) -> None:
        raise psutil.AccessDenied(1)

    script = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)"
    with started(["python3", "-c", f"{script}; time.sleep(60)"]) as (process, mark):
        assert process.stdout
        port = int(process.stdout.readline())
        monkeypatch.setattr(psutil, "net_connections", deny)
        found = listener(port)
        assert found and found.pid == process.pid and processes.is_ours(found, mark)
    assert listener(port) is None


# What doctor says of a machine's Docker


def put_client(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    (folder / "client").mkdir()
    (folder / "client" / "config.json").write_text(json.dumps(settings))
    monkeypatch.setenv("DOCKER_CONFIG", str(folder / "client"))


def ask(name: str) -> str:
    need = look_for(KIT, name)
    return f"{'found' if need.there else 'missing'} {need}"


def info(tools: FakeTools) -> None:
    tools.answer("docker info*", json.dumps({"ServerVersion": "28.0.0", "KernelVersion": "elsewhere"}))


def test_permission_denied_is_not_answered_with_starting_docker(tools: FakeTools) -> None:
    tools.answer("docker info*", "server ", 1, warning="permission denied while trying to connect to the daemon socket")
    said = "Docker runs, but you may not use it: sudo usermod -aG docker $USER, then log out and in again"
    assert ask("docker") == f"missing {said}"


def test_no_buildx(tools: FakeTools) -> None:
    info(tools)
    tools.answer("docker buildx*", "docker: 'buildx' is not a docker command.", 1)
    tools.answer("docker version --format client*", "client 26.1.5+dfsg1")
    assert ask("docker-buildx").startswith("missing Docker has no buildx") and "docker-buildx" in ask("docker-buildx")
    tools.answer("docker version --format client*", "client 20.10.24+dfsg1")
    assert ask("docker-buildx") == "found Docker 20 has BuildKit built in"


PLACES = {"tcp://10.0.0.7:2375": "missing", "ssh://me@box": "missing", "": "found", "tcp://127.0.0.1:2375": "found",
          "unix:///run/docker.sock": "found"}  # fmt: skip


@pytest.mark.parametrize("place, verdict", PLACES.items())
def test_an_engine_elsewhere(tools: FakeTools, monkeypatch: pytest.MonkeyPatch, place: str, verdict: str) -> None:
    info(tools)
    monkeypatch.setenv("DOCKER_HOST", place)
    assert ask("docker-here").startswith(verdict)


def test_a_snaps_docker(tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info(tools)
    (tmp_path / "snap" / "bin").mkdir(parents=True)
    (tools.bin / "docker").rename(tmp_path / "snap" / "bin" / "docker")
    monkeypatch.setenv("PATH", f"{tmp_path / 'snap' / 'bin'}:/usr/bin:/bin")
    assert "sudo snap remove docker" in ask("docker-here")


def test_a_login_helper_that_is_gone(tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info(tools)
    put_client(tmp_path, monkeypatch, credsStore="desktop")
    assert ask("docker-login").startswith("missing Docker's settings name the login helper docker-credential-desktop")


def test_nothing_advises_to_remove_what_is_stopped() -> None:
    assert not [name for name, need in KIT.needs.items() if re.search("(system|container|network) prune", str(need))]


# A whole criterion under a trouble: errors, and no fail


@pytest.fixture
def another_program() -> Iterator[int]:
    """Who answers 404 to everything, as `python -m http.server` would."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def verdicts(short: str, folder: Path) -> tuple[set[str], str]:
    """Of all checks, looked at as in a grading; and the first message."""
    criterion, ws = KIT.criterion(short), Workspace(KIT, folder, "trouble")
    results = judge_criterion(criterion, {p.name: look(ws, criterion, p) for p in criterion.probes}).checks
    return {r.verdict.value for r in results}, results[0].message


@pytest.mark.parametrize("trouble", ["stopped", "another program"])
def test_sc4_without_its_registry(
    trouble: str, another_program: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_REGISTRY_PORT", "5999" if trouble == "stopped" else str(another_program))
    found, message = verdicts("sc4", tmp_path)
    assert found <= {"error", "not_run"} and "error" in found
    assert "cannot tell" in message and "`./lab cluster up` starts it" in message


SILENCES = {
    "no cluster": "Unable to connect to the server: dial tcp 127.0.0.1:6443: connect: connection refused",
    "a server that is starting": "Error from server (ServiceUnavailable): the server is currently unable",
    "a proxy in between": "Unable to connect to the server: proxyconnect tcp: dial tcp 127.0.0.1:9: connection refused",
    "no word at all": "",
}


@pytest.mark.parametrize("said", SILENCES)
def test_sc5_without_a_cluster_that_answers(tools: FakeTools, said: str, tmp_path: Path) -> None:
    tools.answer("kubectl*", "" if said != "no word at all" else "{half", int(said != "no word at all"), SILENCES[said])
    found, message = verdicts("sc5", tmp_path)
    assert found <= {"error", "not_run"} and "error" in found
    assert "the probe objects cannot tell: The cluster" in message


# A machine that is slow


BUSY = "import time\nprint('up', flush=True)\nwhile True: pass"


def not_ready(script: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """What is said of a server that runs that script, and never answers."""
    monkeypatch.setattr(pace, "patience", lambda seconds: seconds)
    with started([sys.executable, "-c", script], log=tmp_path / "log") as (process, mark):
        server = servers.Served("http://127.0.0.1:1", tmp_path, tmp_path / "log", mark, process)
        wait_until(lambda: bool(carriers(mark)), 5)
        servers.wait_ready(server, 1.0)
        return server.problem


def test_a_server_that_computes_right_up_to_its_limit_is_the_machines_trouble(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(LabError, match="too slow at the moment: after 1 s the server was still at work"):
        not_ready(BUSY, monkeypatch, tmp_path)


@pytest.mark.parametrize(("load", "used", "works"), [(1, 0.05, False), (99, 0.05, True), (99, 0.005, False)])
def test_what_gets_little_of_a_crowded_processor_is_at_work_all_the_same(
    load: int, used: float, works: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "getloadavg", lambda: (float(load), 0.0, 0.0))
    monkeypatch.setattr(psutil, "cpu_count", lambda: 2)
    seconds = iter([1.0, 1.0 + used])
    assert pace.is_at_work(lambda: next(seconds), watch=0.5) == works


HANGS = [
    "import time; time.sleep(60)",
    "import subprocess, sys\nwhile True: subprocess.run([sys.executable, '-c', '1'])",
]


@pytest.mark.parametrize("script", HANGS, ids=["sleeps", "starts again and again"])
def test_a_server_that_hangs_or_dies_and_dies_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str
) -> None:
    assert not_ready(script, monkeypatch, tmp_path) == "the server was not ready after 1 s"


@pytest.mark.parametrize("taken", [0, 2], ids=["the port that is asked", "one that nobody asks"])
def test_a_port_that_another_program_took_from_mlserver_is_the_machines_trouble(tmp_path: Path, taken: int) -> None:
    ports = [free_port() for _ in mlserver.KINDS]
    with socket.create_server(("127.0.0.1", ports[taken])), started(["false"], log=tmp_path / "log") as (process, mark):
        server = servers.Served(f"http://127.0.0.1:{ports[0]}", tmp_path, tmp_path / "log", mark, process)
        with pytest.raises(LabError, match=f"took port {ports[taken]} meanwhile"):
            mlserver.wait_ready(server, 5, ports)
        boxed = servers.Served(f"http://127.0.0.1:{ports[0]}", tmp_path, tmp_path / "log", mark, process, boxed=True)
        mlserver.wait_ready(boxed, 5, ports)
        assert boxed.problem.startswith("the server ended with exit code 1")


PAGE = """
import http.server, sys, threading, time
slow, works = float(sys.argv[2]), sys.argv[3]
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/metrics" or works == "alone":
            end = time.monotonic() + slow
            while time.monotonic() < end:
                time.sleep(0 if works != "waits" else slow)
        self.send_response(200 if works != "no such page" else 404)
        self.end_headers()
        self.wfile.write(b"calls_total 7\\n" if works != "nonsense" else b"{nonsense")
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


@contextmanager
def page(folder: Path, slow: float, works: str) -> Iterator[servers.Served]:
    """A server whose /metrics takes that long."""
    port = free_port()
    with started([sys.executable, "-c", PAGE, str(port), str(slow), works]) as (process, mark):
        assert wait_until(lambda: listener(port) is not None, 10)
        yield servers.Served(f"http://127.0.0.1:{port}", folder, folder, mark, process)


def test_a_page_of_metrics_may_be_as_slow_as_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pace, "slowness", lambda: 3.0)
    with page(tmp_path, 6.0, "waits") as server:
        assert [sample.value for sample in server.metrics()] == [7.0]


def test_a_server_that_is_at_work_on_its_metrics_alone_cannot_be_judged_by_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pace, "patience", lambda _: 0.5)
    with page(tmp_path, 8.0, "computes") as server, pytest.raises(LabError, match="asked for its /metrics, was still"):
        server.metrics()


@pytest.mark.parametrize(("slow", "works"), [(5, "waits"), (5, "alone"), (0, "no such page"), (0, "nonsense")])
def test_no_metrics_are_a_finding_where_the_server_waits_or_hangs_or_has_none(
    slow: float, works: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pace, "patience", lambda _: 0.5)
    with page(tmp_path, slow, works) as server:
        assert server.metrics() == []


# A machine without memory


@pytest.fixture
def out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel has ended processes since whatever is looked at was started."""
    monkeypatch.setattr(processes, "memory_kills", lambda: 10**9)


def test_what_the_kernel_ended_is_counted_where_it_says_so() -> None:
    assert memory_kills() >= 0
    refuse_want(memory_kills())


@pytest.mark.usefixtures("out_of_memory")
def test_a_subject_that_died_while_memory_was_short_is_not_judged(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with started([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) as (process, _), ours:
        (tmp_path / "log").touch()
        theirs.close()
        with pytest.raises(LabError, match="ran out of memory meanwhile"):
            subject.Subject(process, ours, tmp_path / "log").ask("ready")


def test_a_subject_that_ended_itself_is_a_finding(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with started([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) as (process, _), ours:
        (tmp_path / "log").touch()
        theirs.close()
        assert subject.Subject(process, ours, tmp_path / "log").ask("ready") == (
            None,
            "its process ended (exit code -9)",
        )


@pytest.mark.usefixtures("out_of_memory")
@pytest.mark.parametrize("script", [*HANGS, "raise SystemExit(1)"], ids=["sleeps", "starts again and again", "ends"])
def test_a_server_that_is_not_ready_while_memory_was_short_is_not_judged(
    script: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(LabError, match="ran out of memory meanwhile"):
        not_ready(script, monkeypatch, tmp_path)


@pytest.mark.usefixtures("out_of_memory")
@pytest.mark.parametrize("status", [None, 500, 503, 404, 200])
def test_a_good_request_that_failed_while_memory_was_short_is_not_judged(
    status: int | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(asker, "send", lambda *_: {"status": status})
    with started(["sleep", "9"]) as (process, mark):
        server = servers.Served("", tmp_path, tmp_path, mark, process)
        with pytest.raises(LabError) if status is None or status >= 500 else nullcontext():
            assert asker.ask(server, ["a"])["status"] == status


# Disks and folders


def test_a_disk_without_locks_is_used_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("grader.workspace.fcntl.flock", refuse)
    said: list[str] = []
    with locked(tmp_path / "x.lock", "it", said.append):
        assert "has no locks" in said[0]


@pytest.mark.parametrize("folder", ["/tmp/" + "x" * 80, "/home/me/.cache/tmp"])
def test_a_long_or_hidden_folder_for_temporary_files_is_not_handed_on(folder: str) -> None:
    assert "TMPDIR" not in child_environ({"TMPDIR": folder})
    assert child_environ({"TMPDIR": "/var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T/"})["TMPDIR"]


def test_a_folder_with_a_space_is_refused_where_bentoml_would_wait_for_ever(tmp_path: Path) -> None:
    from labs.helpers.service.servers import start

    (tmp_path / "my kit").mkdir()
    with pytest.raises(LabError, match="a path with a space"):
        start(str(tmp_path / "my kit"), options=["--reload"])
    assert ask("path").startswith("found the kit's folder is")
