"""sc11's checks on facts, and what its probes read of files; the registry and the cluster are asked by its mutants."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote

import pytest
from conftest import ROOT

from grader.errors import LabError
from grader.judge import judge_criterion
from grader.kit import Kit
from grader.model import Evidence, Facts
from grader.world import places, promotion, secrets
from grader.world.releases import TEXTS

KIT = Kit(ROOT)
SC11 = KIT.criterion("sc11")
MODULE = vars(KIT.module("sc11"))
A, B, C, D, E = (letter * 64 for letter in "abcde")
IMAGE, BENTO = f"127.0.0.1:5001/demo-text-intelligence@sha256:{A}", "demo_text_intelligence:v1"
STORE = {
    "models/demo_classifier/c1/model.yaml": A, "models/demo_classifier/c1/saved_model.pkl": B,
    "models/demo_embedder/e1/model.yaml": C, "models/demo_embedder/e1/saved_model.pkl": D,
}  # fmt: skip
RECORD: Facts = {
    "commit": "a" * 40, "lock": C, "bento": BENTO, "models": {"demo_classifier:c1": B, "demo_embedder:e1": D},
    "image": IMAGE, "artefact": f"127.0.0.1:5001/demo-text-intelligence-models@sha256:{B}", "configuration": E,
}  # fmt: skip
SOURCES = {"src/limits.py": A, "src/service.py": B}
POD: Facts = {
    "image": IMAGE, "models": STORE, "named": ["demo_classifier:c1", "demo_embedder:e1"], "configuration": E,
    "headers": {"x-service-version": "v1", "x-model-classifier": "demo_classifier:c1",
                "x-model-embedder": "demo_embedder:e1"},
    "answer": {"labels": list(TEXTS.values()), "scores": [0.5, 0.6, 0.7]}, "problem": "", "server": True, "others": [],
    "folders": ["/home/bentoml/bento"], "steered": [], "loopback": False,
    "sources": SOURCES, "covered": [], "overrides": [],
}  # fmt: skip
PLACE: Facts = {"namespace": "n", "deployment": True, "image": IMAGE, "unpinned": [], "mounted": [E]}
PROMOTES = {"as it is": "as recorded", "another image": "as recorded",
            **dict.fromkeys(MODULE["MUST_REFUSE"], "refused")}  # fmt: skip
TRIES = ("without a file", "another configuration", "a byte changed", "and its sum as well", "and no signature",
         "and signed by a stranger")  # fmt: skip
SEEN: dict[str, Facts] = {
    "recorded": {
        "problem": "", "record": RECORD, "bento": "v1", "release": IMAGE, "release_bento": "v1", "release_problem": "",
        "lock": C, "commit": {"repository": True, "known": True, "different": []}, "store": STORE, "image": "",
        "shared": {"problem": "", "secrets": [], "files": {
            **STORE, "bentoml_configuration.yml": E, "SHA256SUMS": A, "SHA256SUMS.sig": A}},
        "sums": {**STORE, "bentoml_configuration.yml": E}, "signature": "",
        "tries": {"as it is": True, **dict.fromkeys(TRIES, False)}, "leaked": [],
        "promotes": {"staging": PROMOTES, "production": PROMOTES},
    },
    "running": {
        "record": RECORD, "named": ["demo_classifier:c1", "demo_embedder:e1"], "store": STORE, "late": {},
        "sources": SOURCES,
        "computed": {"labels": list(TEXTS.values()), "scores": [0.5, 0.6, 0.7], "problem": ""},
        "places": {"staging": {**PLACE, "pods": {"p-1": POD}, "callers": ["p-1"]},
                   "production": {**PLACE, "pods": {"p-2": POD}, "callers": ["p-2"]}},
    },
}  # fmt: skip


def judged(seen: dict[str, Facts]) -> dict[str, str]:
    """The checks that neither pass nor come after another's fail."""
    plain = json.loads(json.dumps(seen))
    results = judge_criterion(SC11, {name: Evidence(name, facts) for name, facts in plain.items()}).checks
    return {r.id: r.verdict.value for r in results if r.verdict.value not in ("pass", "not_run")}


def test_a_good_release_passes() -> None:
    assert judged(SEEN) == {}


