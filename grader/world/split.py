"""API server and runners apart, in a namespace: which Deployment is which part, what pods counted, who gets in.

A runner's port unpickles what it is sent before anything else is asked. `fire` sends a pickle that makes an empty
folder in the runner's /tmp and then raises: the folder is the proof that code of the sender's ran there, and a request
that raises meets no batch of others.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from grader.errors import LabError
from grader.model import Facts
from grader.world import listeners
from grader.world.objects import get, kubectl, labels_of

API, ALL = "api", "all"
PORT = 3000
OPTIONS = {"BENTOML_SERVE_RUNNER_NAME": "runner-name", "BENTOML_SERVE_DEPENDS": "depends", "BENTOML_PORT": "port",
           "BENTOML_SERVE_RUNNER_MAP": "runner-map"}  # fmt: skip # BentoML's variables for its own options
METHODS = {"embeddingrunner": "encode", "classifierrunner": "predict_proba"}  # where nothing was counted yet
# Runs in a pod: asks one address, and says the status or the kind of its error.
CANARY = """
import pickle, sys, urllib.error, urllib.request
url, token = sys.argv[1:]
class Canary:
    def __reduce__(self):
        return exec, (f"import os; os.mkdir('/tmp/canary-{token}'); raise ValueError('canary')",)
try:
    asked = urllib.request.Request(url, pickle.dumps(Canary()), {"args-number": "2"})
    print(urllib.request.urlopen(asked, timeout=4).status)
except urllib.error.HTTPError as answer:
    print(answer.code)
except Exception as broken:
    print(type(getattr(broken, "reason", broken)).__name__)
"""
PAGE = """
import sys, urllib.request as u
print(u.urlopen(f"http://127.0.0.1:{sys.argv[1]}/metrics", timeout=10).read().decode())
"""
# Some people, each with a connection of their own, ask one after the other: a JSON line of what they got.
PEOPLE = """
import http.client, json, sys, threading, time
host, people, seconds, texts = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), json.loads(sys.argv[4])
rows, end = [], time.time() + seconds
def person(text):
    link, body = None, json.dumps({"texts": [text]})
    while time.time() < end:
        began = time.time()
        try:
            link = link or http.client.HTTPConnection(host, timeout=12)
            link.request("POST", "/classify", body, {"content-type": "application/json"})
            answer = link.getresponse()
            said = [str(answer.status), answer.read().decode()[:200]]
        except Exception as broken:
            link, said = None, [type(broken).__name__, ""]
            time.sleep(0.1)
        rows.append([*said, time.time() - began, text])
threads = [threading.Thread(target=person, args=(texts[i % len(texts)],)) for i in range(people)]
[t.start() for t in threads]
[t.join() for t in threads]
print(json.dumps({"waits": sorted(r[2] for r in rows if r[0] == "200"), "lost": [r[0] for r in rows if r[0] != "200"],
                  "labels": {r[3]: r[1] for r in rows if r[0] == "200"}}))
"""


@dataclass(frozen=True)
class Part:
    """A Deployment: `part` is "api" or a runner's name, `container` the one that runs it."""

    name: str
    part: str
    container: str
    words: str
    image: str = ""

    @property
    def port(self) -> int:
        """Where it listens."""
        return int([str(PORT), *re.findall(r"--(?:port[= ]|bind[= ]tcp://\S*:)(\d+)", self.words)][-1])


def parts_of(deployments: Sequence[Facts], namespace: str = "") -> list[Part]:
    """What each Deployment runs, by the words that its containers are started with; others are left out."""
    found = []
    for one in deployments:
        for container in containers_of(one):
            words = words_of(container, namespace)
            if part := part_of(words):
                image = str(container.get("image", ""))
                found.append(Part(one["metadata"]["name"], part, str(container.get("name", "")), words, image))
    return found


def template_of(deployment: Facts) -> Facts:
    """Its pod template; {} where there is none, as of one that is indented too little."""
    return dict((deployment.get("spec") or {}).get("template") or {})


