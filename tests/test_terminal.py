"""JupyterLab's terminal, as `./lab start` gives it: what a hint says to type works there."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import urllib.request
from pathlib import Path

import pytest
from browser_page import START, learner_environ
from conftest import ROOT

from grader.processes import free_port, started, wait_until

TYPED = """echo "env: $BENTOML_HOME $NAMESPACE $PATH"; echo "api at $PORT_API"
command -v bentoml; ./lab hint | grep -o 'hint 1 of 3'
kubectl config current-context
"""


async def type_in_terminal(address: str, token: str, text: str) -> str:
    """Opens a terminal through Jupyter's own interface, types, and returns what it shows until nothing comes."""
    from tornado.websocket import websocket_connect

    ask = urllib.request.Request(f"{address}/api/terminals", method="POST", headers={"Authorization": f"token {token}"})
    with urllib.request.urlopen(ask) as answer:
        name = json.load(answer)["name"]
    socket = await websocket_connect(f"{address.replace('http', 'ws', 1)}/terminals/websocket/{name}?token={token}")
    await socket.write_message(json.dumps(["stdin", text + "echo the'_'end\n"]))
    shown = ""
    while "\nthe_end" not in shown:
        message = await asyncio.wait_for(socket.read_message(), 30)
        assert message is not None, shown
        kind, *parts = json.loads(message)
        # without the marks for pasting that bash puts around each line
        shown += re.sub(r"\x1b\[\?2004[hl]|\r", "", parts[0]) if kind == "stdout" else ""
    return shown


@pytest.mark.slow
def test_a_terminal_has_the_workspaces_environment(tmp_path: Path) -> None:
    work, port, log = tmp_path / "work", free_port(), tmp_path / "start.log"
    home = tmp_path / "home"
    home.mkdir()
    (home / ".bashrc").write_text("export PATH=/usr/bin:/bin BENTOML_HOME=/mine\n")
    env = {**learner_environ(work, port), "HOME": str(home)}
    (work / "logs").mkdir(parents=True)
    (work / "logs" / "api.port").write_text("export PORT_API=4321\n")
    with started([str(ROOT / "lab"), "start"], cwd=ROOT, env=env, log=log) as (process, _):
        told = re.compile(rf"http://127\.0\.0\.1:{port}/lab\?token=(\w+)")
        assert wait_until(lambda: bool(told.search(log.read_text())) or process.poll() is not None, START / 1000)
        found = told.search(log.read_text())
        assert found, log.read_text()[-2000:]
        shown = asyncio.run(type_in_terminal(f"http://127.0.0.1:{port}", found[1], TYPED))
    (line,) = re.findall(r"^env: (.*)$", shown, re.M)
    store, namespace, path = line.split(" ", 2)
    assert store == str(work / "store") and namespace == "ml-serving"
    assert path.split(":")[:2] == [str(Path(sys.executable).parent), str(ROOT / ".lab" / "bin")]
    assert f"\n{Path(sys.executable).parent / 'bentoml'}\n" in shown
    assert "\napi at 4321\n" in shown
    assert "\nhint 1 of 3\n" in shown
    assert re.search(r"\nkind-serving-lab\n|kubectl: command not found", shown)
