"""What a child of the kit gets of its parent's environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from grader.environ import child_environ
from grader.kit import Kit
from grader.processes import run
from grader.workspace import Workspace

MINE = {
    "PYTHONPATH": "/mine", "PYTHONSTARTUP": "/mine.py", "PYTHONHOME": "/mine", "PIP_USER": "1", "PIP_TARGET": "/mine",
    "JUPYTER_PATH": "/mine", "IPYTHONDIR": "/mine", "BENTOML_CONFIG": "/mine.yml", "KUBERC": "on",
    "KUBECONFIG": "/mine", "KIND_CLUSTER_NAME": "mine", "LD_PRELOAD": "/mine.so", "BASH_ENV": "/mine",
    "AWS_SECRET_ACCESS_KEY": "x", "A_TOKEN": "x",
}  # fmt: skip
KEPT = {"LANG": "C.UTF-8", "LC_ALL": "C", "LAB_SLOT": "2", "DOCKER_HOST": "unix:///x", "PIP_INDEX_URL": "u"}


def test_what_is_not_on_the_list_stays_out() -> None:
    found = child_environ({**MINE, **KEPT, "PATH": "/bin"})
    assert found == {**KEPT, "PATH": "/bin", "KUBERC": "off", "SPT_NOENV": "1"}


def test_a_folder_of_the_working_folder_is_not_searched() -> None:
    assert child_environ({"PATH": ":.:bin:/bin:/usr/bin:"})["PATH"] == "/bin:/usr/bin"


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "ALL_PROXY"])
def test_this_machine_is_never_asked_for_by_a_proxy(name: str) -> None:
    found = child_environ({name: "http://proxy.invalid:3128", "No_Proxy": "x.org, localhost"}, spared=("registry",))
    assert found["NO_PROXY"] == found["no_proxy"] == "x.org,localhost,127.0.0.1,::1,registry"
    assert "NO_PROXY" not in child_environ({"PATH": "/bin", name: ""})


def test_every_child_gets_it_also_one_whose_caller_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in MINE.items():
        if name not in ("PYTHONHOME", "LD_PRELOAD"):  # which would break this process's other children
            monkeypatch.setenv(name, value)
    done = run([sys.executable, "-c", "import os; print(*os.environ)"], 20)
    assert done.ok and not set(done.output.split()) & (set(MINE) - {"KUBERC"})


def test_a_workspace_adds_its_own(toykit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_PATH", "/mine")
    kit = Kit(toykit)
    found = Workspace(kit, kit.root / "work", "x").environ()
    assert found["TOY_HOME"] == str(kit.root / "work" / "store") and found["LAB_WORKSPACE"] == "x"
    assert "JUPYTER_PATH" not in found and found["JUPYTER_PREFER_ENV_PATH"] == "1"
    assert found["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
