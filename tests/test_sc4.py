"""sc4 on layers and registries made by hand: what is in an image, and what is the machine's trouble."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_tools import FakeTools, tools

from grader import processes
from grader.errors import LabError
from grader.kit import Kit
from grader.world import containers, images, pace, releases

__all__ = ["tools"]  # a fixture
MODULE = Kit().criterion("sc4").probes[0].look.__globals__
B = images.BENTO
TOKEN = "ghp_" + "0123456789abcdef" * 2 + "0123"
PACKAGE = "app/.venv/lib/python3.11/site-packages"


def packed(files: dict[str, str | None], links: dict[str, str] | None = None) -> bytes:
    """A layer's archive; a file without text is a folder."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.type = len(text or ""), tarfile.DIRTYPE if text is None else tarfile.REGTYPE
            archive.addfile(entry, io.BytesIO((text or "").encode()))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return out.getvalue()


def read(files: dict[str, str | None], links: dict[str, str] | None = None, data: bytes = b"") -> images.Layer:
    layer = images.Layer("sha256:x", 1)
    with tempfile.TemporaryFile() as file:
        file.write(data or gzip.compress(packed(files, links)))
        file.seek(0)
        images.read_layer(file, layer)
    return layer


def inside(*layers: images.Layer, store: Path) -> list[str]:
    """The files of the Bento that differ, to sc4, when the layers lie over each other."""
    image = images.Image("sha256:x", {}, [], list(layers))
    return list(MODULE["compare"](image, store, "v1")["different"])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "bentos" / "demo_text_intelligence" / "v1"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "service.py").write_text("svc")
    (folder / "src" / "preprocess.py").write_text("prepare")
    (folder / "bento.yaml").write_text("models: []\n")
    return tmp_path


GOOD: dict[str, str | None] = {
    f"{B}src/service.py": "svc",
    f"{B}src/preprocess.py": "prepare",
    f"{B}bento.yaml": "models: []\n",
}


def test_layers_are_applied_as_a_file_system(store: Path) -> None:
    whole = read(GOOD)
    assert inside(whole, store=store) == []
    assert inside(whole, read({f"{B}src/.wh.service.py": ""}), store=store) == ["src/service.py"]
    assert inside(whole, read({f"{B}src/.wh..wh..opq": ""}), store=store) == ["src/preprocess.py", "src/service.py"]
    assert len(inside(whole, read({"home/.wh.bentoml": ""}), store=store)) == 3
    assert inside(whole, read({f"{B}.wh.src": ""}), read(GOOD), store=store) == []
    link = read({}, {f"{B}src/service.py": "/opt/other.py"})
    assert inside(whole, link, store=store) == ["src/service.py"]
    assert len(inside(whole, read({}, {f"{B}src": "/opt/src"}), store=store)) == 2
    assert inside(whole, read({f"{B}src/.wh.serv": ""}), store=store) == []  # another name that begins so


@pytest.mark.skipif(not shutil.which("zstd"), reason="no zstd")
def test_a_layer_packed_with_zstd() -> None:
    data = subprocess.run(["zstd", "-c"], input=packed(GOOD), stdout=subprocess.PIPE, check=True).stdout
    assert set(read({}, data=data).bento) == {"src/service.py", "src/preprocess.py", "bento.yaml"}
    assert set(read({}, data=packed(GOOD)).bento) == {"src/service.py", "src/preprocess.py", "bento.yaml"}


def test_without_zstd_it_is_the_machines_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="zstd"):
        read({}, data=b"\x28\xb5\x2f\xfd" + b"0" * 20)


@pytest.mark.parametrize("path", [f"{PACKAGE}/six.py", "usr/lib/x/settings.py", "var/cache/notes", "etc/hub.conf"])
def test_a_secret_in_a_package_or_a_system_folder_is_found(path: str) -> None:
    assert TOKEN not in str(read({path: f"token {TOKEN}"}).secrets) and read({path: f"token {TOKEN}"}).secrets


