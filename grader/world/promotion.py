"""The learner's promote.py, tried on records of which it must refuse some, beside a kubectl that only notes what it is
told: nothing of it reaches a cluster.

    try_records(ws, record, forged, "ml-serving-staging")["another configuration"]  # REFUSED; or AS_RECORDED, OTHERWISE

Its world is the workspace's: sources, commits, store, and what it reads of the cluster.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml

from grader.errors import LabError
from grader.model import Facts
from grader.processes import run
from grader.workspace import copy_tree
from grader.world import pace
from grader.world.artefacts import TITLE
from grader.world.images import MEND, fetch, opened

PROGRAM, RECORD = "release/promote.py", "release/record.json"
REFUSED, AS_RECORDED, OTHERWISE = "refused", "as recorded", "otherwise"  # what became of a record
CHANGES = re.compile(r"^(?:.* )?(?:apply|patch|replace|set|create (?:.* )?-[fk])(?: |$)", re.M)
CALL, READ, WORD = "\x1e", "\x1d", "\x1f"  # before what a call reads, and between its words
# What changes nothing is asked of the cluster. Else noted: the words, and all that kubectl would read for them.
KUBECTL = """#!/bin/sh
case " $* " in
*" kustomize "*|*" get "*|*" describe "*|*" version "*|*" diff "*|*" --dry-run=client "*|*" --dry-run=server "*)
    exec {real} "$@";;
esac
read_it() {{
    if [ -d "$1" ]; then
        {real} kustomize "$1" || find "$1" -name '*.[yj]*' -exec echo --- ';' -exec cat {{}} ';'
    elif [ -e "$1" ]; then
        cat "$1"
    fi
}}
exec 3>> {told}
printf '\\036' >&3
printf '%s\\037' "$@" >&3
printf '\\035' >&3
case " $* " in *" -f - "*|*" -f- "*|*=-" "*) cat >&3;; esac
set -f
for word; do
    word=${{word#--filename}} word=${{word#--kustomize}} word=${{word#--patch-file}} word=${{word#-[fk]}}
    IFS=,
    for part in ${{word#=}}; do printf '\\n---\\n'; read_it "$part" 2> /dev/null; done >&3
done
exit 0
"""
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def try_records(ws: Any, record: Facts, forged: str, namespace: str) -> dict[str, str]:
    """What promote.py does there with the record, with one that names another image, with one for each model whose hash
    is another, with one whose configuration is not the shared one, and with one whose shared store is `forged`: an
    artefact that was signed by a stranger. Where it does not do as the record says, no other record is tried."""
    none, models = "0" * 64, record["models"] if isinstance(record.get("models"), dict) else {}
    wrong = {
        "another image": {**record, "image": re.sub("[0-9a-f]{64}$", none, str(record.get("image", "")))},
        **{f"another {tag.partition(':')[0]}": {**record, "models": {**models, tag: none}} for tag in models},
        "another configuration": {**record, "configuration": none},
        "signed by a stranger": {**record, "artefact": forged},
    }
    right, said = promote(ws, record, namespace)
    if right != AS_RECORDED:
        return {"as it is": f"{right}, {said}"}
    return {"as it is": right, **{what: promote(ws, one, namespace)[0] for what, one in wrong.items()}}


def promote(ws: Any, record: Facts, namespace: str) -> tuple[str, str]:
    """What it told kubectl to change: with the record's image, or with another one; and its last words."""
    with tempfile.TemporaryDirectory(prefix="promoted-", ignore_cleanup_errors=True) as folder:
        place, told = Path(folder) / "work", Path(folder) / "told"
        lay_out(ws.root, place)
        (place / RECORD).write_text(json.dumps(record))
        environ = beside(Path(folder), told, ws.environ())
        done = run(["python", PROGRAM, RECORD, namespace], limit := pace.patience(60), place, environ)
        last = f"no end in {limit:g} s" if done.code is None else done.tail(1)[:160] or "and nothing said"
        calls = [call.partition(READ) for call in told.read_text(errors="replace").split(CALL)] if told.exists() else []
        changes = [(words, read) for words, _, read in calls if CHANGES.search(words.replace(WORD, " "))]
        if not changes:
            return REFUSED, last
        digest = str(record.get("image", "")).partition("@")[2]
        named = [image for words, read in changes for image in set_by(words.split(WORD), read)]
        return AS_RECORDED if any(image.endswith(f"@{digest}") for image in named) else OTHERWISE, last


def lay_out(root: Path, place: Path) -> None:
    """A workspace in which promote.py can be run: copies of what it may write to, and the store by a link."""
    for name in ("release", "deploy", "service", ".git"):
        if (root / name).is_dir():
            copy_tree(root / name, place / name, skip={"parts", "places"})
    if (root / "store").is_dir():
        (place / "store").symlink_to((root / "store").resolve())


def set_by(words: list[str], read: str) -> Iterator[str]:
    """The images that kubectl's words set, or what it reads for them."""
    if "image" in words and "set" in words:
        yield from (word.partition("=")[2] for word in words)
    for text in [*re.split(r"^---.*$", read, flags=re.M), *(words if "patch" in words else [])]:
        with contextlib.suppress(yaml.YAMLError):
            yield from images_of(yaml.safe_load(text))


def images_of(thing: Any) -> Iterator[str]:
    """What containers in it are to run, and what a JSON patch puts at such a place."""
    if isinstance(thing, list):
        for part in thing:
            yield from images_of(part)
    elif isinstance(thing, dict):
        containers = thing.get("containers")
        yield from (
            str(c.get("image")) for c in containers or [] if isinstance(containers, list) and isinstance(c, dict)
        )
        if str(thing.get("path")).endswith("/image"):
            yield str(thing.get("value"))
        yield from images_of(list(thing.values()))


def beside(folder: Path, told: Path, environ: dict[str, str]) -> dict[str, str]:
    """That environment, with a kubectl in front which writes what it is to change, and reads for it, into `told`."""
    program = folder / "bin" / "kubectl"
    program.parent.mkdir()
    real = shutil.which("kubectl", path=environ["PATH"]) or "false"
    program.write_text(KUBECTL.format(real=shlex.quote(real), told=shlex.quote(str(told))))
    program.chmod(0o755)
    return {**environ, "PATH": f"{program.parent}:{environ['PATH']}"}


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