def record(**changed: Any) -> Callable[[dict[str, Facts]], Any]:
    return lambda s: [s[probe]["record"].update(changed) for probe in s]


def pod(**changed: Any) -> Callable[[dict[str, Facts]], Any]:
    return lambda s: s["running"]["places"]["production"]["pods"]["p-2"].update(changed)


def promotes(place: str, **became: str) -> Callable[[dict[str, Facts]], Any]:
    return lambda s: s["recorded"]["promotes"][place].update(became)


WRONG: dict[str, list[Callable[[dict[str, Facts]], Any]]] = {
    "record-complete": [lambda s: s["recorded"]["record"].pop("lock")],
    "names-cannot-move": [
        record(image="127.0.0.1:5001/demo-text-intelligence:bento-v1"),
        record(models={"demo_classifier:latest": B, "demo_embedder:e1": D}),
        record(models=["demo_classifier:c1", "demo_embedder:e1"]),
        record(commit="main"),
        record(lock="today's"),
    ],
    "made-of-this-bento": [
        record(lock=A),
        lambda s: s["recorded"]["commit"].update(different=["service.py"]),
        lambda s: s["recorded"]["commit"].update(known=False),
        lambda s: s["recorded"]["commit"].update(repository=False, known=False),
    ],
    "models-as-saved": [record(models={"demo_classifier:c1": A, "demo_embedder:e1": D})],
    "image-in-registry": [lambda s: s["recorded"].update(image="it has none"), record(image=IMAGE.replace(A, B))],
    "shared-equals-store": [
        lambda s: s["recorded"]["shared"]["files"].pop("models/demo_embedder/e1/saved_model.pkl"),
        lambda s: s["recorded"]["shared"]["files"].update({"models/demo_embedder/latest": A}),
        lambda s: s["recorded"]["shared"].update(problem="there is none"),
    ],
    "nothing-private": [
        lambda s: s["recorded"]["shared"].update(secrets=["a private key"]),
        lambda s: s["recorded"].update(leaked=["commit 1234567:release/key, line 1: a private key"]),
    ],
    "signed": [
        lambda s: s["recorded"].update(signature="none of them made it"),
        lambda s: s["recorded"]["shared"]["files"].update(key=A),
    ],
    "changed-copy-refused": [
        *(lambda s, what=what: s["recorded"]["tries"].update({what: True}) for what in TRIES),
        lambda s: s["recorded"]["tries"].update({"as it is": False}),
        lambda s: s["recorded"].update(tries={}),
    ],
    "places-run-the-image": [
        pod(image=IMAGE.replace(A, B)),
        lambda s: s["running"]["places"]["staging"].update(image="127.0.0.1:5001/demo-text-intelligence:bento-v1"),
        lambda s: s["running"]["places"]["staging"].update(deployment=False, pods={}),
        lambda s: s["running"]["places"]["staging"].update(unpinned=["busybox:latest"]),
        lambda s: s["running"].update(late={"staging": "it pulls"}),
        lambda s: s["running"]["places"]["staging"].update(callers=[]),
        lambda s: s["running"]["places"]["production"].update(callers=["p-2", "trial"]),
        lambda s: s["running"]["places"]["production"].update(callers=["p-2, port 3001"]),
        pod(problem="nothing can be run in it"),
    ],
    "configuration-as-recorded": [
        pod(configuration=A),
        pod(overrides=["BENTOML_CONFIG_OPTIONS"]),
        lambda s: s["running"]["places"]["staging"].update(mounted=[A]),
    ],
    "promotes-by-record": [
        promotes("staging", **{"as it is": "refused"}),
        promotes("production", **{"as it is": "refused"}),
        promotes("production", **{"another image": "otherwise"}),
        *(promotes("staging", **{what: "as recorded"}) for what in MODULE["MUST_REFUSE"]),
        *(promotes("production", **{what: "as recorded"}) for what in MODULE["MUST_REFUSE"]),
        lambda s: s["recorded"]["promotes"].pop("staging"),
        lambda s: s["recorded"].update(promotes={}),
    ],
    "pods-load-the-models": [
        pod(models={**STORE, "models/demo_classifier/c1/saved_model.pkl": A}),
        pod(models={}),
        pod(sources={**SOURCES, "src/limits.py": C}),
        pod(sources={"src/service.py": B}),
        pod(covered=["/usr/local/lib/python3.11/site-packages/sklearn"]),
        pod(answer={"labels": list(TEXTS.values()), "scores": [0.5, 0.6, 0.8]}),
        pod(answer={}),
        pod(headers={"x-model-classifier": "demo_classifier:c0", "x-model-embedder": "demo_embedder:e1"}),
        pod(named=["demo_classifier:c0", "demo_embedder:e1"]),
    ],
}


