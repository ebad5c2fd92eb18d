"""sc11: one record says what is released, and staging and production run that.

Three probes. `recorded` holds the record against the store, the Bento, the workspace's commit and the registry: the
shared store is pulled by its digest, its signature checked here, and the learner's verify.sh is tried on changed copies
of it. `running` looks into each pod of both places (started for that, where they are scaled to 0). `computed` in it is
what the recorded models answer in a process of their own. The record itself is never believed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cluster.engine import environ
from cluster.names import IMAGE, read_names, state
from grader.errors import LabError
from grader.kit import check, probe
from grader.model import Facts, Finding
from grader.processes import run
from grader.workspace import locked
from grader.world import artefacts, bentos, images, listeners, pace, promotion
from grader.world.objects import kubectl
from grader.world.places import awake, look_at, why
from grader.world.releases import NAME, TEXTS, newest, released, untagged
from grader.world.saved import CLASSIFIER, EMBEDDER, saved_models
from grader.world.secrets import RANDOM, SIGNS, search, search_certain, search_manifest

RECORD = "release/record.json"
KEYS = ("commit", "lock", "bento", "models", "image", "artefact", "configuration")
CONFIGURATION = "bentoml_configuration.yml"
SUMS, SIGNATURE, SIGNERS = "SHA256SUMS", "SHA256SUMS.sig", "allowed_signers"
WEIGHTS = "saved_model.pkl"
PURPOSE = "model-store"  # the namespace that a signature is for
NEAR = 1e-3  # between two computations of a score
HASH = re.compile(r"[0-9a-f]{64}")
PUBLIC = re.compile(rb"[\w@.-]+ AAAA[0-9A-Za-z+/=]{40,}")  # a public key, as ssh has it in a line
MUST_REFUSE = (f"another {EMBEDDER}", f"another {CLASSIFIER}", "another configuration", "signed by a stranger")
HITS, VERSIONS = 400, 200  # looked at in a history: files that may have secrets in them, and manifests
WORDS = 1000  # ids that git is given at once


@probe(limit=420)
def recorded(ws: Any) -> Facts:
    """The record, what each part of it is in the world, and what verify.sh and promote.py do with wrong ones; 30 s."""
    record, problem = read_record(ws.root)
    registry, folder = read_names().address, ws.store / "bentos" / NAME / newest(ws.store)
    facts: Facts = {"problem": problem, "record": record, "bento": newest(ws.store), **released(ws.root)}
    named = [m["tag"] for m in bentos.read_yaml(folder / "bento.yaml").get("models") or []] if facts["bento"] else []
    facts |= {
        "lock": hashed(folder / "env" / "python" / "requirements.txt"),
        "commit": look_up(ws.root, str(record.get("commit") or ""), folder / "src"),
        "store": {path: digest for tag in named for path, digest in files_of(ws.store, tag).items()},
        "image": find_image(str(record.get("image", "")), registry),
        "leaked": [*leaked(ws.root), *committed(ws.root, str(record.get("commit") or ""))],
    }
    with tempfile.TemporaryDirectory(prefix="release-", ignore_cleanup_errors=True) as place:
        parts = Path(place) / "parts"
        parts.mkdir()
        found = artefacts.pull(str(record.get("artefact", "")), registry, parts)
        facts["shared"] = {"problem": found.problem, "files": found.files, "secrets": found.secrets}
        facts["sums"], facts["signature"] = read_sums(parts), verify(parts, ws.root / "release" / SIGNERS)
        is_right = not (found.problem or facts["signature"])
        facts["tries"] = try_copies(ws, parts) if is_right else {}
        facts["promotes"] = promoted_so(ws, record, forged(record, registry, parts)) if is_right else {}
    return facts


def promoted_so(ws: Any, record: Facts, other: str) -> dict[str, dict[str, str]]:
    """What promote.py does with right and wrong records, for each place."""
    return {place: promotion.try_records(ws, record, other, space) for place, space in places_of(ws).items()}


def places_of(ws: Any) -> dict[str, str]:
    names = read_names()
    return {"staging": names.staging(ws.name), "production": names.production(ws.name)}


def forged(record: Facts, registry: str, parts: Path) -> str:
    """The shared store with the signature of a stranger, in the registry."""
    (parts / SUMS).write_bytes((parts.parent / SUMS).read_bytes())
    sign(parts)
    return promotion.forge(str(record["artefact"]), registry, SIGNATURE, (parts / SIGNATURE).read_bytes())


def read_record(root: Path) -> tuple[Facts, str]:
    """The record's own parts, or none, and why."""
    try:
        found = json.loads((root / RECORD).read_text(encoding="utf-8-sig"))
        return {key: found[key] for key in KEYS if key in found}, ""
    except FileNotFoundError:
        return {}, f"there is no {RECORD}"
    except (ValueError, TypeError) as wrong:
        return {}, f"{RECORD}: {type(wrong).__name__}: {wrong}"[:160]


