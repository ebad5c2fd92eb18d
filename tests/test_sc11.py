"""sc11's checks on facts, and what its probes read of files; the registry and the cluster are asked by its mutants."""

from __future__ import annotations

import copy
import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from grader.judge import judge_criterion
from grader.kit import Kit
from grader.model import Evidence, Facts
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
POD: Facts = {
    "image": IMAGE, "models": STORE, "named": ["demo_classifier:c1", "demo_embedder:e1"], "configuration": E,
    "headers": {"x-service-version": "v1", "x-model-classifier": "demo_classifier:c1",
                "x-model-embedder": "demo_embedder:e1"},
    "answer": {"labels": list(TEXTS.values()), "scores": [0.5, 0.6, 0.7]}, "problem": "", "server": True, "others": [],
    "folders": ["/home/bentoml/bento"], "steered": [], "loopback": False,
}  # fmt: skip
PLACE: Facts = {"namespace": "n", "deployment": True, "image": IMAGE, "unpinned": [], "mounted": [E]}
SEEN: dict[str, Facts] = {
    "recorded": {
        "problem": "", "record": RECORD, "bento": "v1", "release": IMAGE, "release_bento": "v1", "release_problem": "",
        "lock": C, "commit": {"repository": True, "known": True, "different": []}, "store": STORE, "image": "",
        "shared": {"problem": "", "secrets": [], "files": {
            **STORE, "bentoml_configuration.yml": E, "SHA256SUMS": A, "SHA256SUMS.sig": A}},
        "sums": {**STORE, "bentoml_configuration.yml": E}, "signature": "",
        "tries": {"as it is": True, "a byte changed": False, "and its sum as well": False,
                  "and signed by a stranger": False},
    },
    "running": {
        "record": RECORD, "named": ["demo_classifier:c1", "demo_embedder:e1"], "store": STORE, "late": {},
        "computed": {"labels": list(TEXTS.values()), "scores": [0.5, 0.6, 0.7], "problem": ""},
        "places": {"staging": {**PLACE, "pods": {"p-1": POD}}, "production": {**PLACE, "pods": {"p-2": POD}}},
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


WRONG: dict[str, list[Callable[[dict[str, Facts]], Any]]] = {
    "record-complete": [lambda s: s["recorded"]["record"].pop("lock")],
    "names-cannot-move": [
        record(image="127.0.0.1:5001/demo-text-intelligence:bento-v1"),
        record(models={"demo_classifier:latest": B, "demo_embedder:e1": D}),
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
    "nothing-private": [lambda s: s["recorded"]["shared"].update(secrets=["a private key"])],
    "signed": [
        lambda s: s["recorded"].update(signature="none of them made it"),
        lambda s: s["recorded"]["shared"]["files"].update(key=A),
    ],
    "changed-copy-refused": [
        lambda s: s["recorded"]["tries"].update({"a byte changed": True}),
        lambda s: s["recorded"]["tries"].update({"as it is": False}),
        lambda s: s["recorded"].update(tries={}),
    ],
    "places-run-the-image": [
        pod(image=IMAGE.replace(A, B)),
        lambda s: s["running"]["places"]["staging"].update(image="127.0.0.1:5001/demo-text-intelligence:bento-v1"),
        lambda s: s["running"]["places"]["staging"].update(deployment=False, pods={}),
        lambda s: s["running"]["places"]["staging"].update(unpinned=["busybox:latest"]),
        lambda s: s["running"].update(late={"staging": "it pulls"}),
        pod(problem="nothing can be run in it"),
    ],
    "configuration-as-recorded": [
        pod(configuration=A),
        lambda s: s["running"]["places"]["staging"].update(mounted=[A]),
    ],
    "pods-load-the-models": [
        pod(models={**STORE, "models/demo_classifier/c1/saved_model.pkl": A}),
        pod(models={}),
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
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "a.py").write_text("one\n")
    sources = tmp_path / "src"
    sources.mkdir()
    (sources / "a.py").write_text("one\n")
    look_up = MODULE["look_up"]
    assert look_up(tmp_path, "", sources) == {"repository": False, "known": False, "different": []}
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["init", "-q"], ["add", "service"], ["commit", "-q", "-m", "it"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    head = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
    assert look_up(tmp_path, head, sources) == {"repository": True, "known": True, "different": []}
    (sources / "a.py").write_text("two\n")
    assert look_up(tmp_path, head, sources)["different"] == ["a.py"]
    assert not look_up(tmp_path, "0" * 40, sources)["known"]
    assert not look_up(tmp_path, "--help", sources)["known"]


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


@pytest.mark.parametrize(
    ("name", "told"),
    [("", "no name"), ("elsewhere.example/a@sha256:1", "not REPOSITORY"), ("127.0.0.1:5001/a:v1", "not REPOSITORY")],
)
def test_no_other_registry_is_asked(name: str, told: str) -> None:
    assert told in MODULE["find_image"](name, "127.0.0.1:5001")
    assert told in MODULE["artefacts"].pull(name, "127.0.0.1:5001", Path("nowhere")).problem
