"""The manifests as kustomize makes them, against Kubernetes 1.35's schemas, Yatai's CRD and the kit's own rules."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from conftest import ROOT
from live_cluster import (
    RESTRICTED,
    apply,
    get,
    kubectl,
    namespace_for,
    need_cluster,
    need_kubectl,
    not_run,
    refusal,
    wait_for,
)  # fmt: skip

from cluster.material import images_of, read_manifest
from cluster.names import IMAGE, NAMESPACE, TAG, Names
from labs.helpers.kube.yatai import CRD, closed

Manifest = dict[str, Any]
MANIFESTS, SERVICE = ROOT / "manifests", ROOT / "service"
OVERLAYS = sorted(path.parent.name for path in MANIFESTS.glob("overlays/*/kustomization.yaml"))
RELEASES = ["blue-green", "canary"]  # two Deployments, each like the plain one
SERVING = [name for name in OVERLAYS if name not in ("yatai", "split", *RELEASES)]  # of split: tests/test_split.py
OBSERVABILITY = MANIFESTS / "observability"
OTHERS = ("serving.yatai.ai/", "monitoring.coreos.com/", "gateway.networking.k8s.io/")
GATEWAY, FIGURES = MANIFESTS / "gateway", MANIFESTS / "metrics-server"
YATAI = MANIFESTS / "overlays" / "yatai"
# What extended resource each GPU overlay asks for, of the embedding runner's container.
DEVICES = {
    "gpu": "nvidia.com/gpu",
    "gpu-mig": "nvidia.com/mig-1g.10gb",
    "gpu-timeslicing": "nvidia.com/gpu.shared",
}


@pytest.fixture(autouse=True)
def _kubectl() -> None:
    need_kubectl()


@cache
def _rendered(folder: Path) -> str:
    # kustomize is kubectl's own here, and needs neither cluster nor kubeconfig
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def render(folder: Path) -> list[Manifest]:
    return [thing for thing in yaml.safe_load_all(_rendered(folder)) if thing]


def overlay(name: str) -> list[Manifest]:
    return render(MANIFESTS / "overlays" / name)


def pick(things: list[Manifest], kind: str) -> Manifest:
    (found,) = [thing for thing in things if thing["kind"] == kind]
    return found


def pod_template(name: str) -> Manifest:
    return dict(pick(overlay(name), "Deployment")["spec"]["template"])


def container(name: str) -> Manifest:
    (only,) = pod_template(name)["spec"]["containers"]
    return dict(only)


# Kubernetes 1.35's schemas


def check_schema(thing: Manifest) -> None:
    """Unknown fields are refused too. It raises also for a kind that 1.35 does not have."""
    assert kubernetes_validate.validate(thing, "1.35", strict=True) == "1.35"


def test_each_folder_is_an_overlay() -> None:
    folders = sorted(path.name for path in (MANIFESTS / "overlays").iterdir())
    assert folders == OVERLAYS


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_object_fits_its_schema(name: str) -> None:
    # resources of others' are held against their own definitions, below
    things = [thing for thing in overlay(name) if not thing["apiVersion"].startswith(OTHERS)]
    assert things
    for thing in things:
        check_schema(thing)


def test_what_the_platform_runs_fits_its_schemas() -> None:
    things = [thing for thing in render(OBSERVABILITY) if not thing["apiVersion"].startswith(OTHERS)]
    for thing in things:
        if thing["kind"] != "APIService":  # the schemas leave out what the aggregator serves
            check_schema(thing)
    images = re.findall(r"image: (\S+)", _rendered(OBSERVABILITY))
    assert set(images) <= set(images_of("08")) and len(images) == 3


@pytest.mark.parametrize("name", RELEASES)
def test_two_versions_are_the_plain_one_twice_and_one_is_asked(name: str) -> None:
    things, colours = overlay(name), ("blue", "green")
    deployments = {t["metadata"]["name"]: t for t in things if t["kind"] == "Deployment"}
    assert deployments.keys() == {f"{IMAGE}-{colour}" for colour in colours}
    for colour in colours:
        spec = deployments[f"{IMAGE}-{colour}"]["spec"]
        mine = {"app.kubernetes.io/name": IMAGE, "version": colour}
        assert spec["selector"]["matchLabels"] == mine
        assert spec["template"]["metadata"]["labels"].items() >= mine.items()
        assert spec["template"]["spec"]["containers"][0]["image"] == container("plain")["image"]
    selectors = {t["metadata"]["name"]: t["spec"]["selector"]["version"] for t in things if t["kind"] == "Service"}
    assert selectors.pop(IMAGE) == "blue"
    assert selectors == ({"stable": "blue", "new": "green"} if name == "canary" else {})


def test_the_gateway_and_its_route_fit_their_definitions() -> None:
    manifest = read_manifest("gateway-api")
    if not manifest.is_there():
        not_run(f"no {manifest.path.name}: ./lab cluster pull")
    read = [part for part in yaml.safe_load_all(manifest.path.read_text()) if part]
    definitions = {d["spec"]["names"]["kind"]: d for d in read if d["kind"] == "CustomResourceDefinition"}
    things = [t for t in (*overlay("canary"), *render(GATEWAY)) if t["apiVersion"].startswith("gateway.")]
    assert sorted(t["kind"] for t in things) == ["Gateway", "GatewayClass", "HTTPRoute"]
    for thing in things:
        (version,) = [v for v in definitions[thing["kind"]]["spec"]["versions"] if v["name"] == "v1"]
        validator = jsonschema.Draft202012Validator(closed(version["schema"]["openAPIV3Schema"]))
        assert [f"{thing['kind']}: {e.message}" for e in validator.iter_errors(thing)] == []
    for thing in [t for t in render(GATEWAY) if not t["apiVersion"].startswith(OTHERS)]:
        check_schema(thing)
    images = [image for folder in (GATEWAY, FIGURES) for image in re.findall(r"image: (\S+)", _rendered(folder))]
    assert images == images_of("06")


def test_what_brings_the_kubelets_figures_fits_kubernetes() -> None:
    for thing in render(FIGURES):
        if thing["kind"] != "APIService":  # an aggregated API: the schemas have none of its kind
            check_schema(thing)


def test_the_scaler_reads_what_the_adapter_offers() -> None:
    metric = pick(overlay("hpa"), "HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert f"as: {metric}" in pick(render(OBSERVABILITY), "ConfigMap")["data"]["config.yaml"]


def test_what_the_operator_reads_fits_its_definitions() -> None:
    manifest = read_manifest("prometheus-operator")
    if not manifest.is_there():
        not_run(f"no {manifest.path.name}: ./lab cluster pull")
    # only these: elsewhere the manifest has a bare =, which PyYAML cannot read
    parts = manifest.path.read_text().split("\n---\n")
    kinds = r"^    kind: (ServiceMonitor|PrometheusRule|Prometheus)$"
    read = [yaml.safe_load(part) for part in parts if re.search(kinds, part, re.M)]
    definitions = {d["spec"]["names"]["kind"]: d for d in read}
    things = [*overlay("monitoring"), *render(OBSERVABILITY)]
    things = [thing for thing in things if thing["apiVersion"].startswith("monitoring.coreos.com/")]
    assert {thing["kind"] for thing in things} == {"ServiceMonitor", "PrometheusRule", "Prometheus"}
    for thing in things:
        (version,) = [v for v in definitions[thing["kind"]]["spec"]["versions"] if v["name"] == "v1"]
        # without a look at the schema itself: its patterns are Go's
        validator = jsonschema.Draft202012Validator(closed(version["schema"]["openAPIV3Schema"]))
        assert not [error.message for error in validator.iter_errors(thing)]


def test_the_monitor_finds_the_service_and_its_prometheus_is_let_in() -> None:
    things = overlay("monitoring")
    service, monitor = pick(things, "Service"), pick(things, "ServiceMonitor")
    labels = service["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert monitor["spec"]["endpoints"][0]["honorLabels"]  # or BentoML's label `endpoint` is renamed
    watch = pick(render(OBSERVABILITY), "Prometheus")["spec"]
    for selector, kind in (("serviceMonitorSelector", "ServiceMonitor"), ("ruleSelector", "PrometheusRule")):
        assert watch[selector]["matchLabels"].items() <= pick(things, kind)["metadata"]["labels"].items()
    sources = pick(things, "NetworkPolicy")["spec"]["ingress"][0]["from"]
    assert {"kubernetes.io/metadata.name": "monitoring"} in [
        s.get("namespaceSelector", {}).get("matchLabels") for s in sources
    ]


@pytest.mark.parametrize(
    "where",
    [
        "Deployment",
        "Deployment spec",
        "Deployment spec template spec containers 0",
        "Deployment spec template spec containers 0 readinessProbe httpGet",
        "Deployment spec template spec volumes 0",
        "Service spec ports 0",
        "PodDisruptionBudget spec",
        "NetworkPolicy spec egress 0",
        "DeviceClass spec selectors 0",
        "ResourceClaimTemplate spec spec devices requests 0 exactly",
    ],
)
def test_a_planted_unknown_field_is_found(where: str) -> None:
    kind, *path = where.split()
    thing = copy.deepcopy(pick(overlay("gpu-dra"), kind))
    check_schema(thing)
    place: Any = thing
    for step in path:
        place = place[int(step) if step.isdigit() else step]
    place["planted"] = 1
    with pytest.raises(kubernetes_validate.ValidationError, match="planted"):
        check_schema(thing)


# The kit's own rules


def test_names_are_the_kits() -> None:
    things = overlay("plain")
    assert pick(things, "Namespace")["metadata"]["name"] == NAMESPACE
    assert {thing["metadata"]["namespace"] for thing in things if thing["kind"] != "Namespace"} == {NAMESPACE}
    assert [pick(things, kind)["metadata"]["name"] for kind in ("Deployment", "Service")] == [IMAGE, IMAGE]
    assert container("plain")["image"] == f"{Names().address}/{IMAGE}:{TAG}"


@pytest.mark.parametrize("name", SERVING)
def test_no_image_without_a_version(name: str) -> None:
    for image in re.findall(r"image: (\S+)", _rendered(MANIFESTS / "overlays" / name)):
        assert re.search(r":(?!latest$)[\w.-]+$|@sha256:[0-9a-f]{64}$", image), image


@pytest.mark.parametrize("name", SERVING)
def test_pods_fit_the_restricted_profile_and_more(name: str) -> None:
    pod, only = pod_template(name)["spec"], container(name)
    wanted = {"runAsNonRoot": True, "runAsUser": 1034, "seccompProfile": {"type": "RuntimeDefault"}}
    assert pod["securityContext"].items() >= wanted.items()
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert all("sizeLimit" in volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume)
    assert {"cpu", "memory"} <= only["resources"]["limits"].keys() & only["resources"]["requests"].keys()


@pytest.mark.parametrize("name", SERVING)
def test_the_namespace_enforces_the_restricted_profile(name: str) -> None:
    assert pick(overlay(name), "Namespace")["metadata"]["labels"].items() >= RESTRICTED.items()


@pytest.mark.parametrize("name", SERVING)
def test_probes_give_up_and_the_end_is_orderly(name: str) -> None:
    only = container(name)
    probes = {kind: only[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")}
    assert {kind: probe["httpGet"]["path"] for kind, probe in probes.items()} == {
        "startup": "/readyz",
        "readiness": "/readyz",
        "liveness": "/livez",  # /readyz would restart the server because a runner is down
    }
    assert all(1 < probe["timeoutSeconds"] < 60 for probe in probes.values())  # a busy server took 2.6 s
    assert probes["startup"]["periodSeconds"] * probes["startup"]["failureThreshold"] >= 120
    configuration = yaml.safe_load((SERVICE / "bentoml_configuration.yml").read_text())
    longest_wait = configuration["runners"]["embeddingrunner"]["batching"]["max_latency_ms"] / 1000
    time_out = configuration["api_server"]["traffic"]["timeout"]
    pause = only["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert longest_wait < time_out <= pause < pod_template(name)["spec"]["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("name", SERVING)
def test_selectors_find_the_pods(name: str) -> None:
    things, labels = overlay(name), pod_template(name)["metadata"]["labels"]
    deployment, service = pick(things, "Deployment"), pick(things, "Service")
    (spread,) = pod_template(name)["spec"]["topologySpreadConstraints"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        pick(things, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        pick(things, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        spread["labelSelector"]["matchLabels"],
    ]
    # the same everywhere, and no more than the name, since a Deployment's can never be changed
    assert selectors == [{"app.kubernetes.io/name": IMAGE}] * 5
    assert labels.items() >= selectors[0].items()
    (port,) = service["spec"]["ports"]
    (inner,) = container(name)["ports"]
    assert (service["spec"]["type"], port["port"], port["targetPort"]) == ("ClusterIP", 80, inner["name"])
    assert inner == {"name": "http", "containerPort": 3000}
    assert pick(things, "PodDisruptionBudget")["spec"]["minAvailable"] < deployment["spec"]["replicas"]


def test_the_network_is_closed_but_for_clients_and_dns() -> None:
    spec = pick(overlay("plain"), "NetworkPolicy")["spec"]
    assert sorted(spec["policyTypes"]) == ["Egress", "Ingress"]
    (way_in,), (way_out,) = spec["ingress"], spec["egress"]
    assert way_in["from"] == [{"podSelector": {"matchLabels": {"serving-lab/client": "true"}}}]
    assert [port["port"] for port in way_in["ports"]] == [container("plain")["ports"][0]["containerPort"]]
    assert {port["port"] for port in way_out["ports"]} == {53}


@pytest.mark.parametrize("name", SERVING)
def test_configuration_is_the_services_and_applied(name: str) -> None:
    """kustomize reads no file outside of its folder, hence the copy."""
    configmaps = [t for t in overlay(name) if t["kind"] == "ConfigMap" and "bentoml_configuration.yml" in t["data"]]
    (configmap,) = configmaps
    assert configmap["data"]["bentoml_configuration.yml"] == (SERVICE / "bentoml_configuration.yml").read_text()
    volumes = {v["name"]: v["configMap"]["name"] for v in pod_template(name)["spec"]["volumes"] if "configMap" in v}
    mounts = {mount["name"]: mount["mountPath"] for mount in container(name)["volumeMounts"]}
    (mounted,) = [volume for volume, what in volumes.items() if what == configmap["metadata"]["name"]]
    (path,) = [v["value"] for v in container(name)["env"] if v["name"] == "BENTOML_CONFIG"]
    assert path == f"{mounts[mounted]}/bentoml_configuration.yml"


def test_another_configuration_rolls_out(tmp_path: Path) -> None:
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    with (tmp_path / "manifests/base/bentoml_configuration.yml").open("a") as file:
        file.write("# another\n")
    names = {
        pick(things, "Deployment")["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"]
        for things in (overlay("plain"), render(tmp_path / "manifests/overlays/plain"))
    }
    assert len(names) == 2


def test_no_secret_is_in_the_manifests() -> None:
    for path in MANIFESTS.rglob("*.yaml"):
        assert not re.search(r"^kind: Secret$|secretGenerator", path.read_text(), re.MULTILINE), path
    (token,) = [v for v in container("plain")["env"] if v["name"] == "HUB_TOKEN"]
    assert token["valueFrom"]["secretKeyRef"] == {"name": IMAGE, "key": "HUB_TOKEN", "optional": True}


def test_a_release_names_the_digest(tmp_path: Path) -> None:
    """The kustomization that the README shows."""
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    (text,) = re.findall(r"```yaml\n(.*?)```", (MANIFESTS / "README.md").read_text(), re.DOTALL)
    (tmp_path / "release").mkdir()
    (tmp_path / "release/kustomization.yaml").write_text(text)
    things = render(tmp_path / "release")
    (only,) = pick(things, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert only["image"] == f"{Names().repository('walk')}@sha256:{'0' * 64}"
    assert pick(things, "Namespace")["metadata"]["name"] == Names().namespace("walk")
    assert {t["metadata"].get("namespace", Names().namespace("walk")) for t in things} == {Names().namespace("walk")}


# GPUs


def test_each_gpu_overlay_adds_its_device_and_nothing_else() -> None:
    plain = container("plain")
    for name, resource in DEVICES.items():
        only = container(name)
        assert only["resources"]["limits"].pop(resource) == "1"
        assert only == plain
    claimed = container("gpu-dra")
    assert claimed["resources"].pop("claims") == [{"name": "gpu"}]
    assert claimed == plain


def test_no_runner_names_a_device_in_the_configuration() -> None:
    """Unset, BentoML takes what the container has; indices are refused where there is no GPU, MIG's UUIDs anywhere."""
    for path in [MANIFESTS / "base/bentoml_configuration.yml", *SERVICE.glob("batching/*.yml")]:
        runners = yaml.safe_load(path.read_text())["runners"]
        assert "resources" not in {**runners, **runners["embeddingrunner"], **runners["classifierrunner"]}, path


