"""sc8: the service with its parts apart, tried in a namespace of the grader's own.

The learner's folder split/ is rendered by kustomize, moved into that namespace, rolled out, asked, and taken away. What
runs where is told by what each pod counts, and who may reach a runner's port by a harmless pickle that is sent there.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cluster.names import IMAGE, read_names, state
from grader.errors import LabError
from grader.kit import check, probe
from grader.model import Facts, Finding
from grader.processes import wait_until
from grader.workspace import locked
from grader.world import callers, pace, room, split
from grader.world.drain import STALLED
from grader.world.load.copies import GRADED, remove_left
from grader.world.objects import get, kubectl, labels_of, matches, over_bento, way_in
from grader.world.releases import TEXTS, released, untagged
from grader.world.visitors import ELSEWHERE, LABEL, Visitor, prepare_elsewhere, prove_enforcement, sent

RUNNERS = ("embeddingrunner", "classifierrunner")
LAID = {"ConfigMap", "Secret", "Service", "Deployment", "PodDisruptionBudget", "NetworkPolicy", "ServiceAccount"}
# What belongs to a service, too, and is not laid out here: it counts, watches or leads to what is laid out.
ASIDE = {"Namespace", "HorizontalPodAutoscaler", "ResourceQuota", "LimitRange", "Ingress", "HTTPRoute", "Role",
         "RoleBinding", "ServiceMonitor", "PodMonitor", "PrometheusRule"}  # fmt: skip
OWN_NAME = "kubernetes.io/metadata.name"  # each namespace's label that is its name
AT_LARGE = {"serving-lab/graded": "visitor"}  # the grader's own pods, which may leave whatever the policies say
ROLLS_OUT = 120  # seconds for the runners; the API server is ready soon after them
PEOPLE, SECONDS = 24, 3.0
RATE = 20.0  # requests a second while the API server is replaced, each over a connection of its own
MOST, LEAST = 240, 100  # seconds and requests of that
SILENT = 5.0  # seconds without a request at the end: the sender was cut off
KNOCKING = ("client", "stranger", "likeness", "neighbour", "peer")  # and "sibling" where a runner has more than one pod
SHUT = {"TimeoutError", "ConnectionRefusedError", "ConnectionResetError", "OSError"}  # no answer came
REACH = """
import sys, urllib.request
from concurrent.futures import ThreadPoolExecutor
def ask(address):
    try:
        return urllib.request.urlopen(f"http://{address}/livez", timeout=float(sys.argv[1])).status
    except Exception as broken:
        return type(getattr(broken, "reason", broken)).__name__
with ThreadPoolExecutor() as pool:  # a shut door takes the whole time-out
    print(*pool.map(ask, sys.argv[2:]), sep="\\n")
