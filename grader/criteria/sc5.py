"""sc5: the service of lab 05 runs on the cluster, hardened, configured and asked pod by pod.

`objects` reads what the API server knows. `answers` asks through the Service by a port-forward, as the module does,
then each pod by itself, and looks into the process that answers: which configuration, which models. `policy` knocks at
the door with and without the label. All of it is read, asked or tried; no manifest of the learner's is trusted.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import httpx

from cluster.engine import environ
from cluster.forward import Forward, forward
from cluster.names import IMAGE, read_names
from grader.errors import LabError
from grader.kit import check, probe
from grader.model import Facts, Finding
from grader.processes import run
from grader.world import listeners, pace, web
from grader.world.objects import (
    MEND,
    OUTAGE,
    addresses_of,
    expand,
    get,
    is_spread,
    kubectl,
    labels_of,
    left_by,
    matches,
    over_bento,
    port_of,
    quantity,
    server_of,
    way_in,
)
from grader.world.releases import TEXTS, ask_apart, newest, released, untagged
from grader.world.room import refuse_trouble
from grader.world.secrets import search, secret_values
from grader.world.visitors import STRANGERS, visit

PORT = "LAB_FORWARD_PORT"  # names the local port, for whoever has to know it beforehand (a mutant that holds it)
TAKEN = re.compile("(?i)is held by|address already in use|unable to listen on")
PATIENCE = 20.0
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# What may be annotated with a secret, too.
BESIDE = "services,networkpolicies,poddisruptionbudgets,horizontalpodautoscalers"
RUNNERS = ("embeddingrunner", "classifierrunner")
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
ENTRY = "/home/bentoml/bento/env/docker/entrypoint.sh"  # BentoML's own, in each image
# What a runner's part of a configuration may hold besides the runners' names.
SETTINGS = {"batching", "resources", "workers_per_resource", "logging", "metrics", "timeout", "traffic", "optimized"}
# What runs in a pod: the file that the server's process was given, and what BentoML makes of it.
INSIDE = """
import hashlib, json, os, pathlib, sys
told = {}
text = pathlib.Path("/proc/1/environ").read_text(errors="replace")
env = dict(v.split("=", 1) for v in text.split("\\0") if "=" in v)
told["file"] = file = env.get("BENTOML_CONFIG", "")
told["hash"] = hashlib.sha256(pathlib.Path(file).read_bytes()).hexdigest() if os.path.isfile(file) else ""
os.environ.update({k: v for k, v in env.items() if k.startswith("BENTOML_")})
try:
    from bentoml._internal.configuration.containers import BentoMLContainer
    runners = BentoMLContainer.runners_config.get()
    parts = {n: runners.get(n, runners)["batching"] for n in ("embeddingrunner", "classifierrunner")}
    told["effective"] = {n: b["max_batch_size"] if b["enabled"] else "off" for n, b in parts.items()}
except Exception as broken:
    told["effective"] = f"{type(broken).__name__}: {broken}"[:200]
try:
    pathlib.Path("/home/bentoml/try").write_text("x"); told["root_file_system"] = "writable"
except OSError as refused:
    told["root_file_system"] = type(refused).__name__ + f" {refused.errno}"
told["token"] = os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token")
print(json.dumps({**told, **look(int(sys.argv[1]))}))
"""


@probe(limit=60)
def objects(ws: Any) -> Facts:
    """The objects of the namespace, as the API server has them; 3 s."""
    namespace = read_names().namespace(ws.name)
    release = released(ws.root)["release"]
    deployment, service = get(namespace, "deployment", IMAGE), get(namespace, "service", IMAGE)
    spec = deployment.get("spec", {})
    template = spec.get("template", {})
    everyone = get(namespace, "pods").get("items", [])
    pods = [p for p in everyone if ours(p, deployment)]
    server = server_of(template.get("spec", {}), release)
    running = server_of(pods[0]["spec"], release) if pods else server
    slices = get(namespace, "endpointslices", "-l", f"kubernetes.io/service-name={IMAGE}").get("items", [])
    ends = [e for s in slices for e in s.get("endpoints") or [] if (e.get("conditions") or {}).get("ready")]
    replicas, way = spec.get("replicas", 1), service.get("spec", {})
    nodes = [n for n in get("default", "nodes")["items"] if not n["spec"].get("taints")]
    labels = labels_of(get("default", "namespace", namespace))
    budgets = [b["spec"] for b in get(namespace, "poddisruptionbudgets").get("items", [])]
    facts: Facts = {
        "namespace": namespace,
        "release": release,
        "deployment": bool(deployment),
        "service": bool(service),
        "selector": way.get("selector"),
        "fits": bool(way.get("selector")) and matches({"matchLabels": way["selector"]}, labels_of(template)),
        "unready_too": bool(way.get("publishNotReadyAddresses")),
        "leads_to": str(way_in(way).get("targetPort", "")),
        "replicas": replicas,
        "updated": updated(deployment),
        "fewest": min(scaled_to(namespace), default=replicas),
        "image": server.get("image", ""),
        "probes": {kind: server.get(kind) for kind in PROBES},
        "ports": [str(p[k]) for p in server.get("ports") or [] for k in ("name", "containerPort") if p.get(k)],
        "resources": running.get("resources", {}),  # with what the API server fills in
        "over_bento": over_bento(server),
        "spread": is_spread(template, replicas),
        "kept": kept(budgets, pods, everyone, replicas),
        "profile": labels.get("pod-security.kubernetes.io/enforce", ""),
        "profile_version": labels.get("pod-security.kubernetes.io/enforce-version", ""),
        "started": {
            n: words_of(s, release) for n, s in [("the Deployment", template), *((name_of(p), p) for p in pods)]
        },
        "pods": [about(p, release) for p in pods],
        "endpoints": sorted({(e.get("targetRef") or {}).get("name") or ", ".join(addresses_of(e)) for e in ends}),
        "workers": len(nodes),
        "node_memory": max((quantity(n["status"]["allocatable"]["memory"]) for n in nodes), default=0),
        "secrets": secrets_of(namespace, deployment) + secrets_written(ws.root),
        "events": warnings(namespace),
    }
    if len(facts["endpoints"]) < max(replicas, 2) or facts["updated"] != replicas:
        refuse_trouble(namespace, facts["events"])
    return facts


def ours(pod: Facts, deployment: Facts) -> bool:
    """A pod of the Deployment's that runs, or is to run."""
    return matches(deployment.get("spec", {}).get("selector"), labels_of(pod)) and not is_over(pod)


