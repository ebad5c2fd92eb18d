"""A setting in the cluster: a pod of its own, which is a copy of the service of lab 05 with that setting's ConfigMap.

    find(namespace, setting, url)       the copy that the learner rolled out, made the one whose turn it is
    rolled_out(source, settings, ...)   copies of the grader's own, and nothing left of them

All copies of a namespace are behind one node port: the Service's selector says whose turn it is.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from cluster.names import IMAGE, NODE_PORTS, Names, read_names, state
from grader.errors import LabError
from grader.model import Facts
from grader.processes import wait_until
from grader.workspace import locked
from grader.world import pace, web
from grader.world.load.servers import parse_witness
from grader.world.load.settings import Setting
from grader.world.objects import get, kubectl, labels_of, server_of
from grader.world.room import need_room
from grader.world.split import is_ready, warnings

KEY = "serving-lab/setting"  # the Kubernetes label that tells the copies apart
SERVICE = "bench"
WITNESS = "/etc/labwitness"  # where sitecustomize.py is mounted
WITNESS_FILE = Path(__file__).with_name("witness.py")
WRITTEN = "/tmp/labwitness"  # where it writes
CONFIG = "/etc/serving-lab-bench"
SETTLES = 1.5  # seconds after which every node has heard of a Service's change
ROLLS_OUT = 120  # seconds
GRADED = "ml-serving-graded"  # the begin of the name of the grader's namespace, and a Kubernetes label of it
ENVIRONMENT = {"PYTHONPATH": WITNESS, "LAB_WITNESS": WRITTEN}
# Runs in the pod: what its processes wrote of themselves, and what its API server counted.
INSIDE = """
import glob, json, os, sys, time, urllib.request
def lives(path): # files of the container before a restart are there too, and another process may have the number now
    role, _, pid = os.path.basename(path).removesuffix(".jsonl").rpartition("-")
    command = open(f"/proc/{pid}/cmdline").read() if os.path.exists(f"/proc/{pid}") else ""
    # the API server's own command names every runner, too: --runner-map {"classifierrunner": ...}
    return ("http_api_server" if role == "api" else f"--runner-name\\0{role}\\0") in command