"""
PROCESSES = """
from pathlib import Path
lines = [(p / "cmdline").read_text() for p in Path("/proc").glob("[0-9]*") if (p / "cmdline").exists()]
print(sum("--runner-name" in line.split("\\0") for line in lines))
"""


@probe(limit=420)
def shape(ws: Any) -> Facts:
    """The folder split/, rolled out and asked; some 70 s. Nothing of it stays."""
    things, problem = split.render(ws.root / "split")
    strangers = sorted({thing["kind"] for thing in things} - LAID - ASIDE)
    problem = problem or scattered(things)
    facts: Facts = {"problem": problem, "strangers": strangers, "release": released(ws.root)["release"]}
    things = autoscaled(things)
    deployments = [thing for thing in things if thing["kind"] == "Deployment"]
    parts = split.parts_of(deployments)
    facts["parts"] = {f"{p.name}/{p.container}": p.part for p in parts}
    containers = {f"{d['metadata']['name']}/{c.get('name')}": c for d in deployments for c in split.containers_of(d)}
    facts["images"] = {place: c.get("image", "") for place, c in containers.items()}
    facts["over"] = [f"{place}: {path}" for place in facts["parts"] for path in over_bento(containers[place])]
    facts["programs"] = []
    facts["replicas"] = {d["metadata"]["name"]: (d.get("spec") or {}).get("replicas", 1) for d in deployments}
    if problem or strangers or not is_apart(facts):
        return facts
    with laid_out(things) as (namespace, refused):
        return facts | ({"problem": refused} if refused else look_at(namespace, parts))


def scattered(things: list[Facts]) -> str:
    """Why they are not together, if they are not: a policy in another namespace is about nobody here."""
    homes = sorted({t["metadata"].get("namespace") or "" for t in things if t["kind"] in LAID} - {""})
    return f"what belongs together is in several namespaces: {', '.join(homes)}" if len(homes) > 1 else ""


def autoscaled(things: list[Facts]) -> list[Facts]:
    """The Deployments with as many replicas as their autoscaler has them at rest, who is slower than this probe."""
    found = copy.deepcopy(things)
    for scaler in [thing.get("spec") or {} for thing in things if thing["kind"] == "HorizontalPodAutoscaler"]:
        target = ("Deployment", (scaler.get("scaleTargetRef") or {}).get("name"))
        for spec in [t.get("spec") or {} for t in found if (t["kind"], t["metadata"]["name"]) == target]:
            now = spec.get("replicas", 1)
            spec["replicas"] = min(max(now, scaler.get("minReplicas", 1)), scaler.get("maxReplicas", now))
    return found


def is_apart(facts: Facts) -> bool:
    """One Deployment that serves, and one for each runner; no Deployment is two of them. (What starts all in one is not
    counted: who asks it shows in what the runners count.)"""
    where: dict[str, set[str]] = {}
    for place, part in facts["parts"].items():
        where.setdefault(part, set()).add(place.split("/")[0])
    wanted = {split.API, *RUNNERS}
    names = [name for part in wanted for name in where.get(part, set())]
    return set(where) - {split.ALL} == wanted and len(names) == len(set(names)) == len(wanted)


@contextlib.contextmanager
def laid_out(things: list[Facts]) -> Iterator[tuple[str, str]]:
    """Those objects in a namespace of the grader's own, and what the cluster refused of them; gone afterwards."""
    namespace = f"{GRADED}-{os.getpid()}"
    with locked(state() / f"{read_names().cluster}-graded.lock", "the grader's copies in the cluster", lambda _: None):
        try:
            remove_left()
            done = kubectl("apply", "-f", "-", given=json.dumps(moved(things, namespace)), limit=60)
            yield namespace, "" if done.ok else f"the cluster refuses it: {done.tail(3)}"
        finally:
            remove_left()


def moved(things: list[Facts], namespace: str) -> Facts:
    """All in that namespace, and nothing that names the old one. Addresses and a node's ports are another's."""
    old = next((t["metadata"]["namespace"] for t in things if t["metadata"].get("namespace")), "")
    labels = next((labels_of(thing) for thing in things if thing["kind"] == "Namespace"), {})
    strict = {"pod-security.kubernetes.io/enforce": "restricted", GRADED: "true"}
    about = {"name": namespace, "labels": {k: v for k, v in labels.items() if k != OWN_NAME} | strict}
    may_leave = {"podSelector": {"matchLabels": AT_LARGE}, "policyTypes": ["Egress"], "egress": [{}]}
    items = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": about},
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": may_leave,
         "metadata": {"name": f"visitors-of-{namespace}", "namespace": namespace}},
    ]  # fmt: skip
    for thing in (readdressed(t, old, namespace) if old else copy.deepcopy(t) for t in things if t["kind"] in LAID):
        thing["metadata"]["namespace"] = namespace
        if thing["kind"] == "Service":
            spec = thing.get("spec") or {}
            kept = {k: v for k, v in spec.items() if not k.startswith("clusterIP") or v in ("None", ["None"])}
            ports = [{k: v for k, v in port.items() if k != "nodePort"} for port in spec.get("ports") or []]
            thing["spec"] = kept | ({"ports": ports} if ports else {})
        items.append(thing)
    return {"apiVersion": "v1", "kind": "List", "items": items}


def readdressed(value: Any, old: str, new: str, key: str = "") -> Any:
    """With the new namespace where the old one is meant: in addresses, in selectors, and as a value of its own. A name
    or an image may have the same word in it."""
    if isinstance(value, dict):
        inner = OWN_NAME if value.get("key") == OWN_NAME else ""
        return {k: readdressed(v, old, new, inner or k) for k, v in value.items()}
    if isinstance(value, list):
        return [readdressed(one, old, new, key) for one in value]
    if not isinstance(value, str):
        return value
    if value == old:
        return new if key in ("value", "namespace", OWN_NAME) else value
    return re.sub(rf"(?<=\w\.){re.escape(old)}(?![\w-])", new, value)


