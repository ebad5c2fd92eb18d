"""Images of your Bento: their layers, what an edit costs, a container of one, and who has to move which bytes."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cluster.names import TAG, read_names, state
from grader.world import containers
from grader.world.images import Image, read_image
from labs.helpers.bento.bentos import NAME, clean_copy, latest
from labs.helpers.charts.canvas import shorten

NAMES = read_names()
WORKSPACE = os.environ.get("LAB_WORKSPACE", "")
REPOSITORY = NAMES.repository(WORKSPACE)  # 127.0.0.1:5001/demo-text-intelligence; another one in the walk
RELEASE = f"{REPOSITORY}:{TAG}"
INDEX_ENV = "{UV_EXTRA_INDEX_URL: https://download.pytorch.org/whl/cpu, UV_INDEX_STRATEGY: unsafe-best-match}"


def failed(tail: list[str]) -> bool:
    """Whether the log has come to the step that failed. What follows is only who called whom."""
    return bool(re.match(r"#\d+ ERROR", tail[-1]))


def docker(*words: str) -> str:
    """What docker prints; its complaint as an error."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"docker {' '.join(words)[:80]}: {done.stderr.strip()[-400:]}")
    return done.stdout.strip()


def index_option() -> list[str]:
    """For `bentoml containerize`, where the room has a mirror of PyTorch's index: the build argument that names it."""
    index = os.environ.get("LAB_TORCH_INDEX")
    return ["--opt", f"build-arg=UV_EXTRA_INDEX_URL={index}"] if index else []


class Bench:
    """A copy of service/ and a place to make images of it. With `store` the Bentos land there; without, in a store of
    the bench's own, whose models are links to yours, and your newest Bento stays what it is."""

    def __init__(self, store: str | Path | None = None, template: bool = True) -> None:
        self.folder = clean_copy()
        self.store = Path(store).resolve() if store else self._own_store()
        if not template:  # as lab 03 left it
            build_file = self.folder / "bentofile.yaml"
            build_file.write_text(re.sub(r"  dockerfile_template: .*", f"  env: {INDEX_ENV}", build_file.read_text()))

    def _own_store(self) -> Path:
        store = self.folder.with_name("store")
        for model in Path("store/models").resolve().glob("*/*/"):
            target = store / "models" / model.parent.name
            shutil.copytree(model, target / model.name)
            shutil.copy(model.parent / "latest", target / "latest")
        return store

    def edit(self, name: str = "preprocess.py") -> None:
        """Adds a comment to a source."""
        with (self.folder / name).open("a") as file:
            file.write(f"\n# a comment more, {time.time_ns()}\n")

    def make(self, image: str, *options: str) -> float:
        """`bentoml build` and `bentoml containerize`; says which commands ran and where the time went. Returns it."""
        # For a Bento with a template, 1.4.39 refuses a temporary folder outside of the one that it runs in.
        environ = {
            **os.environ,
            "BENTOML_HOME": str(self.store),
            "TMPDIR": str(self.folder),
            "BUILDKIT_PROGRESS": "plain",
        }
        began = time.monotonic()
        subprocess.run(["bentoml", "build"], cwd=self.folder, env=environ, capture_output=True, text=True, check=True)
        command = ["bentoml", "containerize", f"{NAME}:latest", "-t", image, *index_option(), *options]
        print(f"bentoml build\nTMPDIR=. {shlex.join(command)}", flush=True)
        log = subprocess.Popen(
            command, cwd=self.folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        with log:
            tail = tell(log.stdout or [])
        if log.returncode:
            raise RuntimeError(f"the image was not made: {reason(tail)}\n{tail}")
        seconds = time.monotonic() - began
        print(f"made in {seconds:.0f} s")
        return seconds


def reason(log: str) -> str:
    """The first line of BuildKit's log that speaks of an error, without step and time; else the last one."""
    lines = [re.sub(r"^#\d+ ([\d.]+ )?", "", line) for line in log.splitlines() if line]
    return next((line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)), lines[-1] if lines else "")


