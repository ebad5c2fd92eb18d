"""sc5: the service of lab 05 runs on the cluster, hardened, configured and asked pod by pod.

`objects` reads what the API server knows. `answers` asks through the Service by a port-forward, as the module does,
then each pod by itself, and looks into the process that answers: which configuration, which models. `policy` knocks at
the door with and without the label. All of it is read, asked or tried; no manifest of the learner's is trusted.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from typing import Any

import httpx

from cluster.engine import environ
from cluster.forward import forward
from cluster.names import IMAGE, read_names
from grader.errors import LabError
from grader.kit import check, probe
from grader.model import Facts, Finding
from grader.processes import Completed, run
from grader.world.releases import TEXTS, newest, released
from grader.world.secrets import search

PORT = "LAB_FORWARD_PORT"  # names the local port, for whoever has to know it beforehand (a mutant that holds it)
PATIENCE = 20.0
# What runs in a pod: the file that the server's process was given, and what BentoML makes of it.
INSIDE = """
import hashlib, json, os, pathlib
told = {"user": f"{os.getuid()}:{os.getgid()}"}
text = pathlib.Path("/proc/1/environ").read_text(errors="replace")
env = dict(v.split("=", 1) for v in text.split("\\0") if "=" in v)
told["file"] = file = env.get("BENTOML_CONFIG", "")
told["hash"] = hashlib.sha256(pathlib.Path(file).read_bytes()).hexdigest() if os.path.isfile(file) else ""
os.environ.update({k: v for k, v in env.items() if k.startswith("BENTOML_")})
from bentoml._internal.configuration.containers import BentoMLContainer
runners = BentoMLContainer.runners_config.get()
names = "embeddingrunner", "classifierrunner"
told["effective"] = {n: runners.get(n, runners)["batching"]["max_batch_size"] for n in names}
try:
    pathlib.Path("/home/bentoml/try").write_text("x"); told["root_file_system"] = "writable"
except OSError as refused:
    told["root_file_system"] = type(refused).__name__ + f" {refused.errno}"
told["token"] = os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token")
print(json.dumps(told))
"""
KNOCK = """
import sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=4).status)
except Exception as broken:
    print(type(getattr(broken, "reason", broken)).__name__)
"""


def kubectl(*words: str, limit: float = 30, given: str | None = None) -> Completed:
    command = ["kubectl", "--context", read_names().context, *words]
    if given is None:
        return run(command, limit, env=environ())
    return run(["sh", "-c", 'printf %s "$GIVEN" | "$@"', "sh", *command], limit, env={**environ(), "GIVEN": given})


def get(namespace: str, *words: str) -> Facts:
    """Objects as JSON; {} where there are none of that name. An API server that is silent is no learner's fault."""
    done = kubectl("-n", namespace, "get", *words, "-o", "json", "--request-timeout=10s")
    if done.ok:
        return dict(json.loads(done.output[done.output.index("{") :]))
    if "NotFound" in done.output or "not found" in done.output:
        return {}
    raise LabError(f"The cluster does not answer: {done.tail(2)}", "`./lab cluster up` mends it.")


@probe(limit=60)
def objects(ws: Any) -> Facts:
    """The objects of the namespace, as the API server has them; 3 s."""
    namespace = read_names().namespace(ws.name)
    facts: Facts = {"namespace": namespace, "release": released(ws.root)["release"]}
    deployment = get(namespace, "deployment", IMAGE)
    service = get(namespace, "service", IMAGE)
    facts["deployment"] = deployment.get("spec", {})
    facts["ready"] = deployment.get("status", {}).get("readyReplicas", 0)
    facts["service"] = service.get("spec", {})
    labels = get("default", "namespace", namespace).get("metadata", {}).get("labels", {})
    facts["profile"] = labels.get("pod-security.kubernetes.io/enforce", "")
    facts["pods"] = [about(p) for p in get(namespace, "pods").get("items", []) if ours(p, deployment)]
    slices = get(namespace, "endpointslices", "-l", f"kubernetes.io/service-name={IMAGE}").get("items", [])
    ends = [e for s in slices for e in s.get("endpoints") or []]
    facts["endpoints"] = sorted(
        e["targetRef"]["name"] for e in ends if e["conditions"].get("ready") and e.get("targetRef")
    )
    facts["budgets"] = [b["spec"] for b in get(namespace, "poddisruptionbudgets").get("items", [])]
    facts["workers"] = len([n for n in get("default", "nodes")["items"] if not n["spec"].get("taints")])
    facts["events"] = warnings(namespace)
    return facts


