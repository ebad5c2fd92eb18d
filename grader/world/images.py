"""Reads an image's layers from where it lies, a registry, without an engine: what each holds, removes and gives away.

    image = read_image("127.0.0.1:5001", "demo-text-intelligence", "bento-v1", cache)
    image.digest, image.config["User"], [layer.groups for layer in image.layers]

Every byte is read and hashed, so what this returns is what a node would pull. A layer never changes under its digest,
so what was read of it is kept in `cache` (read again when this module or the search for secrets changes).
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

import httpx

from grader.errors import LabError
from grader.workspace import read_json, write_atomic
from grader.world import pace, secrets

BENTO = "home/bentoml/bento/"  # BENTO_PATH of every image that BentoML makes
INSTALLED = re.compile(r"^(.*/([^/]+?)-([^/-]+)\.dist-info)/METADATA$")  # folder, package, version
PACKAGES = re.compile(r"^(?:.*/)?(?:site|dist)-packages/([^/]+)")
# Not searched for secrets: what packages bring, and what BentoML wrote about a model (sc4 compares it with the store).
SYSTEM = re.compile(
    r"^(?:usr|lib\w*|s?bin|var|root/\.cache|etc(?!/(?:pip\.conf|environment$)))/|/models/.*/model\.yaml$"
)
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
)  # fmt: skip
# Names that keep secrets wherever they lie; other names are judged only outside of packages and system folders.
ANYWHERE = re.compile(r"(?i)\.(?:env|netrc|pypirc|npmrc|pgpass|git-credentials)|id_(?:rsa|dsa|ecdsa|ed25519)")
UNCHECKED = "bytecode that is not compared with its source"
MOST_NOTES = 20_000_000  # bytes
SMALL = 200_000  # bytes: larger files are not searched for secrets
API = "docker-distribution-api-version"  # a header of every registry's every answer
MEND = "`./lab cluster up` starts it; LAB_REGISTRY_PORT names its port, if it is not the usual one."
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
# Examples in manuals and tests that a distribution brings outside of any package's record.
BROUGHT = re.compile(r"/(?:doc|man|locale|perl[\d.-]*|tests?)/|/lib/python[\d.]+/(?!site-packages)")
CACHE_TAG = "CACHEDIR.TAG"  # holds a signature that is the same everywhere


class NoImage(Exception):
    """The registry says that it has no such image, or has it damaged."""


@dataclass
class Layer:
    """`packed` and `unpacked` are bytes. `groups`: what the bytes are for. `bento`: sha256 of each file of the Bento.
    `gone`: paths of earlier layers that this one hides (and that everybody can still read there). `installed`: name and
    version of the packages, by the folder of each one's record."""

    digest: str
    packed: int
    made_by: str = ""
    unpacked: int = 0
    files: int = 0
    groups: dict[str, int] = field(default_factory=dict)
    bento: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    installed: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass
class Image:
    """`config` is what the engine starts: User, Env, Entrypoint, Labels; `history` one command a step. `names`: the
    digests that mean this image; `notes`: what the registry tells beside it (annotations, how it was built)."""

    digest: str
    config: dict[str, Any]
    history: list[str]
    layers: list[Layer]
    names: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def packed(self) -> int:
        return sum(layer.packed for layer in self.layers)

    @property
    def unpacked(self) -> int:
        return sum(layer.unpacked for layer in self.layers)


def read_image(registry: str, repository: str, reference: str, cache: Path) -> Image:
    """The image of that tag or digest; some 20 s for one of 1.7 GB the first time, well below one afterwards."""
    with opened(registry, repository) as client:
        manifest, digest, own = read_manifest(client, reference)
        settings = fetch(client, f"blobs/{manifest['config']['digest']}").json()
        steps = settings.get("history", [])
        commands = [str(s.get("created_by", "")) for s in steps if not s.get("empty_layer")]
        layers = [Layer(part["digest"], part["size"]) for part in manifest["layers"]]
        for layer, command in zip(layers, [*commands, *[""] * len(layers)], strict=False):
            layer.made_by = tidy(command)
            fill(layer, client, cache)
        told = [str(s.get(what, "")) for s in steps for what in ("created_by", "comment", "author") if s.get(what)]
        return Image(digest, start_of(settings), told, layers, sorted({digest, own}), list(notes(client, digest)))