def test_the_claim_leads_to_the_class() -> None:
    things = overlay("gpu-dra")
    template, spec = pick(things, "ResourceClaimTemplate"), pod_template("gpu-dra")["spec"]
    assert spec["resourceClaims"] == [{"name": "gpu", "resourceClaimTemplateName": template["metadata"]["name"]}]
    (request,) = template["spec"]["spec"]["devices"]["requests"]
    assert request["exactly"]["deviceClassName"] == pick(things, "DeviceClass")["metadata"]["name"]


def test_time_slices_have_the_name_that_the_pod_asks_for() -> None:
    (plugin,) = [t for t in overlay("gpu-timeslicing") if t["metadata"]["name"] == "nvidia-device-plugin"]
    slicing = yaml.safe_load(plugin["data"]["config.yaml"])["sharing"]["timeSlicing"]
    (shared,) = slicing["resources"]
    assert slicing["renameByDefault"] and f"{shared['name']}.shared" == DEVICES["gpu-timeslicing"]


# Yatai's CRD


def crd() -> Manifest:
    if not CRD.is_file():
        not_run(f"{CRD} is not here (the CRD of bentoml/yatai-deployment at commit 755faf26)")
    (definition,) = [thing for thing in yaml.safe_load_all(CRD.read_text()) if thing]
    return dict(definition)


