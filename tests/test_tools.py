"""The cluster's tools: found, refused with a reason, or fetched whole and right from a server on this machine."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
import threading
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from cluster import fetch, machine, tools
from grader.errors import LabError, UnknownName, WrongCall
from grader.kit import Kit
from grader.needs import look_for

GOOD = b"#!/bin/sh\necho kind v0.33.0 go1.26.8\n" + b"# so long that it comes in pieces\n" * 20_000
PATH = "/kubernetes-sigs/kind/releases/download/v0.33.0/kind-linux-amd64"


class Mirror(BaseHTTPRequestHandler):
    """Answers as the first part of the path says: /good/..., /cut/..., ..."""

    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.path)
        kind, _, rest = self.path.lstrip("/").partition("/")
        if kind == "redirect":
            return self.send(302, b"", Location=f"/good/{rest}")
        if kind == "away":
            return self.send(302, b"", Location="http://mirror.invalid/kind")
        if kind == "stall":
            time.sleep(3)
        body = {"good": GOOD, "slow": GOOD, "cut": GOOD, "wrong": b"<html>Please log in</html>"}.get(kind)
        if body is None:
            return self.send(404, b"no such file")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for start in range(0, len(body), 100_000):
            self.wfile.write(body[start : start + 100_000])
            self.wfile.flush()
            if kind == "slow":
                time.sleep(0.15)
            if kind == "cut":
                self.connection.shutdown(socket.SHUT_RDWR)
                return

    def send(self, code: int, body: bytes, **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def put(place: Path, script: str) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"#!/bin/sh\n{script}\n")
    place.chmod(0o755)
    return place


@pytest.fixture(autouse=True)
def machine_without_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty PATH, a kit of its own, x86-64 Linux, the hash of our kind; a name other than this machine's fails."""
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("LAB_KIT", str(tmp_path / "kit"))
    for name in ("LAB_TOOLS_URL", "http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    pinned = tools.read_tool("kind").sha256["linux-amd64"]
    (tmp_path / "tools.toml").write_text(tools.TOOLS.read_text().replace(pinned, hashlib.sha256(GOOD).hexdigest()))
    monkeypatch.setattr(tools, "TOOLS", tmp_path / "tools.toml")
    resolve = socket.getaddrinfo

    def here_only(host: Any, *words: Any, **more: Any) -> Any:
        if host not in ("127.0.0.1", "localhost"):
            raise socket.gaierror(-2, f"no network in tests: {host}")
        return resolve(host, *words, **more)

    monkeypatch.setattr(socket, "getaddrinfo", here_only)


@pytest.fixture
def mirror() -> Iterator[str]:
    Mirror.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def refusal(monkeypatch: pytest.MonkeyPatch, url: str) -> LabError:
    """The error for a mirror that does not give the file; whatever happens, nothing is left."""
    monkeypatch.setenv("LAB_TOOLS_URL", url)
    with pytest.raises(LabError) as caught:
        tools.find("kind")
    assert not tools.folder().exists() or not list(tools.folder().iterdir())
    return caught.value


def test_the_pinned_files() -> None:
    entries = tomllib.loads((ROOT / "cluster" / "tools.toml").read_text())
    assert set(entries) == {"kind", "kubectl", "prometheus", "promtool"}
    assert entries.pop("promtool") == {"comes_with": "prometheus"}
    for name, entry in entries.items():
        assert set(entry["sha256"]) >= {"linux-amd64", "linux-arm64"}
        assert all(len(bytes.fromhex(h)) == 32 for h in entry["sha256"].values())
        assert tools.read_tool(name).address("linux", "arm64").startswith("https://")
    assert tools.read_tool("kubectl").address("darwin", "arm64").endswith("/release/v1.35.8/bin/darwin/arm64/kubectl")


@pytest.mark.parametrize(
    ("name", "script", "said"),
    [
        ("kind", "echo kind v0.33.0 go1.26.8", "kind 0.33.0"),
        ("kind", "echo kind v0.40.1", "kind 0.40.1"),
        ("kubectl", "echo Client Version: v1.34.0", "kubectl 1.34.0"),
        ("kubectl", "echo Client Version: v1.36.2", "kubectl 1.36.2"),
    ],
)
def test_a_tool_on_the_path_will_do(tmp_path: Path, name: str, script: str, said: str) -> None:
    place = put(tmp_path / "path" / name, script)
    assert tools.look(name) == (place, said) and tools.find(name) == place


@pytest.mark.parametrize(
    ("name", "script", "reason"),
    [
        ("kind", "echo kind v0.27.0 go1.23.6", "kind 0.27.0 is older than 0.33"),
        ("kubectl", "echo Client Version: v1.33.9", "kubectl 1.33.9 is older than 1.34"),
        ("kubectl", "echo Client Version: v1.37.0", "kubectl 1.37.0 is newer than 1.36"),
        ("kind", "echo Segmentation fault; exit 139", "kind broke: Segmentation fault"),
        ("kind", "exec /bin/sleep 600.33", "kind did not answer within 0.5 s"),
        ("kind", "/bin/sleep 600.34 & echo kind v0.33.0", "kind did not answer within 0.5 s"),
    ],
)
def test_a_tool_on_the_path_that_will_not_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str, reason: str
) -> None:
    monkeypatch.setattr(machine, "LIMIT", 0.5)
    put(tmp_path / "path" / name, script)
    assert tools.look(name) == (None, reason)
    with pytest.raises(LabError) as caught:
        tools.find(name, install=False)
    assert caught.value.problem == f"{reason}." and "`./lab cluster tools` fetches it" in caught.value.remedy


