"""Staging and production for notebooks: laid out, what a pod says of its model, and a record held against both."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cluster.names import IMAGE
from grader.model import Facts
from grader.world import artefacts, drift, places
from grader.world.releases import TEXTS
from labs.helpers.kube.objects import NAMES, kubectl

WORKSPACE = os.environ.get("LAB_WORKSPACE", "")
STAGING, PRODUCTION = NAMES.staging(WORKSPACE), NAMES.production(WORKSPACE)
SPACES = {"staging": STAGING, "production": PRODUCTION}
CLASSIFIER = "demo_classifier"
KUSTOMIZATION = """apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {namespace}
resources: [../../../deploy]
patches:
  - path: place.yaml
  - target: {{kind: PodDisruptionBudget}} # one replica, which a drain may take
    patch: |
      - {{op: remove, path: /spec/minAvailable}}
      - {{op: add, path: /spec/maxUnavailable, value: 1}}
configMapGenerator:
  - name: bentoml-configuration
    behavior: replace
    files: [bentoml_configuration.yml]
"""
# What BentoML's own metrics and the server's environment say of versions.
SAYS = """
import re, urllib.request
from pathlib import Path
text = urllib.request.urlopen("http://127.0.0.1:3000/metrics", timeout=20).read().decode()
print(", ".join(sorted(set(re.findall(r'service_version="([^"]*)"', text)))) or "nothing")
words = Path("/proc/1/environ").read_text().split("\\0")
print(next((w for w in words if w.startswith("BENTO_PATH=")), "nothing"))
"""


def lay_out() -> str:
    """An empty folder for what is released, with lab 05's configuration, and no pods of an earlier run."""
    shutil.rmtree("release/parts", ignore_errors=True)
    Path("release/parts").mkdir(parents=True)
    shutil.copy("deploy/bentoml_configuration.yml", "release/parts")
    for space in SPACES.values():
        kubectl("delete", "namespace", space, "--ignore-not-found", "--wait=true", "--timeout=120s")
    return f"release/parts holds the configuration; {STAGING} and {PRODUCTION} do not exist yet"


@contextlib.contextmanager
def pulled(artefact: str) -> Iterator[Path]:
    """A folder with the shared files, each checked against its hash; gone when the block is left."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        if problem := artefacts.pull(artefact, NAMES.address, Path(place)).problem:
            raise SystemExit(f"{artefact}: {problem}")
        yield Path(place)


def folder(namespace: str) -> Path:
    """release/places/NAMESPACE with a kustomization.yaml: deploy/, that namespace, and two files that come beside it,
    place.yaml and the configuration."""
    place = Path("release/places", namespace)
    place.mkdir(parents=True, exist_ok=True)
    (place / "kustomization.yaml").write_text(KUSTOMIZATION.format(namespace=namespace))
    return place


def classifier() -> str:
    """The tag that release/names has of it."""
    return next(t for t in Path("release/names").read_text().split() if t.startswith(CLASSIFIER))


def look(namespace: str) -> Facts:
    """What the newest pod of that namespace has (grader/world/places.py). Raises RuntimeError where none is ready."""
    told = places.look_at(namespace)["pods"]
    if not told:
        raise RuntimeError(f"no ready pod in {namespace}: {places.why(namespace) or 'kubectl get pods'}")
    name = list(told)[-1]
    return {"name": name, **told[name]}


def ask(namespace: str) -> dict[str, str]:
    """Eight answers to "which classifier has this pod loaded?", each from another place."""
    seen = look(namespace)
    told = kubectl("exec", seen["name"], "--", "python", "-c", SAYS, namespace=namespace).splitlines()
    (path,) = [p for p in seen["models"] if p.startswith(f"models/{CLASSIFIER}/") and p.endswith(".pkl")]
    labels, scores = seen["answer"].get("labels", []), seen["answer"].get("scores", [])
    form = r"jsonpath={.metadata.annotations.serving-lab/classifier}"
    return {
        "the image's digest": seen["image"].rpartition(":")[2][:12],
        "the pod's annotation": kubectl("get", "pod", seen["name"], "-o", form, namespace=namespace) or "none",
        "bento.yaml": next(t for t in seen["named"] if t.startswith(CLASSIFIER)),
        "the environment": told[1],
        "/metrics, service_version": told[0],
        "the answer's header": seen["headers"].get("x-model-classifier", "none"),
        "sha256 of the file": seen["models"][path][:12],
        f'"{next(iter(TEXTS))[:24]}..."': f"{labels[0]} {scores[0]:.4f}" if labels else seen["problem"],
    }


def beside(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Prints both, and returns where they differ."""
    other = [name for name in before if before[name] != after[name]]
    for name in before:
        print(f"{'DIFFERS' if name in other else 'the same':<9}{name:<30}{before[name]:<34}{after[name]}")
    return other