def bentodeployment_schema() -> Manifest:
    (version,) = [v for v in crd()["spec"]["versions"] if v["name"] == "v2alpha1"]
    schema: Manifest = closed(version["schema"]["openAPIV3Schema"])
    return schema


def complaints(thing: Manifest) -> set[str]:
    """Each defect as "place: what the schema says"."""
    errors = jsonschema.Draft202012Validator(bentodeployment_schema()).iter_errors(thing)
    return {f"{'.'.join(map(str, error.path))}: {error.message}" for error in errors}


def runner_names() -> set[str]:
    """As the service has them; a BentoDeployment's must be the same, and the CRD takes any string."""
    return set(re.findall(r'_runner\(\w+, "(\w+)"', (SERVICE / "runnable.py").read_text()))


def named_runners(thing: Manifest) -> set[str]:
    return {runner["name"] for runner in thing["spec"]["runners"]}


def test_the_bentodeployment_fits_the_crd() -> None:
    thing = pick(overlay("yatai"), "BentoDeployment")
    assert complaints(thing) == set()
    assert named_runners(thing) == runner_names() == {"embeddingrunner", "classifierrunner"}


def test_the_modules_form_does_not_and_each_defect_is_named() -> None:
    form = yaml.safe_load((YATAI / "module-form.yaml").read_text())
    unknown = "Additional properties are not allowed ('nvidia.com/gpu' was unexpected)"
    assert complaints(form) == {
        "spec.autoscaling.metrics: {'cpu': 70} is not of type 'array'",
        "spec.runners.0.autoscaling.metrics: {'cpu': 80} is not of type 'array'",
        f"spec.runners.0.resources.limits: {unknown}",
    }
    assert not named_runners(form) & runner_names()  # what the CRD cannot see


