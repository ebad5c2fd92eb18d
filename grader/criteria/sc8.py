"""sc8: the service with its parts apart, tried in a namespace of the grader's own.

The learner's folder split/ is rendered by kustomize, moved into that namespace, rolled out, asked, and taken away. What
runs where is told by what each pod counts, and who may reach a runner's port by a harmless pickle that is sent there.
"""

from __future__ import annotations

import contextlib
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
from grader.world import callers, pace, split
from grader.world.drain import STALLED
from grader.world.load.copies import GRADED, remove_left
from grader.world.objects import get, kubectl
from grader.world.releases import TEXTS, released
from grader.world.visitors import ELSEWHERE, LABEL, Visitor, prepare_elsewhere, prove_enforcement, sent

RUNNERS = ("embeddingrunner", "classifierrunner")
KINDS = {"Namespace", "ConfigMap", "Secret", "Service", "Deployment", "PodDisruptionBudget", "NetworkPolicy",
         "HorizontalPodAutoscaler", "ServiceAccount"}  # fmt: skip
ROLLS_OUT = 120  # seconds for the runners; the API server is ready soon after them
PEOPLE, SECONDS = 24, 3.0
RATE = 20.0  # requests a second while the API server is replaced, each over a connection of its own
KNOCKING = ("client", "stranger", "neighbour")
SHUT = {"TimeoutError", "ConnectionRefusedError", "ConnectionResetError", "OSError"}  # no answer came
REACH = """
import sys, urllib.request
for address in sys.argv[1:]:
    try:
        print(urllib.request.urlopen(f"http://{address}/livez", timeout=3).status)
    except Exception as broken:
        print(type(getattr(broken, "reason", broken)).__name__)
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
    strangers = sorted({thing["kind"] for thing in things} - KINDS)
    facts: Facts = {"problem": problem, "strangers": strangers, "release": released(ws.root)["release"]}
    deployments = [thing for thing in things if thing["kind"] == "Deployment"]
    parts = split.parts_of(deployments)
    facts["parts"] = {f"{p.name}/{p.container}": p.part for p in parts}
    facts["images"] = images_of(deployments)
    facts["replicas"] = {d["metadata"]["name"]: d["spec"].get("replicas", 1) for d in deployments}
    if problem or strangers or not is_apart(facts):
        return facts
    with laid_out(things) as (namespace, refused):
        return facts | ({"problem": refused} if refused else look_at(namespace, parts))


def images_of(deployments: list[Facts]) -> dict[str, str]:
    return {f"{d['metadata']['name']}/{c['name']}": c.get("image", "")
            for d in deployments for c in d["spec"]["template"]["spec"].get("containers") or []}  # fmt: skip


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
    """All in that namespace, and no name of the old one left in any text."""
    old = next((t["metadata"]["namespace"] for t in things if t["metadata"].get("namespace")), "")
    kept = [thing for thing in things if thing["kind"] != "Namespace"]
    text = json.dumps(kept)
    text = re.sub(rf"(?<![\w-]){re.escape(old)}(?![\w-])", namespace, text) if old else text
    items = [{**thing, "metadata": {**thing["metadata"], "namespace": namespace}} for thing in json.loads(text)]
    strict = {"pod-security.kubernetes.io/enforce": "restricted", GRADED: "true"}
    home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": strict}}
    return {"apiVersion": "v1", "kind": "List", "items": [home, *items]}


def look_at(namespace: str, parts: list[split.Part]) -> Facts:
    """Everything that is seen of the parts while they run."""
    # as they run here, since an address may name the namespace
    here = split.parts_of([get(namespace, "deployment", name) for name in sorted({p.name for p in parts})])
    by_part = {p.part: p for p in here}
    late = split.wait_until_out(namespace, [by_part[name].name for name in RUNNERS], pace.patience(ROLLS_OUT))
    # http:// finds the runner, too, and fails each request: what is answered tells
    depends = {name: at.split("://")[-1] for name, at in split.depends_of(by_part[split.API].words).items()}
    pods = {name: split.pods_of(namespace, by_part[name].name) for name in RUNNERS}
    facts: Facts = {"late": late, "behind": behind(namespace, depends), "pods": pods}
    if late:
        return {**facts, "events": events(namespace)}
    if strayed(facts):
        return facts  # no answer can come, and who would get in where does not matter yet
    facts["reached"] = reach(namespace, by_part[split.API], depends)
    facts["late"] = [] if any(v != "200" for v in facts["reached"].values()) else split.wait_until_out(
        namespace, [by_part[p].name for p in (split.API, split.ALL) if p in by_part], pace.patience(45))  # fmt: skip
    with visitors(namespace) as (client, others, node, image):
        facts |= work(namespace, client, by_part, pods, facts)
        facts["door"] = knock(namespace, others, pods, facts["counted"], node, image)
        facts["replaced"] = {} if facts["late"] or facts["lost"] else replace(namespace, client, by_part[split.API])
    return facts


def behind(namespace: str, depends: dict[str, str]) -> dict[str, list[str]]:
    """The pods behind the Service that the API server asks for each runner."""
    found = {}
    for name, where in depends.items():
        host = where.split(":")[0].split(".")[0]
        slices = get(namespace, "endpointslices", "-l", f"kubernetes.io/service-name={host}").get("items", [])
        ends = [e for s in slices for e in s.get("endpoints") or []]
        found[name] = sorted({e["targetRef"]["name"] for e in ends if e.get("targetRef")})
    return found


def events(namespace: str) -> list[str]:
    found = get(namespace, "events").get("items", [])
    told = [f"{e['involvedObject']['name']}: {e.get('message', '')[:200]}" for e in found if e.get("type") == "Warning"]
    return list(dict.fromkeys(told))[-3:]


def reach(namespace: str, api: split.Part, depends: dict[str, str]) -> dict[str, str]:
    """What the API server's pod gets where it asks for each runner. A policy can reach a new pod some seconds late."""
    found = get(namespace, "pods", "-o", "wide").get("items", [])
    mine = [p["metadata"]["name"] for p in found if p["metadata"]["name"].startswith(f"{api.name}-")]
    running = [p["metadata"]["name"] for p in found if p["status"].get("phase") == "Running"]
    pod = next((name for name in mine if name in running), "")
    if not pod:
        return dict.fromkeys(RUNNERS, "no pod of the API server runs")
    for _ in range(3):
        said = split.run_in(namespace, pod, REACH, *depends.values(), container=api.container).split()
        if all(status == "200" for status in said):
            break
        time.sleep(2)
    return dict(zip(depends, said, strict=True))