files = [open(p).read() for p in sorted(glob.glob(sys.argv[1] + "/*.jsonl")) if lives(p)]
config = open(os.environ["BENTOML_CONFIG"]).read() if os.environ.get("BENTOML_CONFIG") else ""
page = urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[2]}/metrics", timeout=10).read().decode()
print(json.dumps({"clock": time.monotonic(), "files": files, "config": config, "page": page}))
"""


@dataclass(frozen=True)
class Copy:
    """A pod that runs with one setting, asked at `url`, a node port of this machine."""

    setting: Setting
    namespace: str
    pod: str
    node: str
    container: str
    port: int  # of the container
    url: str

    @cached_property
    def configuration(self) -> str:
        """The text of the file that BENTOML_CONFIG names in the container; "" when it names none."""
        return str(self.look()["config"])

    def look(self) -> Facts:
        words = ["python", "-W", "ignore", "-c", INSIDE, WRITTEN, str(self.port)]
        done = self.run_in(*words, limit=pace.patience(40))
        try:
            return dict(json.loads(done.splitlines()[-1]))
        except (ValueError, IndexError):
            raise LabError(f"The pod {self.pod} says nothing of itself: {done[-300:]}") from None

    def run_in(self, *words: str, limit: float = 20) -> str:
        done = kubectl("-n", self.namespace, "exec", self.pod, "-c", self.container, "--", *words, limit=limit)
        return done.stdout if done.ok else done.tail(3)

    def cpu_seconds(self) -> float:
        """What all its processes have used so far."""
        return pace.cpu_told(self.run_in("sh", "-c", pace.CPU))

    def witnesses(self) -> list[Facts]:
        """What holds in each worker process (witness.py), with `place`: its pod, and what its API server counted."""
        from grader.world.load.metrics import answered

        told = self.look()
        shift = time.monotonic() - told["clock"]
        place = {"pod": self.pod, "node": self.node, "namespace": self.namespace, "answered": answered(told["page"])}
        witnesses = [{**parse_witness(text), "place": place} for text in told["files"]]
        for seen in [s for w in witnesses for s in w["states"] if abs(shift) > 1]:  # Docker's machine has its own clock
            seen["at"] += shift
        return witnesses

    def take_turn(self) -> Copy:
        """Makes it the one that the node port leads to. Raises LabError when it cannot be reached there."""
        patch = json.dumps({"spec": {"selector": {KEY: self.setting.name}}})
        done = kubectl("-n", self.namespace, "patch", "service", SERVICE, "-p", patch)
        if not done.ok:
            raise LabError(f"The Service {SERVICE} of {self.namespace} cannot be turned: {done.tail(2)}")
        if not wait_until(lambda: behind(self.namespace) == [self.pod], 20, pause=0.3):
            raise LabError(f"Behind {SERVICE} are {behind(self.namespace) or 'no ready pods'}, not {self.pod} alone.")
        time.sleep(SETTLES)
        if not wait_until(lambda: is_there(self.url), 20, pause=0.3):
            raise LabError(f"{self.pod} does not answer at {self.url}.", "Does its NetworkPolicy let everybody in?")
        return self


def behind(namespace: str) -> list[str]:
    """The pods that the Service leads to now."""
    slices = get(namespace, "endpointslices", "-l", f"kubernetes.io/service-name={SERVICE}").get("items", [])
    ends = [e for s in slices for e in s.get("endpoints") or [] if (e.get("conditions") or {}).get("ready")]
    return sorted(e["targetRef"]["name"] for e in ends if e.get("targetRef"))


def is_there(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return web.get(f"{url}/livez", timeout=5, trust_env=False).status_code == 200
    return False


def find(namespace: str, setting: Setting, url: str) -> Copy:
    """The copy with that setting, whose turn it is from now on. Raises LabError when there is none."""
    found = get(namespace, "pods", "-l", f"{KEY}={setting.name}").get("items", [])
    ready = [p for p in found if "deletionTimestamp" not in p["metadata"] and is_ready(p)]
    if len(ready) != 1:
        problem = f"{namespace} has {len(ready)} ready pods with the Kubernetes label {KEY}={setting.name}."
        raise LabError(problem, f"Apply bench/cluster/{setting.name} and wait for its roll-out: one replica.")
    return made_of(ready[0], setting, url).take_turn()


def made_of(pod: Facts, setting: Setting, url: str) -> Copy:
    server, about = server_of(pod["spec"]), pod["metadata"]
    port = next((p["containerPort"] for p in server.get("ports") or []), 3000)
    node = pod["spec"].get("nodeName", "")
    return Copy(setting, about["namespace"], about["name"], node, server["name"], port, url)


# ---------------------------------------------------------------- copies of the grader's own


@contextlib.contextmanager
def rolled_out(source: str, wanted: Sequence[tuple[Setting, str]]) -> Iterator[list[Copy]]:
    """A copy of the Deployment that runs in the namespace `source` for each setting and text of its configuration, in a
    namespace of their own, rolled out; one at a time on a cluster. Raises LabError when one does not get ready."""
    names = read_names()
    namespace, deployment = f"{GRADED}-{os.getpid()}", get(source, "deployment", IMAGE)
    with locked(state() / f"{names.cluster}-graded.lock", "the grader's copies in the cluster", lambda _: None):
        try:
            remove_left()
            apply(objects(names, namespace, source, deployment, wanted))
            for setting, _ in wanted:
                wait_for(namespace, setting)
            url = f"http://127.0.0.1:{names.host_port('graded-bench')}"
            pods = [get(namespace, "pods", "-l", f"{KEY}={setting.name}")["items"][0] for setting, _ in wanted]
            yield [made_of(pod, setting, url) for pod, (setting, _) in zip(pods, wanted, strict=True)]
        finally:
            remove_left()


def remove_left() -> None:
    """These copies, and those of a grader that was killed. The Service first: its node port is for the next one."""
    for one in get("default", "namespaces", "-l", f"{GRADED}=true").get("items", []):
        kubectl("-n", one["metadata"]["name"], "delete", "service", SERVICE, "--ignore-not-found")
        kubectl("delete", "namespace", one["metadata"]["name"], "--ignore-not-found", "--wait=false")


def apply(things: Sequence[Facts]) -> None:
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(things)})
    done = kubectl("apply", "-f", "-", given=listed, limit=60)
    if not done.ok:
        raise LabError(f"The grader's copies were refused: {done.tail(4)}")


def wait_for(namespace: str, setting: Setting) -> None:
    name = f"{IMAGE}-{setting.name}"
    limit = pace.patience(ROLLS_OUT)
    done = kubectl(
        "-n", namespace, "rollout", "status", f"deployment/{name}", f"--timeout={limit:.0f}s", limit=limit + 10
    )
    if not done.ok:
        need_room(namespace)
        said = "; ".join([done.tail(2), *warnings(namespace)[-3:]])
        raise LabError(f"The grader's copy with the setting {setting.name} is not ready: {said}", "Grade again.")


def objects(
    names: Names, namespace: str, source: str, deployment: Facts, wanted: Sequence[tuple[Setting, str]]
) -> list[Facts]:
    """All that is applied: a namespace as strict as the source's, ConfigMaps, Deployments and the Service."""
    given = labels_of(get("default", "namespace", source))
    strict = {GRADED: "true"} | {k: v for k, v in given.items() if k.startswith("pod-security")}
    first = wanted[0][0].name
    port = {"port": 80, "targetPort": server_port(deployment), "nodePort": NODE_PORTS["graded-bench"]}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": strict}},
        config_map(namespace, "labwitness", {"sitecustomize.py": WITNESS_FILE.read_text()}),
        *(config_map(namespace, f"bench-{s.name}", {"bentoml_configuration.yml": text}) for s, text in wanted),
        *(copy_of(deployment, namespace, s) for s, _ in wanted),
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE, "namespace": namespace},
            "spec": {"type": "NodePort", "selector": {KEY: first}, "ports": [port]},
        },
    ]  # fmt: skip


