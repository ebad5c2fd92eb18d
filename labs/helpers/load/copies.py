"""Copies of lab 05's service in the cluster, one a setting: the files that kustomize makes them of."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import yaml

from cluster.names import IMAGE, NODE_PORTS, kubeconfig, read_names
from grader.errors import LabError
from grader.world.load import experiment
from grader.world.load.copies import ENVIRONMENT, KEY, SERVICE, WITNESS, WITNESS_FILE
from grader.world.objects import get
from labs.helpers.load.bench import BENCH

FILE = BENCH / "cluster.toml"
FOLDER = BENCH / "cluster"
COPY = """# A copy of deploy/ (lab 05) with one setting. The name of the ConfigMap stays, its content is another.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {bench}
nameSuffix: -{name}
resources: [../../../deploy]
components: [../copy]
configMapGenerator:
  - name: bentoml-configuration
    namespace: {namespace}
    behavior: replace
    files: [bentoml_configuration.yml]
labels: # a Service, or a Deployment, of this setting selects its own pod alone
  - pairs: {{{key}: {name}}}
    includeSelectors: true
"""


def why_not() -> str:
    """Why there can be no copies now; "" when there can."""
    namespace = read_names().namespace(os.environ.get("LAB_WORKSPACE", ""))
    if not kubeconfig().is_file():
        return "there is no cluster (./lab cluster up)"
    try:
        found = get(namespace, "deployment", IMAGE, "--ignore-not-found")
    except LabError as silent:
        return silent.problem
    if found and Path("deploy/kustomization.yaml").is_file():
        return ""
    how = "deploy/kustomization.yaml names it, kubectl apply -k deploy fills it"
    return f"lab 05's service is not in the namespace {namespace} ({how})"


def lay_out() -> str:
    """Writes a folder for each setting of bench/cluster.toml, what all copies share, and their Service."""
    for old in [path.parent for path in FOLDER.glob("*/kustomization.yaml") if path.parent.name != "copy"]:
        shutil.rmtree(old)
    (FOLDER / "service.yaml").unlink(missing_ok=True)  # the cells after this one look for it
    if lacking := why_not():
        return f"not run: {lacking}. The table keeps the rows of this machine."
    names, workspace = read_names(), os.environ.get("LAB_WORKSPACE", "")
    asked = experiment.read(FILE)
    for setting in asked.settings:
        folder = FOLDER / setting.name
        folder.mkdir(parents=True, exist_ok=True)
        given = {"bench": names.bench(workspace), "namespace": names.namespace(workspace), "key": KEY}
        (folder / "kustomization.yaml").write_text(COPY.format(name=setting.name, **given))
        (folder / "bentoml_configuration.yml").write_text(yaml.safe_dump(setting.configuration(asked.base)))
    (FOLDER / "copy" / "sitecustomize.py").write_text(WITNESS_FILE.read_text())
    (FOLDER / "copy" / "witness.yaml").write_text(yaml.safe_dump(witness()))
    port = NODE_PORTS[names.bench_port(workspace)]
    (FOLDER / "service.yaml").write_text(yaml.safe_dump(service(asked.settings[0].name, port)))
    return f"laid out in {FOLDER}: {', '.join(setting.name for setting in asked.settings)}"


def witness() -> dict[str, object]:
    """The patch that mounts the witness where Python looks, and asks for little of a core: one copy works at a time."""
    container = {
        "name": "server",
        "resources": {"requests": {"cpu": "100m"}},
        "env": [{"name": name, "value": value} for name, value in ENVIRONMENT.items()],
        "volumeMounts": [{"name": "labwitness", "mountPath": WITNESS, "readOnly": True}],
    }
    pod = {"containers": [container], "volumes": [{"name": "labwitness", "configMap": {"name": "labwitness"}}]}
    spec = {"template": {"spec": pod}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": IMAGE}, "spec": spec}


def service(first: str, port: int) -> dict[str, object]:
    """One node port for all copies; `lab bench cluster` changes the selector when it is another one's turn."""
    ports = [{"port": 80, "targetPort": "http", "nodePort": port}]
    spec = {"type": "NodePort", "selector": {KEY: first}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE}, "spec": spec}
