"""sc1's checks, judged with made-up facts: each branch, in milliseconds. The mutants prove what the probe sees."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from grader.criteria import sc1
from grader.errors import LabError
from grader.judge import judge_criterion
from grader.kit import Kit
from grader.model import CheckResult, Evidence, Facts, Verdict
from grader.subject import attempt
from grader.world import saved, twins

SC1 = Kit().criterion("sc1")
CHAIN = [
    "both-listed", "loads-fresh", "own-names", "embeds-384", "unit-length", "rows-independent", "is-minilm",
    "three-labels", "right-labels", "one-preprocessing",
]  # fmt: skip


def good() -> Facts:
    batch = {"batchable": True, "batch_dim": [0, 0]}
    labels = ["billing"] * 3 + ["account"] * 2 + ["shipping"] * 3
    return {
        "store": "/work/store",
        "listed": ["demo_embedder:a1", "demo_classifier:b1"],
        "list_problem": "",
        "models": {
            "demo_embedder": model("demo_embedder:a1", {"encode": batch}, "SentenceTransformer"),
            "demo_classifier": model("demo_classifier:b1", {"predict": batch, "predict_proba": batch}, "Regression"),
        },
        "prepare": {
            "problem": "", "prepared": ["order number", "order number"],
            "apart": list("abcdefgh"), "one_by_one": [[c] for c in "hgfedcba"],
        },
        "embedder": {
            "texts": 8, "problem": "", "shape": [8, 384], "lengths": [1.0, 1.0], "moved": 0.0, "minilm": 1.0,
            "fresh_problem": "", "farthest": "a text",
        },
        "classifier": {
            "problem": "", "labels": labels, "wanted": labels, "shape": [20, 3], "moved": 0.0,
            "classes": ["account", "billing", "shipping"], "retrained": {"prepared": 1e-7, "raw": 0.09},
        },
    }  # fmt: skip


def model(tag: str, signatures: Facts, kind: str) -> Facts:
    return {"tag": tag, "signatures": signatures, "older": [], "problem": "", "kind": kind, "methods": list(signatures)}


def judge(**changes: Any) -> dict[str, CheckResult]:
    """The results for good facts with changes; `embedder__shape=[1]` changes facts["embedder"]["shape"]."""
    facts = copy.deepcopy(good())
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = facts
        for parent in parents:
            place = place[parent]
        if value is None:
            place.pop(last)
        else:
            place[last] = value
    results = judge_criterion(SC1, {"models": Evidence("models", facts)})
    return {c.id: c for c in results.checks}


def after(check: str) -> set[str]:
    """Every check that waits for this one, directly or not."""
    found = {check}
    for one in SC1.checks:
        if found & set(one.after):
            found.add(one.id)
    return found - {check}


def fails_alone(results: dict[str, CheckResult], check: str) -> str:
    """Its message, once it is sure that it fails and that only what comes after it was not run."""
    waiting = after(check)
    wanted = {c: Verdict.NOT_RUN if c in waiting else Verdict.PASS for c in results} | {check: Verdict.FAIL}
    assert {c: r.verdict for c, r in results.items()} == wanted
    return results[check].message


def test_good_models_pass_every_check() -> None:
    assert {r.verdict for r in judge().values()} == {Verdict.PASS}


def test_the_module_s_own_form_comes_first() -> None:
    assert SC1.checks[0].id == "both-listed"
    assert [c.id for c in SC1.checks if c.id in CHAIN] == CHAIN


def test_every_check_has_three_hints_and_no_hint_is_for_another() -> None:
    assert set(SC1.hints) == {c.id for c in SC1.checks}
    assert all(len(steps) == 3 for steps in SC1.hints.values())


def test_reading_the_criterion_imports_nothing_heavy() -> None:
    code = "import sys; from grader.kit import Kit; Kit().criterion('sc1'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "bentoml", "sentence_transformers", "numpy"} & set(loaded)


def test_an_empty_store() -> None:
    said = fails_alone(judge(listed=[], models={}, embedder=None, classifier=None), "both-listed")
    assert "shows no model; missing: demo_embedder, demo_classifier" in said


def test_one_of_two_models() -> None:
    said = fails_alone(judge(listed=["demo_classifier:b1"], models__demo_embedder=None), "both-listed")
    assert "shows demo_classifier; missing: demo_embedder" in said


def test_a_store_that_cannot_be_listed() -> None:
    assert "no model.yaml" in fails_alone(judge(list_problem="BentoMLException: no model.yaml"), "both-listed")


def test_a_model_that_cannot_be_loaded() -> None:
    trouble = "ModuleNotFoundError: No module named 'wrapping'"
    said = fails_alone(judge(models__demo_embedder__problem=trouble, embedder=None, classifier=None), "loads-fresh")
    assert "demo_embedder:a1" in said and trouble in said


def test_swapped_names() -> None:
    said = fails_alone(judge(models__demo_embedder__methods=["predict"]), "own-names")
    assert "has no encode" in said and "another model" in said


@pytest.mark.parametrize(
    ("signatures", "says"),
    [
        ({"encode": {"batchable": False, "batch_dim": [0, 0]}}, "says batchable: false"),
        ({"__call__": {"batchable": False, "batch_dim": [0, 0]}}, "is not in the store, which has: __call__"),
        ({}, "is not in the store, which has: nothing"),
    ],
)
def test_signatures(signatures: Facts, says: str) -> None:
    assert says in fails_alone(judge(models__demo_embedder__signatures=signatures), "signatures-batchable")


def test_an_older_version_that_is_right_is_named() -> None:
    older = [{"tag": "demo_embedder:a0", "signatures": {"encode": {"batchable": True, "batch_dim": [0, 0]}}}]
    results = judge(models__demo_embedder__signatures={}, models__demo_embedder__older=older)
    assert "The older demo_embedder:a0 has it" in fails_alone(results, "signatures-batchable")


@pytest.mark.parametrize("dim", [[1, 1], [0, 1], [1, 0]])
def test_batch_dim(dim: list[int]) -> None:
    results = judge(models__demo_classifier__signatures__predict={"batchable": True, "batch_dim": dim})
    assert f"{dim[0]} for what goes in and {dim[1]} for what comes out" in fails_alone(results, "batch-dim-zero")


@pytest.mark.parametrize(
    ("embedder", "says"),
    [
        ({"texts": 8, "problem": "ValueError: no", "shape": []}, "encode raised ValueError: no"),
        ({"texts": 8, "problem": "", "shape": [8, 192]}, "8 x 192 numbers; wanted is one row of 384"),
        ({"texts": 8, "problem": "", "shape": [8, 384]}, "infinite numbers, or NaN"),
    ],
)
def test_embeddings_of_another_size(embedder: Facts, says: str) -> None:
    assert says in fails_alone(judge(embedder=embedder), "embeds-384")


@pytest.mark.parametrize("lengths", [[0.9, 1.0], [1.0, 4.2]])
def test_length(lengths: list[float]) -> None:
    assert "Normalize" in fails_alone(judge(embedder__lengths=lengths), "unit-length")


def test_an_unfitted_classifier() -> None:
    results = judge(classifier={"problem": "NotFittedError: not fitted yet"})
    assert "NotFittedError" in fails_alone(results, "fitted")


@pytest.mark.parametrize("part", ["embedder", "classifier"])
@pytest.mark.parametrize("moved", [0.02, float("nan")])
def test_an_answer_that_depends_on_its_neighbours(part: str, moved: float) -> None:
    assert "strangers" in fails_alone(judge(**{f"{part}__moved": moved}), "rows-independent")


def test_a_model_that_refuses_a_single_text() -> None:
    facts = {**good()["embedder"], "moved": None, "problem": "ValueError: two or more"}
    assert "ValueError: two or more" in fails_alone(judge(embedder=facts), "rows-independent")


@pytest.mark.parametrize("cosine", [0.91, -1.0, float("nan")])
def test_another_encoder(cosine: float) -> None:
    assert "not MiniLM's" in fails_alone(judge(embedder__minilm=cosine), "is-minilm")


@pytest.mark.parametrize("classes", [[0, 1, 2], ["account", "billing"], ["Account", "Billing", "Shipping"]])
def test_other_classes(classes: list[Any]) -> None:
    assert str(classes) in fails_alone(judge(classifier__classes=classes), "three-labels")


def test_wrong_labels() -> None:
    assert "3 of 8" in fails_alone(judge(classifier__labels=["billing"] * 8), "right-labels")


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        ({"problem": "ModuleNotFoundError: No module named 'preprocess'"}, "No module named 'preprocess'"),
        ({"problem": "", "prepared": "'one string'"}, "wanted is a list of two strings"),
        ({"problem": "", "prepared": ["one"]}, "wanted is a list of two strings"),
        ({"problem": "", "prepared": ["a 1", "a 2"]}, "keeps apart"),
    ],
)
def test_prepare(prepare: Facts, says: str) -> None:
    assert says in fails_alone(judge(prepare=good()["prepare"] | prepare), "prepares-texts")


def test_prepare_loses_nothing_and_keeps_nothing() -> None:
    lost = judge(prepare__apart=list("aacdefgh"))
    assert "differ at the end of 900 characters" in fails_alone(lost, "keeps-apart")
    assert "wanted are 8 strings" in fails_alone(judge(prepare__apart="None"), "keeps-apart")
    kept = judge(prepare__one_by_one=[[""], *[[c] for c in "gfedcba"]])
    assert "[''] of it alone" in fails_alone(kept, "same-each-time")


@pytest.mark.parametrize(
    ("gaps", "says"),
    [
        ({"prepared": 0.09, "raw": 1e-6}, "by up to 0.09: the one in the store learnt from the texts as they came"),
        ({"prepared": 0.05, "raw": 0.04}, "texts that other code prepared, or on other tickets"),
        ({"prepared": "TypeError: no clone", "raw": 0.1}, "cannot be trained"),
        ({"prepared": None, "raw": None}, "scores of another shape"),
        ({"prepared": float("nan"), "raw": 0.1}, "texts that other code prepared"),
    ],
)
def test_drift(gaps: Facts, says: str) -> None:
    assert says in fails_alone(judge(classifier__retrained=gaps), "one-preprocessing")


def test_a_probe_that_broke_is_nobody_s_failure() -> None:
    results = judge_criterion(SC1, {"models": Evidence("models", problem="ran past its limit")})
    assert results.verdict is Verdict.ERROR


@pytest.mark.parametrize(
    ("act", "value", "problem"),
    [
        (lambda: 1, 1, ""),
        (lambda: [][0], None, "IndexError: list index out of range"),
        (lambda: sys.exit(3), None, "SystemExit: 3"),
    ],
)
def test_what_the_learner_s_code_raises_is_a_fact(act: Callable[[], Any], value: Any, problem: str) -> None:
    assert attempt(act) == (value, problem)


def test_code_that_never_answers_is_a_fact_too() -> None:
    assert attempt(lambda: time.sleep(20), 0.05) == (None, "TimeoutError: no answer within 0.05 seconds")
    assert attempt(lambda: "quick") == ("quick", "")


def test_a_twin_is_made_of_what_a_search_says_of_itself() -> None:
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    parts = StratifiedKFold(2, shuffle=True, random_state=20261124)
    search = GridSearchCV(
        LogisticRegression(random_state=20261124), {"C": np.logspace(0, 2, 3)}, cv=parts, n_jobs=-1, error_score=0
    )
    told = json.loads(json.dumps(saved.as_plain(search)))
    twin = twins.build(told)
    assert saved.as_plain(twin.set_params(n_jobs=-1)) == saved.as_plain(search)
    with pytest.raises(ValueError, match="a parameter of 20261124"):
        twins.build(saved.as_plain(LogisticRegression(max_iter=20261124)))


def test_a_twin_that_is_not_trained_in_time_is_no_fault_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sc1, "TRAINING", 0.05)
    monkeypatch.setattr(sc1, "train", lambda *_: time.sleep(5))
    with pytest.raises(LabError, match="is not trained within"):
        sc1.gap_to_twin({}, [], [], [], [])
