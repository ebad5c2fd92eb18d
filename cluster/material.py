"""What the labs fetch besides programs: manifests of other projects, checked by hash, and images.

A manifest lies in ~/.cache/serving-lab/manifests/NAME-vVERSION.yaml, where a class room's mirror may put it beforehand.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster.engine import call
from cluster.fetch import NotFetched, fetch
from cluster.names import read_names
from cluster.tools import find
from grader.errors import LabError, UnknownName
from grader.processes import run

MATERIAL = Path(__file__).with_name("material.toml")
CACHE = Path("~/.cache/serving-lab/manifests")
PROGRAMS = ("kind", "kubectl", "prometheus", "promtool")


@dataclass(frozen=True)
class Manifest:
    """An entry of material.toml; `size` in bytes."""

    name: str
    version: str
    url: str
    sha256: str
    size: int

    @property
    def path(self) -> Path:
        return CACHE.expanduser() / f"{self.name}-v{self.version}.yaml"

    def is_there(self) -> bool:
        return self.path.is_file() and hashlib.sha256(self.path.read_bytes()).hexdigest() == self.sha256


def read_manifest(name: str) -> Manifest:
    entries = tomllib.loads(MATERIAL.read_text())["manifests"]
    if name not in entries:
        raise UnknownName("manifest", name, sorted(entries))
    return Manifest(name, **entries[name])


def find_manifest(name: str, say: Callable[[str], None]) -> Path:
    """The manifest's file, fetched if need be. Raises NotFetched."""
    manifest = read_manifest(name)
    if not manifest.is_there():
        url = manifest.url.format(version=manifest.version)
        say(f"fetching {manifest.path.name}, {manifest.size / 1e6:.1f} MB, from {url}")
        fetch(url, manifest.sha256, manifest.path)
    return manifest.path


def images_of(lab: str) -> list[str]:
    """The images that a lab needs, by name and version."""
    return list(tomllib.loads(MATERIAL.read_text())["images"].get(lab, []))


def load_images(lab: str) -> None:
    """Those of its images that the container engine has go to the nodes; nodes pull the others, and what kind cannot
    load."""
    names = read_names()
    there = [i for i in images_of(lab) if call("docker", "image", "inspect", i, good=False).ok]
    nodes = [on_node(node) for node in names.nodes]
    lacking = [i for i in there if not all(any(known.endswith(i) for known in node) for node in nodes)]
    if lacking:
        call("kind", "load", "docker-image", "--name", names.cluster, *lacking, limit=300, good=False)


def on_node(node: str) -> list[str]:
    """The names of the images on a node, with their registry (docker.io/prom/prometheus:v3.11.0)."""
    return call("docker", "exec", node, "ctr", "--namespace=k8s.io", "images", "ls", "--quiet").output.split()


def pull(say: Callable[[str], None]) -> list[str]:
    """Brings all of it: programs, manifests, images. Goes on after a failure; returns what is missing, in sentences."""
    material = tomllib.loads(MATERIAL.read_text())
    missing = []
    for name in PROGRAMS:
        try:
            say(f"{name}: {find(name, say=say)}")
        except LabError as wrong:
            missing.append(f"{name}: {wrong.problem}")
    for name in material["manifests"]:
        try:
            say(f"{name}: {find_manifest(name, say)}")
        except NotFetched as wrong:
            missing.append(wrong.problem)
    for image in dict.fromkeys(i for images in material["images"].values() for i in images):
        if trouble := pull_image(image, say):
            missing.append(trouble)
    return missing


def pull_image(image: str, say: Callable[[str], None]) -> str:
    """One sentence if it is not there and cannot be brought; an image of that name that is there will do."""
    try:
        if run(["docker", "image", "inspect", "--format", "{{.Id}}", image], 30).ok:
            say(f"{image}: there")
            return ""
        say(f"{image}: pulling")
        done = run(["docker", "pull", "--quiet", image], 1800)
    except OSError:
        return f"{image}: no docker on the PATH"
    return "" if done.ok else f"{image}: {done.tail(1)}"