def hashed(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def files_of(store: Path, tag: str) -> dict[str, str]:
    """sha256 of each file of a saved model, by its path in the store."""
    folder = store / "models" / tag.replace(":", "/")
    return {p.relative_to(store).as_posix(): hashed(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def sources_of(bento: Path) -> dict[str, str]:
    """sha256 of each of a Bento's sources, by its path in it."""
    files = [p for p in sorted((bento / "src").rglob("*")) if p.is_file() and p.parent.name != "__pycache__"]
    return {path.relative_to(bento).as_posix(): hashed(path) for path in files}


def look_up(root: Path, commit: str, sources: Path) -> Facts:
    """Whether the workspace is a repository of its own, whether it has that commit, and which sources of the Bento are
    otherwise in it."""
    facts: Facts = {"repository": (root / ".git").exists(), "known": False, "different": []}
    if not facts["repository"] or not re.fullmatch("[0-9a-f]{7,64}", commit):
        return facts
    facts["known"] = git(root, "cat-file", "-e", f"{commit}^{{commit}}") is not None
    for path in sorted(p for p in sources.rglob("*") if p.is_file() and p.name != "bentofile.yaml"):
        name = path.relative_to(sources).as_posix()
        if facts["known"] and git(root, "show", f"{commit}:service/{name}") != path.read_text(errors="replace"):
            facts["different"].append(name)
    if facts["known"] and not git(root, "ls-tree", commit, "deploy/"):
        facts["different"].append("deploy, which is not in it")
    return facts


def leaked(root: Path) -> list[str]:
    """What looks like a secret in the record."""
    path = root / RECORD
    return named_secrets(RECORD, path.read_bytes()) if path.is_file() else []


def named_secrets(where: str, data: bytes) -> list[str]:
    """Secrets of a known form, and values that a name calls secret. Letters without a meaning are left out: what
    belongs to a release is full of hashes."""
    return [str(s) for s in search(where, data) if not s.what.startswith(RANDOM)]


def committed(root: Path, commit: str) -> list[str]:
    """What looks like a secret in files of that commit or of any before it: who has the repository has them all."""
    if not (root / ".git").exists() or not re.fullmatch("[0-9a-f]{7,64}", commit):
        return []
    told, found = [], versions(root, commit)
    for version, path in signed_with(root, found):
        told += sighted(root, commit, version, search_certain(path, shown(root, version)))
    deployed = [(v, path) for v, path in found.items() if path.startswith(("deploy/", "release/"))]
    for version, path in deployed[:VERSIONS]:
        data = shown(root, version)
        named = [s for s in search(path, data) if not s.what.startswith(RANDOM)]
        held = [s for s in search_manifest(path, data) if s.shown not in {n.shown for n in named}]
        told += sighted(root, commit, version, [*named, *held])
    return list(dict.fromkeys(told))


def versions(root: Path, commit: str) -> dict[str, str]:
    """Each version of a file that is in that commit or in one before it: its id -> its path, the newest first."""
    kinds = (git(root, "cat-file", "--batch-all-objects", "--batch-check") or "").splitlines()
    files = {line.split()[0] for line in kinds if " blob " in line}
    lines = (git(root, "rev-list", "--objects", commit) or "").splitlines()
    named = {one: path for one, _, path in (line.partition(" ") for line in lines) if one in files}
    return {one: path for one, path in named.items() if not path.startswith("store/")}


def signed_with(root: Path, found: Facts) -> list[tuple[str, str]]:
    """Those versions in which a secret of a known form may be."""
    signs, ids = [word for sign in SIGNS for word in ("-e", sign.decode())], list(found)
    some = [ids[at : at + WORDS] for at in range(0, len(ids), WORDS)]
    lines = [line for few in some for line in (git(root, "grep", "-I", "-l", "-F", *signs, *few) or "").splitlines()]
    return [(one, found[one]) for one in lines if one in found][:HITS]


def shown(root: Path, version: str) -> bytes:
    return (git(root, "cat-file", "blob", version) or "").encode()


def sighted(root: Path, commit: str, version: str, sightings: Sequence[Any]) -> list[str]:
    """Those sightings, with the commit that brought that version of a file."""
    if not sightings:
        return []
    since = (git(root, "log", "--format=%h", "--abbrev=7", f"--find-object={version}", commit) or "").split()
    return [f"commit {since[-1] if since else commit[:7]}:{s}" for s in sightings]


def git(root: Path, *words: str) -> str | None:
    """What git prints in that repository; None where it refuses. Raises LabError where it does not say either."""
    done = run(["git", "-C", str(root), *words], limit := pace.patience(20))
    if done.code is None:
        raise LabError(
            f"git {words[0]} did not end within {limit:g} s.", "Grade again when the machine has less to do."
        )
    if "dubious ownership" in done.output:
        raise LabError(f"git reads nothing of {root}, which belongs to another user.", f"`chown -R $(id -u) {root}`")
    return done.stdout if done.ok else None


def find_image(name: str, registry: str) -> str:
    """Why the registry has not that image; "" where it has."""
    where, _, digest = untagged(name).partition("@")
    host, _, repository = where.partition("/")
    if host != registry or not digest:
        return f"{name or 'no name'} is not REPOSITORY@sha256:... in the registry {registry}"
    try:
        return "" if digest in images.read_start(registry, repository, digest)[0] else "the registry has another one"
    except images.NoImage as absent:
        return str(absent)


def read_sums(parts: Path) -> dict[str, str]:
    """What SHA256SUMS says: path -> sha256."""
    path = parts / SUMS
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    return {m[2].removeprefix("./"): m[1] for line in lines if (m := re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line))}


def verify(parts: Path, signers: Path) -> str:
    """Why SHA256SUMS carries no signature of one whom the workspace allows to sign model stores; "" where it does."""
    for path in (parts / SUMS, parts / SIGNATURE, signers):
        if not path.is_file():
            return f"there is no {path.name}"
    common = ["-f", str(signers), "-s", str(parts / SIGNATURE)]
    found = run(["ssh-keygen", "-Y", "find-principals", *common], 20, env=environ())
    if not found.ok:
        return f"none of {signers.name} made it"
    check_it = ["ssh-keygen", "-Y", "verify", *common, "-I", found.stdout.splitlines()[0].split(",")[0], "-n", PURPOSE]
    done = run(["sh", "-c", f'"$@" < {SUMS}', "sh", *check_it], 20, parts, environ())
    return "" if done.ok else done.tail(1)


def try_copies(ws: Any, parts: Path) -> dict[str, bool]:
    """Which of these copies of the shared store the learner's verify.sh accepts; each file in turn is taken away, and
    has a byte changed. The last is all that a stranger can do who may write to it: his own signature, and his key in
    each file that had the right one."""
    place, signers = parts.parent, ws.root / "release" / SIGNERS
    shutil.copy(parts / SUMS, place)
    (place / "release").mkdir()
    for path in (ws.root / "release").iterdir():
        if path.is_file() and path.stat().st_size < artefacts.SMALL:
            shutil.copy(path, place / "release")

    def accepts() -> bool:
        return run(["sh", "release/verify.sh", "parts"], pace.patience(30), place, ws.environ()).ok

    def accepts_any(change: Callable[[bytes], bytes | None]) -> bool:
        for path in sorted(p for p in parts.rglob("*") if p.is_file() and p.name not in (SUMS, SIGNATURE)):
            with changed(path, change):
                if accepts():
                    return True
        return False

    weights = max(parts.glob(f"models/{CLASSIFIER}/*/{WEIGHTS}"), default=parts / SUMS)
    told = {"as it is": accepts(), "without a file": accepts_any(lambda _: None)}
    with changed(parts / CONFIGURATION, lambda before: before + b"\n"):
        told["another configuration"] = accepts()
    told["a byte changed"] = accepts_any(flipped)
    with changed(weights, flipped):
        relist(parts)
        told["and its sum as well"] = accepts()
        (parts / SIGNATURE).unlink()
        told["and no signature"] = accepts()
        sign(take_over(parts, signers))
        told["and signed by a stranger"] = accepts()
    return told


@contextlib.contextmanager
def changed(path: Path, change: Callable[[bytes], bytes | None]) -> Iterator[None]:
    """That file holds something else meanwhile, or is not there; nothing is done where there is none."""
    before = path.read_bytes() if path.is_file() else None
    after = None if before is None else change(before)
    if before is not None and after is None:
        path.unlink()
    elif after is not None:
        path.write_bytes(after)
    try:
        yield
    finally:
        if before is not None:
            path.write_bytes(before)


def flipped(before: bytes) -> bytes:
    return before[:-1] + bytes([before[-1] ^ 1]) if before else b"\n"


def relist(parts: Path) -> None:
    """SHA256SUMS with the hash that each of its files has now."""
    lines = (parts / SUMS).read_text(errors="replace").splitlines()
    names = [line[66:] for line in lines]
    now = [hashed(parts / name) if len(name) < 255 else "" for name in names]
    (parts / SUMS).write_text(
        "".join(f"{digest or line[:64]}{line[64:]}\n" for digest, line in zip(now, lines, strict=True))
    )


def take_over(parts: Path, signers: Path) -> Path:
    """A stranger's key instead of each that may sign, in all files of the copy, and the list with their hashes."""
    make_key(parts.parent)
    theirs = " ".join((parts.parent / "stranger.pub").read_text().split()[:2]).encode()
    ours = re.compile(b"|".join(map(re.escape, PUBLIC.findall(signers.read_bytes()))) or b"$^")
    for path in [p for p in parts.rglob("*") if p.is_file() and p.stat().st_size < artefacts.SMALL]:
        path.write_bytes(ours.sub(theirs, path.read_bytes()))
    relist(parts)
    return parts


def make_key(place: Path) -> Path:
    """A key that was made for this."""
    key = place / "stranger"
    if not key.is_file():
        done = run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], 20, env=environ())
        if not done.ok:
            raise LabError(f"ssh-keygen makes no key: {done.tail(1)}", "It comes with OpenSSH 8.2 and later.")
    return key


