"""The service on the cluster, for notebooks: its files, its pods as the cluster knows them, and a client beside it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from cluster.forward import forward
from cluster.names import IMAGE, KIT, kubeconfig, read_names
from cluster.tools import path_with_tools
from labs.helpers.paint import BLUE, GREY, ORANGE, Picture, canvas

NAMES = read_names()
NAMESPACE = NAMES.namespace(os.environ.get("LAB_WORKSPACE", ""))
os.environ["KUBECONFIG"] = str(kubeconfig())
os.environ["PATH"] = path_with_tools()  # `!kubectl` in a cell finds the kit's own one, too
GIVEN = {
    "namespace.yaml": "namespace/namespace.yaml",
    "deployment.yaml": "start/deployment.yaml",
    "service.yaml": "base/service.yaml",
    "poddisruptionbudget.yaml": "base/poddisruptionbudget.yaml",
    "networkpolicy.yaml": "base/networkpolicy.yaml",
    "bentoml_configuration.yml": "base/bentoml_configuration.yml",
}
KUSTOMIZATION = """apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {namespace}
resources: [namespace.yaml, deployment.yaml, service.yaml, poddisruptionbudget.yaml, networkpolicy.yaml]
patches: [{patches}]
configMapGenerator: # its name gets a hash of the content: another content is another name, so it rolls out
  - name: bentoml-configuration
    files: [bentoml_configuration.yml]
labels:
  - includeTemplates: true
    pairs: {{app.kubernetes.io/part-of: serving-lab, app.kubernetes.io/component: inference}}
images:
  - name: demo-text-intelligence
    newName: {repository}
    digest: {digest}
"""


def released() -> str:
    """The image of the release (lab 04), by its digest."""
    return str(json.loads(Path("deploy/release.json").read_text())["image"])


def lay_out() -> list[str]:
    """Puts the kit's files into deploy/, where none of that name lies yet. Returns what is there."""
    Path("deploy").mkdir(exist_ok=True)
    for name, source in GIVEN.items():
        if not Path("deploy", name).exists():
            shutil.copy(KIT / "manifests" / source, Path("deploy", name))
    return sorted(p.name for p in Path("deploy").iterdir())


def begin_anew() -> str:
    """Takes away what an earlier run of the notebook has in the cluster, so that this one sees what it describes. The
    files in deploy/ stay."""
    there = kubectl("get", "deployment", IMAGE, "--ignore-not-found", "-o", "name")
    kubectl("delete", f"deployment/{IMAGE}", "pod/client", "--ignore-not-found", "--wait=true", "--timeout=60s")
    return "an earlier run's Deployment was removed" if there else "nothing of an earlier run is there"


def kustomize(*patches: str) -> None:
    """Writes deploy/kustomization.yaml: the released image by its digest, this workspace's namespace, your patches."""
    repository, digest = released().split("@")
    listed = ", ".join(f"{{path: {patch}}}" for patch in patches)
    text = KUSTOMIZATION.format(namespace=NAMESPACE, repository=repository, digest=digest, patches=listed)
    Path("deploy/kustomization.yaml").write_text(text)