def test_half_a_file_counts_as_missing_and_is_replaced(
    tmp_path: Path, mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_TOOLS_URL", f"{mirror}/good")
    put(tmp_path / "path" / "kind", "echo kind v0.20.0")
    half = put(tools.folder() / "kind", "")
    half.write_bytes(b"\x7fELF")
    assert tools.look("kind")[1] == "kind 0.20.0 is older than 0.33; kind cannot be run (Exec format error)"
    assert tools.find("kind") == half and half.read_bytes() == GOOD


def test_a_tool_is_fetched_once_and_found_again(
    mirror: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_TOOLS_URL", f"{mirror}/good/")
    left = tools.folder() / ".kind.x1.part"  # of a call that was killed
    left.parent.mkdir(parents=True)
    left.write_text("half")
    place = tools.find("kind")
    assert place == tools.folder() / "kind" and place.stat().st_mode & 0o777 == 0o755
    assert [p.name for p in tools.folder().iterdir()] == ["kind"]
    assert tools.find("kind", install=False) == place and Mirror.asked == [f"/good{PATH}"]
    assert f"no kind on the PATH: fetching kind 0.33.0 from {mirror}/good{PATH}" in capsys.readouterr().err
    assert tools.path_with_tools().split(":")[0] == str(tools.folder())
    monkeypatch.setenv("PATH", f"/a/stand-in:{tools.folder()}:/usr/bin")
    assert tools.path_with_tools() == os.environ["PATH"]  # what somebody put before them stays there


def test_the_path_without_tools_of_our_own() -> None:
    assert tools.path_with_tools() == os.environ["PATH"]


def test_who_asks_at_the_same_time_waits_and_fetches_nothing(mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOOLS_URL", f"{mirror}/slow")
    said: list[str] = []
    with ThreadPoolExecutor(3) as pool:
        places = list(pool.map(lambda _: tools.find("kind", say=said.append), range(3)))
    assert len(set(places)) == 1 and len(Mirror.asked) == 1
    assert any("waiting: the folder of the kit's tools is in use by" in line for line in said)


def test_a_redirect_is_followed_but_not_to_plain_http(mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = refusal(monkeypatch, f"{mirror}/away")
    assert "it leads to http://mirror.invalid, which is not https" in wrong.problem
    monkeypatch.setenv("LAB_TOOLS_URL", f"{mirror}/redirect")
    assert tools.find("kind").read_bytes() == GOOD


def test_a_slow_server_is_waited_for_with_signs_of_life(
    mirror: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch.BEAT == 5.0
    monkeypatch.setattr(fetch, "BEAT", 0.2)
    monkeypatch.setenv("LAB_TOOLS_URL", f"{mirror}/slow")
    tools.find("kind")
    lines = [line for line in capsys.readouterr().err.splitlines() if "fetching kind-linux-amd64: 0." in line]
    assert len(lines) >= 2 and lines[0].endswith("of 0.7 MB")


def test_what_comes_is_not_the_file(mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = refusal(monkeypatch, f"{mirror}/wrong")
    found, wanted = hashlib.sha256(b"<html>Please log in</html>").hexdigest(), hashlib.sha256(GOOD).hexdigest()
    assert f"no kind on the PATH, and {mirror}/wrong{PATH} could not be fetched: its sha256 is {found}" in wrong.problem
    assert f"and {wanted} was expected" in wrong.problem
    assert f"fetch https://github.com{PATH} on another machine" in wrong.remedy and wanted in wrong.remedy
    assert wrong.remedy.endswith(f"mkdir -p {tools.folder()} && install -m 755 kind-linux-amd64 {tools.folder()}/kind")


def test_no_file_no_server_no_end(mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "the server says 404 Not Found" in refusal(monkeypatch, f"{mirror}/absent").problem
    assert "closed connection" in refusal(monkeypatch, f"{mirror}/cut").problem
    monkeypatch.setattr(fetch, "READ", 0.3)
    assert "timed out" in refusal(monkeypatch, f"{mirror}/stall").problem
    monkeypatch.setattr(fetch, "WHOLE", 0.1)
    assert "after 0 s only" in refusal(monkeypatch, f"{mirror}/slow").problem
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert "Connection refused" in refusal(monkeypatch, f"http://127.0.0.1:{port}").problem
    with monkeypatch.context() as broken:
        broken.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
        assert "No such file" in refusal(monkeypatch, mirror).problem
    unreachable = refusal(monkeypatch, "https://me:secret@mirror.invalid")
    assert "no network in tests" in unreachable.problem and "secret" not in str(unreachable)


def test_a_platform_without_a_pinned_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "ppc64le")
    wrong = refusal(monkeypatch, "http://127.0.0.1:1")
    assert wrong.problem.endswith("only for linux-amd64, linux-arm64, darwin-arm64, not for linux-ppc64le.")
    assert wrong.remedy.startswith("Install kind 0.33 or newer (https://kind.") and "/.lab/bin/kind." in wrong.remedy


def test_a_folder_that_cannot_be_written(mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kit" / ".lab").mkdir(parents=True)
    tools.folder().write_text("a file where the folder should be")
    monkeypatch.setenv("LAB_TOOLS_URL", f"{mirror}/good")
    with pytest.raises(LabError, match="cannot be written"):
        tools.find("kind")


def test_plain_http_is_for_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("http://mirror.invalid", "ftp://127.0.0.1", "mirror.invalid", "file:///tmp", "http://127.evil.invalid"):
        assert isinstance(refusal(monkeypatch, url), WrongCall)


def test_a_tool_that_nobody_knows() -> None:
    with pytest.raises(UnknownName, match="no tool 'helm'"):
        tools.find("helm")


def test_doctor_finds_a_fetched_tool() -> None:
    assert str(look_for(Kit(ROOT), "kind")).startswith("no kind on the PATH: install kind 0.33")
    put(tools.folder() / "kind", "echo kind v0.33.0")
    assert str(look_for(Kit(ROOT), "kind")) == "kind 0.33.0"
