"""Files that are in a registry as one artefact (an OCI manifest whose layers are files), pulled by digest and hashed.

    found = pull("127.0.0.1:5001/demo-text-intelligence-models@sha256:...", "127.0.0.1:5001", Path("empty"))
    found.files["models/demo_classifier/6bdd.../saved_model.pkl"]  # the sha256 of the bytes that came

A layer's title is the path that it is unpacked to, as the OCI's tools have it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import httpx

from grader.world.images import NoImage, download, fetch, opened
from grader.world.secrets import search_certain

TITLE = "org.opencontainers.image.title"
SMALL = 1_000_000  # bytes: what is smaller is searched for secrets


@dataclass
class Artefact:
    """`files`: sha256 of each file's bytes as they came, by title; `secrets`: what looks like one in the small ones;
    `problem`: why it cannot be read."""

    files: dict[str, str] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    problem: str = ""


def pull(name: str, registry: str, into: Path) -> Artefact:
    """All of it, by the digest in its name, written below `into`. Raises LabError where no registry answers."""
    where, _, digest = name.partition("@")
    host, _, repository = where.partition("/")
    if host != registry or not repository or not digest.startswith("sha256:"):
        return Artefact(problem=f"{name or 'no name'} is not REPOSITORY@sha256:... in the registry {registry}")
    found = Artefact()
    try:
        with opened(registry, repository) as client:
            manifest = json.loads(fetch(client, f"manifests/{digest}").content)
            for layer in manifest["layers"]:
                take(client, layer, into, found)
    except NoImage as absent:
        return Artefact(problem=str(absent))
    except (ValueError, KeyError, TypeError, AttributeError) as odd:
        return Artefact(problem=f"its manifest cannot be read: {type(odd).__name__}: {odd}"[:160])
    return found


def take(client: httpx.Client, layer: dict[str, Any], into: Path, found: Artefact) -> None:
    """One of its files. Raises NoImage where the bytes are not those that the manifest names."""
    title = PurePosixPath(layer["annotations"][TITLE])
    if title.is_absolute() or ".." in title.parts:
        raise ValueError(f"{title} leads out of its folder")
    path = into / title
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w+b") as file:
        came = download(client, layer["digest"], file)
        if came != layer["digest"]:
            raise NoImage(f"{title} is damaged: its bytes hash to {came[7:19]}")
        found.files[str(title)] = came.removeprefix("sha256:")
        if file.tell() < SMALL:
            file.seek(0)
            found.secrets += [str(s) for s in search_certain(str(title), file.read())]
