"""Another classifier, laid over the released one in a Deployment that runs: a volume over one folder of the image.

Image, tag, header and bento.yaml stay as they were. `lay_over` is how a trial that someone forgot comes about, for the
lesson and for a mutant: `python -m grader.world.drift NAMESPACE store/models/demo_classifier/VERSION`.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from cluster.names import IMAGE
from grader.errors import LabError
from grader.processes import Completed
from grader.world.objects import get, kubectl, server_of

NAME = "another-classifier"
BENTO = "/home/bentoml/bento"
# The same classifier with the rows of its labels moved on by one: it loads, fits its signature, and answers otherwise.
TURN = """
import joblib, sys
model = joblib.load(sys.argv[1])
model.coef_, model.intercept_ = model.coef_[[1, 2, 0]], model.intercept_[[1, 2, 0]]
joblib.dump(model, sys.argv[2])
"""


def turn_round(saved: Path, target: Path) -> None:
    """Writes another classifier than the saved one, of the same kind."""
    done = subprocess.run([sys.executable, "-P", "-c", TURN, str(saved), str(target)], capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"No other classifier can be made of {saved.name}: {done.stderr.strip()[-200:]}")


def hold_other(namespace: str, model: Path) -> None:
    """A ConfigMap with another classifier than that one (its folder in a store), and with its model.yaml."""
    with tempfile.TemporaryDirectory() as folder:
        turn_round(model / "saved_model.pkl", other := Path(folder) / "other.pkl")
        files = {"model.yaml": (model / "model.yaml").read_bytes(), "saved_model.pkl": other.read_bytes()}
    packed = {name: base64.b64encode(data).decode() for name, data in files.items()}
    held = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "binaryData": packed}
    accept(kubectl("-n", namespace, "apply", "-f", "-", given=json.dumps(held)))


def lay_over(namespace: str, model: Path) -> None:
    """Mounts another classifier over that one's folder in the running Deployment, as a hand does it: what the manifests
    in files say is not asked, and not changed."""
    hold_other(namespace, model)
    server = server_of(get(namespace, "deployment", IMAGE)["spec"]["template"]["spec"])["name"]
    mount = {"name": NAME, "mountPath": f"{BENTO}/models/{model.parent.name}/{model.name}", "readOnly": True}
    spec = {"volumes": [{"name": NAME, "configMap": {"name": NAME}}],
            "containers": [{"name": server, "volumeMounts": [mount]}]}  # fmt: skip
    change = json.dumps({"spec": {"template": {"spec": spec}}})
    accept(kubectl("-n", namespace, "patch", "deployment", IMAGE, "-p", change))


def accept(done: Completed) -> None:
    if not done.ok:
        raise LabError(f"The cluster refuses it: {done.tail(2)}")


if __name__ == "__main__":
    lay_over(sys.argv[1], Path(sys.argv[2]))