def test_yatai_is_called_unmaintained() -> None:
    for path in (YATAI / "kustomization.yaml", YATAI / "bentodeployment.yaml"):
        assert path.read_text().startswith("# UNMAINTAINED")


# On the cluster: the API server checks each object, and keeps none


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    need_cluster()
    with namespace_for("manifests", RESTRICTED) as name:
        yield name


def moved(name: str, namespace: str) -> list[Manifest]:
    """The overlay's objects in that namespace, which is there already."""
    things = copy.deepcopy([thing for thing in overlay(name) if thing["kind"] != "Namespace"])
    for thing in things:
        thing["metadata"]["namespace"] = namespace
    return things


@pytest.mark.cluster
@pytest.mark.parametrize("name", SERVING)
def test_the_api_server_takes_it(name: str, namespace: str) -> None:
    """All but what is of an operator's kinds, which this cluster does not have: a test above has their definitions."""
    things = [thing for thing in moved(name, namespace) if not thing["apiVersion"].startswith(OTHERS)]
    said = apply(*things, namespace=namespace, dry=True)
    assert len(re.findall("server dry run", said)) == len(things)


@pytest.mark.cluster
@pytest.mark.parametrize("name", SERVING)
def test_pod_security_takes_the_pod(name: str, namespace: str) -> None:
    """A Deployment that breaks the profile is taken, with a warning; its pods are refused. So one is tried."""
    template = copy.deepcopy(pod_template(name))
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one", **template["metadata"]},
        "spec": template["spec"],
    }
    assert refusal(pod, namespace) == ""
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    assert "violates PodSecurity" in refusal(pod, namespace)


