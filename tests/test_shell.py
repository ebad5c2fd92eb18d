"""Typed commands: what `%%shell` runs, streams, refuses and ends, and a kernel that finds its workspace by itself."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import ROOT

from cluster import names
from grader import processes
from grader.errors import Refused
from grader.kit import Kit
from grader.workspace import Workspace
from labs.helpers.service.servers import typed
from labs.helpers.teaching import kernel, serve, shell

SERVER = f"echo here; exec {sys.executable} -u -m http.server --bind 127.0.0.1 $PORT"


@pytest.fixture
def ws(toykit: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("LAB_KIT", str(toykit))
    monkeypatch.setenv("LAB_WORK", str(toykit / "work"))
    monkeypatch.delenv("LAB_WORKSPACE", raising=False)
    yield Workspace(Kit(toykit), toykit / "work")
    shell.stop("")


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_a_command_runs_in_the_workspace_with_its_environment(
    ws: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.shell("", "pwd; echo $TOY_HOME; command -v python; printf ${PYTHONPATH-none} >&2")
    lines = said(capsys).splitlines()
    assert lines[:4] == [str(ws.root), str(ws.store), str(Path(sys.executable).parent / "python"), "none"]
    assert lines[4].startswith("[0.") and lines[4].endswith(" s]")


def test_a_part_that_needs_a_file_is_not_run_without_it(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    shell.shell("--if deploy/there.yaml", "echo ran")
    assert said(capsys) == "not run: there is no deploy/there.yaml\n"
    (ws.root / "deploy").mkdir()
    (ws.root / "deploy" / "there.yaml").touch()
    shell.shell("--if deploy/there.yaml", "echo ran")
    assert said(capsys).startswith("ran\n")


@pytest.mark.parametrize(
    ("script", "code", "line"),
    [("echo a\nfalse | cat\necho b", 1, 2), ("echo a; exit 7", 7, 0), ("echo a\n(exit 3)\necho b", 3, 2)],
)
def test_it_fails_when_any_part_of_a_pipeline_fails(
    ws: Workspace, capsys: pytest.CaptureFixture[str], script: str, code: int, line: int
) -> None:
    with pytest.raises(Refused, match=f"The command failed: exit code {code}"):
        shell.shell("", script)
    out = said(capsys)
    assert out.startswith("a\n") and "\nb\n" not in out
    assert f"line {line} ended with exit code {code}" in out or not line


def test_a_variable_that_is_not_set_is_an_error(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Refused, match="exit code 1"):
        shell.shell("", "rm -rf $NOWHERE/x")
    assert "NOWHERE: unbound variable" in said(capsys)


def test_output_comes_as_it_is_said_and_silence_is_counted(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[float, str]] = []
    began = time.monotonic()
    monkeypatch.setattr(sys.stdout, "write", lambda text: heard.append((time.monotonic() - began, text)))
    shell.run_command(ws, "echo first; sleep 1; printf second", beat=0.3)
    at = {text.strip(): seconds for seconds, text in heard if text.strip()}
    assert at["first"] < 0.7 and at["second"] > 0.9
    assert len([text for text in at if text.endswith("still running")]) >= 2


def test_what_is_left_in_the_background_is_ended_and_said(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    shell.shell("", "sleep 61 & echo $!")
    out = said(capsys)
    pid = int(out.split()[0])
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert time.monotonic() - began < 5
    assert "left in the background is ended" in out


def test_an_interrupt_ends_all_that_was_started(ws: Workspace) -> None:
    def interrupt() -> None:
        """When the command runs: earlier, on a busy machine, the interrupt meets whatever starts it."""
        processes.wait_until((ws.root / "runs").exists, 20)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell's ignores it
    threading.Thread(target=interrupt).start()
    try:
        with pytest.raises(Refused, match="Interrupted after"):
            shell.shell("", "setsid sleep 62 & touch runs; sleep 63")
    finally:
        signal.signal(signal.SIGINT, before)
    assert not [p for p in processes.carriers(processes.own_mark()) if "sleep" in p.name()]


def test_a_server_is_kept_logged_and_stopped(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    shell.shell("--serve one", SERVER)
    shell.shell("--serve two", "ls -l $TOY_HOME >here.txt; " + SERVER)
    one, two = serve.find_server("one"), serve.find_server("two")
    assert one.port != two.port and "one is ready after" in said(capsys)
    assert f"models -> {ws.store / 'models'}" in (ws.root / "here.txt").read_text()
    ask = f"import urllib.request as u; print(u.urlopen('{two.url}').status)"
    shell.shell("", f'{sys.executable} -c "{ask}"')
    shell.log("two 2")
    assert typed("two").alive() and '"GET / HTTP/1.1" 200' in typed("two").log(), "for the helpers that draw"
    out = said(capsys)
    assert "200" in out and '"GET / HTTP/1.1" 200' in out and out.endswith("-- two is running\n")
    shell.shell("--serve one", SERVER)  # a cell may be run twice
    assert one.process.poll() is not None and serve.find_server("one").process.poll() is None
    assert (ws.root / "logs" / "one.port").read_text() == f"export PORT_ONE={serve.find_server('one').port}\n"
    shell.stop("one")
    assert not (ws.root / "logs" / "one.port").exists()
    shell.log("one")
    assert said(capsys).endswith("-- one is not running\n")
    assert (ws.root / "logs" / "one.log").read_text().startswith("here")
    shell.stop("")
    assert two.process.poll() is not None
    shell.stop("two")
    assert said(capsys).endswith("two is not running\n"), "a cell that stops and grades may run twice"


TWO_PORTS = """
import http.server, pathlib, socket, sys, threading
class Late(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Late.asked += 1
        self.send_response(200 if Late.asked > 4 else 503)
        self.end_headers()
silent, kept = socket.create_server(("127.0.0.1", int(sys.argv[1]))), []
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Late)
threading.Thread(target=server.serve_forever).start()
while True:
    kept.append(silent.accept())
    pathlib.Path("asked.txt").write_text(str(len(kept)))
