"""A namespace in which a release runs (staging, production): what its objects name, and what each pod has and answers.

    with awake(["ml-serving-staging"]) as late:   # a Deployment that is scaled to 0 runs meanwhile
        look_at("ml-serving-staging")["pods"]["demo-text-intelligence-..."]["models"]

A pod's header, its bento.yaml and its image's digest are what somebody wrote. The bytes below models/ and the scores
of its answers are what it has.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence

from cluster.names import IMAGE, read_names
from cluster.registry import answers as registry_answers
from grader.errors import LabError
from grader.model import Facts
from grader.processes import wait_until
from grader.world import listeners, pace
from grader.world.objects import addresses_of, expand, get, kubectl, matches, server_of
from grader.world.releases import TEXTS
from grader.world.room import need_room
from grader.world.split import is_ready, wait_until_out, warnings

PORT = 3000
ROLLS_OUT = 120  # seconds from a start to ready; 25 to 40 where the image is on the node
SETTLES = 5.0  # seconds until a Service leads to what has become ready
# Runs in a pod: what lies there, what the server's process was given, and what it answers.
INSIDE = """
import hashlib, json, pathlib, re, sys, urllib.error, urllib.request
def hashed(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
bento, told = pathlib.Path("/home/bentoml/bento"), {}
files = [p for p in sorted((bento / "models").glob("*/*/**/*")) if p.is_file() and not p.parent.name.startswith("..")]
told["models"] = {p.relative_to(bento).as_posix(): hashed(p) for p in files}
text = (bento / "bento.yaml").read_text()
told["named"] = sorted(re.findall(r"^- tag: (\\S+)", text, re.M))
files = [p for p in sorted((bento / "src").rglob("*")) if p.is_file() and p.parent.name != "__pycache__"]
told["sources"] = {p.relative_to(bento).as_posix(): hashed(p) for p in files}
places = [line.split()[4] for line in open("/proc/self/mountinfo")]
told["covered"] = [p for p in places if re.search(r"/(site|dist)-packages(/|$)|/lib/python3|/bento/src(/|$)", p)]
given = []
for place in pathlib.Path("/proc").glob("[0-9]*/environ"):
    try:
        given += place.read_text(errors="replace").split("\\0")
    except OSError:
        pass
others = ("BENTOML_CONFIG_OPTIONS", "BENTOML_CONFIG_OVERRIDES")
told["overrides"] = [o for o in others if any(v.startswith(o + "=") and v != o + "=" for v in given)]
settings = pathlib.Path("/proc/1/environ").read_text(errors="replace").split("\\0")
env = dict(v.split("=", 1) for v in settings if "=" in v)
file = pathlib.Path(env.get("BENTOML_CONFIG", ""))
told["configuration"] = hashed(file) if file.is_file() else ""
body = json.dumps({"texts": json.loads(sys.argv[2])}).encode()
asked = urllib.request.Request(f"http://127.0.0.1:{sys.argv[1]}/classify", body, {"content-type": "application/json"})
try:
    got = urllib.request.urlopen(asked, timeout=float(sys.argv[3]))
    told["headers"] = {k.lower(): v for k, v in got.headers.items() if k.lower().startswith(("x-service", "x-model"))}
    told |= {"answer": json.loads(got.read()), "problem": ""}
except Exception as broken:
    told |= {"headers": {}, "answer": {}, "problem": f"{type(broken).__name__}: {broken}"[:120]}
print(json.dumps({**told, **look(int(sys.argv[1]))}))
"""


def look_at(namespace: str) -> Facts:
    """The Deployment's image, the pods to which callers of the Service get, every image that is named by no digest, the
    files of configuration that are mounted, and of each ready pod what it runs, has and answers (`pods`)."""
    deployment = get(namespace, "deployment", IMAGE)
    spec = deployment.get("spec", {}).get("template", {}).get("spec", {})
    everyone = get(namespace, "pods").get("items", [])
    pods = [p for p in everyone if matches(deployment.get("spec", {}).get("selector"), p["metadata"].get("labels", {}))]
    ready = [p for p in pods if is_ready(p) and "deletionTimestamp" not in p["metadata"]]
    return {
        "namespace": namespace,
        "deployment": bool(deployment),
        "callers": led_to(namespace, {p["metadata"]["name"] for p in ready}),
        "image": server_of(spec).get("image", ""),
        "unpinned": unpinned([spec, *(p["spec"] for p in ready)]),
        "mounted": mounted(namespace, spec),
        "pods": {p["metadata"]["name"]: look_into(namespace, p) for p in ready},
    }


def led_to(namespace: str, ready: set[str]) -> list[str]:
    """The pods behind the Service, with the port where it is not the server's. Those that became ready a moment ago are
    waited for."""

    def pods() -> list[str]:
        slices = get(namespace, "endpointslices", "-l", f"kubernetes.io/service-name={IMAGE}").get("items", [])
        ends = [
            (e, door(s)) for s in slices for e in s.get("endpoints") or [] if (e.get("conditions") or {}).get("ready")
        ]
        return sorted(
            {str((e.get("targetRef") or {}).get("name") or ", ".join(addresses_of(e))) + at for e, at in ends}
        )

    wait_until(lambda: ready <= set(pods()), SETTLES, pause=0.5)
    return pods()


def door(part: Facts) -> str:
    """Of a slice of a Service: "" where it leads to the server's port, or which it leads to."""
    ports = [str(p.get("port")) for p in part.get("ports") or []]
    return "" if str(PORT) in ports else f", port {', '.join(ports)}" if ports else ", no port"


def unpinned(specs: Sequence[Facts]) -> list[str]:
    """Images that containers of those pods name by something else than a digest."""
    containers = [c for s in specs for c in [*(s.get("containers") or []), *(s.get("initContainers") or [])]]
    return sorted({str(c.get("image")) for c in containers if "@sha256:" not in str(c.get("image"))})


def mounted(namespace: str, spec: Facts) -> list[str]:
    """sha256 of each file of the ConfigMaps that the server mounts."""
    names = {m["name"] for m in server_of(spec).get("volumeMounts") or []}
    parts = [part for v in spec.get("volumes") or [] if v["name"] in names for part in expand(v)]
    maps = [get(namespace, "configmap", part["configMap"]["name"]) for part in parts if part.get("configMap")]
    texts = [text.encode() for one in maps for text in (one.get("data") or {}).values()]
    texts += [base64.b64decode(packed) for one in maps for packed in (one.get("binaryData") or {}).values()]
    return sorted(hashlib.sha256(text).hexdigest() for text in texts)


def look_into(namespace: str, pod: Facts) -> Facts:
    """The image as the kubelet names it, and what INSIDE finds."""
    name, server = pod["metadata"]["name"], server_of(pod["spec"])
    states = [s for s in pod["status"].get("containerStatuses") or [] if s["name"] == server.get("name")]
    patience = pace.patience(20)
    words = [str(PORT), json.dumps(list(TEXTS)), str(patience)]
    run = ["exec", name, "-c", server.get("name", ""), "--", "python", "-W", "ignore", "-c"]
    done = kubectl("-n", namespace, *run, f"{listeners.LOOK}\n{INSIDE}", *words, limit=patience + 40)
    try:
        inside = dict(json.loads((done.stdout.strip().splitlines() or [""])[-1]))
    except ValueError:
        inside = {"problem": f"nothing can be run in it: {done.tail(2)}"}
    return {"image": str(states[0].get("imageID", "")) if states else "", **inside}


@contextlib.contextmanager
def awake(namespaces: Sequence[str]) -> Iterator[list[str]]:
    """Starts one pod of the Deployments that are scaled to 0, and scales them back at the end. Yields the namespaces
    whose Deployment is not rolled out in time; raises where the machine is why."""
    there = {n: get(n, "deployment", IMAGE).get("spec", {}).get("replicas") for n in namespaces}
    asleep = [n for n, replicas in there.items() if replicas == 0]
    try:
        for namespace in asleep:
            scale(namespace, 1)
        running = [n for n, replicas in there.items() if replicas is not None]
        late = [n for n in running if wait_until_out(n, [IMAGE], pace.patience(ROLLS_OUT))]
        if late and not registry_answers(read_names()):
            raise LabError("The registry is silent, so pods cannot pull.", "`./lab cluster up` starts it.")
        for namespace in late:
            need_room(namespace)
        yield late
    finally:
        for namespace in asleep:
            scale(namespace, 0)


def scale(namespace: str, replicas: int) -> None:
    kubectl("-n", namespace, "scale", f"deployment/{IMAGE}", f"--replicas={replicas}")


def why(namespace: str) -> str:
    """The last warnings of a namespace, each once."""
    return "; ".join(warnings(namespace, 160)[-2:])