def look_at(namespace: str, parts: list[split.Part]) -> Facts:
    """Everything that is seen of the parts while they run."""
    # as they run here, since an address may name the namespace
    running = [get(namespace, "deployment", name) for name in sorted({p.name for p in parts})]
    here = split.parts_of(running, namespace)
    by_part = {p.part: p for p in here}
    late = split.wait_until_out(namespace, [by_part[name].name for name in RUNNERS], pace.patience(ROLLS_OUT))
    # http:// finds the runner, too, and fails each request: what is answered tells
    depends = {name: at.split("://")[-1] for name, at in split.depends_of(by_part[split.API].words).items()}
    pods = {name: split.pods_of(namespace, by_part[name].name) for name in RUNNERS}
    facts: Facts = {"late": late, "behind": behind(namespace, depends), "pods": pods}
    if late:
        refuse_trouble(namespace)
        return {**facts, "events": split.warnings(namespace)[-3:]}
    by_name = {one["metadata"]["name"]: labels_of(split.template_of(one)) for one in running}
    labels = {name: by_name[by_part[name].name] for name in (split.API, *RUNNERS)}
    facts["invited"] = invited(namespace, [labels[name] for name in RUNNERS])
    if strayed(facts):
        return facts  # no answer can come, and who would get in where does not matter yet
    facts |= get_in(namespace, by_part, depends)
    api = by_part[split.API]
    node = get(namespace, "pod", pods[RUNNERS[0]][0])["spec"]["nodeName"]
    with visitors(namespace, node, api.image, labels) as (client, others):
        host = front(namespace, labels[split.API])
        facts |= work(namespace, client, host, by_part, pods, facts)
        with ThreadPoolExecutor(1) as pool:  # those who knock wait
            programs = pool.submit(look_inside, namespace, here)
            facts["door"] = knock(namespace, others, by_part, pods, facts["counted"], node)
        facts["programs"] = programs.result()
        facts["replaced"] = {} if facts["late"] or facts["lost"] else replace(namespace, client, host, api)
    return facts


def invited(namespace: str, runners: list[dict[str, str]]) -> list[str]:
    """Policies about a runner with a rule for pods of other namespaces. They need not be there yet, so nobody could be
    sent from them."""
    homes = {n["metadata"]["name"]: labels_of(n) for n in get(namespace, "namespaces").get("items", [])}
    found = []
    for policy in get(namespace, "networkpolicies").get("items", []):
        spec = policy["spec"]
        about = any(matches(spec.get("podSelector"), labels) for labels in runners)
        rules = spec.get("ingress") or [] if about and "Ingress" in spec.get("policyTypes", ["Ingress"]) else []
        where = [peer["namespaceSelector"] for rule in rules for peer in rule.get("from") or [] if
                 peer.get("namespaceSelector") is not None]  # fmt: skip
        meant = [[name for name, labels in homes.items() if matches(one, labels)] for one in where]
        found += [f"{policy['metadata']['name']}: {json.dumps(one)}" for one, names in zip(where, meant, strict=True)
                  if names != [namespace]]  # fmt: skip
    return found


def front(namespace: str, labels: dict[str, str]) -> str:
    """Where people ask the API server: the Service of lab 05's name, or else the one that selects its pods."""
    services = {s["metadata"]["name"]: s["spec"] for s in get(namespace, "services").get("items", [])}
    ours = [name for name, spec in services.items() if (spec.get("selector") or {}).items() <= labels.items()]
    name = IMAGE if IMAGE in services else next((n for n in ours if services[n].get("selector")), IMAGE)
    port = way_in(services.get(name, {}))["port"]
    return name if port == 80 else f"{name}:{port}"


def behind(namespace: str, depends: dict[str, str]) -> dict[str, list[str]]:
    """The pods behind the Service that the API server asks for each runner."""
    found = {}
    for name, where in depends.items():
        host = where.split(":")[0].split(".")[0]
        slices = get(namespace, "endpointslices", "-l", f"kubernetes.io/service-name={host}").get("items", [])
        ends = [e for s in slices for e in s.get("endpoints") or []]
        found[name] = sorted({e["targetRef"]["name"] for e in ends if e.get("targetRef")})
    return found