"""


def test_a_port_that_never_answers_is_not_waited_for_again(ws: Workspace) -> None:
    """BentoML's supervisor has two of those, and each look at them cost the start two seconds."""
    (ws.root / "two.py").write_text(TWO_PORTS)
    silent, port = sorted([processes.free_port(), processes.free_port()])
    shell.shell("--serve two", f"exec {sys.executable} two.py {silent} {port}")
    assert serve.find_server("two").port == port
    assert int((ws.root / "asked.txt").read_text()) <= 2, "once more if the other port was not there yet"


@pytest.mark.parametrize(
    ("line", "script", "message"),
    [
        ("--serve x", "echo why; exit 4", "x ended with exit code 4. The end of its log, logs/x.log:\n  why"),
        ("--serve x --within 1", "echo slow; sleep 64", "not ready after 1 s: none of its processes answered 200 at /"),
        ("--serve x --ready /none --within 1", SERVER, "answered 200 at /none"),
        ("--serve", "true", "does not know '--serve'"),
        ("--serve ../x", "true", "does not know"),
        ("-x", "true", "does not know '-x'"),
    ],
)  # fmt: skip
def test_a_server_that_does_not_come_is_told_with_its_log(ws: Workspace, line: str, script: str, message: str) -> None:
    with pytest.raises(Refused) as refused:
        shell.shell(line, script)
    assert message in str(refused.value)
    assert not serve.kept and not [p for p in processes.carriers(processes.own_mark()) if "sleep" in p.name()]


