"""A pod in the cluster that asks the Service from inside, as another service would, and what it was answered."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator

from cluster.names import IMAGE
from labs.helpers.charts.canvas import BLUE, GREY, ORANGE, Picture, canvas
from labs.helpers.kube.objects import NAMESPACE, kubectl, released
from labs.helpers.kube.pods import run_in

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


def start() -> None:
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


def draw(runs: dict[str, Asking]) -> Picture:
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