def test_what_a_package_brought_is_left_alone() -> None:
    text = f"TEST_KEY = '{TOKEN}'"
    digest = urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    files = {
        f"{PACKAGE}/hub/tests.py": text,
        f"{PACKAGE}/hub-1.0.dist-info/RECORD": f"hub/tests.py,sha256={digest},{len(text)}\n",
    }
    assert read({**files}).secrets == []
    assert read({**files, f"{PACKAGE}/hub/tests.py": text + " "}).secrets  # changed since
    assert read({f"{PACKAGE}/hub/tests.py": text}).secrets  # a later layer, in which no package says so


def test_code_beside_the_bentos_is_a_difference(store: Path) -> None:
    """A package hides the module of its name; a link leads elsewhere; unchecked bytecode is no source of anybody's."""
    whole = read(GOOD)
    more: dict[str, str | None] = {
        f"{B}src/preprocess/__init__.py": "x",
        f"{B}src/VERSION.txt": "7",
        f"{B}src/__pycache__/a.pyc": "\xa7\r\r\n",
    }
    assert inside(whole, read(more), store=store) == ["src/preprocess/__init__.py besides"]
    blind: dict[str, str | None] = {f"{B}src/__pycache__/service.cpython-311.pyc": "mag\n\x01\x00\x00\x00code"}
    assert inside(whole, read(blind), store=store) == ["src/__pycache__/service.cpython-311.pyc besides"]
    assert inside(whole, read({}, {f"{B}src/preprocess": "/opt/x"}), store=store) == ["src/preprocess besides"]


def test_packages_are_those_of_the_bento(tmp_path: Path) -> None:
    pins = tmp_path / "requirements.txt"
    pins.write_text("torch==2.13.0+cpu\nscikit-learn==1.7.0\npytest-asyncio==1.0\n")

    def odd(*names: str, gone: str = "") -> list[str]:
        layers = [read({f"{PACKAGE}/{name}.dist-info/METADATA": "x" for name in names})]
        layers += [read({f"{PACKAGE}/.wh.{gone}": ""})] if gone else []
        return list(MODULE["other_packages"](layers, pins))

    assert odd("torch-2.13.0+cpu", "scikit_learn-1.7.0", "pytest_asyncio-1.0", "pip-25.0") == []
    assert odd("scikit_learn-1.6.1") == ["scikit-learn 1.6.1, not 1.7.0"]
    assert odd("jupyterlab-4.0.0", "torch-2.13.0+cpu") == ["jupyterlab, which no service needs"]
    assert odd("jupyterlab-4.0.0", gone="jupyterlab-4.0.0.dist-info") == []


def test_what_is_brought_after_the_sources_travels_with_them() -> None:
    def above(*steps: tuple[str, str]) -> int:
        return int(MODULE["above_sources"]([images.Layer("x", 9, made_by, groups={g: 1}) for made_by, g in steps]))

    sources, weights = ("COPY ./src ./src/", "sources"), ("COPY ./models ./models/", "weights")
    assert above(weights, sources) == 0 and above(sources, weights) == 9
    assert above(sources, ("RUN pip install -r requirements.txt", "packages")) == 9
    assert above(sources, ("COPY --link ./models ./models/", "weights")) == 0
    assert above(sources, ("RUN chmod -R a+rX models", "weights")) == 0
    assert above(sources, ("COPY entry.sh /", "system and Python")) == 0


# Registries


@contextlib.contextmanager
def registry(answers: dict[str, tuple[int, bytes]], header: bool = True) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, body = answers.get(self.path, (404, b"{}"))
            self.send_response(code)
            if header:
                self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "slowness", lambda: 1.0)


def test_a_registry_without_the_image_is_a_finding() -> None:
    with registry({"/v2/": (200, b"{}")}) as address, pytest.raises(images.NoImage, match="has no bento-v1"):
        images.read_digest(address, "demo", "bento-v1")


def test_no_registry_or_another_program_is_an_error() -> None:
    with pytest.raises(LabError, match="does not answer"):
        images.read_digest("127.0.0.1:1", "demo", "bento-v1")
    with registry({}, header=False) as address, pytest.raises(LabError, match="is no image registry"):
        images.read_tags(address, "demo")
    broken = {"/v2/": (200, b"{}"), "/v2/demo/manifests/bento-v1": (500, b"disk full")}
    with registry(broken) as address, pytest.raises(LabError, match="answers 500"):
        images.read_digest(address, "demo", "bento-v1")