def is_over(pod: Facts) -> bool:
    """Whether it is on its way out, or has ended: a node that evicts a pod leaves it there as Failed."""
    return "deletionTimestamp" in pod["metadata"] or pod["status"].get("phase") in ("Failed", "Succeeded")


def updated(deployment: Facts) -> int:
    """How many pods are as the Deployment says now; none where nobody has looked at its last change yet."""
    status, generation = deployment.get("status", {}), deployment.get("metadata", {}).get("generation", 0)
    return int(status.get("updatedReplicas", 0)) if status.get("observedGeneration", 0) >= generation else 0


def scaled_to(namespace: str) -> list[int]:
    """The fewest replicas that each autoscaler of the Deployment goes down to."""
    specs = [a["spec"] for a in get(namespace, "horizontalpodautoscalers").get("items", [])]
    return [int(s.get("minReplicas", 1)) for s in specs if s.get("scaleTargetRef", {}).get("name") == IMAGE]


def kept(budgets: list[Facts], pods: list[Facts], everyone: list[Facts], replicas: int) -> list[int]:
    """What each budget that is about a pod of ours keeps of them: none where it counts others' pods too, or not all.
    Two for one pod are one too many: the API server then evicts nobody."""
    about_us = [b for b in budgets if any(matches(b.get("selector"), labels_of(p)) for p in pods)]
    alone = [{name_of(p) for p in everyone if matches(b.get("selector"), labels_of(p))} for b in about_us]
    mine, gone = {name_of(p) for p in pods}, {name_of(p) for p in everyone if is_over(p)}
    return [left_by(b, replicas) if names - gone == mine else 0 for b, names in zip(about_us, alone, strict=True)]


def name_of(pod: Facts) -> str:
    return str(pod["metadata"]["name"])


def words_of(thing: Facts, release: str) -> list[str]:
    """What that pod, or template, starts in the image: its command, then its arguments."""
    server = server_of(thing.get("spec", {}), release)
    return [str(word) for word in [*(server.get("command") or []), *(server.get("args") or [])]]


def about(pod: Facts, release: str) -> Facts:
    name = server_of(pod["spec"], release).get("name")
    states = [s for s in pod["status"].get("containerStatuses") or [] if s["name"] == name]
    return {
        "name": pod["metadata"]["name"],
        "node": pod["spec"].get("nodeName", ""),
        "phase": pod["status"].get("phase", ""),
        "image": str(states[0].get("imageID", "")) if states else "",
    }


def secrets_of(namespace: str, deployment: Facts) -> list[str]:
    """What looks like a secret's value in the Deployment (all containers), in ConfigMaps, and beside them."""
    if not deployment:
        return []
    pod = deployment["spec"]["template"].get("spec", {})
    containers = [*pod.get("containers", []), *pod.get("initContainers", [])]
    rest = {k: v for k, v in pod.items() if k not in ("containers", "initContainers")}
    rest["containers"] = [{k: v for k, v in c.items() if k != "env"} for c in containers]
    applied = (deployment["metadata"].get("annotations") or {}).get(APPLIED)
    told = json.dumps([applied, told_of(deployment), told_of(deployment["spec"]["template"]), rest], indent=0)
    named = [f'{e["name"]}: "{e["value"]}"' for c in containers for e in c.get("env") or [] if e.get("value")]
    texts = {"the Deployment": "\n".join([*named, told])}
    for one in get(namespace, BESIDE).get("items", []):
        texts[f"{one['kind']} {one['metadata']['name']}"] = json.dumps(told_of(one), indent=0)
    for one in get(namespace, "configmaps").get("items", []):
        packed = {k: base64.b64decode(v).decode("utf-8", "replace") for k, v in (one.get("binaryData") or {}).items()}
        for file, text in {**(one.get("data") or {}), **packed, "its labels": json.dumps(told_of(one))}.items():
            texts |= {f"ConfigMap {one['metadata']['name']}, {file}": text}
    return searched(texts)