def sign(parts: Path) -> None:
    key = make_key(parts.parent)
    done = run(["sh", "-c", f"ssh-keygen -Y sign -f {key} -n {PURPOSE} < {SUMS} > {SIGNATURE}"], 20, parts)
    if not done.ok:
        raise LabError(f"ssh-keygen cannot sign: {done.tail(1)}", "It comes with OpenSSH 8.2 and later.")


@probe(limit=480)
def running(ws: Any) -> Facts:
    """What both places name, have and answer, and what the recorded models answer here; 20 s, 40 more from 0 pods."""
    names, record = read_names(), read_record(ws.root)[0]
    spaces = places_of(ws)
    bento = newest(ws.store)
    told = bentos.read_yaml(ws.store / "bentos" / NAME / bento / "bento.yaml").get("models") if bento else None
    tags = {str(m["tag"]).partition(":")[0]: str(m["tag"]) for m in told or []}
    parts = {key: str(record.get(key)) for key in ("bento", "image", "configuration")}
    facts: Facts = {"record": parts, "named": sorted(tags.values()), "computed": compute(ws, tags)}
    facts["store"] = {path: digest for tag in tags.values() for path, digest in files_of(ws.store, tag).items()}
    facts["sources"] = sources_of(ws.store / "bentos" / NAME / bento) if bento else {}
    lock = state() / f"{names.cluster}-{spaces['production']}.lock"
    with locked(lock, "staging and production", lambda _: None), awake(list(spaces.values())) as late:
        facts["late"] = {place: why(space) for place, space in spaces.items() if space in late}
        facts["places"] = {place: look_at(space) for place, space in spaces.items()}
    return facts