def kubectl(*words: str, limit: float = 240, given: str | None = None, namespace: str = NAMESPACE) -> str:
    """What kubectl prints, in this workspace's namespace; its complaint as an error."""
    command = ["kubectl", "-n", namespace, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit, input=given)
    if done.returncode:
        raise RuntimeError(f"kubectl {' '.join(words)[:90]}: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


def read(*words: str) -> dict[str, Any]:
    return dict(json.loads(kubectl("get", *words, "-o", "json")))


def pods() -> list[dict[str, Any]]:
    """The service's pods that are not on their way out, oldest first."""
    found = read("pods", "-l", f"app.kubernetes.io/name={IMAGE}")["items"]
    alive = [p for p in found if "deletionTimestamp" not in p["metadata"]]
    return sorted(alive, key=lambda p: str(p["metadata"]["creationTimestamp"]))


def warnings(kind: str = "", most: int = 3) -> str:
    """The last warnings of the namespace, newest first, each once."""
    events = sorted(read("events")["items"], key=lambda e: str(e.get("lastTimestamp") or ""), reverse=True)
    told = [f"{e['involvedObject']['kind']}: {e['message']}" for e in events if e["type"] == "Warning"]
    return "\n".join(list(dict.fromkeys(t for t in told if t.startswith(kind)))[:most]) or "none"


def wait_for(deployment: str = IMAGE, limit: int = 240) -> str:
    """Waits for the rollout; the error has the pods' warnings with it."""
    began = time.monotonic()
    try:
        kubectl("rollout", "status", f"deployment/{deployment}", f"--timeout={limit}s", limit=limit + 10)
    except RuntimeError as late:
        raise RuntimeError(f"{late}\n{warnings()}") from late
    return f"rolled out after {time.monotonic() - began:.0f} s"


# ---------------------------------------------------------------- a client in the cluster

CLIENT = """apiVersion: v1
kind: Pod
metadata: {name: client, labels: {serving-lab/client: "true"}}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true, runAsUser: 1034, runAsGroup: 1034, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: client
      image: IMAGE
      command: [sleep, infinity]
      securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
      resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 256Mi}}
"""
# Runs in the client's pod: a new connection for each request, so that the Service chooses a pod each time.
ASK = """
import json, os, sys, threading, time, urllib.error, urllib.request
# What `kubectl exec` started goes on when kubectl is ended; this ends when nobody holds its input any more.
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
url, seconds, pause = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
body = json.dumps({"texts": ["I was charged twice"]}).encode()
began = time.time()
while time.time() - began < seconds:
    t = time.time()
    try:
        request = urllib.request.Request(url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as got:
            said = str(got.status)
    except urllib.error.HTTPError as refused:
        said = str(refused.code)
    except Exception as broken:
        said = type(getattr(broken, "reason", broken)).__name__
    print(f"{t:.2f} {said} {time.time() - t:.3f}", flush=True)
    time.sleep(max(0, pause - (time.time() - t)))
"""
URL = f"http://{IMAGE}/classify"


def start_client() -> None:
    """A pod of the same image that asks the Service from inside, as another service would."""
    image = released()
    # One of an earlier run would get the new image in place, and start again in the middle of what comes.
    kubectl("delete", "pod/client", "--ignore-not-found", "--wait=true", "--timeout=60s")
    kubectl("apply", "-f", "-", given=CLIENT.replace("IMAGE", image))
    kubectl("wait", "--for=condition=Ready", "pod/client", "--timeout=180s")


class Asking:
    """Asks the Service from the client's pod while the block runs. `answers`: (seconds since the start, what came)."""

    def __init__(self, pause: float = 0.2, most: float = 240) -> None:
        words = ["kubectl", "-n", NAMESPACE, "exec", "-i", "client", "--", "python", "-c", ASK, URL]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([*words, str(most), str(pause)], text=True, **pipes)  # type: ignore[call-overload]
        self.answers: list[tuple[float, str]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        began = 0.0
        for line in self._process.stdout or []:
            at, said, _ = line.split()
            began = began or float(at)
            self.answers.append((float(at) - began, said))

    @property
    def good(self) -> int:
        return sum(said == "200" for _, said in self.answers)

    def stop(self) -> None:
        self._process.stdin.close()
        self._process.wait(20)
        self._reader.join()

    def told(self) -> str:
        others = sorted({said for _, said in self.answers} - {"200"})
        counts = ", ".join(f"{sum(s == said for _, s in self.answers)} x {said}" for said in others)
        return f"{len(self.answers)} requests: {self.good} answered{f', {counts}' if counts else ', none lost'}"


@contextlib.contextmanager
def asking(pause: float = 0.2, after: float = 0.0, good: int = 0, limit: float = 90) -> Iterator[Asking]:
    """Requests from the client's pod, one each `pause` seconds, until `after` seconds after the block's end, and until
    `good` of them were answered (but not longer than `limit`)."""
    one = Asking(pause)
    time.sleep(1.0)
    try:
        yield one
        time.sleep(after)
        deadline = time.monotonic() + limit
        while one.good < good and time.monotonic() < deadline:
            time.sleep(0.5)
    finally:
        one.stop()


def draw_asking(runs: dict[str, Asking]) -> Picture:
    """One row of marks a run: a filled circle is an answer, a cross none."""
    figure, axes = canvas("What did the people get who asked during the roll-out?", 9, 1.3 + 1.0 * len(runs))
    for i, run in enumerate(runs.values()):
        for wanted, marker, colour in ((True, "o", BLUE), (False, "x", ORANGE)):
            at = [t for t, said in run.answers if (said == "200") is wanted]
            axes.scatter(at, [i] * len(at), marker=marker, s=26, color=colour, linewidths=1.2)
    axes.set_yticks(range(len(runs)), list(runs))
    axes.set_ylim(len(runs) - 0.5, -0.5)
    axes.set_xlabel("seconds (filled circle: answered; cross: refused or broken)", color=GREY)
    return Picture(figure, "; ".join(f"{name}: {run.told()}" for name, run in runs.items()))


# ---------------------------------------------------------------- what a pod did and has


def moments(pod: dict[str, Any]) -> dict[str, float]:
    """Seconds from a pod's creation to each step of its way: scheduled, running, ready."""
    began = stamp(pod["metadata"]["creationTimestamp"])
    reached = {c["type"]: stamp(c["lastTransitionTime"]) for c in pod["status"]["conditions"] if c["status"] == "True"}
    running = pod["status"]["containerStatuses"][0]["state"].get("running", {}).get("startedAt")
    steps = {"scheduled": reached.get("PodScheduled"), "pulled and started": stamp(running) if running else None,
             "ready": reached.get("Ready")}  # fmt: skip
    return {name: at - began for name, at in steps.items() if at is not None}


def stamp(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def draw_starts() -> Picture:
    """One bar a pod: the time until it was scheduled, had its image and ran, and was ready."""
    found = [(p, moments(p)) for p in pods()]
    figure, axes = canvas("Where does the time go between `apply` and an answer?", 9, 1.2 + 0.7 * len(found))
    hatches = {"scheduled": "", "pulled and started": "//", "ready": ".."}
    for i, (_, steps) in enumerate(found):
        before = 0.0
        for (name, at), colour in zip(steps.items(), (GREY, ORANGE, BLUE), strict=False):
            axes.barh(i, at - before, left=before, color=colour, hatch=hatches[name], edgecolor="white", height=0.5)
            label = f"{name} at {at:.0f} s" if at - before > 2 else ""
            box = {"facecolor": "white", "edgecolor": "none", "pad": 2} if label else None
            axes.text((at + before) / 2, i, label, ha="center", va="center", fontsize=8, bbox=box)
            before = at
    axes.set_yticks(
        range(len(found)), [f"{p['metadata']['name'][-5:]} on {p['spec']['nodeName'][-7:]}" for p, _ in found]
    )
    axes.invert_yaxis()
    axes.set_xlabel("seconds since the pod was made (the API server's clock has whole seconds)", color=GREY)
    told = [f"{p['metadata']['name'][-5:]}: {', '.join(f'{n} at {at:.0f} s' for n, at in s.items())}" for p, s in found]
    return Picture(figure, "; ".join(told))


def run_in(pod: str, code: str) -> str:
    """What a line of Python prints that runs in that pod's container, with the server's own environment."""
    return kubectl("exec", pod, "--", "python", "-W", "ignore", "-c", code)


def requests_of(pod: str) -> int:
    """How many requests to /classify that pod's API server has counted."""
    text = run_in(pod, "import urllib.request as u; print(u.urlopen('http://127.0.0.1:3000/metrics').read().decode())")
    lines = [x for x in text.splitlines() if x.startswith("bentoml_api_server_request_total") and '"/classify"' in x]
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines))


def requests_by_pod() -> dict[str, int]:
    return {p["metadata"]["name"]: requests_of(p["metadata"]["name"]) for p in pods()}


def difference(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """How many more each pod has counted, by the end of its name."""
    return {name[-5:]: count - before.get(name, 0) for name, count in after.items()}


CONFIGURED = """
import hashlib, os, re, urllib.request
from pathlib import Path
env = dict(v.split('=', 1) for v in Path('/proc/1/environ').read_text().split('\\0') if '=' in v)
file = env.get('BENTOML_CONFIG', '')
print('the file', file or '(none)', hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12] if file else '')
from bentoml._internal.configuration.containers import BentoMLContainer
runners = BentoMLContainer.runners_config.get()
batching = runners.get('embeddingrunner', runners)['batching']
print('the effective value: max_batch_size', batching['max_batch_size'])
text = urllib.request.urlopen('http://127.0.0.1:3000/metrics').read().decode()
edges = re.findall(r'adaptive_batch_size_bucket.le="([0-9.]+)".*embeddingrunner', text)
print('the behaviour: the largest batch that the histogram expects is', max(map(float, edges), default='unknown'))
"""


def configured(pod: str) -> str:
    """Which configuration a pod has, in three ways: the file that its process was given, the value that BentoML makes
    of it, and what the running server does."""
    return run_in(pod, CONFIGURED)


def follow() -> str:
    """The way of a request as the cluster knows it: Service, EndpointSlice, pods, and the processes in one."""
    service = read("service", IMAGE)
    slices = read("endpointslices", "-l", f"kubernetes.io/service-name={IMAGE}")["items"]
    lines = [f"Service        {service['spec']['clusterIP']}:80 -> port {service['spec']['ports'][0]['targetPort']!r}"]
    for end in [e for s in slices for e in s["endpoints"] or []]:
        ready = "ready" if end["conditions"]["ready"] else "NOT ready"
        lines.append(
            f"EndpointSlice  {end['addresses'][0]}:3000  {ready:<9} {end['targetRef']['name']} on {end['nodeName']}"
        )
    if found := pods():
        lines += [
            f"in {found[0]['metadata']['name'][-5:]}       {line}" for line in processes(found[0]["metadata"]["name"])
        ]
    return "\n".join(lines)


def processes(pod: str) -> list[str]:
    """BentoML's processes in a pod, by their part, with memory."""
    code = (
        "import os; from pathlib import Path\n"
        "for p in sorted(Path('/proc').glob('[0-9]*'), key=lambda p: int(p.name)):\n"
        "    try: c = (p / 'cmdline').read_text().replace('\\0', ' '); m = (p / 'status').read_text()\n"
        "    except OSError: continue\n"
        "    kb = next((int(x.split()[1]) for x in m.splitlines() if x.startswith('VmRSS')), 0)\n"
        "    part = 'API server' if 'http_api_server' in c else ('supervisor' if 'bentoml serve' in c else '')\n"
        "    part = c.split('--runner-name ')[1].split()[0] if '--runner-name' in c else part\n"
        "    if part and int(p.name) != os.getpid(): print(f'{part:<18}process {p.name:<4} {kb / 1000:.0f} MB')\n"
    )
    return run_in(pod, code).splitlines()


def taken_port() -> str:
    """What becomes of a port-forward whose local port is somebody else's: what kubectl says, who answers on 127.0.0.1,
    and what `cluster.forward` makes of it."""

    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"I am somebody else")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port, words = server.server_port, ["kubectl", "-n", NAMESPACE, "port-forward", f"service/{IMAGE}"]
    try:
        with subprocess.Popen(
            [*words, f"{port}:80"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as plain:
            time.sleep(2)
            heard = httpx.get(f"http://127.0.0.1:{port}/livez", timeout=5).text
            plain.terminate()
            said = (plain.stdout.read() if plain.stdout else "").strip().replace("\n", " | ")[:200]
        with forward(NAMES, NAMESPACE, f"service/{IMAGE}", 80, local=port) as checked:
            found = checked.problem
    finally:
        server.shutdown()
        server.server_close()
    return f"kubectl says:           {said}\n127.0.0.1 answers:      {heard!r}\na forward that checks:  {found}"


def knock(label: bool) -> str:
    """Asks the Service once, from a pod with or without the label that the NetworkPolicy lets in."""
    given = "serving-lab/client=true" if label else "serving-lab/client-"
    kubectl("label", "pod", "client", given, "--overwrite")
    time.sleep(2)  # until the nodes know
    code = (
        "import urllib.request as u\n"
        f"try: print(u.urlopen('http://{IMAGE}/livez', timeout=4).status)\n"
        "except Exception as e: print(type(getattr(e, 'reason', e)).__name__)"
    )
    try:
        return run_in("client", code)
    finally:
        kubectl("label", "pod", "client", "serving-lab/client=true", "--overwrite")


# ---------------------------------------------------------------- sources of yours in a pod

TRIAL = """
    - name: server
      image: IMAGE
      args: [serve, --host, 0.0.0.0, --port, "3000", --api-workers, "1"]
      env: [{name: BENTOML_HOME, value: /tmp}, {name: BENTOML_DO_NOT_TRACK, value: "True"}]
      readinessProbe: {httpGet: {path: /readyz, port: 3000}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 60}
      securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
      resources: {requests: {cpu: 250m, memory: 1Gi}, limits: {memory: 1536Mi}}
      volumeMounts:
        - {name: sources, mountPath: /home/bentoml/bento/src, readOnly: true}
        - {name: tmp, mountPath: /tmp}
  volumes:
    - {name: sources, configMap: {name: trial}}
    - {name: tmp, emptyDir: {sizeLimit: 64Mi}}
"""


ASK_ONCE = """
import urllib.request as u
kind = {"content-type": "application/json"}
asked = u.Request("http://127.0.0.1:3000/classify", b'{"texts": ["I was charged twice"]}', kind)
print(u.urlopen(asked, timeout=20).read().decode())
"""


def try_sources(folder: str | Path, edit: tuple[str, str] = ("", "")) -> str:
    """Runs the sources of that folder in a pod `trial` of the released image, without a new image. `edit`: (file, text)
    of one that is different. Says what it answers, and leaves nothing."""
    head = CLIENT.partition("  containers:")[0].replace("name: client", "name: trial")
    image = released()
    try:
        for_pod = {p.name: p.read_text() for p in Path(folder).glob("*.py")} | ({edit[0]: edit[1]} if edit[0] else {})
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "trial"}, "data": for_pod}
        kubectl("apply", "-f", "-", given=json.dumps(config))
        kubectl("apply", "-f", "-", given=f"{head}  containers:{TRIAL.replace('IMAGE', image)}")
        kubectl("wait", "--for=condition=Ready", "pod/trial", "--timeout=120s")
        return run_in("trial", ASK_ONCE)
    finally:
        kubectl("delete", "pod/trial", "configmap/trial", "--ignore-not-found", "--grace-period=1")