def ours(pod: Facts, deployment: Facts) -> bool:
    """A pod of the Deployment's, and not on its way out."""
    wanted = deployment.get("spec", {}).get("selector", {}).get("matchLabels", {"": None})
    labels = pod["metadata"].get("labels", {})
    return "deletionTimestamp" not in pod["metadata"] and all(labels.get(k) == v for k, v in wanted.items())


def about(pod: Facts) -> Facts:
    status = (pod["status"].get("containerStatuses") or [{}])[0]
    return {
        "name": pod["metadata"]["name"],
        "labels": pod["metadata"]["labels"],
        "node": pod["spec"].get("nodeName", ""),
        "phase": pod["status"]["phase"],
        "image": str(status.get("imageID", "")),
        "restarts": status.get("restartCount", 0),
        "spec": {k: v for k, v in pod["spec"].items() if k in ("securityContext", "automountServiceAccountToken")},
        "container": pod["spec"]["containers"][0],
    }


def warnings(namespace: str, most: int = 3) -> list[str]:
    """The last warnings, so that a failing check names the object and the reason."""
    events = get(namespace, "events").get("items", [])
    events = sorted(events, key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""), reverse=True)
    mine = [e for e in events if e["type"] == "Warning" and e["involvedObject"]["name"].startswith(IMAGE)]
    told = [f"{e['involvedObject']['kind']} {e['involvedObject']['name']}: {e['message'][:300]}" for e in mine]
    return list(dict.fromkeys(told))[:most]


@probe(limit=240)
def answers(ws: Any) -> Facts:
    """What the Service answers by a port-forward, what each pod answers, and what each process has; some 15 s."""
    names = read_names()
    namespace = names.namespace(ws.name)
    deployment = get(namespace, "deployment", IMAGE)
    pods = [p["metadata"]["name"] for p in get(namespace, "pods").get("items", []) if ours(p, deployment)]
    facts: Facts = {"bento": newest(ws.store), "wanted": list(TEXTS.values()), "texts": list(TEXTS), "pods": {}}
    local = int(os.environ[PORT]) if os.environ.get(PORT) else None
    with forward(names, namespace, f"service/{IMAGE}", "http", local) as way:
        facts["service"] = {"problem": way.problem} if way.problem else ask(way.url)
    facts["configuration"] = given_configuration(namespace, deployment)
    for pod in sorted(pods)[:4]:
        with forward(names, namespace, f"pod/{pod}", 3000) as way:
            told = {"problem": way.problem} if way.problem else ask(way.url)
            edges = {} if way.problem else batch_edges(way.url)
        facts["pods"][pod] = {**told, "edges": edges, **look_inside(namespace, pod)}
    return facts


def ask(url: str) -> Facts:
    try:
        got = httpx.post(f"{url}/classify", json={"texts": list(TEXTS)}, timeout=PATIENCE)
        own = {k: v for k, v in got.headers.items() if k.startswith(("x-service", "x-model"))}
        return {"problem": "", "status": got.status_code, "body": got.json(), "headers": own}
    except httpx.HTTPError as broken:
        return {"problem": f"{type(broken).__name__}: {broken}"[:200]}
    except ValueError:
        return {"problem": f"no JSON: {got.text[:80]!r}"}


def batch_edges(url: str) -> dict[str, float]:
    """The largest finite edge of each runner's histogram of batch sizes: max_batch_size, to the running server."""
    try:
        text = httpx.get(f"{url}/metrics", timeout=10).text
    except httpx.HTTPError:
        return {}
    found: dict[str, float] = {}
    for labels in re.findall(r"^bentoml_runner_adaptive_batch_size_bucket\{(.*?)\}", text, re.M):
        edge, runner = re.search(r'le="([\d.]+)"', labels), re.search(r'runner_name="(\w+)"', labels)
        if edge and runner:
            found[runner[1]] = max(found.get(runner[1], 0), float(edge[1]))
    return found


def look_inside(namespace: str, pod: str) -> Facts:
    done = kubectl("-n", namespace, "exec", pod, "--", "python", "-W", "ignore", "-c", INSIDE, limit=40)
    line = done.output.strip().splitlines()[-1:] or [""]
    try:
        return {"inside": json.loads(line[0])}
    except ValueError:
        return {"inside": {}, "inside_problem": done.tail(3)}