def tells(differ: list[str]) -> str:
    """Which of them tell of another file: "b" a name of the model, "a" the image's digest, "c" only the file's hash and
    the answer. Raises RuntimeError where the file did not change: then nothing was tried."""
    if not any(name.startswith("sha256") for name in differ):
        raise RuntimeError("the pod has the file that it had: `lay_over` once more, and ask again")
    names = [name for name in differ if not name.startswith(("sha256", '"', "the image"))]
    return "b" if names else "a" if "the image's digest" in differ else "c"


def lay_over(namespace: str) -> str:
    """Someone tries another classifier: a volume over the released one's folder, in the running Deployment."""
    began = time.monotonic()
    drift.lay_over(namespace, Path("store/models", classifier().replace(":", "/")))
    wait(namespace)
    return f"another classifier is mounted over {classifier()}; new pods after {time.monotonic() - began:.0f} s"


def wait(namespace: str) -> None:
    kubectl("rollout", "status", f"deployment/{IMAGE}", "--timeout=180s", namespace=namespace)


def hold(record: str = "release/record.json") -> list[str]:
    """Holds a record against both places, part by part: what differs, in words."""
    named, wrong = json.loads(Path(record).read_text()), list[str]()
    for place, space in SPACES.items():
        for pod, seen in places.look_at(space)["pods"].items():
            weights = {p: d for p, d in seen["models"].items() if p.endswith("saved_model.pkl")}
            rows = {
                "image": (named["image"].partition("@")[2], seen["image"].partition("@")[2]),
                "configuration": (named["configuration"], seen["configuration"]),
                **{t: (d, weights.get(f"models/{t.replace(':', '/')}/saved_model.pkl", "absent"))
                   for t, d in named["models"].items()},
            }  # fmt: skip
            for part, (wanted, found) in rows.items():
                same = "as recorded" if wanted == found else f"{found[-12:]}, not {wanted[-12:]}"
                print(f"{place:<12}{pod[-5:]:<7}{part:<34}{same}")
                wrong += [f"{place}: {part}"] * (wanted != found)
    return wrong


def rest() -> str:
    """Scales both places to 0; the objects stay, and the grader wakes them for its look."""
    for space in SPACES.values():
        kubectl("scale", f"deployment/{IMAGE}", "--replicas=0", namespace=space)
    return f"no pods in {STAGING} and {PRODUCTION}; `./lab clean 12` removes both"


def another() -> int:
    """Puts another classifier beside production's pods, as a ConfigMap that a patch can mount."""
    drift.hold_other(PRODUCTION, Path("store/models", classifier().replace(":", "/")))
    return 0


def show() -> int:
    """What an auditor sees: the record's hash of the classifier, and each pod's."""
    tag = classifier()
    print(f"the record   {tag}  {json.loads(Path('release/record.json').read_text())['models'].get(tag, '')[:12]}")
    for place, space in SPACES.items():
        for pod, seen in places.look_at(space)["pods"].items():
            weights = seen["models"].get(f"models/{tag.replace(':', '/')}/saved_model.pkl", "absent")
            print(f"{place:<13}{seen['headers'].get('x-model-classifier', 'no header')}  {weights[:12]}  {pod[-5:]}")
    return 0