def compute(ws: Any, tags: dict[str, str]) -> Facts:
    """Labels and scores of three tickets, by the models of the store that the Bento names."""
    os.environ["OMP_NUM_THREADS"] = "1"  # beside pods that start, two threads wait for each other
    if set(tags) != {EMBEDDER, CLASSIFIER}:
        return {"labels": [], "scores": [], "problem": "the Bento does not name both models"}
    with saved_models(ws) as asked:
        asked.get_ready(torch=True)
        asked.ask("use_service", folder=str(ws.service))
        for tag in tags.values():
            _, problem = asked.ask("load", tag=tag)
            if problem:
                return {"labels": [], "scores": [], "problem": f"{tag}: {problem}"}
        prepared, _ = asked.ask("prepare", texts=list(TEXTS))
        rows, _ = asked.ask("encode", tag=tags[EMBEDDER], texts=prepared)
        scores, problem = asked.ask("predict_proba", tag=tags[CLASSIFIER], rows=rows)
        classes, _ = asked.ask("classes", tag=tags[CLASSIFIER])
    best = [max(range(len(row)), key=row.__getitem__) for row in scores or []]
    return {"labels": [classes[i] for i in best], "scores": [row[i] for row, i in zip(scores or [], best, strict=True)],
            "problem": problem}  # fmt: skip