def given_configuration(namespace: str, deployment: Facts) -> Facts:
    """Which ConfigMap the pods mount, and what it says of batching; {} where they mount none."""
    import hashlib

    import yaml

    volumes = deployment.get("spec", {}).get("template", {}).get("spec", {}).get("volumes", [])
    maps = [v["configMap"]["name"] for v in volumes if "configMap" in v]
    for name in maps:
        for file, text in get(namespace, "configmap", name).get("data", {}).items():
            with contextlib.suppress(yaml.YAMLError):
                runners = (yaml.safe_load(text) or {}).get("runners", {})
                sizes = {
                    n: runners[n]["batching"]["max_batch_size"] for n in runners if "batching" in (runners[n] or {})
                }
                return {"map": name, "file": file, "hash": hashlib.sha256(text.encode()).hexdigest(), "sizes": sizes}
    return {}


@probe(limit=150)
def policy(ws: Any) -> Facts:
    """Whether a pod with the label gets in, and one without it; 10 s. The two pods are gone afterwards."""
    namespace = read_names().namespace(ws.name)
    image = next((p["image"] for p in (about(q) for q in get(namespace, "pods").get("items", [])) if p["image"]), "")
    facts: Facts = {"image": image, "found": {}}
    if not image:
        return facts
    tag = secrets.token_hex(3)
    try:
        for label in ("client", "stranger"):
            done = kubectl(
                "apply", "-f", "-", given=json.dumps(visitor(f"{label}-{tag}", namespace, image, label == "client"))
            )
            facts["problem"] = "" if done.ok else done.tail(2)
        kubectl("-n", namespace, "wait", "--for=condition=Ready", f"pod/client-{tag}", f"pod/stranger-{tag}",
                "--timeout=60s", limit=70)  # fmt: skip
        for label in ("client", "stranger"):
            done = kubectl(
                "-n", namespace, "exec", f"{label}-{tag}", "--", "python", "-c", KNOCK, f"http://{IMAGE}/livez"
            )
            facts["found"][label] = done.tail(1)
    finally:
        both = [f"pod/client-{tag}", f"pod/stranger-{tag}"]
        kubectl("-n", namespace, "delete", *both, "--ignore-not-found", "--wait=false", "--grace-period=0", "--force")
    return facts


def visitor(name: str, namespace: str, image: str, label: bool) -> Facts:
    """A pod that fits the restricted profile and does nothing, of the image that its node has already."""
    inner = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    outer = {"runAsNonRoot": True, "runAsUser": 1034, "runAsGroup": 1034, "seccompProfile": {"type": "RuntimeDefault"}}
    container = {"name": "visitor", "image": image, "command": ["sleep", "120"], "securityContext": inner}
    meta: Facts = {"name": name, "namespace": namespace, "labels": {"serving-lab/client": "true"} if label else {}}
    spec = {"containers": [container], "securityContext": outer, "automountServiceAccountToken": False}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


# ---------------------------------------------------------------- the module's own form


def good_answer(told: Facts, wanted: list[str]) -> bool:
    body = told.get("body") if isinstance(told.get("body"), dict) else {}
    scores = (body or {}).get("scores") or []
    return told.get("status") == 200 and (body or {}).get("labels") == wanted and len(scores) == len(wanted)


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
    found = f"selector {seen['service'].get('selector')}, ready behind it: {', '.join(seen['endpoints']) or 'nobody'}"
    good = bool(seen["endpoints"]) and set(seen["endpoints"]) <= set(named)
    return Finding(good, "the Service finds ready pods of the Deployment", found, f"some of {', '.join(named)}")


@check(answers, after=selector_finds_pods)
def answers_by_forward(seen: Facts) -> Finding:
    good = not seen["service"]["problem"] and good_answer(seen["service"], seen["wanted"])
    return Finding(
        good, "the Service answers through kubectl port-forward", shown(seen["service"]), str(seen["wanted"])
    )


# ---------------------------------------------------------------- each pod


@check(objects, after=selector_finds_pods)
def two_ready(seen: Facts) -> Finding:
    told = "; ".join(seen["events"][:1])
    found = f"{len(seen['endpoints'])} of {seen['deployment']['replicas']} replicas ready{': ' if told else ''}{told}"
    good = seen["deployment"]["replicas"] >= 2 and len(seen["endpoints"]) >= 2
    return Finding(good, "two replicas are ready", found, "at least 2")