def release() -> int:
    """Builds the Bento and its image, pushes it, and writes deploy/release.json, as lab 04 does; returns 0."""
    Bench(store="store").make(RELEASE)
    docker("push", RELEASE)
    names = json.loads(docker("image", "inspect", RELEASE))[0]["RepoDigests"]
    name = next(n for n in names if n.startswith(f"{REPOSITORY}@"))
    Path("deploy").mkdir(exist_ok=True)
    Path("deploy/release.json").write_text(json.dumps({"image": name, "bento": latest().name}, indent=1))
    return 0


def tell(lines: Iterable[str]) -> str:
    """Says of BuildKit's log what took a second or more, and what was there already. Returns the log's end."""
    names: dict[str, str] = {}
    kept, tail = 0, [""]
    for line in lines:
        if not failed(tail):
            tail = [*tail[-8:], line.rstrip()]
        if step := re.match(r"#(\d+) (\[.*|exporting to image)", line):
            names.setdefault(step[1], step[2].strip())
        elif done := re.match(r"#(\d+) DONE (\d+)\.\d+s", line):
            if int(done[2]):
                print(f"{int(done[2]):>5} s  {shorten(names.get(done[1], ''), 90)}", flush=True)
        elif re.match(r"#\d+ CACHED", line):
            kept += 1
    print(f"  {kept} steps were there already" if kept else "  every step was new")
    return "\n".join(tail)


SMALL = f"{REPOSITORY}:small"


def make_small(lines: str, token: str, netrc: Path) -> str:
    """An image of a base and those lines. The token is there as a build argument, a file and a secret, as they like."""
    folder = netrc.with_name("small")
    folder.mkdir(exist_ok=True)
    shutil.copy(netrc, folder / "netrc")
    (folder / "Dockerfile").write_text(f"FROM python:3.11-slim\n{lines}\n")
    options = ["--no-cache", "--quiet", "--tag", SMALL, "--secret", f"id=netrc,src={netrc}"]
    environ = {**os.environ, "DOCKER_BUILDKIT": "1"}
    given = ["--build-arg", f"TOKEN={token}"] if "ARG TOKEN" in lines else []
    subprocess.run(["docker", "image", "rm", "--force", SMALL], capture_output=True)  # or it would stay, without a name
    subprocess.run(["docker", "build", *options, *given, str(folder)], env=environ, capture_output=True, check=True)
    return SMALL


def find_token(ways: Sequence[str], token: str, netrc: Path) -> list[str]:
    """An image of each of these lines is made; where in it the token is, or nothing."""
    found = [find_text(make_small(lines, token, netrc), token) for lines in ways]
    for lines, place in zip(ways, found, strict=True):
        print(f"{shorten(lines.splitlines()[0], 60):<62}{place or 'nowhere'}")
    return found


def find_text(image: str, text: str) -> str:
    """Where that text stands in an image that the engine has: its history, its settings, or a layer."""
    found = ["the history"] if text in docker("history", "--no-trunc", image) else []
    found += ["its settings"] if text in docker("image", "inspect", image) else []
    saved = subprocess.run(["docker", "save", image], capture_output=True, check=True).stdout
    # A layer that is not packed holds a small file as it is; Docker's newer store packs them.
    packed = [m for m in members(saved) if text.encode() in m]
    return ", ".join(found + (["a layer"] if packed and not found else []))


def members(saved: bytes) -> Iterator[bytes]:
    """The parts of a saved image, unpacked where they are packed."""
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
        for member in archive:
            data = file.read() if (file := archive.extractfile(member)) else b""
            yield gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def forget() -> None:
    """Removes every local name of this repository's images, so that what runs next has come from the registry."""
    names = docker("images", "--format", "{{.Repository}}:{{.Tag}}", REPOSITORY).split()
    names += [f"{REPOSITORY}@{d}" for d in docker("images", "--format", "{{.Digest}}", REPOSITORY).split() if ":" in d]
    for name in names:
        subprocess.run(["docker", "image", "rm", "--force", name], capture_output=True)


def read_pushed(reference: str = TAG) -> Image:
    """The image as it lies in the registry: every layer is read and hashed there."""
    return read_image(NAMES.address, REPOSITORY.split("/", 1)[1], reference, state() / "layers")


@contextlib.contextmanager
def running(image: str) -> Iterator[str]:
    """A container of that image on a free port of this machine, as the image's own user; yields its address."""
    with containers.running(image) as box:
        if box.problem:
            raise RuntimeError(f"{box.problem}: {box.log()}")
        yield box.url