def test_a_proxy_is_not_asked_for_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    tags = {"/v2/": (200, b"{}"), "/v2/demo/tags/list": (200, b'{"tags": ["b", "a"]}')}
    with registry(tags) as address:
        assert images.read_tags(address, "demo") == ["a", "b"]


def test_an_index_gives_this_machines_image() -> None:
    kinds = [
        {"os": "unknown"},
        {"os": "linux", "architecture": "vax"},
        {"os": "linux", "architecture": images.ARCHITECTURE},
    ]
    entries = [{"digest": f"sha256:{i}", "platform": kind} for i, kind in enumerate(kinds)]
    index = json.dumps({"manifests": entries}).encode()
    answers = {"/v2/": (200, b"{}"), "/v2/d/manifests/t": (200, index), "/v2/d/manifests/sha256:2": (200, b'{"it": 1}')}
    with registry(answers) as address, images.opened(address, "d") as client:
        assert images.read_manifest(client, "t")[0] == {"it": 1}
        assert images.read_manifest(client, "t")[2] == "sha256:2"


def test_what_a_registry_tells_beside_an_image() -> None:
    """Annotations, and what buildx notes of a build with --provenance=mode=max: its arguments."""
    entries = [
        {"digest": "sha256:1", "platform": {"os": "linux"}, "annotations": {"made": "by hand"}},
        {"digest": "sha256:2", "platform": {"os": "unknown"}},
    ]
    noted = {"predicate": {"invocation": {"parameters": {"args": {"build-arg:HUB_TOKEN": TOKEN}}}}}
    layer = {"digest": "sha256:3", "size": 9, "mediaType": "application/vnd.in-toto+json"}
    answers = {
        "/v2/": (200, b"{}"),
        "/v2/d/manifests/t": (200, json.dumps({"manifests": entries}).encode()),
        "/v2/d/manifests/sha256:2": (200, json.dumps({"layers": [layer]}).encode()),
        "/v2/d/blobs/sha256:3": (200, json.dumps(noted).encode()),
    }
    with registry(answers) as address, images.opened(address, "d") as client:
        told = list(images.notes(client, "t"))
    assert told == ["made: by hand", f"HUB_TOKEN: {TOKEN}"]
    image = images.Image("x", {"Healthcheck": {"Test": ["CMD-SHELL", "true"]}}, [], [], ["x"], told)
    assert len(MODULE["describe"](image)["secret_settings"]) == 1


def test_an_image_for_other_machines_is_a_finding(tools: FakeTools) -> None:
    tools.answer("docker pull*", "", 1, warning="no matching manifest for linux/amd64 in the manifest list entries")
    assert "no image for this machine" in containers.pull("127.0.0.1:5001/x@sha256:1")