@check(answers, after=[answers_by_forward, two_ready])
def each_pod_answers(seen: Facts) -> Finding:
    bad = {name: shown(told) for name, told in seen["pods"].items() if not good_answer(told, seen["wanted"])}
    found = (
        "; ".join(f"{n}: {why}" for n, why in bad.items()) or f"{len(seen['pods'])} pods, each with {seen['wanted']}"
    )
    return Finding(
        bool(seen["pods"]) and not bad, "each pod answers well, asked by itself", found, f"{seen['wanted']} from each"
    )


@check(objects, after=selector_finds_pods)
def released_image(seen: Facts) -> Finding:
    digest = seen["release"].rpartition("@")[2]
    image = seen["deployment"]["template"]["spec"]["containers"][0]["image"]
    others = [f"{p['name']} runs {p['image']}" for p in seen["pods"] if p["image"] and not p["image"].endswith(digest)]
    good = bool(digest) and image == seen["release"] and not others
    return Finding(good, "the pods run the released image, by its digest", "; ".join([image, *others]), seen["release"])


@check(answers, after=[each_pod_answers, released_image])
def same_bento(seen: Facts) -> Finding:
    told = {n: t.get("headers", {}).get("x-service-version", "no header") for n, t in seen["pods"].items()}
    good = bool(told) and set(told.values()) == {seen["bento"]}
    return Finding(
        good, "each pod answers with the newest Bento's models", str(told), f"x-service-version {seen['bento']}"
    )


# ---------------------------------------------------------------- health and room


@check(objects, after=deployed)
def probes_can_fail(seen: Facts) -> Finding:
    container = seen["deployment"]["template"]["spec"]["containers"][0]
    wrong = [w for kind in ("startupProbe", "readinessProbe", "livenessProbe") if (w := probe_defect(kind, container))]
    wanted = "startup and readiness by /readyz, liveness by /livez, time-outs of 2 to 15 s, at least 60 s to start"
    return Finding(
        not wrong, "the probes ask what they should, and give up in time", "; ".join(wrong) or "all three", wanted
    )


def probe_defect(kind: str, container: Facts) -> str:
    """What is wrong with that probe; "" if nothing. A busy server takes up to 2.6 s to answer; /readyz as a liveness
    probe would restart an API server for a runner's sake."""
    probe = container.get(kind)
    if not probe:
        return f"no {kind}"
    path = probe.get("httpGet", {}).get("path", "")
    if path not in (("/livez", "/healthz") if kind == "livenessProbe" else ("/readyz",)):
        return f"{kind} asks {path or 'no path of the service'}"
    ports = {"http", "3000", *(str(p["containerPort"]) for p in container.get("ports", []))}
    if str(probe["httpGet"].get("port")) not in ports:
        return f"{kind} asks port {probe['httpGet'].get('port')}"
    if not 2 <= probe["timeoutSeconds"] <= 15:
        return f"{kind} waits {probe['timeoutSeconds']} s"
    budget = probe["periodSeconds"] * probe["failureThreshold"] + probe.get("initialDelaySeconds", 0)
    if kind == "startupProbe" and budget < 60:
        return f"{kind} gives up after {budget} s"
    return f"{kind} gives up after {budget} s" if kind != "startupProbe" and budget > 120 else ""


@check(objects, after=deployed)
def room_is_bounded(seen: Facts) -> Finding:
    resources = seen["deployment"]["template"]["spec"]["containers"][0].get("resources", {})
    asked, most = resources.get("requests", {}), resources.get("limits", {})
    memory, limit = size(asked.get("memory", "0")), size(most.get("memory", "0"))
    good = 700 * MIB <= memory <= limit <= 4096 * MIB and "cpu" in asked and limit >= 1100 * MIB
    found = f"requests {asked or 'none'}, limits {most or 'none'}"
    wanted = "requests for CPU and memory, a memory limit; from 700 Mi (it holds that at rest), the limit from 1100 Mi"
    return Finding(good, "a pod says what it needs, and cannot take more memory", found, wanted)


MIB = 2**20


def size(text: str) -> float:
    """Bytes of a Kubernetes quantity of memory."""
    units = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 1e3, "M": 1e6, "G": 1e9}
    number, unit = re.match(r"([\d.]+)(\w*)", str(text)).groups()  # type: ignore[union-attr]
    return float(number) * units.get(unit, 1)