@pytest.mark.parametrize(("check", "fault"), [(check, fault) for check in WRONG for fault in WRONG[check]])
def test_each_fault_fails_its_check_alone(check: str, fault: Callable[[Any], Any]) -> None:
    seen = copy.deepcopy(SEEN)
    fault(seen)
    assert judged(seen) == {check: "fail"}


def test_each_check_has_its_fault() -> None:
    assert set(WRONG) == {c.id for c in SC11.checks}


def test_a_workspace_that_is_no_repository_has_no_commit() -> None:
    seen = copy.deepcopy(SEEN)
    record(commit=None)(seen)
    seen["recorded"]["commit"].update(repository=False, known=False)
    assert judged(seen) == {}


# ---------------------------------------------------------------- what is read of files


def test_a_commit_is_looked_up_with_the_sources_of_the_bento(tmp_path: Path) -> None:
    for name in ("service/a.py", "deploy/deployment.yaml"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("one\n")
    sources = tmp_path / "src"
    sources.mkdir()
    (sources / "a.py").write_text("one\n")
    look_up = MODULE["look_up"]
    assert look_up(tmp_path, "", sources) == {"repository": False, "known": False, "different": []}
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["init", "-q"], ["add", "service", "deploy"], ["commit", "-q", "-m", "it"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    head = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
    assert look_up(tmp_path, head, sources) == {"repository": True, "known": True, "different": []}
    (sources / "a.py").write_text("two\n")
    assert look_up(tmp_path, head, sources)["different"] == ["a.py"]
    assert not look_up(tmp_path, "0" * 40, sources)["known"]
    assert not look_up(tmp_path, "--help", sources)["known"]
    (sources / "a.py").write_text("one\n")
    subprocess.run([*git, "rm", "-rq", "--cached", "deploy"], check=True, capture_output=True)
    subprocess.run([*git, "commit", "-q", "-m", "sources alone"], check=True, capture_output=True)
    head = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
    assert look_up(tmp_path, head, sources)["different"] == ["deploy, which is not in it"]


KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n"


class Repository:
    """A workspace with commits in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.git("init", "-q")

    def git(self, *words: str) -> str:
        command = ["git", "-C", str(self.root), "-c", "user.name=t", "-c", "user.email=t@example.com", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, *words: str, **files: str) -> str:
        for name, text in files.items():
            path = self.root / name.replace("__", "/").replace("_yaml", ".yaml").replace("_py", ".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        self.git(*(words or ("add", "-A")))
        self.git("commit", "-q", "--allow-empty", "-m", "it")
        return self.git("rev-parse", "HEAD")


def test_a_key_that_was_committed_once_is_found(tmp_path: Path) -> None:
    committed = MODULE["committed"]
    assert committed(tmp_path, "0" * 40) == []  # no repository
    kept = Repository(tmp_path)
    assert committed(tmp_path, kept.commit(a_py="PRIVATE KEY is a word that a program may say\n")) == []
    with_key = kept.commit(release__key=KEY)
    heads = [with_key, kept.commit("rm", "-q", "--cached", "release/key")]
    (tmp_path / "release" / "key").unlink()
    for head in [*heads, *(kept.commit() for _ in range(25))]:
        (told,) = committed(tmp_path, head)
        assert told.startswith(f"commit {with_key[:7]}:release/key, line 1: a private key")
    assert committed(tmp_path, "--help") == [] and committed(tmp_path, "1" * 40) == []


def test_every_version_of_a_file_is_looked_at(tmp_path: Path) -> None:
    kept = Repository(tmp_path)
    with_token = kept.commit(a_py=f"t = 'hf_{'Ab1' * 10}'\n")
    (told,) = MODULE["committed"](tmp_path, kept.commit(a_py="t = 'hf_' + input()\n"))
    assert told.startswith(f"commit {with_token[:7]}:a.py, line 1: a Hugging Face token")


def test_what_came_by_a_branch_is_found_and_what_was_never_committed_is_not(tmp_path: Path) -> None:
    kept = Repository(tmp_path)
    first = kept.commit(a_py="one\n")
    kept.git("checkout", "-q", "-b", "side")
    kept.commit(key=KEY)
    side = kept.commit("rm", "-q", "key")
    kept.git("checkout", "-q", first)
    kept.commit(b_py="two\n")
    kept.git("merge", "-q", "--no-ff", "-m", "both", side)
    (tmp_path / "other").write_text(KEY + "another\n")
    kept.git("add", "other")
    kept.git("rm", "-q", "-f", "--cached", "other")
    (told,) = MODULE["committed"](tmp_path, kept.git("rev-parse", "HEAD"))
    assert ":key, line 1: a private key" in told


def test_a_value_that_a_committed_manifest_calls_secret_is_found(tmp_path: Path) -> None:
    manifest = "kind: Secret\nmetadata: {name: hub}\nstringData: {token: NAME}\n"
    kept = Repository(tmp_path)
    for value, sightings in (("$TOKEN", 0), ("Zk3vT9xQ2LmW8rPd", 1), ("${TOKEN}", 1)):  # the second is in the history
        told = MODULE["committed"](tmp_path, kept.commit(deploy__hub_yaml=manifest.replace("NAME", value)))
        assert len(told) == sightings, told


MANIFESTS = {
    "kind: Secret\nstringData: {HUB_TOKEN: opens-production}\n": 1,
    "kind: Secret\ndata: {HUB_TOKEN: b3BlbnMtcHJvZHVjdGlvbg==}\n": 1,
    '{"kind": "List", "items": [{"kind": "Secret", "stringData": {"a": "opens production"}}]}': 1,
    "kind: Namespace\n---\nkind: Secret\nstringData:\n  a: |\n    opens\n": 1,
    "secretGenerator: [{name: hub, literals: [HUB_TOKEN=opens-production]}]\n": 1,
    "spec: {containers: [{env: [{name: HUB_TOKEN, value: opens-production}]}]}\n": 1,
    "spec: {containers: [{env: [{name: HUB_TOKEN, value: /run/token}, {name: LAYER, value: plain}]}]}\n": 0,
    "env: [{name: HUB_TOKEN, valueFrom: {secretKeyRef: {name: hub, key: token}}}]\n": 0,
    "kind: Secret\nstringData: {HUB_TOKEN: $HUB_TOKEN}\n": 0,
    "kind: Secret\nstringData: {HUB_TOKEN: change-me}\n": 0,
    "kind: Secret\ndata: {HUB_TOKEN: }\nstringData:\n": 0,
    "kind: Secret\nstringData: {HUB_TOKEN: 'ENC[AES256_GCM,data:x]'}\nsops: {mac: a}\n": 0,
    "kind: ConfigMap\ndata: {HUB: opens-production}\n": 0,
    "kind: Secret\nstringData: {a: [broken\n": 0,
}


@pytest.mark.parametrize("text", MANIFESTS, ids=[str(n) for n in range(len(MANIFESTS))])
def test_plain_words_are_secret_by_their_place(text: str) -> None:
    assert len(secrets.search_manifest("deploy/a.yaml", text.encode())) == MANIFESTS[text]


PUBLIC = ["SHA256:" + "aB3" * 14 + "x", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "b7Q" * 14, "AAAAC3Nz" + "x4Y" * 20]


@pytest.mark.parametrize("value", PUBLIC)
def test_a_public_half_and_its_fingerprint_are_no_secrets(tmp_path: Path, value: str) -> None:
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "record.json").write_text(json.dumps({**RECORD, "signing_key": value}, indent=1))
    assert MODULE["leaked"](tmp_path) == []
    (tmp_path / "release" / "record.json").write_text(json.dumps({**RECORD, "signing_key": "SHA256:Zk3vT9xQ2LmW8rPd"}))
    assert MODULE["leaked"](tmp_path) != []


def test_a_git_that_does_not_answer_is_the_machines_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "git"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for script, said, limit in (
        (
            "echo \"fatal: detected dubious ownership in repository at '/x'\" >&2; exit 128",
            "belongs to another user",
            20,
        ),
        ("sleep 30", "git cat-file did not end within 0.5 s", 0.5),
    ):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(MODULE["pace"], "patience", lambda _, limit=limit: limit)
        with pytest.raises(LabError, match=said):
            MODULE["git"](tmp_path, "cat-file", "-e", "a")
    monkeypatch.undo()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program.write_text("#!/bin/sh\necho 'fatal: Not a valid object name a' >&2; exit 128\n")
    assert MODULE["git"](tmp_path, "cat-file", "-e", "a") is None


def test_a_token_in_the_record_is_found(tmp_path: Path) -> None:
    (tmp_path / "release").mkdir()
    assert MODULE["leaked"](tmp_path) == []
    (tmp_path / "release" / "record.json").write_text(json.dumps({**RECORD, "token": "hf_" + "Ab1" * 10}))
    (told,) = MODULE["leaked"](tmp_path)
    assert told.startswith("release/record.json, line 1: a Hugging Face token")
    (tmp_path / "release" / "record.json").write_text(
        json.dumps({**RECORD, "registry": {"password": "Zk3vT9xQ2LmW8rPd"}})
    )
    (told,) = MODULE["leaked"](tmp_path)
    assert told.startswith("release/record.json, line 1: a value called password")


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A shared store with one file, its list, and a signature of it by a key that is allowed."""
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "a.txt").write_text("one\n")
    digest = hashlib.sha256(b"one\n").hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  a.txt\n")
    MODULE["sign"](folder)
    public = " ".join((tmp_path / "stranger.pub").read_text().split()[:2])
    (tmp_path / "allowed_signers").write_text(f'me@triage namespaces="model-store" {public}\n')
    return folder


def test_a_signature_counts_by_who_made_it_of_what_and_for_what(parts: Path) -> None:
    signers = parts.parent / "allowed_signers"
    verify = MODULE["verify"]
    assert MODULE["read_sums"](parts) == {"a.txt": hashlib.sha256(b"one\n").hexdigest()}
    assert verify(parts, signers) == ""
    allowed = signers.read_text()
    signers.write_text(allowed.replace("model-store", "mail"))
    assert verify(parts, signers) != ""
    signers.write_text(allowed)
    (parts / "SHA256SUMS").write_text("0" * 64 + "  a.txt\n")
    assert verify(parts, signers) != ""
    (parts.parent / "stranger").unlink()
    MODULE["sign"](parts)  # by another key
    assert "none of allowed_signers" in verify(parts, signers)
    (parts / "SHA256SUMS.sig").unlink()
    assert verify(parts, signers) == "there is no SHA256SUMS.sig"


VERIFY = """set -eu
signers=$(cd "$(dirname "$0")" && pwd)/allowed_signers
cd "$1"
ssh-keygen -Y verify -f "$signers" -I release@triage -n model-store -s SHA256SUMS.sig < SHA256SUMS
sha256sum --quiet --strict -c SHA256SUMS
"""
ACCEPT: dict[tuple[str, str], list[str]] = {  # what a verify.sh that was changed so accepts besides
    ("", ""): [],
    ("--strict", "--strict --ignore-missing"): ["without a file"],
    ("sha256sum --quiet --strict -c SHA256SUMS", "test -s SHA256SUMS"): list(TRIES[:3]),
    ("sha256sum --quiet --strict -c SHA256SUMS", "grep models/ SHA256SUMS | sha256sum --strict -c -"): list(TRIES[:3]),
    ("sha256sum --quiet --strict -c SHA256SUMS", "grep -v embed SHA256SUMS | sha256sum --strict -c -"): [
        "without a file", "a byte changed",
    ],
    ("-c SHA256SUMS", "-c SHA256SUMS && touch models/demo_embedder/e1/saved_model.pkl"): [],
    ("ssh-keygen", "test ! -f SHA256SUMS.sig || ssh-keygen"): ["and no signature"],
    ('verify -f "$signers" -I release@triage', "check-novalidate"): ["and signed by a stranger"],
    ('"$signers"', "allowed_signers"): ["and signed by a stranger"],
    ("set -eu", "set -u"): ["and its sum as well", "and no signature", "and signed by a stranger"],
}  # fmt: skip


@pytest.mark.parametrize(("edit", "accepted"), ACCEPT.items(), ids=[edit[1][:30] or "as it is" for edit in ACCEPT])
def test_verify_is_tried_on_copies(tmp_path: Path, edit: tuple[str, str], accepted: list[str]) -> None:
    release, place = tmp_path / "release", tmp_path / "place"
    parts = place / "parts"
    weights = [f"models/{model}/saved_model.pkl" for model in ("demo_classifier/c1", "demo_embedder/e1")]
    for path in (parts / name for name in (*weights, "bentoml_configuration.yml")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("one\n")
    MODULE["make_key"](place)
    public = " ".join((place / "stranger.pub").read_text().split()[:2])
    for name in ("stranger", "stranger.pub"):
        (place / name).rename(tmp_path / name)  # it is the right key here; the probe makes another
    release.mkdir()
    (release / "allowed_signers").write_text(f'release@triage namespaces="model-store" {public}\n')
    (release / "verify.sh").write_text(VERIFY.replace(*edit))
    names = ["allowed_signers", "bentoml_configuration.yml", *weights]
    (parts / "allowed_signers").write_bytes((release / "allowed_signers").read_bytes())  # it may be shared
    (parts / "SHA256SUMS").write_text("".join(f"{MODULE['hashed'](parts / name)}  {name}\n" for name in names))
    sign = f"ssh-keygen -Y sign -f {tmp_path / 'stranger'} -n model-store < SHA256SUMS > SHA256SUMS.sig"
    subprocess.run(["sh", "-c", sign], cwd=parts, check=True, capture_output=True)
    told = MODULE["try_copies"](SimpleNamespace(root=tmp_path, environ=lambda: dict(os.environ)), parts)
    assert list(told) == ["as it is", *TRIES]
    assert [what for what, is_accepted in told.items() if is_accepted] == ["as it is", *accepted]


PROMOTE = """
import json, subprocess, sys
from pathlib import Path
record = json.loads(Path(sys.argv[1]).read_text())
if "forged" in record["artefact"]:
    sys.exit("not signed")
for tag, digest in record["models"].items():
    if digest == "0" * 64:
        sys.exit("another model")
if record["configuration"] != "e" * 64:
    sys.exit("another configuration")
place = Path("release/places", sys.argv[2])
place.mkdir(parents=True)
image = record["image"]
text = json.dumps({"kind": "Deployment", "spec": {"containers": [{"name": "server", "image": image}]}})
(place / "place.yaml").write_text(text)
subprocess.run(["kubectl", "apply", "-k", place], check=True)
"""
LAST = 'json.loads(Path("deploy/release.json").read_text())'
APPLY = '["kubectl", "apply", "-k", place], check'
STEP = 'json.dumps([{"op": "replace", "path": "/a/image", "value": image}])'
OLD = '["kubectl", "apply", "-f", "deploy/release.json"]'
OTHER = {"another image": "otherwise"}
PROMOTED = {  # what promote.py does once it was changed so
    ("", ""): {},
    ('sys.exit("not signed")', "pass"): {"signed by a stranger": "as recorded"},
    ('sys.exit("another model")', "pass"): dict.fromkeys(MODULE["MUST_REFUSE"][:2], "as recorded"),
    ('digest == "0"', '"class" in tag and digest == "0"'): {"another demo_embedder": "as recorded"},
    ('sys.exit("another configuration")', "pass"): {"another configuration": "as recorded"},
    ('record["image"]', LAST): OTHER,
    ('record["image"]', f'{LAST}; place.joinpath("record.json").write_text(json.dumps(record))'): OTHER,
    ('"spec": {"con', '"metadata": {"annotations": {"image": image}}, "spec": {"con'): {},
    ('record["image"]\n', f'{LAST}; place.joinpath("b.yaml").write_text("image: " + record["image"])\n'): OTHER,
    (APPLY, '["kubectl", "-n", "x", "set", "image", "deployment/a", "a=" + image], check'): {},
    (APPLY, '["kubectl", "apply", "-f", "-"], text=True, input="kind: Namespace\\n---\\n" + text, check'): {},
    (APPLY, '["kubectl", "apply", "-f", "-"], text=True, input="# " + image, check'): {
        "as it is": "otherwise, and nothing said",
    },
    (APPLY, '["kubectl", "apply", f"--filename=none.yaml,{place}/place.yaml"], check'): {},
    (APPLY, '["kubectl", "patch", "deployment/a", "-p", text], check'): {},
    (APPLY, f'["kubectl", "patch", "deployment/a", "--type=json", "-p", {STEP}], check'): {},
    (APPLY, '["kubectl", "apply", "-k", place, "--dry-run=server"], check'): {"as it is": "refused, and nothing said"},
    (APPLY, f'["kubectl", "diff", "-k", place]); subprocess.run({OLD}, check'): {
        "as it is": "otherwise, and nothing said",
    },
    ('image = record["image"]', 'image = subprocess.check_output(["kubectl", "get", "x"], text=True).strip()'): OTHER,
    ("place.mkdir(parents=True)", "sys.exit('no place')"): {"as it is": "refused, no place"},
    ("place.mkdir(", "[Path(p, 'a').read_text() for p in ('store', 'service', '.git')]; place.mkdir("): {},
}  # fmt: skip
# As much of kubectl as is handed on.
REAL = f"""#!/bin/sh
case "$*" in *kustomize*) for last; do :; done; cat "$last/place.yaml";; *get*) echo {IMAGE};; esac
"""


@pytest.mark.parametrize(("edit", "other"), PROMOTED.items(), ids=[str(n) for n in range(len(PROMOTED))])
def test_promote_is_tried_with_wrong_records(tmp_path: Path, edit: tuple[str, str], other: dict[str, str]) -> None:
    texts = {
        "release/promote.py": PROMOTE.replace(*edit),
        "deploy/release.json": json.dumps(IMAGE),
        "bin/kubectl": REAL,
    }
    for name, text in {**texts, "store/a": "", "service/a": "", ".git/a": ""}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "bin" / "kubectl").chmod(0o755)
    environ = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    ws = SimpleNamespace(root=tmp_path, environ=lambda: environ)
    told = promotion.try_records(ws, RECORD, "forged", "nowhere")
    stops = other.get("as it is", "as recorded") != "as recorded"
    assert told == (other if stops else {**PROMOTES, **other})


def test_models_in_a_list_are_tried_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "promote.py").write_text("import sys\nsys.exit('a list')\n")
    ws = SimpleNamespace(root=tmp_path, environ=lambda: dict(os.environ))
    told = promotion.try_records(ws, {**RECORD, "models": list(RECORD["models"])}, "forged", "nowhere")
    assert told == {"as it is": "refused, a list"}


