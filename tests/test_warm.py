"""What is forked off a warm process is as if it had been started: nothing in it is another's, or its keeper's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import need_sandbox

from grader import sandbox
from grader.kit import Kit
from grader.processes import wait_until
from grader.warm import WARM, keep_warm, stop_warm
from grader.workspace import Workspace
from grader.world.saved import SavedModels, saved_models

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no process is kept warm here")
TELLS = """
import os, pathlib, sys
seen = list(sys.modules)
sys.modules[__name__].others = getattr(os, "left_behind", 0)
os.left_behind = others + 1

def read(path):
    try:
        return pathlib.Path(path).read_text()
    except PermissionError:  # of who built the box
        return ""

def prepare(texts):
    return {
        "warm": "turtledemo" in seen,  # a module that nothing else imports
        "others": others,
        "files": sorted(int(p.name) for p in pathlib.Path("/proc/self/fd").iterdir() if p.exists()),
        "environ": pathlib.Path("/proc/self/environ").read_text(),
        "names": list(os.environ),
        "words": sys.argv,
        "folder": os.getcwd(),
        "parent": read(f"/proc/{os.getppid()}/environ"),
    }
"""


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("LAB_SECRET", "told to nobody")
    monkeypatch.setenv(WARM, keep_warm({"modules": ["turtledemo"], "env": {"SPOKEN": "1"}})[WARM])
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "preprocess.py").write_text(TELLS)
    yield Workspace(Kit(), tmp_path)
    stop_warm()


def ask(ws: Workspace, subject: SavedModels) -> dict[str, object]:
    subject.ask("use_service", folder=str(ws.service))
    told, problem = subject.ask("prepare", texts=[])
    assert problem == ""
    return dict(told)


def test_a_fork_has_the_modules_and_nothing_else(ws: Workspace) -> None:
    with saved_models(ws) as subject:
        told = ask(ws, subject)
    assert told["warm"] is True and len(str(told["folder"])) > 5 and str(told["folder"]).endswith("empty")
    assert len(told["files"]) == 4, told["files"]  # type: ignore[arg-type]  # the usual three, and the channel
    said = " ".join(map(str, (told["environ"], told["parent"], told["names"], told["words"])))
    said = said.replace("SERVING_LAB_MARK", "")
    assert "LAB_" not in said and "told to nobody" not in said and "SPOKEN" not in str(told["names"])
    assert "BENTOML_HOME" in told["names"]  # type: ignore[operator]


def test_one_fork_sees_nothing_of_another(ws: Workspace) -> None:
    with saved_models(ws) as one, saved_models(ws) as other:
        assert [ask(ws, subject)["others"] for subject in (one, other, one)] == [0, 0, 0]
    with saved_models(ws) as third:
        assert ask(ws, third)["others"] == 0


def test_it_ends_with_its_block_and_its_exit_code_is_told(ws: Workspace) -> None:
    (ws.service / "preprocess.py").write_text(
        "import os, subprocess\nsubprocess.Popen(['sleep', '914'])\ndef prepare(texts): os._exit(7)\n"
    )
    with saved_models(ws) as subject:
        subject.ask("use_service", folder=str(ws.service))
        assert subject.ask("prepare", texts=[]) == (None, "its process ended (exit code 7)")
    assert not running("sleep", "914") and len(running("--warm")) == 1


def test_what_is_boxed_is_not_forked(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    need_sandbox()
    monkeypatch.setenv(sandbox.WANTED, sandbox.find_way())
    with saved_models(ws) as subject:
        assert ask(ws, subject)["warm"] is False


def test_without_the_warm_process_one_is_started(ws: Workspace) -> None:
    stop_warm()
    with saved_models(ws) as subject:
        assert ask(ws, subject)["warm"] is False


KEEPER = """
import os, time
from pathlib import Path
from grader.kit import Kit
from grader.warm import keep_warm
from grader.workspace import Workspace
from grader.world.saved import saved_models
os.environ.update(keep_warm({"modules": [], "env": {}}))
with saved_models(Workspace(Kit(), Path(os.environ["LAB_WORK"]))) as subject:
    print(subject.ask("prepare", texts=[]), flush=True)
    time.sleep(600)
"""


def test_nothing_is_left_of_who_is_killed(ws: Workspace) -> None:
    (ws.service / "preprocess.py").write_text("import subprocess\nsubprocess.Popen(['sleep', '915'])\n")
    stop_warm()
    environ = {**os.environ, "LAB_WORK": str(ws.root)}
    with subprocess.Popen([sys.executable, "-c", KEEPER], env=environ, stdout=subprocess.PIPE, text=True) as keeper:
        assert keeper.stdout and keeper.stdout.readline()
        assert len(running("--warm")) == 3  # the warm process, the fork, and who stands between
        keeper.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not running("--warm") and not running("sleep", "915"), 15)


def running(*words: str) -> list[int]:
    """Of this checkout's Python."""
    found = psutil.process_iter(["cmdline", "status"])
    lines = [(p.pid, p.info["cmdline"] or []) for p in found if p.info["status"] != psutil.STATUS_ZOMBIE]
    return [pid for pid, line in lines if set(words) <= set(line)]