def get_in(namespace: str, parts: dict[str, split.Part], depends: dict[str, str]) -> Facts:
    """What the API server gets where it asks for each runner, and what else is late. A server that ends again and again
    may run just when it is asked: then it is late for that."""
    api = parts[split.API]
    reached = reach(namespace, api, depends)
    if any(v != "200" for v in reached.values()):
        return {"reached": reached, "late": []}
    names = [parts[p].name for p in (split.API, split.ALL) if p in parts]
    late = split.wait_until_out(namespace, names, pace.patience(45))
    ended = split.how_ended(namespace, api) if api.name in late else ""
    if late and not ended:
        refuse_trouble(namespace)
    return {"reached": dict.fromkeys(RUNNERS, ended) if ended else reached, "late": late}


def reach(namespace: str, api: split.Part, depends: dict[str, str]) -> dict[str, str]:
    """What the API server's pod gets where it asks for each runner, or how its server ended."""
    pods: list[Facts] = []

    def runs() -> bool:  # it may wait for the runners itself before it starts
        pods[:] = split.alive(namespace, api.name)
        return any(split.runs(p, api.container) for p in pods)

    if not wait_until(runs, pace.patience(30), pause=1.0):
        if not (ended := split.how_ended(namespace, api)):
            refuse_trouble(namespace)
        return dict.fromkeys(RUNNERS, ended or "no pod of the API server runs")
    known = [split.end_of(p, api.container) for p in pods]
    try:
        pod = next(p["metadata"]["name"] for p in pods if split.runs(p, api.container))
        return dict(zip(depends, ask_from(namespace, pod, api.container, list(depends.values())), strict=True))
    except LabError:
        # the kubelet says so some seconds late, and one without memory may outlive what was run in it
        if not wait_until(lambda: bool(split.how_ended(namespace, api, known)), pace.patience(20), pause=1.0):
            raise
        return dict.fromkeys(RUNNERS, split.how_ended(namespace, api, known))


def ask_from(namespace: str, pod: str, container: str, addresses: list[str]) -> list[str]:
    """What each says to that pod. A policy can reach a new pod some seconds late."""
    said: list[str] = []
    for again in range(3):
        time.sleep(2 if again else 0)
        said = split.run_in(namespace, pod, REACH, str(pace.patience(3)), *addresses, container=container).split()
        if all(status == "200" for status in said):
            break
    return said


def refuse_trouble(namespace: str) -> None:
    """Raises where pods are not ready for the machine's sake."""
    room.refuse_trouble(namespace, split.warnings(namespace))


@contextlib.contextmanager
def visitors(
    namespace: str, node: str, image: str, parts: dict[str, dict[str, str]]
) -> Iterator[tuple[str, list[Visitor]]]:
    """A client, and all who would reach a runner: that client, a pod without its label, one with what labels the parts
    share, and one elsewhere that has the API server's."""
    tag = secrets.token_hex(3)
    prepare_elsewhere()
    client = Visitor("client", namespace, f"client-{tag}", {**LABEL, **AT_LARGE})
    stranger = Visitor("stranger", namespace, f"stranger-{tag}", AT_LARGE)
    likeness = Visitor("likeness", namespace, f"likeness-{tag}", {**shared(list(parts.values())), **AT_LARGE})
    neighbour = Visitor("neighbour", ELSEWHERE, f"neighbour-{tag}", {**parts[split.API], **LABEL})
    who = [client, stranger, likeness, neighbour]
    with sent(who, image, node):
        yield client.pod, who


def shared(parts: list[dict[str, str]]) -> dict[str, str]:
    """Labels of a pod that is like all parts and is none of them: what two have in common, and their other keys."""
    every = {key: [labels[key] for labels in parts if key in labels] for one in parts for key in one}
    return {key: next((v for v in values if values.count(v) > 1), "other") for key, values in every.items()}