# ---------------------------------------------------------------- the record


@check(recorded)
def record_complete(seen: Facts) -> Finding:
    lacking = [key for key in KEYS if key not in seen["record"]]
    found = seen["problem"] or (f"no {', '.join(lacking)}" if lacking else "all of it")
    return Finding(not lacking, f"{RECORD} names every part of the release", found, ", ".join(KEYS))


@check(recorded, after=record_complete)
def names_cannot_move(seen: Facts) -> Finding:
    """A tag of the registry can be pushed again, and latest is another one tomorrow."""
    record = seen["record"]
    models = record["models"] if isinstance(record["models"], dict) else {}
    wrong = [key for key in ("image", "artefact") if not re.search(r"@sha256:[0-9a-f]{64}$", str(record[key]))]
    wrong += [tag for tag in [*models, str(record["bento"])] if not re.search(r":(?!latest$)[\w.-]+$", tag)]
    wrong += ["models, which is no table of tags and hashes"] * (not models)
    wrong += [f"{key} {value}" for key, value in {**models, **{k: record[k] for k in ("lock", "configuration")}}.items()
              if not HASH.fullmatch(str(value))]  # fmt: skip
    wrong += [f"commit {record['commit']}"] * (record["commit"] is not None and not re.fullmatch(
        "[0-9a-f]{40,64}", str(record["commit"])))  # fmt: skip
    found = f"can move, or is no name: {', '.join(map(str, wrong[:3]))}" if wrong else "digests, versions and hashes"
    return Finding(
        not wrong, "no name in the record can come to mean something else", found, "digests, versions and hashes"
    )


