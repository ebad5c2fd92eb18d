"""Reads an image's layers from where it lies, a registry, without an engine: what each holds, removes and gives away.

    image = read_image("127.0.0.1:5001", "demo-text-intelligence", "bento-v1", cache)
    image.digest, image.config["User"], [layer.groups for layer in image.layers]

Every byte is read and hashed, so what this returns is what a node would pull. A layer never changes under its digest,
so what was read of it is kept in `cache` (read again when this module or the search for secrets changes).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import tarfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

import httpx

from grader.workspace import read_json, write_atomic
from grader.world import secrets

BENTO = "home/bentoml/bento/"  # BENTO_PATH of every image that BentoML makes
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
SMALL = 200_000  # bytes: larger files are not searched for secrets
CACHE_TAG = "CACHEDIR.TAG"  # holds a signature that is the same everywhere


class NoImage(Exception):
    """The registry does not answer, or has no such image; the text says which."""


@dataclass
class Layer:
    """`packed` and `unpacked` are bytes. `groups`: what the bytes are for. `bento`: sha256 of each file of the Bento.
    `gone`: paths of earlier layers that this one hides (and that everybody can still read there)."""

    digest: str
    packed: int
    made_by: str = ""
    unpacked: int = 0
    files: int = 0
    groups: dict[str, int] = field(default_factory=dict)
    bento: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)


@dataclass
class Image:
    """`config` is what the engine starts: User, Env, Entrypoint, Labels; `history` one command a step."""

    digest: str
    config: dict[str, Any]
    history: list[str]
    layers: list[Layer]

    @property
    def packed(self) -> int:
        return sum(layer.packed for layer in self.layers)

    @property
    def unpacked(self) -> int:
        return sum(layer.unpacked for layer in self.layers)


def read_image(registry: str, repository: str, reference: str, cache: Path) -> Image:
    """The image of that tag or digest; some 15 s for one of 1.7 GB the first time, well below one afterwards."""
    with httpx.Client(base_url=f"http://{registry}/v2/{repository}/", timeout=60) as client:
        manifest, digest = read_manifest(client, reference)
        settings = fetch(client, f"blobs/{manifest['config']['digest']}").json()
        steps = settings.get("history", [])
        commands = [str(s.get("created_by", "")) for s in steps if not s.get("empty_layer")]
        layers = [Layer(part["digest"], part["size"]) for part in manifest["layers"]]
        for layer, command in zip(layers, [*commands, *[""] * len(layers)], strict=False):
            layer.made_by = tidy(command)
            fill(layer, client, cache)
        return Image(digest, settings.get("config") or {}, [str(s.get("created_by", "")) for s in steps], layers)


def read_tags(registry: str, repository: str) -> list[str]:
    with httpx.Client(base_url=f"http://{registry}/v2/{repository}/", timeout=10) as client:
        return sorted(fetch(client, "tags/list").json().get("tags") or [])


def read_manifest(client: httpx.Client, reference: str) -> tuple[dict[str, Any], str]:
    """The manifest and the digest of that reference; of an index the first entry that is an image for a machine."""
    got = fetch(client, f"manifests/{reference}")
    digest = got.headers.get("docker-content-digest") or f"sha256:{hashlib.sha256(got.content).hexdigest()}"
    manifest = got.json()
    if "manifests" in manifest:
        images = [m for m in manifest["manifests"] if m.get("platform", {}).get("os") != "unknown"]
        return fetch(client, f"manifests/{images[0]['digest']}").json(), digest
    return manifest, digest


def fetch(client: httpx.Client, path: str) -> httpx.Response:
    try:
        got = client.get(path, headers={"Accept": ", ".join(MANIFESTS)}, follow_redirects=True)
    except httpx.HTTPError as broken:
        raise NoImage(f"the registry at {client.base_url.host}:{client.base_url.port} does not answer") from broken
    if got.status_code == 404:
        raise NoImage(f"{client.base_url.path.strip('/').removeprefix('v2/')} has no {path.split('/')[-1]}")
    if got.status_code != 200:
        raise NoImage(f"the registry answers {got.status_code} for {path}")
    return got


def fill(layer: Layer, client: httpx.Client, cache: Path) -> None:
    """Reads the layer, or takes what was kept of it."""
    kept = cache / f"{layer.digest.split(':')[1]}-{SOURCE}.json"
    if not kept.is_file():
        fresh = Layer(layer.digest, layer.packed)
        with client.stream("GET", f"blobs/{layer.digest}", follow_redirects=True) as got:
            if got.status_code != 200:
                raise NoImage(f"the layer {layer.digest[:19]} is not in the registry ({got.status_code})")
            stream = Stream(got.iter_raw(1 << 18))
            read_layer(stream, fresh)
        if stream.digest() != layer.digest:
            raise NoImage(f"the layer {layer.digest[:19]} is damaged: its bytes hash to {stream.digest()[:19]}")
        write_atomic(kept, json.dumps(asdict(fresh)).encode())
    vars(layer).update({k: v for k, v in read_json(kept).items() if k != "made_by"})


class Stream:
    """A file of chunks that hashes what passes through."""

    def __init__(self, chunks: Any) -> None:
        self._chunks, self._left, self._hash = chunks, b"", hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._left) < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._hash.update(chunk)
            self._left += chunk
        given, self._left = (self._left, b"") if size < 0 else (self._left[:size], self._left[size:])
        return given

    def digest(self) -> str:
        self.read()
        return f"sha256:{self._hash.hexdigest()}"


def read_layer(stream: IO[bytes] | Stream, layer: Layer) -> None:
    """Goes through the layer's files once, in their order, and fills in what `Layer` says."""
    groups: Counter[str] = Counter()
    packed: Any = stream
    with gzip.open(packed) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as archive:
        for member in archive:
            path = member.name.removeprefix("./")
            name = PurePosixPath(path).name
            if name.startswith(".wh."):
                layer.gone.append(str(PurePosixPath(path).with_name(name.removeprefix(".wh."))))
                continue
            if not member.isfile():
                continue
            layer.files += 1
            layer.unpacked += member.size
            groups[group_of(path)] += member.size
            look_into(archive, member, path, layer)
    layer.groups = dict(groups.most_common(40))


def look_into(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, layer: Layer) -> None:
    """Hashes the files of the Bento, and searches whatever could hold somebody's secret."""
    ours = path.startswith(BENTO)
    name = PurePosixPath(path).name
    searched = not (member.size == 0 or SYSTEM.search(path) or PACKAGES.match(path) or name == CACHE_TAG)
    if ANYWHERE.fullmatch(name) or (searched and secrets.search_name(path)):
        layer.secrets.append(f"{path}: a file of this name keeps secrets")
    if not ours and not (searched and member.size <= SMALL):
        return
    file = archive.extractfile(member)
    data = file.read() if file else b""
    if ours:
        layer.bento[path.removeprefix(BENTO)] = hashlib.sha256(data).hexdigest()
    if searched and member.size <= SMALL:
        layer.secrets += [str(s) for s in secrets.search(path, data)]


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