def work(namespace: str, client: str, host: str, parts: dict[str, split.Part], pods: Facts, facts: Facts) -> Facts:
    """The answers that people get, and what each runner's pod has counted meanwhile."""

    def count() -> dict[str, dict[str, dict[str, int]]]:
        where = {name: (parts[name].container, parts[name].port) for name in RUNNERS}
        return {name: {p: split.counted(namespace, p, *where[name]) for p in pods[name]} for name in RUNNERS}

    before = count()
    ready = [] if facts["late"] else split.pods_of(namespace, parts[split.API].name)
    told: Facts = {"labels": {}, "lost": ["not asked: the API server is not ready"]}
    if ready:
        told = split.ask(namespace, client, host, PEOPLE, SECONDS, list(TEXTS))
    labels = {text: read_label(body) for text, body in told["labels"].items()}
    found: Facts = {"labels": labels, "lost": told["lost"][:5], "asked": len(told.get("waits", [])), "before": before}
    try:
        inside = {p: int(split.run_in(namespace, p, PROCESSES, container=parts[split.API].container)) for p in ready}
        return {**found, "inside": inside, "counted": count()}
    except LabError:  # where people lost requests, too, since a server ended under them
        ended = [how for part in parts.values() if told["lost"] and (how := split.how_ended(namespace, part))]
        if not ended:
            raise
        return {**found, "lost": [*ended, *found["lost"]], "inside": {}, "counted": before}


def look_inside(namespace: str, parts: list[split.Part]) -> list[str]:
    """What is strange about who listens in a ready pod of each part."""
    found = []
    for part in parts:
        for pod in split.pods_of(namespace, part.name)[:1]:
            try:
                odd = split.look_inside(namespace, pod, part)
                found += [f"{part.name}/{part.container}: {odd}"] if odd else []
            except LabError:
                if pod in split.pods_of(namespace, part.name):
                    raise
    return found


def read_label(body: str) -> str:
    try:
        return str(json.loads(body)["labels"][0])
    except (ValueError, KeyError, IndexError, TypeError):
        return body[:60]


def replace(namespace: str, client: str, host: str, api: split.Part) -> Facts:
    """What people lose while the API server's pods are replaced, as each release does it. A single lost request can be
    the machine's: then it is done once more."""
    found = replace_once(namespace, client, host, api)
    return replace_once(namespace, client, host, api) if len(found["lost"]) == 1 and not found["late"] else found


def replace_once(namespace: str, client: str, host: str, api: split.Part) -> Facts:
    """Raises LabError when the machine stopped the sender, so that what came back says nothing."""
    with callers.asking(namespace, client, f"http://{host}/classify", RATE, most=MOST) as answers:
        began = time.monotonic()
        time.sleep(2)
        kubectl("-n", namespace, "rollout", "restart", f"deployment/{api.name}")
        late = split.wait_until_out(namespace, [api.name], pace.patience(90))
        wait_until(lambda: not leaving(namespace), pace.patience(60), pause=1.0)
        time.sleep(2)
        lasted = min(time.monotonic() - began, MOST - 20)
    if late:
        refuse_trouble(namespace)
    elif len(answers) < LEAST or answers[-1].at - answers[0].at < lasted - SILENT:
        raise LabError(f"The sender fell silent: it sent {len(answers)} requests in {lasted:.0f} s.", "Grade again.")
    lost = sorted(a.said for a in answers if a.said != "200")
    stalled = callers.lateness(answers, RATE)
    if lost and stalled > STALLED:
        raise LabError(f"The machine stopped the sender for {stalled:.0f} s.", "Grade again when it has less to do.")
    return {"late": late, "asked": len(answers), "lost": lost}


def leaving(namespace: str) -> bool:
    """Whether a pod is on its way out."""
    return any("deletionTimestamp" in p["metadata"] for p in get(namespace, "pods").get("items", []))


def knock(
    namespace: str, who: list[Visitor], parts: dict[str, split.Part], pods: Facts, counted: Facts, node: str
) -> dict[str, dict[str, str]]:
    """Whose canary ran in which runner: "ran", or what the sender got instead. What ran is sent once more, since a
    policy can reach a new pod late; what runs again is checked against a policy that lets in nobody."""
    found: dict[str, dict[str, str]] = {}
    for _ in range(2):
        found = knock_once(namespace, who, parts, pods, counted)
        if not any("ran" in told.values() for told in found.values()):
            return found
        time.sleep(4)
    prove_enforcement(next(v for v in who if v.role == "neighbour"), parts[split.API].image, node)
    return found


