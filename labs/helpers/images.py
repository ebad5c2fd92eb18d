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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.names import TAG, read_names, state
from grader.criteria import containers
from grader.criteria.image_layers import Image, read_image, tidy
from labs.helpers.bento import NAME, clean_copy
from labs.helpers.paint import BLUE, GREY, ORANGE, Picture, canvas, shorten
from labs.helpers.stores import size

NAMES = read_names()
WORKSPACE = os.environ.get("LAB_WORKSPACE", "")
REPOSITORY = NAMES.repository(WORKSPACE)  # 127.0.0.1:5001/demo-text-intelligence; another one in the walk
RELEASE = f"{REPOSITORY}:{TAG}"
INDEX_ENV = "{UV_EXTRA_INDEX_URL: https://download.pytorch.org/whl/cpu, UV_INDEX_STRATEGY: unsafe-best-match}"


@dataclass(frozen=True)
class Step:
    """One step of an image's making that left a layer: what the Dockerfile says, and the bytes that it added."""

    says: str
    bytes: int
    id: str  # equal in two images that share the layer


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
            raise RuntimeError(f"the image was not made: {tail}")
        seconds = time.monotonic() - began
        print(f"made in {seconds:.0f} s")
        return seconds


def tell(lines: Iterable[str]) -> str:
    """Says of BuildKit's log what took a second or more, and what was there already. Returns the log's end."""
    names: dict[str, str] = {}
    kept, tail = 0, [""]
    for line in lines:
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


def steps(image: str) -> list[Step]:
    """The layers of an image that the engine has, the first one first. Steps that add no bytes are left out."""
    rows = docker("history", "--no-trunc", "--human=false", "--format", "{{json .}}", image).splitlines()
    made = [(tidy(row["CreatedBy"]), int(row["Size"])) for row in map(json.loads, reversed(rows))]
    ids = json.loads(docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", image))
    # An engine lists a layer for each step that could have changed files, of no bytes, too: match them from the end.
    full = [m for m in made if m[1] or not re.match(r"(?:ENV|ARG|USER|EXPOSE|ENTRYPOINT|CMD|LABEL)\b", m[0])]
    known = dict(zip(range(len(full) - 1, -1, -1), reversed(ids), strict=False))
    return [Step(says or "the base image", count, known.get(i, "")) for i, (says, count) in enumerate(full)]


def draw_steps(image: str, title: str) -> Picture:
    """One bar a layer, with the words of the Dockerfile that made it."""
    found = [s for s in steps(image) if s.bytes > 1000]
    figure, axes = canvas(title, 10, 1.2 + 0.42 * len(found))
    for i, step in enumerate(found):
        heavy = step.bytes > 50e6
        axes.barh(i, step.bytes / 1e6, color=BLUE if heavy else GREY, height=0.6)
        axes.text(step.bytes / 1e6, i, f"  {size(step.bytes)}", va="center", fontsize=9)
    axes.set_yticks(
        range(len(found)), [shorten(s.says, 62).replace("$", r"\$") for s in found], fontsize=8, family="monospace"
    )
    axes.invert_yaxis()
    axes.set_xlim(0, max(s.bytes for s in found) / 1e6 * 1.15)
    axes.set_xlabel("MB, unpacked; the first layer is at the top", color=GREY)
    whole, most = sum(s.bytes for s in found), max(found, key=lambda s: s.bytes)
    told = f"{size(whole)} in {len(found)} layers of more than a kB. {most.bytes / whole:.0%} of it is one step: "
    return Picture(figure, told + shorten(most.says, 70))


def fresh_bytes(before: str, after: str) -> tuple[int, list[Step]]:
    """The layers of `after` that `before` has not, and their bytes (unpacked): what must travel after an edit."""
    old = {s.id for s in steps(before)}
    new = [s for s in steps(after) if s.id not in old]
    return sum(s.bytes for s in new), new


def draw_edit(pairs: dict[str, tuple[str, str]]) -> Picture:
    """How many bytes of each image are new after an edit: {name: (before, after)}. The scale is a logarithm."""
    figure, axes = canvas("One word of a handler is changed. What has to travel again?", 9, 1.4 + 0.7 * len(pairs))
    costs = {name: max(fresh_bytes(*images)[0], 1) for name, images in pairs.items()}
    for i, (cost, colour, hatch) in enumerate(zip(costs.values(), (ORANGE, BLUE), ("//", ""), strict=False)):
        axes.barh(i, cost, color=colour, hatch=hatch, edgecolor="white", height=0.55)
        axes.text(cost * 1.3, i, size(cost), va="center")
    axes.set_yticks(range(len(costs)), list(costs))
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(1e3, max(costs.values()) * 20)
    axes.set_xlabel("bytes in new layers, unpacked (each mark is ten times the one before)", color=GREY)
    return Picture(figure, "; ".join(f"{name}: {size(cost)}" for name, cost in costs.items()))


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
    subprocess.run(["docker", "build", *options, *given, str(folder)], env=environ, capture_output=True, check=True)
    return SMALL


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


def draw_contents(image: Image) -> Picture:
    """What the bytes of a pushed image are for, over all its layers."""
    total: dict[str, int] = {}
    for layer in image.layers:
        for group, count in layer.groups.items():
            total[group] = total.get(group, 0) + count
    rows = sorted(total.items(), key=lambda r: -r[1])
    figure, axes = canvas("What are the bytes of the image for?", 9, 1.2 + 0.36 * len(rows))
    for i, (group, count) in enumerate(rows):
        axes.barh(i, count / 1e6, color=ORANGE if group in ("sources", "weights") else BLUE, height=0.6)
        axes.text(count / 1e6, i, f"  {size(count)}", va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), [g + (" (yours)" if g in ("sources", "weights") else "") for g, _ in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, rows[0][1] / 1e6 * 1.15)
    axes.set_xlabel("MB, unpacked", color=GREY)
    yours = total.get("sources", 0) + total.get("weights", 0)
    first, most = rows[0]
    told = f"{size(image.unpacked)} unpacked, {size(image.packed)} to pull. {first} has {most / image.unpacked:.0%}"
    return Picture(figure, f"{told} of it; your weights and sources together have {yours / image.unpacked:.0%}.")


@contextlib.contextmanager
def running(image: str) -> Iterator[str]:
    """A container of that image on a free port of this machine, as the image's own user; yields its address."""
    with containers.running(image) as box:
        if box.problem:
            raise RuntimeError(f"{box.problem}: {box.log()}")
        yield box.url


def pull_on_node(node: str, reference: str) -> float:
    """Seconds that a node of the cluster takes to pull that image from the registry; nothing of it is kept before."""
    subprocess.run(["docker", "exec", node, "crictl", "rmi", reference], capture_output=True)
    began = time.monotonic()
    docker("exec", node, "crictl", "pull", reference)
    return time.monotonic() - began