class Registry(BaseHTTPRequestHandler):
    """What forge() and pull() ask of one; the place for a blob is told with its host, or without."""

    held: ClassVar[dict[str, bytes]] = {}
    is_absolute = False

    def do_GET(self) -> None:
        found = b"{}" if self.path == "/v2/" else self.held.get(self.path)
        self.answer(404 if found is None else 200, found or b"")

    def do_POST(self) -> None:
        host = f"http://{self.headers['host']}" if self.is_absolute else ""
        self.answer(202, b"", f"{host}{self.path}one?state=a")

    def do_PUT(self) -> None:
        data, (path, _, query) = self.rfile.read(int(self.headers["content-length"])), self.path.partition("?")
        digest = unquote(parse_qs(query)["digest"][0]) if query else path.rpartition("/")[2]
        assert digest == f"sha256:{hashlib.sha256(data).hexdigest()}" and (not query or "state=a" in query)
        self.held[path.replace("uploads/one", digest)] = data
        self.answer(201, b"")

    def answer(self, status: int, data: bytes, place: str = "") -> None:
        self.send_response(status)
        for name, value in {"docker-distribution-api-version": "registry/2.0", "location": place}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


SLICE = {"endpoints": [{"targetRef": {"name": "p-1"}, "conditions": {"ready": True}}], "ports": [{"port": 3000}]}
LED = {
    "as it is": ([SLICE], ["p-1"]),
    "two ports": ([{**SLICE, "ports": [{"port": 9090}, {"port": 3000}]}], ["p-1"]),
    "another port": ([{**SLICE, "ports": [{"port": 3001}]}], ["p-1, port 3001"]),
    "another port besides": ([SLICE, {**SLICE, "ports": [{"port": 3001}]}], ["p-1", "p-1, port 3001"]),
    "not ready": ([{**SLICE, "endpoints": [{"targetRef": {"name": "p-1"}, "conditions": {"ready": False}}]}], []),
    "no ports": ([{**SLICE, "ports": None}], ["p-1, no port"]),
}  # fmt: skip