def start_of(settings: dict[str, Any]) -> dict[str, Any]:
    """What an engine starts, and who is said to have made it."""
    return {**(settings.get("config") or {}), **({"author": settings["author"]} if settings.get("author") else {})}


def notes(client: httpx.Client, reference: str) -> Iterator[str]:
    """Annotations, and the arguments that buildx kept of the build: `NAME: value` lines, one a name."""
    whole = fetch(client, f"manifests/{reference}").json()
    parts = whole.get("manifests", [])
    for thing in [whole, *parts, *whole.get("layers", [])]:
        yield from (f"{key}: {value}" for key, value in (thing.get("annotations") or {}).items())
    for part in [p for p in parts if p.get("platform", {}).get("os") == "unknown"]:
        for layer in fetch(client, f"manifests/{part['digest']}").json().get("layers", []):
            if layer.get("size", 0) < MOST_NOTES and "in-toto" in layer.get("mediaType", ""):
                yield from arguments(fetch(client, f"blobs/{layer['digest']}").json())


def arguments(thing: Any) -> Iterator[str]:
    if isinstance(thing, dict):
        given = thing.get("args") if isinstance(thing.get("args"), dict) else {}
        yield from (f"{name.removeprefix('build-arg:')}: {value}" for name, value in (given or {}).items())
    for inner in thing.values() if isinstance(thing, dict) else thing if isinstance(thing, list) else []:
        yield from arguments(inner)


def read_tags(registry: str, repository: str) -> list[str]:
    with opened(registry, repository) as client:
        return sorted(fetch(client, "tags/list").json().get("tags") or [])


def read_digest(registry: str, repository: str, reference: str) -> str:
    with opened(registry, repository) as client:
        return read_manifest(client, reference)[1]


def read_start(registry: str, repository: str, reference: str) -> tuple[list[str], list[str]]:
    """The digests that mean the image today, the index's first; and the words that it starts with."""
    with opened(registry, repository) as client:
        manifest, digest, own = read_manifest(client, reference)
        config = fetch(client, f"blobs/{manifest['config']['digest']}").json().get("config") or {}
        return list(dict.fromkeys([digest, own])), list(config.get("Entrypoint") or [])


@contextlib.contextmanager
def opened(registry: str, repository: str) -> Iterator[httpx.Client]:
    """A client for that repository. Raises LabError where no registry answers: then nothing is known of any image."""
    limit = pace.patience(60)
    with httpx.Client(base_url=f"http://{registry}/v2/", timeout=limit, trust_env=False) as client:
        try:
            header = client.get("").headers.get(API, "")
        except httpx.HTTPError as broken:
            raise LabError(f"The registry at {registry} does not answer ({type(broken).__name__}).", MEND) from broken
        if not header:
            raise LabError(f"What answers on {registry} is no image registry.", MEND)
        client.base_url = httpx.URL(f"http://{registry}/v2/{repository}/")
        yield client


def read_manifest(client: httpx.Client, reference: str) -> tuple[dict[str, Any], str, str]:
    """The manifest, the digest of that reference, and the manifest's own: of an index this machine's image, or else
    the first one."""
    got = fetch(client, f"manifests/{reference}")
    digest = got.headers.get("docker-content-digest") or f"sha256:{hashlib.sha256(got.content).hexdigest()}"
    manifest = got.json()
    if "manifests" in manifest:
        images = [m for m in manifest["manifests"] if m.get("platform", {}).get("os") != "unknown"]
        ours = [m for m in images if m.get("platform", {}).get("architecture") == ARCHITECTURE]
        if not images:
            raise NoImage(f"{reference} names no image for any machine")
        own = str([*ours, *images][0]["digest"])
        return fetch(client, f"manifests/{own}").json(), digest, own
    return manifest, digest, digest


