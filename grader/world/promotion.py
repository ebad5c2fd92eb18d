"""The learner's promote.py, tried on records of which it must refuse some, beside a kubectl that only notes what it is
told: nothing of it reaches a cluster.

    try_records(ws, record, forged)["another configuration"]  # REFUSED; or AS_RECORDED, OTHERWISE
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import httpx

from grader.errors import LabError
from grader.model import Facts
from grader.processes import run
from grader.workspace import copy_tree
from grader.world import pace
from grader.world.artefacts import SMALL, TITLE
from grader.world.images import MEND, fetch, opened

PROGRAM, RECORD = "release/promote.py", "release/record.json"
REFUSED, AS_RECORDED, OTHERWISE = "refused", "as recorded", "otherwise"  # what became of a record
CHANGES = re.compile(r"^(?:.* )?(?:apply|patch|replace|set|create (?:.* )?-[fk])(?: |$)", re.M)
KUBECTL = """#!/bin/sh
case " $* " in *" kustomize "*) exec {real} "$@";; esac
printf '%s\\n' "$*" >> {told}
case " $* " in *" -f - "*|*" -f- "*) cat >> {told};; esac
"""
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def try_records(ws: Any, record: Facts, forged: str) -> dict[str, str]:
    """What promote.py does with the record, with one that names another image, with one whose configuration is not the
    shared one, and with one whose shared store is `forged`: an artefact that was signed by a stranger."""
    none = "0" * 64
    given = {
        "as it is": record,
        "another image": {**record, "image": re.sub("[0-9a-f]{64}$", none, str(record.get("image", "")))},
        "another configuration": {**record, "configuration": none},
        "signed by a stranger": {**record, "artefact": forged},
    }
    found = {what: promote(ws, one) for what, one in given.items()}
    told = {what: became for what, (became, _) in found.items()}
    right, said = found["as it is"]
    return told if right == AS_RECORDED else {**told, "as it is": f"{right}, {said}"}


def promote(ws: Any, record: Facts) -> tuple[str, str]:
    """What it told kubectl to change, or wrote for it to read: with the record's image, or with another one; and its
    last words."""
    with tempfile.TemporaryDirectory(prefix="promoted-", ignore_cleanup_errors=True) as folder:
        place, told = Path(folder) / "work", Path(folder) / "told"
        for name in ("release", "deploy"):
            copy_tree(ws.root / name, place / name, skip={"parts", "places"})
        (place / RECORD).write_text(json.dumps(record))
        environ = beside(Path(folder), told, ws.environ())
        before = written(place)
        done = run(["python", PROGRAM, RECORD, "nowhere"], limit := pace.patience(60), place, environ)
        last = f"no end in {limit:g} s" if done.code is None else done.tail(1)[:160] or "and nothing said"
        said = told.read_text(errors="replace") if told.is_file() else ""
        if not CHANGES.search(said):
            return REFUSED, last
        fresh = [path for path, at in written(place).items() if before.get(path) != at]
        texts = [said, *(path.read_text(errors="replace") for path in fresh if path.stat().st_size < SMALL)]
        digest = str(record.get("image", "")).partition("@")[2]
        return AS_RECORDED if any(digest in text for text in texts) else OTHERWISE, last


def beside(folder: Path, told: Path, environ: dict[str, str]) -> dict[str, str]:
    """That environment, with a kubectl in front which writes its words and what is piped to it into `told`."""
    program = folder / "bin" / "kubectl"
    program.parent.mkdir()
    real = shutil.which("kubectl", path=environ["PATH"]) or "false"
    program.write_text(KUBECTL.format(real=real, told=told))
    program.chmod(0o755)
    return {**environ, "PATH": f"{program.parent}:{environ['PATH']}"}


def written(place: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}


def forge(artefact: str, registry: str, title: str, data: bytes) -> str:
    """Puts that artefact into the registry once more, with other bytes for one of its files; the new one's name. It has
    no tag, as the first has none."""
    where, _, digest = artefact.partition("@")
    with opened(registry, where.partition("/")[2]) as client:
        manifest = json.loads(fetch(client, f"manifests/{digest}").content)
        for layer in manifest["layers"]:
            if layer["annotations"][TITLE].removeprefix("./") == title:
                layer |= {"digest": push(client, data), "size": len(data)}
        text = json.dumps(manifest).encode()
        kind = {"content-type": manifest.get("mediaType", MANIFEST)}
        send(client, "PUT", f"manifests/{digest_of(text)}", text, kind)
        return f"{where}@{digest_of(text)}"


def push(client: httpx.Client, data: bytes) -> str:
    """Those bytes as a blob; its digest."""
    place = send(client, "POST", "blobs/uploads/").headers["location"]
    there = client.base_url.join(place)
    send(client, "PUT", str(there.copy_merge_params({"digest": digest_of(data)})), data)
    return digest_of(data)


def send(
    client: httpx.Client, method: str, path: str, data: bytes = b"", headers: Facts | None = None
) -> httpx.Response:
    try:
        return client.request(method, path, content=data, headers=headers).raise_for_status()
    except httpx.HTTPError as broken:
        raise LabError(f"The registry takes nothing ({type(broken).__name__}: {broken}).", MEND) from broken


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