def server_port(deployment: Facts) -> int:
    server = server_of(deployment["spec"]["template"]["spec"])
    return next((int(p["containerPort"]) for p in server.get("ports") or []), 3000)


def config_map(namespace: str, name: str, files: dict[str, str]) -> Facts:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": files}


def copy_of(deployment: Facts, namespace: str, setting: Setting) -> Facts:
    """The Deployment with one replica, that setting's ConfigMap as BENTOML_CONFIG, and the witness."""
    template = copy.deepcopy(deployment["spec"]["template"])
    labels = {KEY: setting.name}
    template["metadata"] = {"labels": labels}
    pod = template["spec"]
    for word in ("topologySpreadConstraints", "affinity", "serviceAccountName", "serviceAccount"):
        pod.pop(word, None)
    pod["terminationGracePeriodSeconds"] = 1  # nobody else asks it
    make_optional(pod)
    server = server_of(pod)
    server.pop("lifecycle", None)
    server.setdefault("resources", {}).setdefault("requests", {})["cpu"] = "100m"  # it runs while others rest
    mine = {**ENVIRONMENT, "BENTOML_CONFIG": f"{CONFIG}/bentoml_configuration.yml"}
    kept = [e for e in server.get("env") or [] if e["name"] not in mine]
    server["env"] = [*kept, *({"name": k, "value": v} for k, v in mine.items())]
    for volume, source, path in (("labwitness", "labwitness", WITNESS), ("bench", f"bench-{setting.name}", CONFIG)):
        pod.setdefault("volumes", []).append({"name": volume, "configMap": {"name": source}})
        mount = {"name": volume, "mountPath": path, "readOnly": True}
        server.setdefault("volumeMounts", []).append(mount)
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    about = {"name": f"{IMAGE}-{setting.name}", "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": about, "spec": spec}


def make_optional(part: Any) -> None:
    """ConfigMaps and Secrets of the source's namespace are not in this one; the copy starts without them."""
    for key, value in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        if key in ("configMap", "secret", "configMapKeyRef", "secretKeyRef", "configMapRef", "secretRef"):
            value["optional"] = True
        make_optional(value)