def fetch(client: httpx.Client, path: str) -> httpx.Response:
    """What the registry has there. Its own 404 is NoImage; whatever else is not an answer is the machine's trouble."""
    try:
        got = client.get(path, headers={"Accept": ", ".join(MANIFESTS)}, follow_redirects=True)
    except httpx.HTTPError as broken:
        raise LabError(f"The registry stopped answering ({type(broken).__name__}).", MEND) from broken
    if got.status_code == 404:
        raise NoImage(f"{client.base_url.path.strip('/').removeprefix('v2/')} has no {path.split('/')[-1]}")
    if got.status_code != 200:
        raise LabError(f"The registry answers {got.status_code} for {path}.", MEND)
    return got


def fill(layer: Layer, client: httpx.Client, cache: Path) -> None:
    """Reads the layer, or takes what was kept of it."""
    kept = cache / f"{layer.digest.split(':')[1]}-{SOURCE}.json"
    if not kept.is_file():
        fresh = Layer(layer.digest, layer.packed)
        with tempfile.TemporaryFile() as file:
            digest = download(client, layer.digest, file)
            if digest != layer.digest:
                raise NoImage(f"the layer {layer.digest[:19]} is damaged: its bytes hash to {digest[:19]}")
            file.seek(0)
            read_layer(file, fresh)
        write_atomic(kept, json.dumps(asdict(fresh)).encode())
    vars(layer).update({k: v for k, v in read_json(kept).items() if k != "made_by"})


def download(client: httpx.Client, name: str, file: IO[bytes]) -> str:
    """Writes that blob into the file; its bytes' digest."""
    hashed = hashlib.sha256()
    try:
        with client.stream("GET", f"blobs/{name}", follow_redirects=True) as got:
            if got.status_code == 404:
                raise NoImage(f"the layer {name[:19]} is not in the registry")
            if got.status_code != 200:
                raise LabError(f"The registry answers {got.status_code} for the layer {name[:19]}.", MEND)
            for chunk in got.iter_raw(1 << 18):
                hashed.update(chunk)
                file.write(chunk)
    except httpx.HTTPError as broken:
        raise LabError(f"The registry broke off in the layer {name[:19]} ({type(broken).__name__}).", MEND) from broken
    return f"sha256:{hashed.hexdigest()}"


