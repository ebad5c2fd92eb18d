"""What lab 05's solution writes comes to the same as manifests/base: one truth, taught in pieces."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from conftest import ROOT
from live_cluster import need_kubectl
from test_manifests import overlay, pick, render

from grader.errors import Refused
from grader.kit import Kit
from grader.notebooks import make_notebook

with mock.patch.dict(os.environ):  # the helper sets the notebook's environment when it is imported
    from labs.helpers.kube import devices, visitors
    from labs.helpers.kube.objects import GIVEN
PATCHES = ("security.yaml", "probes.yaml", "resources.yaml", "configuration.yaml")


def written() -> dict[str, str]:
    """The files that the cells of the solution write: {name in deploy/: text}."""
    book = json.loads(make_notebook(Kit(ROOT).lab("05"), solved=True))
    texts = ["".join(c["source"]) for c in book["cells"] if c["cell_type"] == "code"]
    found = [re.match(r"%%work deploy/(\S+)\n(.*)", text, re.S) for text in texts]
    return {m[1]: m[2] for m in found if m}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    need_kubectl()
    folder: Path = tmp_path_factory.mktemp("deploy")
    for name, source in GIVEN.items():
        shutil.copy(ROOT / "manifests" / source, folder / name)
    for name, text in written().items():
        (folder / name).write_text(text)
    listed = [n for n in GIVEN if n.endswith(".yaml")]
    kustomization = {
        "namespace": "ml-serving",
        "resources": listed,
        "patches": [{"path": p} for p in PATCHES],
        "configMapGenerator": [{"name": "bentoml-configuration", "files": ["bentoml_configuration.yml"]}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return render(folder)


def by_name(things: Any) -> Any:
    """Lists of named things in the order of their names, since patches add them in another order."""
    if isinstance(things, dict):
        return {k: by_name(v) for k, v in things.items()}
    if isinstance(things, list):
        parts = [by_name(t) for t in things]
        named = all(isinstance(p, dict) and "name" in p for p in parts)
        return sorted(parts, key=lambda p: str(p["name"])) if named else parts
    return things


def test_the_patches_of_the_lab_are_all_there() -> None:
    assert set(PATCHES) < set(written())


def test_the_deployment_is_the_reference(made: list[dict[str, Any]]) -> None:
    ours, theirs = (by_name(pick(t, "Deployment")["spec"]) for t in (made, overlay("plain")))
    for spec in (ours, theirs):
        del spec["template"]["spec"]["containers"][0]["image"], spec["template"]["metadata"]["labels"]
        spec.pop("revisionHistoryLimit", None)  # housekeeping that the lab leaves out
    assert ours == theirs


def test_the_kept_run_is_drawn_and_counted() -> None:
    run = visitors.killed_runner()
    lost = [(at, said) for at, said, _ in run.answers if said != "200"]
    assert run.lost == len(lost) > 0 and min(at for at, _ in lost) > 4, "the runner was killed after five seconds"
    finding = visitors.draw({"a runner killed": run}).finding
    assert f"{len(run.answers)} requests: {run.good} answered" in finding and "TimeoutError" in finding


def test_a_run_without_losses_says_so() -> None:
    run = visitors.Run([(0.0, "200", 0.1), (0.2, "200", 0.5)])
    assert run.told() == "2 requests: 2 answered, none lost; the longest wait 0.5 s"


@pytest.mark.parametrize(
    ("config", "counts"),
    [
        (None, {"nvidia.com/gpu.shared": 2}),  # the solution's
        ("sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 3}]}}", {"nvidia.com/gpu": 3}),
        ("sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, rename: turn, replicas: 4}]}}", {"turn": 4}),
    ],
)
def test_turns_are_what_the_device_plugin_would_advertise(config: str | None, counts: dict[str, int]) -> None:
    assert devices.turns(config or written()["sharing.yaml"]) == counts


@pytest.mark.parametrize("config", ["", "{", "sharing: {}", "sharing: {timeSlicing: {resources: [{name: gpu}]}}"])
def test_a_configuration_that_shares_nothing_is_refused_in_words(config: str) -> None:
    with pytest.raises(Refused, match=r"shares no nvidia\.com/gpu"):
        devices.turns(config)