@check(recorded, after=names_cannot_move)
def made_of_this_bento(seen: Facts) -> Finding:
    record, commit = seen["record"], seen["commit"]
    same = bool(seen["bento"]) and record["bento"] == f"{NAME}:{seen['bento']}"
    wrong = [] if same else [f"the Bento is {record['bento']}"]
    wrong += ["the lock is another one"] * (not seen["lock"] or record["lock"] != seen["lock"])
    if commit["repository"] and not commit["known"]:
        wrong.append(f"the workspace has no commit {record['commit']}")
    if not commit["repository"] and record["commit"] is not None:
        wrong.append(f"the workspace is no repository, and the commit is {record['commit']}")
    wrong += [f"not as in that commit: {', '.join(commit['different'][:3])}"] * bool(commit["different"])
    wanted = f"{NAME}:{seen['bento']}, the hash of its requirements.txt, and a commit that has its sources"
    return Finding(not wrong, "Bento, lock and commit are of one piece", "; ".join(wrong) or "they are", wanted)


@check(recorded, after=names_cannot_move)
def models_as_saved(seen: Facts) -> Finding:
    saved = weights_of(seen["store"])
    found = {tag: str(digest)[:12] for tag, digest in seen["record"]["models"].items()}
    wanted = {tag: digest[:12] for tag, digest in saved.items()}
    good = len(saved) == 2 and seen["record"]["models"] == saved
    return Finding(good, "the models' hashes are those of the Bento's models in the store", str(found), str(wanted))


def weights_of(store: Facts) -> Facts:
    """tag -> sha256 of its weights, of files by their path in a store."""
    found = {tuple(path.split("/")): digest for path, digest in store.items()}
    return {f"{path[1]}:{path[2]}": digest for path, digest in found.items() if path[3:] == (WEIGHTS,)}


@check(recorded, after=names_cannot_move)
def image_in_registry(seen: Facts) -> Finding:
    wanted, found = untagged(seen["release"]), untagged(seen["record"]["image"])
    same = seen["release_bento"] in (seen["bento"], f"{NAME}:{seen['bento']}")
    good = bool(wanted) and found == wanted and not seen["image"] and same
    told = seen["image"] or found + f", released for {seen['release_bento']}" * (not same)
    wanted = wanted or seen["release_problem"]
    return Finding(good, "the image is lab 04's release, and the registry has it", told, wanted)


# ---------------------------------------------------------------- the shared store


@check(recorded, after=[models_as_saved])
def shared_equals_store(seen: Facts) -> Finding:
    """Pulled by its digest, byte for byte."""
    files, store = seen["shared"]["files"], seen["store"]
    wrong = [f"{path} is absent or other" for path, digest in store.items() if files.get(path) != digest]
    wrong += [f"{path} besides" for path in files if path.startswith("models/") and path not in store]
    if files.get(CONFIGURATION) != seen["record"]["configuration"]:
        wrong.append(f"{CONFIGURATION} is not the one of the record")
    found = seen["shared"]["problem"] or "; ".join(wrong[:3]) or f"{len(files)} files"
    good = not seen["shared"]["problem"] and not wrong and bool(store)
    wanted = "both models' files as in the store, no other version, and the recorded configuration"
    return Finding(good, "the shared store, pulled by digest, holds what is in yours", found, wanted)


@check(recorded, after=shared_equals_store)
def nothing_private(seen: Facts) -> Finding:
    """Neither in the shared store nor in the record nor in the commit that it names."""
    secrets = [*seen["shared"]["secrets"], *seen["leaked"]]
    found = "; ".join(secrets[:3]) or "none found"
    return Finding(not secrets, "no key and no token is in the shared store, the record or the commit", found, "none")


@check(recorded, after=shared_equals_store)
def signed(seen: Facts) -> Finding:
    files, sums = seen["shared"]["files"], seen["sums"]
    lists = {SUMS, SIGNATURE}
    bare = [path for path in files if path not in lists and sums.get(path) != files[path]] + sorted(lists - set(files))
    found = seen["signature"] or (f"not in {SUMS}, or with another hash: {', '.join(bare[:3])}" if bare else "signed")
    wanted = f"a signature of one of {SIGNERS}, for {PURPOSE}, and each file's hash in {SUMS}"
    return Finding(not seen["signature"] and not bare, "all files of the shared store are signed for", found, wanted)