@contextlib.contextmanager
def unpacked(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """A layer's archive, whichever way it was packed: gzip, zstd (by the tool of that name), or not at all."""
    magic = file.read(4)
    file.seek(0)
    if magic[:2] == b"\x1f\x8b":
        with gzip.open(file) as plain:
            yield plain  # type: ignore[misc]
    elif magic == b"\x28\xb5\x2f\xfd":
        if not shutil.which("zstd"):
            raise LabError("A layer is packed with zstd, which this machine cannot read.", "apt-get install zstd")
        os.lseek(file.fileno(), 0, os.SEEK_SET)  # the buffer above it has read on
        with subprocess.Popen(["zstd", "-dc"], stdin=file, stdout=subprocess.PIPE) as process:
            assert process.stdout
            yield process.stdout
    else:
        yield file


def read_layer(file: IO[bytes], layer: Layer) -> None:
    """Goes through the layer's files once, in their order, and fills in what `Layer` says."""
    groups: Counter[str] = Counter()
    seen = _Seen()
    with unpacked(file) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
        for member in archive:
            path = member.name.removeprefix("./")
            parent, name = str(PurePosixPath(path).parent), PurePosixPath(path).name
            if name == ".wh..wh..opq":  # all that earlier layers have in that folder
                layer.gone.append(f"{parent}/")
            elif name.startswith(".wh."):
                layer.gone.append(f"{parent}/{name.removeprefix('.wh.')}".removeprefix("./"))
            elif path.startswith(BENTO[:-1]) and not (member.isfile() or member.isdir()):
                layer.gone.append(path)  # a link in the place of what was there
                layer.bento[path.removeprefix(BENTO)] = f"a link to {member.linkname}"
            elif member.isfile():
                layer.files += 1
                layer.unpacked += member.size
                groups[group_of(path)] += member.size
                if record := INSTALLED.match(path):
                    layer.installed[record[1]] = record[2], record[3]
                look_into(archive, member, path, layer, seen)
    layer.groups = dict(groups.most_common(40))
    layer.secrets += seen.unexplained()


class _Seen:
    """Sightings in packages and system folders, until it is known which files are as their package brought them."""

    def __init__(self) -> None:
        self.sightings: dict[str, tuple[str, list[str]]] = {}  # by path: the file's hash, and what was seen in it
        self.recorded: set[tuple[str, str]] = set()  # path, hash: of packages' own records

    def keep(self, path: str, data: bytes) -> None:
        if found := secrets.search_certain(path, data):
            hashed = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            self.sightings[path] = hashed, [str(s) for s in found]

    def read_record(self, path: str, data: bytes) -> None:
        """A package's RECORD: lines of path,sha256=...,size, from the folder above it."""
        folder = PurePosixPath(path).parent.parent
        for line in data.decode("utf-8", "replace").splitlines():
            name, _, rest = line.partition(",sha256=")
            self.recorded.add((str(folder / name), rest.split(",")[0]))

    def unexplained(self) -> list[str]:
        unknown = [(p, said) for p, (hashed, said) in self.sightings.items() if (p, hashed) not in self.recorded]
        return [line for path, said in unknown if not BROUGHT.search(path) for line in said]


def look_into(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, layer: Layer, seen: _Seen) -> None:
    """Hashes the files of the Bento, and searches whatever could hold somebody's secret: what the learner wrote for
    all that looks like one, packages and system folders for the forms that are certain."""
    ours = path.startswith(BENTO)
    name = PurePosixPath(path).name
    brought = bool(SYSTEM.search(path) or PACKAGES.match(path))
    searched = not (member.size == 0 or brought or name == CACHE_TAG)
    if ANYWHERE.fullmatch(name) or (searched and secrets.search_name(path)):
        layer.secrets.append(f"{path}: a file of this name keeps secrets")
    if not ours and not 0 < member.size <= SMALL and name != "RECORD":
        return
    file = archive.extractfile(member)
    data = file.read() if file else b""
    if ours:
        blind = path.endswith(".pyc") and len(data) > 8 and data[4] & 3 == 1  # it runs whatever its source says
        layer.bento[path.removeprefix(BENTO)] = UNCHECKED if blind else hashlib.sha256(data).hexdigest()
    if searched and member.size <= SMALL:
        layer.secrets += [str(s) for s in secrets.search(path, data)]
    elif brought and name == "RECORD" and ".dist-info/" in path:
        seen.read_record(path, data)
    elif brought and not ours and "/__pycache__/" not in path:  # compiled from what lies beside it
        seen.keep(path, data)


def group_of(path: str) -> str:
    """What a file is for, as people would say it: sources, weights, a package's name, the system."""
    if path.startswith(BENTO):
        part = path.removeprefix(BENTO).split("/")[0]
        return {"src": "sources", "models": "weights", "hf-models": "weights"}.get(part, "the Bento's papers")
    if package := PACKAGES.match(path):
        name = package[1].split("-")[0].removesuffix(".libs").lower()
        return name if name in ("torch", "nvidia", "transformers", "scipy", "sklearn", "sympy", "numpy") else "packages"
    return "compilers and tools" if re.search(r"(?:gcc|/include/|cc1|lto)", path) else "system and Python"


def tidy(command: str) -> str:
    """A history entry as the Dockerfile says it."""
    text = re.sub(r"^\|\d+ .*? /bin/sh -c ", "RUN ", command.removeprefix("/bin/sh -c ").removeprefix("#(nop) "))
    text = re.sub(r"^RUN \|\d+ .*?/bin/sh -c ", "RUN ", text)
    return " ".join(text.removesuffix("# buildkit").split())[:160]


SOURCE = hashlib.sha256(b"".join(Path(f).read_bytes() for f in (__file__, secrets.__file__))).hexdigest()[:12]