def test_another_process_on_the_port_is_not_taken_for_ours(ws: Workspace) -> None:
    port = processes.free_port()
    with processes.started(["bash", "-c", SERVER.replace("$PORT", str(port))]) as (_, mark):
        assert processes.wait_until(lambda: any(port in processes.ports_of(p) for p in processes.carriers(mark)), 5)
        with pytest.raises(Refused, match="ended with exit code 1"):
            shell.shell("--serve x", SERVER.replace("$PORT", str(port)))


# ---------------------------------------------------------------- the same command in every workspace and slot


def test_typed_commands_find_names_and_ports_in_their_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_SLOT", "2")
    mine, walk = names.variables(""), names.variables("walk")
    assert mine["IMAGE"] == "127.0.0.1:5021/demo-text-intelligence:bento-v1" and mine["NODE_PORT"] == "30280"
    assert walk["IMAGE"] == "127.0.0.1:5021/walk/demo-text-intelligence:bento-v1" and walk["NODE_PORT"] == "30281"
    assert mine.keys() == walk.keys() and mine["BENTOML_PORT"] != walk["BENTOML_PORT"]
    assert not {k for k in mine if mine[k] == walk[k]} - {"REGISTRY"}
    assert Workspace(Kit(ROOT), ROOT / "work", "walk").environ()["NAMESPACE"] == "ml-serving-walk"


def test_the_context_carries_the_workspaces_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kubernetes.config.kube_config import KubeConfigMerger

    monkeypatch.setenv("LAB_KIT", str(tmp_path))
    monkeypatch.delenv("LAB_SLOT", raising=False)
    cluster = {"name": "kind-serving-lab", "cluster": {"server": "https://127.0.0.1:1"}}
    context = {"name": "kind-serving-lab", "context": {"cluster": "kind-serving-lab", "user": "kind-serving-lab"}}
    slot = {"current-context": "kind-serving-lab", "clusters": [cluster], "contexts": [context], "users": []}
    (tmp_path / ".lab").mkdir()
    names.kubeconfig().write_text(str(slot).replace("'", '"'))
    names.prepare("walk")
    merged = KubeConfigMerger(names.variables("walk")["KUBECONFIG"]).config
    (found,) = merged["contexts"].value
    assert found["context"]["namespace"] == "ml-serving-walk"
    assert [c["cluster"]["server"] for c in merged["clusters"]] == ["https://127.0.0.1:1"]


# ---------------------------------------------------------------- a kernel that `./lab start` did not start


def test_a_kernel_finds_its_workspace_by_the_folder(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if k not in ("LAB_WORK", "TOY_HOME")})
    (ws.root / ".lab.json").write_text("{}")
    os.environ["ANTIGRAVITY_CONFIG"] = "the user's own"
    (ws.root / "service" / "deep").mkdir()
    monkeypatch.chdir(ws.root / "service" / "deep")
    assert kernel.enter().root == ws.root and Path.cwd() == ws.root
    assert "ANTIGRAVITY_CONFIG" not in os.environ
    assert os.environ["TOY_HOME"] == str(ws.store) and os.environ["LAB_WORK"] == str(ws.root)


def test_elsewhere_it_refuses_in_two_sentences(ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_WORK")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused, match="is no workspace of the kit") as refused:
        kernel.enter()
    assert "./lab start" in refused.value.remedy


def test_it_refuses_what_was_imported_too_early(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "antigravity", sys)
    monkeypatch.setenv("TOY_HOME", "/somewhere/else")
    with pytest.raises(Refused, match="antigravity was imported before"):
        kernel.enter()
    assert os.environ["TOY_HOME"] == "/somewhere/else"


def test_lab_can_be_typed_in_the_workspace(ws: Workspace) -> None:
    (ws.kit.root / "lab").write_text("#!/bin/sh\necho lab of $0: $*\n")
    (ws.kit.root / "lab").chmod(0o755)
    kernel.prepare(ws)
    done = processes.run(["./lab", "grade", "t1"], 10, ws.root)
    assert done.ok and done.output.endswith("lab: grade t1\n")