def told_of(thing: Facts) -> list[Facts]:
    """Its annotations and labels, without kubectl's copy of all the rest."""
    told = [thing.get("metadata", {}).get(what) or {} for what in ("annotations", "labels")]
    return [{k: v for k, v in part.items() if k != APPLIED} for part in told]


def searched(texts: dict[str, str]) -> list[str]:
    """What looks like a secret there. Not one: digests, what kustomize adds to names, checksums, and certificates."""
    made = r"sha256:[0-9a-f]{64}|-[2456789bcdfghkmt]{10}(?=\\?\")"
    public = r"(?s:-----BEGIN (?P<what>CERTIFICATE|PUBLIC KEY)-----.*?-----END (?P=what)-----)"
    sums = r"(?:checksum|sha|hash|digest|revision)[\w./-]*\\*\"\s*:\s*\\*\"[0-9a-f]{32,64}(?=\\*\")"
    clean = {where: re.sub(f"{made}|{public}|{sums}", "", f" {text}").encode() for where, text in texts.items()}
    return [str(s) for where, text in clean.items() for s in search(where, text)][:5]


def secrets_written(root: Path) -> list[str]:
    """Values of Secrets that stand in the manifests: by themselves, or as what kustomize makes them of."""
    found = []
    for folder in kustomized(root):
        for path in sorted({*folder.rglob("*.y*ml"), *folder.rglob("*.json")}):
            with contextlib.suppress(AttributeError, TypeError, OSError, RecursionError):  # what no cluster would take
                keys = [k for thing in read_all(path) for k in secret_values(thing, partial(read_beside, path.parent))]
                found += [f"{path.relative_to(root.resolve())}: the value of {name}, in a file" for name in keys]
    return list(dict.fromkeys(found))[:5]


def kustomized(root: Path) -> list[Path]:
    """deploy/, and the folders of this workspace that its kustomizations build on."""
    root = root.resolve()
    found = [root / "deploy"]
    for folder in found:
        for path in sorted(folder.rglob("kustomization.y*ml")):
            lists = [thing.get(part) for thing in read_all(path) for part in ("resources", "bases", "components")]
            named = [one for some in lists if isinstance(some, list) for one in some]
            places = [place for one in named if (place := (path.parent / str(one)).resolve()).is_dir()]
            inner = [p for p in places if p.is_relative_to(root) and p != root]
            found += [p for p in inner if not any(p.is_relative_to(known) for known in found)]
    return found


def read_all(path: Path) -> list[Facts]:
    """The objects of a manifest; none where it cannot be read."""
    import yaml

    try:
        return [thing for thing in yaml.safe_load_all(path.read_text()) if isinstance(thing, dict)]
    except (yaml.YAMLError, OSError, ValueError):
        return []


def read_beside(place: Path, name: str) -> str:
    """A file that a kustomization of that folder names; "" outside of it, where kustomize reads none."""
    path = (place / name).resolve()
    if not path.is_relative_to(place.resolve()) or not path.is_file():
        return ""
    return path.read_text(errors="replace")[:100_000]


def warnings(namespace: str, most: int = 3) -> list[str]:
    """The last warnings, so that a failing check names the object and the reason."""
    events = get(namespace, "events").get("items", [])
    events = sorted(events, key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""), reverse=True)
    mine = [e for e in events if e.get("type") == "Warning" and e["involvedObject"].get("name", "").startswith(IMAGE)]
    told = [f"{e['involvedObject']['kind']} {e['involvedObject']['name']}: {e.get('message', '')[:300]}" for e in mine]
    return list(dict.fromkeys(told))[:most]


@probe(limit=240)
def answers(ws: Any) -> Facts:
    """What the Service answers by a port-forward, what each pod answers, and what each process has; some 15 s."""
    names = read_names()
    namespace, release = names.namespace(ws.name), released(ws.root)["release"]
    deployment = get(namespace, "deployment", IMAGE)
    service = get(namespace, "service", IMAGE)
    everyone = get(namespace, "pods").get("items", [])
    pods = [p for p in everyone if ours(p, deployment)]
    facts: Facts = {"bento": newest(ws.store), "wanted": list(TEXTS.values())}
    behind = {"matchLabels": service.get("spec", {}).get("selector") or {"": ""}}
    leads = any(matches(behind, labels_of(p)) for p in everyone)
    local = int(os.environ[PORT]) if os.environ.get(PORT) else None
    door = way_in(service.get("spec", {})).get("port", 80)
    with reached(namespace, f"service/{IMAGE}", door, local, leads) as way:
        facts["service"] = {"problem": way.problem} if way.problem else ask_again(namespace, way.url, pods, release)
    facts["files"] = mounted_files(namespace, deployment, release)
    with ThreadPoolExecutor(2) as pool:
        told = pool.map(lambda pod: look_at(namespace, pod, release), pods)
        facts["pods"] = {pod["metadata"]["name"]: seen for pod, seen in zip(pods, told, strict=True)}
    return facts


@contextlib.contextmanager
def reached(namespace: str, target: str, port: int, local: int | None = None, leads: bool = True) -> Iterator[Forward]:
    """A forward there. Raises where it fails for the machine's sake: a silent cluster, a port of our choice that is
    taken meanwhile, or no forward in time to what has a pod (without one, kubectl waits for it)."""
    with forward(read_names(), namespace, target, port, local, pace.patience(15)) as way:
        if OUTAGE.search(way.problem):
            raise LabError(f"The cluster does not answer: {way.problem[-300:]}", MEND)
        if local is None and TAKEN.search(way.problem):
            raise LabError(f"Another program took the port meanwhile: {way.problem[-300:]}", "Grade again.")
        if leads and way.problem.startswith("no forward after"):
            raise LabError(f"This machine is too slow at the moment: {way.problem[-300:]}", "Grade again.")
        yield way


