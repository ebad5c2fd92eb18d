"""A pod in the cluster that asks the Service from inside, as another service would, and what it was answered."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cluster.names import IMAGE
from grader.world.callers import ASK
from labs.helpers.charts.canvas import BLUE, GREY, ORANGE, Picture
from labs.helpers.kube.objects import NAMESPACE, kubectl, pods, released
from labs.helpers.kube.pods import kill_embedder, run_in

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
URL = f"http://{IMAGE}/classify"


def start() -> None:
    """A pod of the same image that asks the Service from inside, as another service would."""
    image = released()
    # One of an earlier run would get the new image in place, and start again in the middle of what comes.
    kubectl("delete", "pod/client", "--ignore-not-found", "--wait=true", "--timeout=60s")
    kubectl("apply", "-f", "-", given=CLIENT.replace("IMAGE", image))
    kubectl("wait", "--for=condition=Ready", "pod/client", "--timeout=180s")


@dataclass
class Run:
    """What callers got: for each request the second at which it was sent, status or error, and the wait in seconds."""

    answers: list[tuple[float, str, float]] = field(default_factory=list)

    @property
    def good(self) -> int:
        return sum(said == "200" for _, said, _ in self.answers)

    @property
    def lost(self) -> int:
        return len(self.answers) - self.good

    def told(self) -> str:
        others = sorted({said for _, said, _ in self.answers} - {"200"})
        counts = ", ".join(f"{sum(s == said for _, s, _ in self.answers)} x {said}" for said in others)
        slowest = max((seconds for _, _, seconds in self.answers), default=0)
        told = f"{len(self.answers)} requests: {self.good} answered{f', {counts}' if counts else ', none lost'}"
        return f"{told}; the longest wait {slowest:.1f} s"


class Asking(Run):
    """Asks the Service from the client's pod, `rate` times a second, until it is stopped."""

    def __init__(self, rate: float = 5, most: float = 240) -> None:
        super().__init__()
        words = ["kubectl", "-n", NAMESPACE, "exec", "-i", "client", "--", "python", "-c", ASK, URL]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([*words, str(most), str(rate)], text=True, **pipes)  # type: ignore[call-overload]
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        began = 0.0
        for line in self._process.stdout or []:
            at, said, seconds = line.split()
            began = began or float(at)
            self.answers.append((float(at) - began, said, float(seconds)))

    def stop(self) -> None:
        self._process.stdin.close()
        self._process.wait(30)
        self._reader.join()
        self.answers.sort()


def begin(rate: float = 5) -> Asking:
    """Callers who ask from now on, through the Service, until `finish`. Returns at the first answer or error."""
    one = Asking(rate)
    deadline = time.monotonic() + 20
    while not one.answers and time.monotonic() < deadline:
        time.sleep(0.1)
    return one


def finish(one: Asking, after: float = 2.0, good: int = 0, limit: float = 90) -> Asking:
    """Stops the callers `after` seconds from now, and not before the last `good` requests were all answered (but not
    longer than `limit` seconds from now)."""
    time.sleep(after)
    deadline = time.monotonic() + limit
    while good and time.monotonic() < deadline and {said for _, said, _ in one.answers[-good:]} != {"200"}:
        time.sleep(0.5)
    one.stop()
    return one


@contextlib.contextmanager
def asking(rate: float = 5, after: float = 0.0, good: int = 0, limit: float = 90) -> Iterator[Asking]:
    """The same while the block runs."""
    one = begin(rate)
    try:
        yield one
    finally:
        finish(one, after, good, limit)


LATE = 2.0  # seconds: no pod that works lets one text wait for so long
ENDS = 10  # requests: what the ends of two pods cost callers, ten a second, is less, whatever the Service does


def without_probes(run: Run) -> str:
    """What people got while pods without a probe were replaced: "b" answers in time, but for what the ends of the old
    pods lose; "c" mostly a status; "a" no answer, or one that came late."""
    late = sum(said == "200" and waited > LATE for _, said, waited in run.answers)
    if late + run.lost < ENDS:
        return "b"
    statuses = sum(said.isdigit() and said != "200" for _, said, _ in run.answers)
    return "c" if 2 * statuses > late + run.lost else "a"


KEPT = Path(__file__).with_name("killed_runner.csv")


def killed_runner(live: bool = False) -> Run:
    """What callers get when the embedding runner of one of the two pods is killed, from five seconds before it. Without
    `live`, the run that is kept in killed_runner.csv; its first line says when and where it was made."""
    if not live:
        rows = [line.split(",") for line in KEPT.read_text().splitlines() if line[:1].isdigit()]
        return Run([(float(at), said, float(seconds)) for at, said, seconds in rows])
    with asking(after=3, good=60, limit=120) as run:
        time.sleep(5)
        kill_embedder(pods()[0]["metadata"]["name"])
        time.sleep(30)
    return run


def draw(runs: dict[str, Run], title: str = "What did callers get during the roll-out?") -> Picture:
    """One row a run: a bar as high as the wait of each request that was answered, a cross for one that was not."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.9 + 1.35 * len(runs)), dpi=110, layout="constrained")
    top = max([seconds for run in runs.values() for _, _, seconds in run.answers], default=1)
    for axes, (name, run) in zip(
        figure.subplots(len(runs), 1, sharex=True, squeeze=False)[:, 0], runs.items(), strict=True
    ):
        for wanted, colour, style in ((True, BLUE, "-"), (False, ORANGE, ":")):
            found = [(at, seconds) for at, said, seconds in run.answers if (said == "200") is wanted]
            at, waits = [a for a, _ in found], [w for _, w in found]
            axes.vlines(at, 0, waits, color=colour, linewidth=1.6, linestyles=style)
            # a dot at the end of each bar, too: an answer within milliseconds is no gap
            mark, area = (".", 7) if wanted else ("x", 22)
            axes.scatter(at, waits, marker=mark, s=area, color=colour, linewidths=1.2, clip_on=False)
        axes.set_ylim(0, 1.1 * max(top, 0.5))
        axes.set_ylabel("wait in s", fontsize=8)
        axes.text(
            0.99,
            0.86,
            f"{name}: {run.lost} of {len(run.answers)} lost",
            transform=axes.transAxes,
            ha="right",
            fontsize=9,
        )
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.axes[0].set_title(title, loc="left", fontweight="bold", fontsize=12)
    figure.axes[-1].set_xlabel(
        "second at which it was sent (bar and dot: answered after that wait; cross: refused, broken, or none in 10 s)",
        color=GREY,
    )
    return Picture(figure, "; ".join(f"{name}: {run.told()}" for name, run in runs.items()))


def ask_once(label: bool) -> str:
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