@check(recorded, after=signed)
def changed_copy_refused(seen: Facts) -> Finding:
    found = [what for what, accepted in seen["tries"].items() if accepted]
    wanted = ["as it is"]
    told = f"it accepts: {', '.join(found) or 'nothing'}"
    good = len(seen["tries"]) == 7 and found == wanted
    return Finding(good, "verify.sh accepts what you signed, and no changed copy", told, "it accepts: as it is")


# ---------------------------------------------------------------- what runs


def each_pod(seen: Facts) -> Iterator[tuple[str, Facts]]:
    for place, told in seen["places"].items():
        for pod, facts in told["pods"].items():
            yield f"{place} {pod[-5:]}", facts


@check(running, after=image_in_registry)
def places_run_the_image(seen: Facts) -> Finding:
    wanted = untagged(seen["record"]["image"])
    digest = wanted.partition("@")[2]
    wrong = [f"{place} is not rolled out: {told or 'no warning says why'}" for place, told in seen["late"].items()]
    for place, told in seen["places"].items():
        wrong += [f"no Deployment {IMAGE} in {told['namespace']}"] * (not told["deployment"])
        wrong += [f"no ready pod in {place}"] * (not told["pods"] and told["deployment"])
        wrong += [f"{place} names {told['image']}"] * (told["deployment"] and untagged(told["image"]) != wanted)
        wrong += [f"{place} names {image}" for image in told["unpinned"]]
    wrong += [f"{pod} runs {facts['image']}" for pod, facts in each_pod(seen) if not facts["image"].endswith(digest)]
    wrong += [f"{pod}: {odd}" for pod, facts in each_pod(seen) if (odd := strange(facts))]
    wrong += [f"{place}: {odd}" for place, told in seen["places"].items() if told["pods"] and (odd := led_away(told))]
    found = "; ".join(dict.fromkeys(wrong[:3])) or "both"
    good = not wrong and set(seen["places"]) == {"staging", "production"}
    return Finding(good, "staging and production run the recorded image, by its digest", found, wanted)


def led_away(told: Facts) -> str:
    """Where callers of the Service get to, if not to the port of the release's pods."""
    others = [pod for pod in told["callers"] if pod not in told["pods"]]
    if others:
        return f"its Service leads to {', '.join(others[:2])}, where no pod of this Deployment listens"
    return "" if told["callers"] else "its Service leads to no pod"


def strange(facts: Facts) -> str:
    """Why a pod says nothing of itself, or that another program answers in it."""
    return facts["problem"] or listeners.strange(facts)


@check(running, after=places_run_the_image)
def configuration_as_recorded(seen: Facts) -> Finding:
    wanted = seen["record"]["configuration"]
    places = seen["places"].items()
    wrong = [f"the ConfigMap in {place} has another" for place, told in places if wanted not in told["mounted"]]
    wrong += [f"{pod} was given {facts['configuration'][:12] or 'no file'}" for pod, facts in each_pod(seen)
              if facts["configuration"] != wanted]  # fmt: skip
    wrong += [f"{pod} was given {facts['overrides'][0]} besides" for pod, facts in each_pod(seen) if facts["overrides"]]
    found = "; ".join(wrong[:3]) or "in both, and given to each process"
    return Finding(not wrong, "both places have the recorded configuration", found, wanted[:12])


@check(recorded, after=[changed_copy_refused, configuration_as_recorded])
def promotes_by_record(seen: Facts) -> Finding:
    """promote.py takes what the record names, and refuses what is not signed or not the one that is named."""
    wrong = [odd for place in ("staging", "production") for odd in misled(place, seen["promotes"].get(place, {}))]
    wanted = (
        "your record's image and no other; refused: a model or a configuration of another hash, a stranger's signature"
    )
    return Finding(not wrong, "promote.py does what the record says", "; ".join(wrong) or "all of it", wanted)