def test_a_server_on_its_own_loopback_is_a_finding(tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> None:
    tools.answer("docker inspect*", "running 0 false")
    tools.answer("docker exec*readyz*", "200")
    tools.answer("docker exec*def look*", '{"loopback": true}')
    with containers.running("x", limit=0.5) as box:
        assert "loopback" in box.problem


def test_releases_as_editors_write_them(tmp_path: Path) -> None:
    path = tmp_path / "deploy" / "release.json"
    path.parent.mkdir()
    path.write_text('{"image": "r:5000/x:v1@sha256:1", "bento": "b", "by": "us"}', encoding="utf-8-sig")
    told = releases.released(tmp_path)
    assert releases.untagged(told["release"]) == "r:5000/x@sha256:1" and told["release_bento"] == "b"
    path.write_text("[]")
    assert releases.released(tmp_path)["release_problem"]


# Engines

TROUBLES = {
    "write /var/lib/docker/tmp/x: no space left on device": "docker system df",
    'error getting credentials - err: exec: "docker-credential-desktop": executable file not found': "credsStore",
    "dial tcp 127.0.0.1:5001: connect: connection refused": "lab cluster up",
    "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock": "usermod",
    "Cannot connect to the Docker daemon at unix:///var/run/docker.sock": "lab doctor",
    "something that nobody has seen": "lab doctor",
}


@pytest.mark.parametrize("said", TROUBLES)
def test_a_pull_that_fails_is_the_machines_trouble(tools: FakeTools, said: str) -> None:
    tools.answer("docker pull*", "", 1, warning=said)
    with pytest.raises(LabError) as wrong:
        containers.pull("127.0.0.1:5001/x@sha256:1")
    assert TROUBLES[said] in wrong.value.remedy


BOX = containers.Box("x", "http://127.0.0.1:1")  # where nothing answers
ASKS: dict[str, Callable[[], object]] = {
    "user": BOX.user,
    "look": BOX.look,
    "cpu": BOX.cpu,
    "ask": lambda: BOX.ask(["a"]),
}
DAEMON = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("back", [True, False])
def test_an_engine_that_goes_while_a_container_is_asked_is_the_machines_trouble(
    tools: FakeTools, ask: str, back: bool
) -> None:
    """It is gone for the command, or for the question how the container is, too."""
    tools.answer("docker *", "", 1, warning=DAEMON)
    if back and ask != "ask":
        tools.answer("docker inspect*", "running 0 false")
    with pytest.raises(LabError, match="Docker stopped answering"):
        ASKS[ask]()


def test_a_container_without_programs_or_without_an_answer_is_a_finding(tools: FakeTools) -> None:
    tools.answer("docker inspect*", "running 0 false")
    tools.answer("docker exec*", "", 126, warning="OCI runtime exec failed: no such file or directory")
    assert (BOX.user(), BOX.look(), BOX.cpu()) == ("", {}, 0)
    assert BOX.ask(["a"])["problem"].startswith("ConnectError")


def test_a_command_in_a_container_that_does_not_end(tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> None:
    tools.answer("docker inspect*", "running 0 false")
    limits: list[float] = []

    def run(command: list[str], limit: float) -> processes.Completed:
        limits.append(limit)
        return processes.run(command, limit) if "inspect" in command else processes.Completed(None, "", limit)

    monkeypatch.setattr(containers, "run", run)
    monkeypatch.setattr(pace, "slowness", lambda: 3.0)
    for look in (BOX.user, BOX.look):
        with pytest.raises(LabError, match="too slow"):
            look()
    assert not BOX.is_ready_inside()  # a Python that hangs is the image's own
    assert min(limits) == 60


def test_a_container_gets_no_proxy_of_dockers_client(tools: FakeTools) -> None:
    tools.answer("docker inspect*", "exited 1 false")
    with containers.running("x") as box:
        assert "ended with code 1" in box.problem
    command = next(call for call in tools.said() if call.startswith("docker run"))
    assert "--env=http_proxy= " in command and "--env=HTTPS_PROXY= " in command


@pytest.mark.parametrize("state", ["computes", "elsewhere", "hangs"])
def test_a_container_that_is_not_ready_in_time(tools: FakeTools, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """It computes: the machine is too slow. It is ready, and nothing is here: another machine. It hangs: a finding."""
    tools.answer("docker inspect*", "running 0 false")
    used = iter([1.0, 9.0 if state == "computes" else 1.0])
    monkeypatch.setattr(containers.Box, "cpu", lambda box: next(used))
    if state == "elsewhere":
        tools.answer("docker exec*readyz*", "200")
    wanted = {"computes": "too slow", "elsewhere": "not on this machine"}
    hope = pytest.raises(LabError, match=wanted[state]) if state in wanted else contextlib.nullcontext()
    with hope, containers.running("x", limit=0.5) as box:
        assert box.problem == "the container was not ready after 0.5 s" and state == "hangs"


def test_the_pace_of_a_machine_is_at_least_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert 1 <= pace.slowness() <= pace.MOST
    assert pace.cpu_told("12 (x (y) z) R 1 1 1 0 -1 4 0 0 0 0 150 50 0 0\n") == 2.0
    assert not pace.is_at_work(lambda: 1.0, watch=0.05)