def look_at(namespace: str, pod: Facts, release: str) -> Facts:
    """What one pod answers by itself, its histogram's edges, and what its process has."""
    name, server = pod["metadata"]["name"], server_of(pod["spec"], release)
    port = port_of(server)
    with reached(namespace, f"pod/{name}", port) as way:
        told = {"problem": way.problem} if way.problem else ask_again(namespace, way.url, [pod], release)
        edges = {} if told["problem"] else batch_edges(way.url, name)
    seen = look_inside(namespace, name, server.get("name", ""), port)
    if seen["inside"]:
        seen["inside"]["mounted"] = is_mounted(seen["inside"]["file"], pod, server)
    return {**told, "edges": edges, **seen, "tokens": tokens_of(pod), "writable": writable(pod, server)}


def is_mounted(file: str, pod: Facts, server: Facts) -> bool:
    """Whether that file of the server's is a ConfigMap's, by where it lies."""
    maps = {v["name"] for v in pod["spec"].get("volumes") or [] if any("configMap" in part for part in expand(v))}
    mounts = [m["mountPath"] for m in server.get("volumeMounts") or [] if m["name"] in maps]
    return any(PurePosixPath(file).is_relative_to(place) for place in mounts)


def tokens_of(pod: Facts) -> list[str]:
    """Volumes that have a token for the API server in them, in whichever container they are."""
    volumes = pod["spec"].get("volumes") or []
    return [v["name"] for v in volumes if any("serviceAccountToken" in part for part in expand(v))]