@check(objects, after=two_ready)
def spread_and_budget(seen: Facts) -> Finding:
    nodes = {p["node"] for p in seen["pods"] if p["phase"] == "Running"}
    covered = [b for b in seen["budgets"] if covers(b, seen["pods"])]
    spread = seen["deployment"]["template"]["spec"].get("topologySpreadConstraints")
    found = f"pods on {', '.join(sorted(nodes))}; {'a' if spread else 'no'} spread constraint"
    found += f"; {len(covered)} budgets cover them"
    good = bool(spread) and bool(covered) and (len(nodes) > 1 or seen["workers"] < 2 or len(seen["pods"]) < 2)
    return Finding(
        good, "one node less leaves a replica", found, "two nodes, a constraint that says so, a PodDisruptionBudget"
    )


def covers(budget: Facts, pods: list[Facts]) -> bool:
    wanted = budget.get("selector", {}).get("matchLabels", {})
    kept = str(budget.get("minAvailable", "")) not in ("", "0", "0%") or "maxUnavailable" in budget
    return kept and bool(wanted) and all(p["labels"].get(k) == v for p in pods for k, v in wanted.items())


# ---------------------------------------------------------------- who can do what


@check(objects, after=deployed)
def profile_enforced(seen: Facts) -> Finding:
    found = f"enforce: {seen['profile'] or 'not set'}"
    return Finding(
        seen["profile"] == "restricted", "the namespace enforces the restricted profile", found, "restricted"
    )


@check(answers, after=two_ready)
def root_is_read_only(seen: Facts) -> Finding:
    told = {n: t["inside"].get("root_file_system", t.get("inside_problem", "")) for n, t in seen["pods"].items()}
    good = bool(told) and all(v.startswith("OSError 30") for v in told.values())
    return Finding(
        good, "nothing can be left on a pod's root file system", str(told), "OSError 30: a read-only file system"
    )


@check(answers, after=two_ready)
def no_token(seen: Facts) -> Finding:
    told = {n: t["inside"].get("token") for n, t in seen["pods"].items()}
    good = bool(told) and not any(told.values())
    return Finding(
        good,
        "no pod holds a token for the API server",
        f"a token in the pod: {told}",
        "automountServiceAccountToken: false",
    )


@check(objects, after=deployed)
def no_secret_in_manifests(seen: Facts) -> Finding:
    told = json.dumps(seen["deployment"]["template"]["spec"]["containers"], indent=0).encode()
    told = re.sub(rb"sha256:[0-9a-f]{64}", b"", told)
    found = [str(s) for s in search("the Deployment", told)]
    return Finding(
        not found,
        "no secret's value stands in the Deployment",
        "; ".join(found[:2]) or "none",
        "a reference to a Secret",
    )


@check(policy, after=answers_by_forward)
def door_is_closed(seen: Facts) -> Finding:
    found = seen["found"]
    good = (
        found.get("client") == "200" and found.get("stranger") not in ("200", None) and not found["stranger"].isdigit()
    )
    wanted = "200 with the label serving-lab/client=true, no connection without it"
    return Finding(good, "pods get in by a label, and no others", str(found or seen.get("problem", "")), wanted)


# ---------------------------------------------------------------- the configuration, three times


@check(answers, after=two_ready)
def configuration_reaches_process(seen: Facts) -> Finding:
    wanted = seen["configuration"].get("hash", "")
    told = {
        n: f"{t['inside'].get('file') or 'no BENTOML_CONFIG'} {t['inside'].get('hash', '')[:12]}"
        for n, t in seen["pods"].items()
    }
    good = bool(wanted) and all(t["inside"].get("hash") == wanted for t in seen["pods"].values())
    wanted = (
        f"the ConfigMap's {seen['configuration'].get('file')} {wanted[:12]}"
        if wanted
        else "a ConfigMap that is mounted"
    )
    return Finding(good, "the server's process was given the ConfigMap's file", str(told), wanted)


@check(answers, after=configuration_reaches_process)
def configuration_counts(seen: Facts) -> Finding:
    sizes = seen["configuration"]["sizes"]
    wanted = {name: sizes.get(name) for name in ("embeddingrunner", "classifierrunner")}
    told = {n: t["inside"].get("effective") for n, t in seen["pods"].items()}
    good = None not in wanted.values() and all(v == wanted for v in told.values())
    return Finding(
        good, "BentoML makes of it what it says, for both runners", str(told), f"max_batch_size {wanted}, from the file"
    )


@check(answers, after=[configuration_counts, each_pod_answers])
def configuration_shows(seen: Facts) -> Finding:
    sizes = {n: float(v) for n, v in seen["configuration"]["sizes"].items()}
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
