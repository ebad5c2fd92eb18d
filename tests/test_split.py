"""The overlay `split` as kustomize makes it: what runs where, and who may ask whom. sc8 tries it in a cluster."""

from __future__ import annotations

import re
from typing import Any

from test_manifests import _kubectl, overlay  # noqa: F401

from cluster.names import IMAGE

Manifest = dict[str, Any]
THINGS = "split"
RUNNERS = ("classifierrunner", "embeddingrunner")


def of_kind(kind: str) -> dict[str, Manifest]:
    return {t["metadata"]["name"]: t for t in overlay(THINGS) if t["kind"] == kind}


def pod_of(name: str) -> Manifest:
    return dict(of_kind("Deployment")[name]["spec"]["template"])


def words_of(name: str) -> str:
    (only,) = pod_of(name)["spec"]["containers"]
    return " ".join(only["args"])


def test_each_part_is_a_deployment_of_the_same_image() -> None:
    deployments = of_kind("Deployment")
    assert sorted(deployments) == [*RUNNERS[:1], IMAGE, *RUNNERS[1:]]
    assert len({pod_of(name)["spec"]["containers"][0]["image"] for name in deployments}) == 1
    for name in deployments:
        pod = pod_of(name)["spec"]
        (only,) = pod["containers"]
        kept = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        assert only["securityContext"] == kept and pod["securityContext"]["runAsUser"] == 1034
        assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
        assert {"cpu", "memory"} <= only["resources"]["limits"].keys() & only["resources"]["requests"].keys()
        assert {only[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness")} == {"/readyz"}
        assert only["livenessProbe"]["httpGet"]["path"] == "/livez"


def test_each_runner_is_asked_where_it_listens() -> None:
    """A name in lowercase, tcp:// and the runner's own Service and port: nothing else works (reference facts, 3)."""
    asked = dict(re.findall(r"--depends=(\w+)=tcp://(\S+)", words_of(IMAGE)))
    assert words_of(IMAGE).startswith("start-http-server ") and sorted(asked) == sorted(RUNNERS)
    services = of_kind("Service")
    for name, address in asked.items():
        host, port = address.split(":")
        assert services[host]["spec"]["ports"][0]["port"] == int(port)
        assert services[host]["spec"]["selector"].items() <= pod_of(name)["metadata"]["labels"].items()
        assert words_of(name).startswith(f"start-runner-server --runner-name={name} ")


def test_the_embedder_scales_without_the_others() -> None:
    replicas = {name: thing["spec"]["replicas"] for name, thing in of_kind("Deployment").items()}
    assert replicas == {IMAGE: 1, "classifierrunner": 1, "embeddingrunner": 2}
    assert of_kind("PodDisruptionBudget")[IMAGE]["spec"]["maxUnavailable"] == 1  # or no node could be drained


def test_nobody_but_the_api_server_reaches_a_runner() -> None:
    policies = {name: thing["spec"] for name, thing in of_kind("NetworkPolicy").items()}
    assert policies["nobody"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    api, runner = {"matchLabels": {"app.kubernetes.io/name": IMAGE}}, {"matchLabels": {"serving-lab/part": "runner"}}
    (way_in,), (way_out,) = policies["runners"]["ingress"], policies["ask-runners"]["egress"]
    assert policies["runners"]["podSelector"] == runner and policies["ask-runners"]["podSelector"] == api
    assert way_in == {"from": [{"podSelector": api}], "ports": [{"protocol": "TCP", "port": 3000}]}
    assert way_out == {"to": [{"podSelector": runner}], "ports": [{"protocol": "TCP", "port": 3000}]}
    assert "egress" not in policies["runners"] and "Egress" in policies["runners"]["policyTypes"]
    for name in RUNNERS:
        labels = pod_of(name)["metadata"]["labels"]
        assert labels["serving-lab/part"] == "runner" and labels["app.kubernetes.io/name"] != IMAGE