@contextlib.contextmanager
def visitors(namespace: str) -> Iterator[tuple[str, list[Visitor], str, str]]:
    """A client, and three who would reach a runner: that client, a pod without its label, and one elsewhere."""
    tag = secrets.token_hex(3)
    pod = get(namespace, "pods")["items"][0]
    node, image = pod["spec"]["nodeName"], pod["spec"]["containers"][0]["image"]
    prepare_elsewhere()
    client = Visitor("client", namespace, f"client-{tag}", LABEL)
    stranger = Visitor("stranger", namespace, f"stranger-{tag}", {})
    neighbour = Visitor("neighbour", ELSEWHERE, f"neighbour-{tag}", LABEL)
    with sent([client, stranger, neighbour], image, node):
        yield client.pod, [client, stranger, neighbour], node, image


def work(namespace: str, client: str, parts: dict[str, split.Part], pods: Facts, facts: Facts) -> Facts:
    """The answers that people get, and what each runner's pod has counted meanwhile."""

    def count() -> dict[str, dict[str, dict[str, int]]]:
        return {name: {p: split.counted(namespace, p, parts[name].container) for p in pods[name]} for name in RUNNERS}

    before = count()
    ready = [] if facts["late"] else split.pods_of(namespace, parts[split.API].name)
    told: Facts = {"labels": {}, "lost": ["not asked: the API server is not ready"]}
    if ready:
        told = split.ask(namespace, client, IMAGE, PEOPLE, SECONDS, list(TEXTS))
    labels = {text: read_label(body) for text, body in told["labels"].items()}
    inside = {p: int(split.run_in(namespace, p, PROCESSES, container=parts[split.API].container)) for p in ready}
    return {"labels": labels, "lost": told["lost"][:5], "asked": len(told.get("waits", [])),
            "inside": inside, "before": before, "counted": count()}  # fmt: skip


def read_label(body: str) -> str:
    try:
        return str(json.loads(body)["labels"][0])
    except (ValueError, KeyError, IndexError, TypeError):
        return body[:60]


def replace(namespace: str, client: str, api: split.Part) -> Facts:
    """What people lose while the API server's pods are replaced, as each release does it. A single lost request can be
    the machine's: then it is done once more."""
    found = replace_once(namespace, client, api)
    return replace_once(namespace, client, api) if len(found["lost"]) == 1 and not found["late"] else found


