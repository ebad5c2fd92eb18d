"""docker, kind and kubectl as small scripts: each call is written down, and answered as a test says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cluster.names import KIT

SCRIPT = """#!/bin/sh
said="${0##*/} $*"
echo "$said" >>"%(folder)s/said"
for rule in $(ls -r "%(folder)s/rules"); do
    pattern=$(cat "%(folder)s/rules/$rule/pattern")
    case "$said" in $pattern)
        cat "%(folder)s/rules/$rule/output"
        cat "%(folder)s/rules/$rule/warning" >&2
        exit "$(cat "%(folder)s/rules/$rule/code")" ;;
    esac
done
"""


class FakeTools:
    """The newest rule whose shell pattern fits a call answers it; without one a call ends well and says nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir(parents=True)
        (folder / "rules").mkdir()
        for name in ("docker", "kind", "kubectl"):
            (self.bin / name).write_text(SCRIPT % {"folder": folder})
            (self.bin / name).chmod(0o755)
        self.answer("docker inspect*", "Error: No such object", 1)
        self.answer("kind version*", "kind v0.33.0 go1.26")
        self.answer("kubectl version*", "Client Version: v1.35.8")

    def answer(self, pattern: str, output: str = "", code: int = 0, warning: str = "") -> None:
        rule = self.folder / "rules" / f"{len(list((self.folder / 'rules').iterdir())):03}"
        rule.mkdir()
        for name, text in {"pattern": pattern, "output": output, "code": str(code), "warning": warning}.items():
            (rule / name).write_text(text)

    def said(self) -> list[str]:
        """Every call so far."""
        path = self.folder / "said"
        return path.read_text().splitlines() if path.exists() else []

    def changed(self) -> list[str]:
        """The calls that change something."""
        asks = ("docker version", "docker ps", "docker inspect", "kind version", "kubectl version", "kubectl --context")
        return [call for call in self.said() if not call.startswith(asks)]

    def container(self, name: str, **about: Any) -> None:
        """The engine has it, as `docker inspect` shows it."""
        self.answer(f"docker inspect --type=container {name}", json.dumps([about]))

    def node(self, name: str, status: str = "running", owner: Path | str = KIT) -> None:
        """`owner`: the folder of the checkout that made it; "" for a node made by hand."""
        binds = ["/lib/modules:/lib/modules:ro", *([f"{owner}/.lab/cluster-mark:/serving-lab:ro"] if owner else [])]
        state = {"Status": status, "StartedAt": "2026-11-24T14:33:56.893473566Z"}
        self.container(name, Id=f"id-of-{name}", Image="sha256:0", State=state, HostConfig={"Binds": binds})

    def nodes(self, *names: str, owner: Path | str = KIT) -> None:
        self.answer("docker ps --all --filter label=*", "\n".join(names))
        for name in names:
            self.node(name, owner=owner)

    def registry(self, name: str, status: str = "running", owner: str = str(KIT), port: int = 5001) -> None:
        self.container(
            name,
            State={"Status": status},
            Config={"Labels": {"serving-lab.checkout": owner} if owner else None},
            HostConfig={"PortBindings": {"5000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}},
            NetworkSettings={"Networks": {"kind": {}}},
        )


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    """The fakes first on the PATH, a state folder of its own, and none of the user's settings."""
    fakes = FakeTools(tmp_path / "tools")
    monkeypatch.setenv("PATH", f"{fakes.bin}:/usr/bin:/bin")
    monkeypatch.setenv("LAB_KIT", str(tmp_path))
    for name in ("LAB_SLOT", "LAB_REGISTRY_PORT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return fakes