@pytest.mark.cluster
def test_the_api_server_finds_a_planted_unknown_field(namespace: str) -> None:
    service = pick(moved("plain", namespace), "Service")
    assert refusal(service, namespace) == ""
    service["spec"]["planted"] = 1
    assert 'unknown field "spec.planted"' in refusal(service, namespace)


@pytest.fixture
def installed_crd() -> Iterator[None]:
    """Yatai's CRD, for the test alone."""
    definition = crd()
    need_cluster()
    name = definition["metadata"]["name"]
    if kubectl("get", "crd", name, good=False).returncode == 0:
        yield  # somebody's own: it stays
        return
    kubectl("create", "-f", str(CRD))  # apply would keep a copy in an annotation, and it is too long for one
    try:
        # In its first moments it has no conditions at all, at which `kubectl wait` gives up with an error.
        wait_for(lambda: get("crd", name).get("status", {}).get("conditions"), "the CRD's conditions", 30)
        kubectl("wait", "--for=condition=Established", f"crd/{name}", "--timeout=30s")
        yield
    finally:
        kubectl("delete", "crd", name, "--timeout=60s")


@pytest.mark.cluster
def test_the_api_server_knows_a_bentodeployment(namespace: str, installed_crd: None) -> None:
    (thing,) = moved("yatai", namespace)
    assert refusal(thing, namespace) == ""
    form = yaml.safe_load((YATAI / "module-form.yaml").read_text())
    # kubectl stops at the fields that the CRD does not know, and only without that check come the wrong types. With
    # --validate=warn the device would be dropped, and the runner run without a GPU.
    said = refusal(form, namespace)
    unknown = [
        "autoscaling.metrics.cpu",
        "runners[0].autoscaling.metrics.cpu",
        "runners[0].resources.limits.nvidia.com/gpu",
    ]
    assert re.findall(r'unknown field "spec\.(.*?)"', said) == unknown
    said = refusal(form, namespace, validate="false")
    assert said.count("must be of type array") == 2