def misled(place: str, told: dict[str, str]) -> list[str]:
    """What promote.py did with a record and should not have done. Another image may go there, as that record says."""
    record, right = f"to {place} with your record", told.get("as it is")
    if right != promotion.AS_RECORDED:
        return [f"{record}: {right}"]
    image = told.get("another image") in (promotion.AS_RECORDED, promotion.REFUSED)
    wrong = [] if image else [f"{record} and another image: {promotion.OTHERWISE}"]
    return wrong + [f"{record}, but {what}: not refused" for what in MUST_REFUSE if told.get(what) != promotion.REFUSED]


@check(running, after=[places_run_the_image, models_as_saved])
def pods_load_the_models(seen: Facts) -> Finding:
    """By the bytes in the pod and by the scores: its header and its bento.yaml say what was meant."""
    store, computed = seen["store"], seen["computed"]
    wrong = [computed["problem"]] if computed["problem"] else []
    for pod, facts in each_pod(seen):
        other = [path for path, digest in facts["models"].items() if store.get(path) != digest]
        other += [path for path in store if path not in facts["models"]]
        laid = [path for path, digest in seen["sources"].items() if facts["sources"].get(path) != digest]
        wrong += [f"{pod} has another {path}" for path in [*other[:1], *laid[:1]]]
        wrong += [f"{pod} has something mounted over {path}" for path in facts["covered"][:1]]
        wrong += [f"{pod} answers {facts['answer']}"] * (not other and not alike(facts["answer"], computed))
        told = sorted(v for k, v in facts["headers"].items() if k.startswith("x-model-"))
        told += [v for k, v in facts["headers"].items() if k == "x-service-version"]
        meant = [*seen["named"], seen["record"]["bento"].rpartition(":")[2]]
        wrong += [f"{pod} says that it serves {', '.join(told)}"] * bool(told and told != meant)
        wrong += [f"{pod} was built with {', '.join(facts['named'])}"] * (sorted(facts["named"]) != seen["named"])
    found = "; ".join(wrong[:2]) or "both models' bytes and scores, and the Bento's sources"
    good = not wrong and bool(store) and bool(seen["sources"]) and len(computed["labels"]) == len(TEXTS)
    message = "each pod has the recorded models and sources, and answers as those do"
    return Finding(good, message, found[:300], str(computed["labels"]))


def alike(answer: Facts, computed: Facts) -> bool:
    scores = answer.get("scores") or []
    near = len(scores) == len(computed["scores"]) and all(
        isinstance(a, int | float) and abs(a - b) <= NEAR for a, b in zip(scores, computed["scores"], strict=True)
    )
    return answer.get("labels") == computed["labels"] and near


# ---------------------------------------------------------------- what mutants need


@contextlib.contextmanager
def promoted(ws: Any) -> Iterator[None]:
    """The scratch copy's own release, made again by its scripts and promoted to namespaces of its own, which are gone
    afterwards. mutant/after.sh is what is done to it then."""
    spaces = [read_names().staging(ws.name), read_names().production(ws.name)]
    steps = ["sh release/sign.sh", "python release/share.py release/parts > release/artefact"]
    steps += ["python release/record.py", *(f"python release/promote.py {RECORD} {space}" for space in spaces)]
    after = ws.root / "mutant" / "after.sh"
    try:
        for step in [*steps, *(["sh -e mutant/after.sh"] if after.is_file() else [])]:
            done = run(["sh", "-c", step], 120, ws.root, ws.environ())
            if not done.ok:
                raise LabError(f"{step} ended with {done.code}: {done.tail(4)}")
        yield
    finally:
        for space in spaces:
            kubectl("delete", "namespace", space, "--ignore-not-found", "--wait=false")
            kubectl("-n", space, "delete", "pods", "--all", "--force", "--grace-period=0", "--wait=false")