def knock_once(
    namespace: str, who: list[Visitor], parts: dict[str, split.Part], pods: Facts, counted: Facts
) -> dict[str, dict[str, str]]:
    """All of them at once, each at the first pod of each runner."""
    sent_by = {(name, role): place for name in RUNNERS for role, place in places(namespace, who, parts, pods, name)}
    tokens = {spot: secrets.token_hex(4) for spot in sent_by}

    def fire(name: str, role: str) -> str:
        address = get(namespace, "pod", pods[name][0])["status"]["podIP"]
        method = next((m for told in counted[name].values() for m in told), split.METHODS[name])
        home, pod, container = sent_by[name, role]
        return split.fire(home, pod, f"{address}:{parts[name].port}", method, tokens[name, role], container)

    with ThreadPoolExecutor(len(sent_by)) as pool:  # each that is shut out waits for the whole time-out
        told = {spot: pool.submit(fire, *spot) for spot in sent_by}
        said = {spot: one.result() for spot, one in told.items()}
    ran = {token for name in RUNNERS for token in split.landed(namespace, pods[name], parts[name].container)}
    return {name: {role: "ran" if tokens[at, role] in ran else said[at, role] for at, role in sent_by if at == name}
            for name in RUNNERS}  # fmt: skip


def places(
    namespace: str, who: list[Visitor], parts: dict[str, split.Part], pods: Facts, name: str
) -> list[tuple[str, tuple[str, str, str]]]:
    """Who sends to that runner, and from which namespace, pod and container: the visitors, the other runner, and
    another pod of its own where it has one. A rule may name these, and no visitor could have their labels: the runner's
    Service would take it for one of them."""
    other = next(one for one in RUNNERS if one != name)
    inner = [("peer", pods[other][0], other), *[("sibling", pod, name) for pod in pods[name][1:2]]]
    found = [(v.role, (v.namespace, v.pod, "")) for v in who]
    return found + [(role, (namespace, pod, parts[part].container)) for role, pod, part in inner]


def knocking(seen: Facts, name: str) -> list[str]:
    """Who has to be shut out of that runner."""
    return [*KNOCKING, "sibling"] if len(seen["pods"].get(name) or []) > 1 else list(KNOCKING)


# ---------------------------------------------------------------- apart


@check(shape)
def parts_are_apart(seen: Facts) -> Finding:
    told = seen["problem"] or "; ".join(f"{place} runs {part}" for place, part in sorted(seen["parts"].items()))
    found = f"kinds that are no part of a service: {', '.join(seen['strangers'])}" if seen["strangers"] else told
    good = not seen["problem"] and not seen["strangers"] and is_apart(seen)
    wanted = "a Deployment that runs start-http-server, and one for each runner that runs start-runner-server"
    return Finding(good, "API server and runners are Deployments of their own", found or "no split/ folder", wanted)


@check(shape, after=parts_are_apart)
def released_image(seen: Facts) -> Finding:
    images = {place: seen["images"].get(place, "none") for place in seen["parts"]}
    others = {place: image for place, image in images.items() if untagged(image) != untagged(seen["release"])}
    odd = [*(f"hidden by a volume in {one}" for one in seen.get("over") or []), *(seen.get("programs") or [])]
    good = bool(seen["release"]) and not others and seen.get("over") == seen.get("programs") == []
    found = "; ".join([*([str(others)] if others else []), *odd]) or "all"
    wanted = f"{seen['release']}, its programs, and nothing before them"
    return Finding(good, "all parts run the released image", found, wanted)


@check(shape, after=parts_are_apart)
def services_find_runners(seen: Facts) -> Finding:
    """The Service that the API server asks for a runner has that runner's pods behind it, and no others."""
    wrong, why = strayed(seen), "; ".join(seen.get("events", []))
    stuck = seen["late"] if "events" in seen else []  # ready pods may all be found, and one more never gets ready
    found = f"behind {wrong}" if wrong else "each runner's pods that is ready" if stuck else "each runner's pods"
    found += f"; not rolled out: {', '.join(stuck)}: {why}" if stuck else ""
    return Finding(
        not wrong and not stuck, "each runner is asked through a Service that finds its pods", found, str(seen["pods"])
    )


def strayed(seen: Facts) -> dict[str, str]:
    """The runners that are not found so, and what is behind their Services."""
    wrong = {}
    for name in RUNNERS:
        pods, ends = seen["pods"].get(name) or [], seen["behind"].get(name)
        if ends is None or not pods or set(ends) != set(pods):
            wrong[name] = "--depends does not name it" if ends is None else f"{', '.join(ends) or 'no pods'}"
    return wrong