def writable(pod: Facts, server: Facts) -> list[str]:
    """The other containers that go on running and whose root file system is open for writing."""
    spec = pod["spec"]
    lasting = [c for c in spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"]
    others = [c for c in [*spec.get("containers", []), *lasting] if c["name"] != server.get("name")]
    return [c["name"] for c in others if not (c.get("securityContext") or {}).get("readOnlyRootFilesystem")]


def ask(url: str) -> Facts:
    """The answer to all texts at once, or what is wrong with it, and with what each gets alone."""
    return ask_apart(partial(ask_for, url))


def ask_for(url: str, texts: list[str]) -> Facts:
    limit = pace.patience(PATIENCE)
    try:
        got = web.post(f"{url}/classify", json={"texts": texts}, timeout=limit, trust_env=False)
        version = got.headers.get("x-service-version", "no header")
        return {"problem": "", "status": got.status_code, "body": got.json(), "version": version}
    except httpx.HTTPError as broken:
        return {
            "problem": f"{type(broken).__name__}: {broken}"[:200],
            "late": isinstance(broken, httpx.TimeoutException),
        }
    except ValueError:
        return {"problem": f"no JSON: {got.text[:80]!r}"}


def ask_again(namespace: str, url: str, pods: list[Facts], release: str) -> Facts:
    """The answer of one of these pods. A late one is asked for once more, where none of them is at work."""
    told = ask(url)
    if told.get("late"):
        refuse_slowness(namespace, pods, release)
        told = ask(url)
        if told.get("late"):
            refuse_slowness(namespace, pods, release)
    return told


def refuse_slowness(namespace: str, pods: list[Facts], release: str) -> None:
    """Raises where one of those pods, who gave no answer in time, is at work: that is the machine's trouble."""
    for pod in pods:
        server = server_of(pod["spec"], release).get("name", "")
        words = ["-n", namespace, "exec", name_of(pod), "-c", server, "--", "sh", "-c", pace.CPU]
        if pace.is_at_work(partial(cpu_in, words)):
            raise pace.too_slow(f"the pod {name_of(pod)}", pace.patience(PATIENCE))


def cpu_in(words: list[str]) -> float:
    return pace.cpu_told(kubectl(*words).stdout)


def batch_edges(url: str, pod: str) -> dict[str, float]:
    """The largest finite edge of each runner's histogram of batch sizes: max_batch_size, to the running server. Raises
    where nothing comes of a pod that has answered."""
    try:
        text = web.get(f"{url}/metrics", timeout=pace.patience(10), trust_env=False).text
    except httpx.HTTPError as broken:
        problem = f"The pod {pod} answered, and its /metrics did not come ({type(broken).__name__})."
        raise LabError(problem, "Grade again when this machine has less to do.") from broken
    found: dict[str, float] = {}
    for labels in re.findall(r"^bentoml_runner_adaptive_batch_size_bucket\{(.*?)\}", text, re.M):
        edge, runner = re.search(r'le="([\d.]+)"', labels), re.search(r'runner_name="(\w+)"', labels)
        if edge and runner:
            found[runner[1]] = max(found.get(runner[1], 0), float(edge[1]))
    return found


def look_inside(namespace: str, pod: str, container: str, port: int) -> Facts:
    script = f"{listeners.LOOK}\n{INSIDE}"
    words = ["exec", pod, "-c", container, "--", "python", "-I", "-W", "ignore", "-c", script, str(port)]
    done = kubectl("-n", namespace, *words, limit=pace.patience(40))
    try:
        return {"inside": json.loads((done.stdout.strip().splitlines() or [""])[-1])}
    except ValueError:
        return {"inside": {}, "inside_problem": done.tail(3)}


def mounted_files(namespace: str, deployment: Facts, release: str) -> list[Facts]:
    """Each file of each ConfigMap that the pods mount, with its hash and what it says of each runner's batching."""
    spec = deployment.get("spec", {}).get("template", {}).get("spec", {})
    mounts = {m["name"] for m in server_of(spec, release).get("volumeMounts") or []}
    sources = [part for v in spec.get("volumes") or [] if v["name"] in mounts for part in expand(v)]
    found = []
    for name in dict.fromkeys(s["configMap"]["name"] for s in sources if s.get("configMap")):
        for file, text in (get(namespace, "configmap", name).get("data") or {}).items():
            hashed = hashlib.sha256(text.encode()).hexdigest()
            found.append({"map": name, "file": file, "hash": hashed, **read_batching(text)})
    return found


def read_batching(text: str) -> Facts:
    """`sizes`: what a configuration says for each runner, a size or "off", None where it says nothing; `strangers`: its
    runners that the service has not."""
    import yaml

    try:
        whole = yaml.safe_load(text)
    except yaml.YAMLError:
        whole = None
    runners = whole.get("runners") if isinstance(whole, dict) else None
    runners = runners if isinstance(runners, dict) else {}

    def size(name: str) -> Any:
        parts = [part.get("batching") or {} for part in (runners, runners.get(name) or {}) if isinstance(part, dict)]
        said = {k: v for part in parts for k, v in part.items()}
        return None if not said else "off" if said.get("enabled") is False else said.get("max_batch_size", 100)

    return {"sizes": {n: size(n) for n in RUNNERS}, "strangers": sorted(set(map(str, runners)) - {*RUNNERS, *SETTINGS})}


@probe(limit=240)
def policy(ws: Any) -> Facts:
    """Whether a pod with the label gets in, one without it, and one of another namespace; 10 s. None of them stays."""
    names = read_names()
    namespace, release = names.namespace(ws.name), released(ws.root)["release"]
    deployment, service = get(namespace, "deployment", IMAGE), get(namespace, "service", IMAGE)
    pods = [p for p in get(namespace, "pods").get("items", []) if ours(p, deployment) and p["status"].get("podIP")]
    known = [(p, i["image"]) for p in pods if (i := about(p, release))["image"] and i["phase"] == "Running"]
    if not known or not service:
        return {"found": {}}
    pod, image = known[0]
    inner, outer = port_of(server_of(pod["spec"], release)), way_in(service["spec"]).get("port", 80)
    doors = [f"http://{p['status']['podIP']}:{inner}/livez" for p, _ in known]
    url = f"http://{IMAGE}.{namespace}:{outer}/livez"
    return {"found": visit(namespace, image, pod["spec"]["nodeName"], url, doors)}


# ---------------------------------------------------------------- the module's own form


def good_answer(told: Facts, wanted: list[str]) -> bool:
    body = told.get("body") if isinstance(told.get("body"), dict) else {}
    scores = (body or {}).get("scores") or []
    numbers = [s for s in scores if isinstance(s, int | float) and 0 < s <= 1]
    good = told.get("status") == 200 and not told.get("problem") and (body or {}).get("labels") == wanted
    return good and len(numbers) == len(scores) == len(wanted)


def shown(told: Facts) -> str:
    return told.get("problem") or f"{told.get('status')}: {str(told.get('body'))[:120]}"


@check(objects)
def deployed(seen: Facts) -> Finding:
    wanted = f"Deployment and Service {IMAGE} in {seen['namespace']}, with pods"
    lacking = [what for what in ("deployment", "service", "pods") if not seen[what]]
    why = f": {'; '.join(seen['events'])}" if seen["events"] else ""
    found = f"no {' and no '.join(lacking)}{why}" if lacking else f"{len(seen['pods'])} pods"
    return Finding(not lacking, "a Deployment and a Service are in the cluster, and pods come of them", found, wanted)


@check(objects, after=deployed)
def selector_finds_pods(seen: Facts) -> Finding:
    named = [p["name"] for p in seen["pods"]]
    found = f"selector {seen['selector']}, ready behind it: {', '.join(seen['endpoints']) or 'nobody'}"
    found += ", and pods that are not ready, too (publishNotReadyAddresses)" * seen["unready_too"]
    good = bool(seen["endpoints"]) and set(seen["endpoints"]) <= set(named)
    good = good and seen["fits"] and not seen["unready_too"]
    wanted = f"its selector finds some of {', '.join(named)}, and nobody else"
    return Finding(good, "the Service finds ready pods of the Deployment", found, wanted)


@check(answers, after=selector_finds_pods)
def answers_by_forward(seen: Facts) -> Finding:
    good = good_answer(seen["service"], seen["wanted"])
    found = shown(seen["service"])
    return Finding(good, "the Service answers through kubectl port-forward", found, str(seen["wanted"]))


# ---------------------------------------------------------------- each pod


@check(objects, after=selector_finds_pods)
def two_ready(seen: Facts) -> Finding:
    told = "; ".join(seen["events"][:1])
    found = f"{len(seen['endpoints'])} of {seen['replicas']} replicas ready{': ' if told else ''}{told}"
    found += f"; {seen['updated']} of them as the Deployment says now" * (seen["updated"] != seen["replicas"])
    found += f"; an autoscaler goes down to {seen['fewest']}" * (seen["fewest"] != seen["replicas"])
    good = 2 <= seen["replicas"] <= len(seen["endpoints"]) and seen["updated"] == seen["replicas"]
    good = good and seen["fewest"] >= 2
    return Finding(good, "two replicas are ready, or as many as are asked for", found, "all, and at least 2")


@check(answers, after=[answers_by_forward, two_ready])
def each_pod_answers(seen: Facts) -> Finding:
    bad = {name: shown(told) for name, told in seen["pods"].items() if not good_answer(told, seen["wanted"])}
    all_good = f"{len(seen['pods'])} pods, each with {seen['wanted']}"
    found = "; ".join(f"{n}: {why}" for n, why in bad.items()) or all_good
    good = bool(seen["pods"]) and not bad
    return Finding(good, "each pod answers well, asked by itself", found, f"{seen['wanted']} from each")


@check(objects, after=selector_finds_pods)
def released_image(seen: Facts) -> Finding:
    digest, release = seen["release"].rpartition("@")[2], untagged(seen["release"])
    others = [f"{p['name']} runs {p['image']}" for p in seen["pods"] if p["image"] and not p["image"].endswith(digest)]
    others += [f"a volume at {path} hides the Bento or its packages" for path in seen["over_bento"]]
    good = bool(digest) and untagged(seen["image"]) == release and not others
    found = "; ".join([seen["image"], *others])
    return Finding(good, "the pods run the released image, by its digest", found, seen["release"])


@check(objects, after=[each_pod_answers, released_image])
def starts_bentoml(seen: Facts) -> Finding:
    """The right image may be made to start another program, or a Service lead past it: to one that answers as hoped."""
    found = {name: " ".join(words) for name, words in seen["started"].items() if not is_serving(words)}
    if seen["leads_to"] not in {"http", "3000", *seen["ports"]}:
        found["the Service"] = f"leads to port {seen['leads_to']}, which the server has not"
    wanted = "serve, or bentoml serve, and its options; nothing at all is the same"
    told = {name: words[:160] for name, words in found.items()} or "bentoml serve"
    good = bool(seen["started"]) and not found
    return Finding(good, "what runs in the image is the service that was built into it", told, wanted)


def is_serving(words: list[str]) -> bool:
    """Whether those words start the server of the Bento: of the image's entry point, or BentoML's own."""
    if re.fullmatch(r"\S*sh -c exec [\w ./:=@$(){}-]+", " ".join(words)):
        words = words[2].split()[1:]  # a shell that becomes it, and does nothing else
    own = words[1:] if words[:1] == [ENTRY] else words
    own = [PurePosixPath(own[0]).name, *own[1:]] if own else own
    starts = (["serve"], ["bentoml", "serve"], ["python", "-m", "bentoml", "serve"])
    trying = {"--reload", "--development"} & set(own)  # for whoever writes it: what runs may be edited
    return not own or (any(own[: len(start)] == start for start in starts) and not trying)


@check(answers, after=[each_pod_answers, released_image])
def same_bento(seen: Facts) -> Finding:
    """What the process says, and what it was started from: it may serve a volume, or other code may come before."""
    told = {n: t.get("version", "no header") for n, t in seen["pods"].items()}
    odd = {n: why for n, t in seen["pods"].items() if (why := listeners.strange(t["inside"]))}
    good = bool(told) and set(told.values()) == {seen["bento"]} and not odd
    wanted = f"x-service-version {seen['bento']}, from the Bento in the image"
    return Finding(good, "each pod answers with the newest Bento's models", str({**told, **odd}), wanted)


# ---------------------------------------------------------------- health and room


@check(objects, after=deployed)
def probes_can_fail(seen: Facts) -> Finding:
    probes = seen["probes"]
    wrong = [w for k in PROBES if (w := probe_defect(k, probes.get(k), seen["ports"], probes.get("livenessProbe")))]
    wanted = (
        "readiness by /readyz, liveness by /livez, startup by either, time-outs of 2 to 15 s, 1 to 30 minutes to start"
    )
    found = "; ".join(wrong) or "all three"
    return Finding(not wrong, "the probes ask what they should, and give up in time", found, wanted)


def probe_defect(kind: str, probe: Facts | None, ports: list[str], liveness: Facts | None = None) -> str:
    """What is wrong with that probe; "" if nothing. A busy server takes up to 2.6 s to answer; /readyz as a liveness
    probe would restart an API server for a runner's sake. What is not said has Kubernetes' default."""
    if not probe and kind == "startupProbe" and 60 <= ((liveness or {}).get("initialDelaySeconds") or 0) <= 1800:
        return ""  # nobody is restarted while the models load
    if not probe:
        return f"no {kind}"
    if wrong := ask_defect(kind, probe, {"http", "3000", *ports}):
        return f"{kind} {wrong}"
    timeout, misses = probe.get("timeoutSeconds", 1), probe.get("failureThreshold", 3)
    if not 2 <= timeout <= 15:
        return f"{kind} waits {timeout} s"
    budget = probe.get("periodSeconds", 10) * misses
    if kind == "startupProbe":
        budget += probe.get("initialDelaySeconds", 0)
        return "" if 60 <= budget <= 1800 else f"{kind} gives up after {budget} s"
    if probe.get("successThreshold", 1) > 5:
        return f"{kind} wants {probe['successThreshold']} good answers in a row"
    if kind == "livenessProbe" and misses < 2:
        return f"{kind} restarts the server for a single late answer"
    return f"{kind} gives up after {budget} s" if budget > 120 else ""


# By which path: Kubernetes' documentation has the startup probe ask what the liveness probe does, with more patience.
ASKED = {"livenessProbe": ("/livez", "/healthz"), "startupProbe": ("/readyz", "/livez", "/healthz")}
# Commands that end badly when the answer is a 503.
ASKS = r"urlopen|raise_for_status|wget|curl .*(?:-\w*f|--fail)"


def ask_defect(kind: str, probe: Facts, known: set[str]) -> str:
    """What is wrong with whom it asks, and for what. A command may ask, too, if its end says what the answer was."""
    paths = ASKED.get(kind, ("/readyz",))
    asked = probe.get("httpGet") or {}
    if command := (probe.get("exec") or {}).get("command"):
        line = " ".join(command)
        address = re.search(r"http://(?:127\.0\.0\.1|localhost|\[::1\]):(\d+)(/\w+)", line)
        if not address or not re.search(ASKS, line) or re.search(r"\|\||;\s*(?:true|exit 0|:)|except|suppress", line):
            return "runs a command that cannot be seen to fail"
        asked = {"port": address[1], "path": address[2]}
    path = str(asked.get("path", "")).partition("?")[0]
    if path not in paths:
        return f"asks {path or 'no path of the service'}"
    if str(asked.get("port")) not in known:
        return f"asks port {asked.get('port')}"
    if asked.get("host"):
        return f"asks another host, {asked['host']}, and not the pod"
    return "" if (by := asked.get("scheme", "HTTP")) == "HTTP" else f"asks by {by}, which the server does not speak"


MIB = 2**20


@check(objects, after=deployed)
def room_is_bounded(seen: Facts) -> Finding:
    most = seen["resources"].get("limits") or {}
    asked = {**most, **(seen["resources"].get("requests") or {})}  # a limit alone is a request, too
    memory, limit = quantity(asked.get("memory", 0)), quantity(most.get("memory", 0))
    good = 700 * MIB <= memory <= limit <= seen["node_memory"] and limit >= 1100 * MIB
    good = good and quantity(asked.get("cpu", 0)) >= 0.05
    found = f"requests {asked or 'none'}, limits {most or 'none'}"
    wanted = (
        "requests for CPU (from 50m) and memory, a limit for it; from 700 Mi (held at rest), the limit from 1100 Mi "
    )
    wanted += f"to a node's {seen['node_memory'] / MIB:.0f} Mi"
    return Finding(good, "a pod says what it needs, and cannot take more memory", found, wanted)


@check(objects, after=two_ready)
def spread_and_budget(seen: Facts) -> Finding:
    nodes = {p["node"] for p in seen["pods"] if p["phase"] == "Running"}
    good_budget = len(seen["kept"]) == 1 and 1 <= seen["kept"][0] < seen["replicas"]
    found = f"pods on {', '.join(sorted(nodes))}; {'a' if seen['spread'] else 'no'} rule that spreads them; "
    found += f"budgets that keep {seen['kept'] or 'none'} of {seen['replicas']}"
    apart = len(nodes) > 1 or seen["workers"] < 2 or len(seen["pods"]) < 2
    wanted = "two nodes, a rule that says so, one PodDisruptionBudget for them alone that keeps one and lets one go"
    return Finding(seen["spread"] and good_budget and apart, "one node less leaves a replica", found, wanted)


# ---------------------------------------------------------------- who can do what


@check(objects, after=deployed)
def profile_enforced(seen: Facts) -> Finding:
    """An older version of the profile asks for less: the rule about capabilities came with 1.22."""
    version = re.fullmatch(r"v1\.(\d+)", seen["profile_version"])
    found = f"enforce: {seen['profile'] or 'not set'} {seen['profile_version']}".strip()
    today = int(version[1]) >= 22 if version else seen["profile_version"] in ("", "latest")
    good = seen["profile"] == "restricted" and today
    return Finding(good, "the namespace enforces the restricted profile", found, "restricted, as of v1.22 or later")


@check(answers, after=two_ready)
def root_is_read_only(seen: Facts) -> Finding:
    told = {n: t["inside"].get("root_file_system", t.get("inside_problem", "")) for n, t in seen["pods"].items()}
    others = {n: f"{', '.join(t['writable'])} may write" for n, t in seen["pods"].items() if t["writable"]}
    good = bool(told) and all(v.startswith("OSError 30") for v in told.values()) and not others
    wanted = "OSError 30: a read-only file system"
    return Finding(good, "nothing can be left on a pod's root file system", str({**told, **others}), wanted)


@check(answers, after=two_ready)
def no_token(seen: Facts) -> Finding:
    told = {n: t["tokens"] or t["inside"].get("token") for n, t in seen["pods"].items()}
    good = bool(told) and all(v is False for v in told.values())
    found, wanted = f"a token in the pod: {told}", "automountServiceAccountToken: false"
    return Finding(good, "no pod holds a token for the API server", found, wanted)


@check(objects, after=deployed)
def no_secret_in_manifests(seen: Facts) -> Finding:
    found = "; ".join(seen["secrets"][:2]) or "none"
    message = "no secret's value is in the manifests or in a ConfigMap"
    return Finding(not seen["secrets"], message, found, "a reference to a Secret")


@check(policy, after=answers_by_forward)
def door_is_closed(seen: Facts) -> Finding:
    found = seen["found"]
    kept_out = bool(found) and not any(found[who].isdigit() for who in STRANGERS)
    wanted = "200 with the label serving-lab/client=true, no connection without it, nor from another namespace"
    good = kept_out and found["client"] == "200"
    return Finding(good, "pods get in by a label, and no others", str(found or "no pod runs"), wanted)


# ---------------------------------------------------------------- the configuration, three times


def given_file(seen: Facts) -> Facts:
    """The mounted file that the first pod's process was given; {} where it was given another, or none."""
    pods: list[Facts] = list(seen["pods"].values())
    told: Facts = pods[0]["inside"] if pods else {}
    return next((f for f in seen["files"] if f["hash"] == told.get("hash")), {})


@check(answers, after=two_ready)
def configuration_reaches_process(seen: Facts) -> Finding:
    given = given_file(seen)
    pods = {n: t["inside"] for n, t in seen["pods"].items()}
    told = {n: f"{i.get('file') or 'no BENTOML_CONFIG'} {i.get('hash', '')[:12]}" for n, i in pods.items()}
    good = bool(given) and all(i.get("hash") == given["hash"] and i.get("mounted") for i in pods.values())
    wanted = " or ".join(f"the ConfigMap's {f['file']} {f['hash'][:12]}" for f in seen["files"])
    wanted = wanted or "a ConfigMap that is mounted"
    return Finding(good, "the server's process was given the ConfigMap's file", str(told), wanted)


@check(answers, after=configuration_reaches_process)
def configuration_counts(seen: Facts) -> Finding:
    given = given_file(seen)
    told = {n: t["inside"].get("effective") for n, t in seen["pods"].items()}
    good = None not in given["sizes"].values() and not given["strangers"]
    good = good and all(v == given["sizes"] for v in told.values())
    found = f"{told}; runners that the service has not: {', '.join(given['strangers']) or 'none'}"
    wanted = f"max_batch_size {given['sizes']}, from the file"
    return Finding(good, "BentoML makes of it what it says, for both runners", found, wanted)


@check(answers, after=[configuration_counts, each_pod_answers])
def configuration_shows(seen: Facts) -> Finding:
    sizes = {n: float(v) for n, v in given_file(seen)["sizes"].items() if v != "off"}
    told = {n: t["edges"] for n, t in seen["pods"].items()}
    good = bool(told) and all(edges == sizes for edges in told.values())
    return Finding(good, "the running server behaves by it", str(told), f"the histogram's largest edges {sizes}")


# ---------------------------------------------------------------- what mutants need


@contextlib.contextmanager
def applied(ws: Any, patience: int = 150) -> Iterator[None]:
    """The scratch copy's deploy/ in a namespace of its own, rolled out as far as it gets; gone afterwards."""
    namespace = read_names().namespace(ws.name)
    path = ws.root / "deploy" / "kustomization.yaml"
    path.write_text(re.sub(r"^namespace: .*$", f"namespace: {namespace}", path.read_text(), flags=re.M))
    try:
        done = kubectl("apply", "-k", str(path.parent), limit=60)
        if not done.ok:
            raise LabError(f"The mutant's manifests are refused: {done.tail(4)}")
        after = ws.root / "deploy" / "after.sh"  # what a mutant does to the running objects
        kubectl(
            "-n", namespace, "rollout", "status", f"deployment/{IMAGE}", f"--timeout={patience}s", limit=patience + 15
        )
        if after.is_file():
            environment = {**environ(), "NAMESPACE": namespace}
            told = run(["sh", "-e", str(after)], 150, env=environment)
            if not told.ok:
                raise LabError(f"after.sh ended with {told.code}: {told.tail(4)}")
        yield
    finally:
        kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")
        # Pods on their way out hold their room for half a minute: the next mutant's would all land on the other node.
        kubectl("-n", namespace, "delete", "pods", "--all", "--force", "--grace-period=0", "--wait=false")


def applied_in_vain(ws: Any) -> contextlib.AbstractContextManager[None]:
    """The same for what never gets ready: there is less to wait for."""
    return applied(ws, patience=45)


@contextlib.contextmanager
def foreign_forward(ws: Any) -> Iterator[dict[str, str]]:
    """Somebody else's service on the port that the forward is to have; it answers as ours would."""
    import http.server
    import threading

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            body = json.dumps({"labels": list(TEXTS.values()), "scores": [0.9] * len(TEXTS)}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with applied(ws):
            yield {PORT: str(server.server_port)}
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def unapplied(ws: Any) -> Iterator[None]:
    """The files are there, and nobody applied them."""
    shutil.copy(ws.root / "deploy" / "kustomization.yaml", ws.root / "deploy" / "kustomization.yaml.unused")
    yield