def replace_once(namespace: str, client: str, api: split.Part) -> Facts:
    """Raises LabError when the machine stopped the sender, so that its losses say nothing."""
    with callers.asking(namespace, client, f"http://{IMAGE}/classify", RATE, most=240) as answers:
        time.sleep(2)
        kubectl("-n", namespace, "rollout", "restart", f"deployment/{api.name}")
        late = split.wait_until_out(namespace, [api.name], pace.patience(90))
        wait_until(lambda: not leaving(namespace), pace.patience(60), pause=1.0)
        time.sleep(2)
    lost = sorted(a.said for a in answers if a.said != "200")
    stalled = callers.lateness(answers, RATE)
    if lost and stalled > STALLED:
        raise LabError(f"The machine stopped the sender for {stalled:.0f} s.", "Grade again when it has less to do.")
    return {"late": late, "asked": len(answers), "lost": lost}


def leaving(namespace: str) -> bool:
    """Whether a pod is on its way out."""
    return any("deletionTimestamp" in p["metadata"] for p in get(namespace, "pods").get("items", []))


def knock(
    namespace: str, who: list[Visitor], pods: Facts, counted: Facts, node: str, image: str
) -> dict[str, dict[str, str]]:
    """Whose canary ran in which runner: "ran", or what the sender got instead. What ran is sent once more, since a
    policy can reach a new pod late; what runs again is checked against a policy that lets in nobody."""
    found: dict[str, dict[str, str]] = {}
    for _ in range(2):
        found = knock_once(namespace, who, pods, counted)
        if not any("ran" in told.values() for told in found.values()):
            return found
        time.sleep(4)
    prove_enforcement(next(v for v in who if v.role == "neighbour"), image, node)
    return found


def knock_once(namespace: str, who: list[Visitor], pods: Facts, counted: Facts) -> dict[str, dict[str, str]]:
    """All of them at once, each at the first pod of each runner."""
    tokens = {(name, v.role): secrets.token_hex(4) for name in RUNNERS for v in who}

    def fire(name: str, v: Visitor) -> str:
        address = get(namespace, "pod", pods[name][0])["status"]["podIP"]
        method = next((m for told in counted[name].values() for m in told), split.METHODS[name])
        return split.fire(v.namespace, v.pod, f"{address}:{split.PORT}", method, tokens[name, v.role])

    with ThreadPoolExecutor() as pool:
        told = {(name, v.role): pool.submit(fire, name, v) for name in RUNNERS for v in who}
        said = {spot: one.result() for spot, one in told.items()}
    ran = {token for name in RUNNERS for token in split.landed(namespace, pods[name])}
    return {name: {v.role: "ran" if tokens[name, v.role] in ran else said[name, v.role] for v in who}
            for name in RUNNERS}  # fmt: skip


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
    others = {place: image for place, image in seen["images"].items() if image != seen["release"]}
    good = bool(seen["release"]) and not others and set(seen["images"]) >= set(seen["parts"])
    return Finding(good, "all parts run the released image", str(others or "all"), seen["release"])


@check(shape, after=parts_are_apart)
def services_find_runners(seen: Facts) -> Finding:
    """The Service that the API server asks for a runner has that runner's pods behind it, and no others."""
    wrong, why = strayed(seen), "; ".join(seen.get("events", []))
    found = f"behind {wrong}" if wrong else "each runner's pods"
    found += f"; not rolled out: {', '.join(seen['late'])}: {why}" if wrong and why else ""
    return Finding(not wrong, "each runner is asked through a Service that finds its pods", found, str(seen["pods"]))


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
    where = {part: place.split("/")[0] for place, part in seen["parts"].items()}
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
    good = told.get("asked", 0) >= 100 and told.get("lost") == [] and told.get("late") == []
    return Finding(good, "the API server is replaced and no request is lost", found, "none lost of 100 or more")


@check(shape, after=services_find_runners)
def runner_ports_closed(seen: Facts) -> Finding:
    """A status is an answer: whoever gets one has reached the port, whatever became of the pickle."""
    ran = [f"{who} in {name}" for name, told in seen["door"].items() for who, said in told.items() if said == "ran"]
    found = f"a pickle of these ran: {', '.join(ran)}" if ran else str(seen["door"])
    shut = [told.get(who) in SHUT for name in RUNNERS for told in [seen["door"].get(name, {})] for who in KNOCKING]
    good = all(shut) and not ran
    wanted = "refused: of a client, of a pod without the label, of a pod in another namespace"
    return Finding(good, "nobody but the API server can send a pickle to a runner", found, wanted)