@check(shape, after=services_find_runners)
def api_gets_in(seen: Facts) -> Finding:
    good = set(seen["reached"]) == set(RUNNERS) and all(v == "200" for v in seen["reached"].values())
    return Finding(
        good, "the API server's pod reaches both runners", str(seen["reached"]), "200 from each runner's /livez"
    )


@check(shape, after=api_gets_in)
def answers_right(seen: Facts) -> Finding:
    good = seen["labels"] == TEXTS and not seen["lost"] and not seen["late"]
    found = f"{seen['labels']}; lost: {', '.join(seen['lost']) or 'none'}"
    found += f"; not rolled out: {', '.join(seen['late'])}" if seen["late"] else ""
    return Finding(good, "the Service answers with the right labels", found, str(TEXTS))


# ---------------------------------------------------------------- who works


def done_by(seen: Facts, runner: str) -> dict[str, int]:
    """Requests that each pod of the runner answered while people asked."""
    before, after = seen["before"][runner], seen["counted"][runner]
    return {pod: sum(told.values()) - sum(before.get(pod, {}).values()) for pod, told in after.items()}


@check(shape, after=answers_right)
def runners_do_the_work(seen: Facts) -> Finding:
    done = {name: sum(done_by(seen, name).values()) for name in RUNNERS}
    inside = {pod: n for pod, n in seen["inside"].items() if n}
    good = seen["asked"] > 0 and bool(seen["inside"]) and all(n >= seen["asked"] for n in done.values()) and not inside
    found = f"{seen['asked']} answers; requests counted in the runners' pods: {done}"
    found += f"; runner processes in the API server's pods: {inside}" if inside else ""
    return Finding(
        good,
        "the work is done in the runners' pods",
        found,
        "as many in each runner as answers, and no runner elsewhere",
    )


@check(shape, after=runners_do_the_work)
def embedder_scaled_alone(seen: Facts) -> Finding:
    where = {part: place.split("/")[0] for place, part in seen["parts"].items() if part != split.ALL}
    replicas = {part: seen["replicas"].get(name, 0) for part, name in where.items()}
    done = done_by(seen, "embeddingrunner")
    idle = [pod for pod, n in done.items() if n < seen["asked"] / 50]
    more = replicas["embeddingrunner"] > max(replicas[split.API], replicas["classifierrunner"])
    found = f"replicas {replicas}; requests in each of the embedder's pods: {list(done.values())}"
    good = more and min(replicas.values()) > 0 and not idle and len(done) == replicas["embeddingrunner"]
    return Finding(
        good, "the embedder has more replicas than the others, and each works", found, "more, and each does a share"
    )


@check(shape, after=answers_right)
def replaced_without_loss(seen: Facts) -> Finding:
    """A release of the API server while people ask: readiness before traffic, and no traffic before the end."""
    told = seen.get("replaced") or {}
    lost, late = told.get("lost", []), told.get("late", [])
    ends = ", ".join(f"{lost.count(said)} x {said}" for said in dict.fromkeys(lost)) or "none"
    found = f"{len(lost)} of {told.get('asked', 0)} requests lost: {ends}"
    found += f"; not rolled out: {', '.join(late)}" if late else ""
    good = told.get("asked", 0) >= LEAST and told.get("lost") == [] and told.get("late") == []
    return Finding(good, "the API server is replaced and no request is lost", found, f"none lost of {LEAST} or more")


@check(shape, after=services_find_runners)
def runner_ports_closed(seen: Facts) -> Finding:
    """A status is an answer: whoever gets one has reached the port, whatever became of the pickle."""
    ran = [f"{who} in {name}" for name, told in seen["door"].items() for who, said in told.items() if said == "ran"]
    found = f"a pickle of these ran: {', '.join(ran)}" if ran else str(seen["door"])
    found += f"; policies that let in other namespaces: {'; '.join(seen['invited'])}" if seen.get("invited") else ""
    shut = [seen["door"].get(name, {}).get(who) in SHUT for name in RUNNERS for who in knocking(seen, name)]
    good = all(shut) and not ran and seen.get("invited") == []
    wanted = (
        "refused: of a client, of pods without the label or with that of all parts, of a pod in another namespace, "
        "of the other runner (peer), of another pod of its own (sibling)"
    )
    return Finding(good, "nobody but the API server can send a pickle to a runner", found, wanted)
