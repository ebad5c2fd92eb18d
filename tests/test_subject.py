"""A submission's code answers from a process of its own: what it does there is a fact, and no trouble of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import need_sandbox

from grader import sandbox
from grader import subject as conversation
from grader.kit import Kit
from grader.warm import keep_warm, stop_warm
from grader.workspace import Workspace
from grader.world.saved import SavedModels, saved_models

ANSWERS = "def prepare(texts):\n    print('x' * 10_000_000)\n    return [t.lower() for t in texts]\n"
LIE = """
import os, socket, stat
for fd in map(int, os.listdir("/proc/self/fd")):
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            os.write(fd, b'{"id": 2, "answer": ["a forged one"], "problem": 7}\\n' * 3)
    except OSError:
        pass
"""
WRONG = {
    "exits": ("import os; os._exit(3)", "its process ended (exit code 3)"),
    "raises to exit": ("raise SystemExit('pass')", "SystemExit: pass"),
    "hangs": ("import time; time.sleep(60)", "TimeoutError: no answer within"),
    "hangs and hears nothing": (
        "import signal, time; signal.signal(signal.SIGALRM, signal.SIG_IGN); time.sleep(60)",
        "TimeoutError: no answer within",
    ),
    "writes into the channel": (LIE, "its process said what is no answer (ValueError: it answers another question)"),
    "is no data": ("def prepare(texts): return object()", "TypeError: Object of type object is not JSON serializable"),
    "never ends": ("def prepare(texts):\n    a = []\n    a.append(a)\n    return a", "ValueError: Circular reference"),
}
BOXED_ONLY = {
    "leaves a process behind": "import subprocess; subprocess.Popen(['sleep', '913'], start_new_session=True, env={})",
    "forks without end": "import os, time\nwhile True:\n    os.fork() or time.sleep(30)",
}


@pytest.fixture(params=["own", "boxed", "forked"])
def ws(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setattr(conversation, "GRACE", 0.6)
    box_if(request.param == "boxed", monkeypatch)
    for name, value in (keep_warm({"modules": [], "env": {}}) if request.param == "forked" else {}).items():
        monkeypatch.setenv(name, value)
    for name in ("service", "store"):
        (tmp_path / name).mkdir()
    yield Workspace(Kit(), tmp_path)
    stop_warm()


def box_if(wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if wanted:
        need_sandbox()
        monkeypatch.setenv(sandbox.WANTED, sandbox.find_way())


@pytest.fixture
def asked(ws: Workspace) -> Iterator[SavedModels]:
    with saved_models(ws) as subject:
        subject.ask("use_service", folder=str(ws.service))
        yield subject


def test_it_answers(ws: Workspace, asked: SavedModels) -> None:
    (ws.service / "preprocess.py").write_text(ANSWERS)
    assert asked.ask("prepare", texts=["A", "ß"]) == (["a", "ß"], "")


def test_a_store_may_lack_the_folders_that_bentoml_makes(ws: Workspace, asked: SavedModels) -> None:
    assert asked.ask("list_models", patience=30) == ([], "")
    assert list(ws.store.iterdir()) == []


@pytest.mark.parametrize("how", WRONG)
def test_what_goes_wrong_is_its_own_problem(ws: Workspace, asked: SavedModels, how: str) -> None:
    code, said = WRONG[how]
    (ws.service / "preprocess.py").write_text(code)
    answer, problem = asked.ask("prepare", patience=0.4, texts=["a"])
    assert answer is None and problem.startswith(said)


def test_it_is_told_nothing_of_the_grading(ws: Workspace, asked: SavedModels, monkeypatch: pytest.MonkeyPatch) -> None:
    (ws.service / "preprocess.py").write_text("import os, sys\ndef prepare(texts): return [*os.environ, *sys.argv]")
    answer, _ = asked.ask("prepare", texts=[])
    assert not [word for word in answer if word.startswith(("LAB_", "KUBE", "DOCKER", "SSH_")) or "evidence" in word]


@pytest.mark.parametrize("how", BOXED_ONLY)
def test_nothing_outlives_a_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    box_if(True, monkeypatch)
    ws = Workspace(Kit(), tmp_path)
    ws.service.mkdir()
    (ws.service / "preprocess.py").write_text(BOXED_ONLY[how])
    before = set(psutil.pids())
    with saved_models(ws) as subject:
        subject.ask("use_service", folder=str(ws.service))
        _, problem = subject.ask("prepare", patience=3, texts=[])
    assert "process" in problem or "prepare" in problem
    left = [p for p in psutil.process_iter(["cmdline"]) if p.pid not in before and "913" in (p.info["cmdline"] or ())]
    assert left == []


INSIDE = """
import os, socket
def trial(act):
    try:
        return repr(act())
    except Exception as refused:
        return type(refused).__name__
def prepare(paths):
    found = {p: trial(lambda: sorted(os.listdir(p))) for p in paths}
    found["write kit"] = trial(lambda: open(os.path.join(paths[0], "x"), "w"))
    found["write work"] = trial(lambda: open(os.path.join(os.path.dirname(__file__), "x"), "w"))
    found["network"] = trial(lambda: socket.create_connection(("127.0.0.1", int(paths[-1]))))
    found["processes"] = len([p for p in os.listdir("/proc") if p.isdigit()])
    return found
"""


def test_a_box_has_nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    box_if(True, monkeypatch)
    ws = Workspace(Kit(), tmp_path / "ann")
    for folder in ("ann/service", "ben/service"):
        (tmp_path / folder).mkdir(parents=True)
    (ws.service / "preprocess.py").write_text(INSIDE)
    kit, home = str(Kit().root / "grader"), str(Path.home())
    with saved_models(ws) as subject, socket.create_server(("127.0.0.1", 0)) as server:
        subject.ask("use_service", folder=str(ws.service))
        paths = [kit, home, str(tmp_path / "ben"), "/var/run", str(Kit().root / ".lab"), str(server.getsockname()[1])]
        found, problem = subject.ask("prepare", texts=paths)
    assert problem == ""
    assert found[str(tmp_path / "ben")] == found["/var/run"] == found[paths[4]] == "FileNotFoundError"
    assert found[home] in ("FileNotFoundError", "[]", "['.pyenv']")  # where Python itself lies there
    assert found["write kit"] == found["write work"] == "OSError" and found["network"] == "ConnectionRefusedError"
    assert found["processes"] <= 4