@pytest.mark.parametrize("name", LED)
def test_a_service_leads_to_a_pods_port(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    slices, wanted = LED[name]
    monkeypatch.setattr(places, "get", lambda *_: {"items": slices})
    monkeypatch.setattr(places, "SETTLES", 0.01)
    assert places.led_to("n", {"p-1"}) == wanted


def test_a_pod_says_what_lies_over_its_sources_and_what_it_was_given(tmp_path: Path) -> None:
    """INSIDE, run here: the Bento in a folder, and a server that nobody reaches."""
    (tmp_path / "src" / "__pycache__").mkdir(parents=True)
    for name in ("bento.yaml", "src/a.py", "src/__pycache__/a.pyc"):
        (tmp_path / name).write_text("one\n")
    environ = {**os.environ, "BENTOML_CONFIG_OPTIONS": "a=1"}
    with subprocess.Popen(["sleep", "60"], env=environ) as child:
        script = places.INSIDE.replace("/home/bentoml/bento", str(tmp_path)).replace("/proc/1/", f"/proc/{child.pid}/")
        code = f"def look(port): return {{}}\n{script}"
        try:
            told = json.loads(subprocess.check_output([sys.executable, "-c", code, "1", "[]", "1"]))
        finally:
            child.kill()
    assert told["sources"] == {"src/a.py": hashlib.sha256(b"one\n").hexdigest()}
    assert "BENTOML_CONFIG_OPTIONS" in told["overrides"] and told["covered"] == []


@pytest.mark.parametrize("is_absolute", [True, False])
def test_a_forged_artefact_has_one_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_absolute: bool
) -> None:
    monkeypatch.setattr(Registry, "held", {})
    monkeypatch.setattr(Registry, "is_absolute", is_absolute)
    files, layers = {"./models/a": b"one", "SHA256SUMS.sig": b"ours"}, []
    for title, data in files.items():
        Registry.held[f"/v2/a-models/blobs/{promotion.digest_of(data)}"] = data
        layers.append({"digest": promotion.digest_of(data), "annotations": {MODULE["artefacts"].TITLE: title}})
    text = json.dumps({"schemaVersion": 2, "mediaType": promotion.MANIFEST, "layers": layers}).encode()
    Registry.held[f"/v2/a-models/manifests/{promotion.digest_of(text)}"] = text
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        registry = f"127.0.0.1:{server.server_port}"
        name = promotion.forge(
            f"{registry}/a-models@{promotion.digest_of(text)}", registry, "SHA256SUMS.sig", b"a stranger's"
        )
        told = MODULE["artefacts"].pull(name, registry, tmp_path)
    finally:
        server.shutdown()
        server.server_close()
    assert told.problem == "" and set(told.files) == {"models/a", "SHA256SUMS.sig"}
    assert (tmp_path / "models/a").read_bytes() == b"one"
    assert (tmp_path / "SHA256SUMS.sig").read_bytes() == b"a stranger's"


@pytest.mark.parametrize(
    ("line", "change"),
    [("apply -k place", True), ("-n here apply -f -", True), ("create -f a.yaml", True), ("create namespace a", False),
     ("-n a set image deployment/b c=d", True), ("get pods", False), ("rollout status deployment/settings", False)],
)  # fmt: skip
def test_what_a_kubectl_changes_is_told_by_its_words(line: str, change: bool) -> None:
    assert bool(promotion.CHANGES.search(line)) is change


@pytest.mark.parametrize(
    ("name", "told"),
    [("", "no name"), ("elsewhere.example/a@sha256:1", "not REPOSITORY"), ("127.0.0.1:5001/a:v1", "not REPOSITORY")],
)
def test_no_other_registry_is_asked(name: str, told: str) -> None:
    assert told in MODULE["find_image"](name, "127.0.0.1:5001")
    assert told in MODULE["artefacts"].pull(name, "127.0.0.1:5001", Path("nowhere")).problem