def containers_of(deployment: Facts) -> list[Facts]:
    found = (template_of(deployment).get("spec") or {}).get("containers")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def words_of(container: Facts, namespace: str = "") -> str:
    """What a container is started with, on one line and without quotes. Its variables are filled in, and those that
    BentoML reads in place of an option stand as that option."""
    listed = [
        one for key in ("command", "args") for one in (container.get(key) or []) if isinstance(container[key], list)
    ]
    words = " ".join(map(str, listed))
    given = {str(e.get("name")): value_of(e, namespace) for e in container.get("env") or [] if isinstance(e, dict)}
    words += "".join(
        f" --{o}={given[name]}" for name, o in OPTIONS.items() if given.get(name) and f"--{o}" not in words
    )
    for name, value in given.items():  # Kubernetes' form of a variable, and the two of a shell
        for form in (f"$({name})", f"${{{name}}}"):
            words = words.replace(form, value)
        words = re.sub(rf"\${re.escape(name)}\b", value.replace("\\", r"\\"), words)
    return re.sub(r"[\s\\\"']+", " ", words).strip()


def value_of(variable: Facts, namespace: str) -> str:
    field = ((variable.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath")
    return namespace if field == "metadata.namespace" else str(variable.get("value") or "")


def part_of(words: str) -> str:
    """A runner's name, "api", "all" for a server that starts its own runners; "" for what is no part of the service."""
    if named := re.search(r"start-runner-server\b.*--runner-name[= ](\S+)", words):
        return named[1]
    return API if "start-http-server" in words else ALL if re.search(r"(^|[\s/])serve\b", words) else ""


def depends_of(words: str) -> dict[str, str]:
    """Where an API server asks each runner: name -> host:port; what is not tcp:// stays as it is."""
    told = re.findall(r"--depends[= ]((?:\w+=\S+ ?)+)", words)  # several in one, as its variable has them
    pairs = [pair.partition("=")[::2] for some in told for pair in some.split()]
    pairs += re.findall(r"(\w+) ?: ?(tcp://[^\s,}]+)", words)  # --runner-map, the older form, is JSON
    return {name: where.removeprefix("tcp://") for name, where in pairs}


def pods_of(namespace: str, deployment: str) -> list[str]:
    """Its ready pods that are not on their way out."""
    return sorted(p["metadata"]["name"] for p in alive(namespace, deployment) if is_ready(p))


def alive(namespace: str, deployment: str) -> list[Facts]:
    """Its pods that are not on their way out. (By what made them: names may begin alike, and labels be the same.)"""
    pods = get(namespace, "pods").get("items", [])
    return [p for p in pods if "deletionTimestamp" not in p["metadata"] and maker_of(p) == deployment]


def maker_of(pod: Facts) -> str:
    """The Deployment whose ReplicaSet made it; "" for others."""
    ending = f"-{labels_of(pod).get('pod-template-hash')}"
    sets = [o["name"] for o in pod["metadata"].get("ownerReferences") or [] if o["kind"] == "ReplicaSet"]
    return next((str(name).removesuffix(ending) for name in sets if name.endswith(ending)), "")


def is_ready(pod: Facts) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions") or [])


def about(pod: Facts, container: str) -> Facts:
    """The status of that container of the pod; {} before it has one."""
    found = pod["status"].get("containerStatuses") or []
    return next((one for one in found if one["name"] == container), {})


def runs(pod: Facts, container: str) -> bool:
    """Whether it runs now; the pod's phase is Running, too, while a container waits to be started again."""
    return "running" in about(pod, container).get("state", {})


def end_of(pod: Facts, container: str) -> Facts:
    """Its last end: exitCode, reason, finishedAt; {} where it has not ended yet."""
    states = [about(pod, container).get(when, {}) for when in ("state", "lastState")]
    return next((dict(s["terminated"]) for s in states if s.get("terminated")), {})


def how_ended(namespace: str, part: Part, known: Sequence[Facts] = ()) -> str:
    """How the part's server ended by itself, and the last that it said; "" where it has not, but for ends that are
    known. (One that a probe ended had not.)"""
    events = get(namespace, "events").get("items", [])
    told = [e for e in events if e.get("reason") == "Killing" and "probe" in e.get("message", "")]
    killed = {e["involvedObject"]["name"] for e in told}
    for pod in (p for p in alive(namespace, part.name) if p["metadata"]["name"] not in killed):
        name, end = pod["metadata"]["name"], end_of(pod, part.container)
        if end and end not in known:
            again = ["--previous"] if runs(pod, part.container) else []
            log = kubectl("-n", namespace, "logs", name, "-c", part.container, "--tail=3", *again)
            said = " ".join((log.stdout if log.ok else "").split()) or end.get("message", "")
            return f"the server of {name} ended with code {end.get('exitCode')} ({end.get('reason')}): {said[-200:]}"
    return ""


def warnings(namespace: str, letters: int = 200) -> list[str]:
    """What the cluster complained of there, each sentence once, the last ones at the end."""
    found = get(namespace, "events").get("items", [])
    told = [
        f"{e['involvedObject']['name']}: {e.get('message', '')[:letters]}" for e in found if e.get("type") == "Warning"
    ]
    return list(dict.fromkeys(told))


def run_in(namespace: str, pod: str, code: str, *words: str, container: str = "", limit: float = 60) -> str:
    """What that Python prints in the pod. Raises LabError when it cannot be run."""
    where = ["-c", container] if container else []
    done = kubectl("-n", namespace, "exec", pod, *where, "--", "python", "-I", "-c", code, *words, limit=limit)
    if not done.ok:
        raise LabError(f"Nothing can be run in the pod {pod}: {done.tail(2)}", "Grade again.")
    return done.stdout.strip()


def counted(namespace: str, pod: str, container: str = "", port: int = PORT) -> dict[str, int]:
    """How many requests the runner in that pod has answered, by method."""
    found: dict[str, int] = {}
    for line in run_in(namespace, pod, PAGE, str(port), container=container).splitlines():
        path = re.search(r'^bentoml_runner_request_total.*endpoint="/(\w+)"', line)
        if path and path[1] not in ("livez", "readyz", "healthz", "metrics"):
            found[path[1]] = found.get(path[1], 0) + int(float(line.rsplit(" ", 1)[1]))
    return found


def look_inside(namespace: str, pod: str, part: Part) -> str:
    """What is strange about who listens there; "" if it is BentoML with the image's Bento (listeners.py)."""
    worker = listeners.SERVER if part.part == API else listeners.RUNNER
    script = f"{listeners.LOOK}\nimport json; print(json.dumps(look({part.port}, {worker!r})))"
    return listeners.strange(json.loads(run_in(namespace, pod, script, container=part.container)))


def fire(namespace: str, pod: str, address: str, method: str, token: str, container: str = "") -> str:
    """Sends the canary from that pod to a runner: a status, or the kind of the error."""
    return run_in(namespace, pod, CANARY, f"http://{address}/{method}", token, container=container)


def landed(namespace: str, pods: Sequence[str], container: str = "") -> set[str]:
    """The tokens of the canaries that ran in those pods; their folders are removed."""
    code = "import os, glob\nfor f in glob.glob('/tmp/canary-*'): os.rmdir(f); print(f.rpartition('-')[2])"
    return {token for pod in pods for token in run_in(namespace, pod, code, container=container).split()}


def ask(namespace: str, pod: str, host: str, people: int, seconds: float, texts: Sequence[str]) -> Facts:
    """What some people got who asked from that pod: `waits` of the good answers, sorted, what was `lost`, `labels`."""
    told = run_in(namespace, pod, PEOPLE, host, str(people), str(seconds), json.dumps(texts), limit=seconds + 60)
    return dict(json.loads(told.splitlines()[-1]))


def render(folder: Path) -> tuple[list[Facts], str]:
    """The objects that kustomize makes of a folder; or none, and its complaint."""
    done = kubectl("kustomize", str(folder))
    if not done.ok:
        return [], done.tail(3)
    return [thing for thing in yaml.safe_load_all(done.stdout) if thing], ""


def wait_until_out(namespace: str, names: Sequence[str], seconds: float) -> list[str]:
    """Those Deployments that are not rolled out after so many seconds in all."""
    deadline, late = time.monotonic() + seconds, []
    for name in names:
        left = max(deadline - time.monotonic(), 1)
        words = ["rollout", "status", f"deployment/{name}", f"--timeout={left:.0f}s"]
        if not kubectl("-n", namespace, *words, limit=left + 10).ok:
            late.append(name)
    return late
