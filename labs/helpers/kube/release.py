"""Two releases side by side, for notebooks: turned, weighed, tried by the gate, and what callers got meanwhile."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from cluster.names import IMAGE
from grader.world import canary, gateway
from grader.world.callers import ASK, ASK_KEPT, Answer, asking
from grader.world.gate import Decision, read_rules
from labs.helpers.charts.canvas import BLUE, ORANGE, Picture, canvas
from labs.helpers.kube.objects import NAMES, NAMESPACE, kubectl

SPACE = NAMES.release(os.environ.get("LAB_WORKSPACE", ""))
RATE = 36.0  # requests a second
FAULTS = ("", "crash", "labels", "errors", "slow")


def prepare() -> str:
    """The gateway, and two copies of your Deployment: `stable` and `new`, with a Service each."""
    began = time.monotonic()
    with ThreadPoolExecutor() as pool:  # neither waits for the other
        brought, laid_out = pool.submit(gateway.bring), pool.submit(canary.lay_out, NAMESPACE, SPACE)
        brought.result(), laid_out.result()
    return f"the gateway and two releases are ready in {SPACE} after {time.monotonic() - began:.0f} s"


class Crowd:
    """Callers in a pod beside the releases, from now on until `stop`."""

    def __init__(self, url: str, kept: bool = False, rate: float = RATE) -> None:
        self.answers: list[Answer] = []
        self._over, self._there = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._ask, args=(url, ASK_KEPT if kept else ASK, rate), daemon=True)
        self._thread.start()
        self._there.wait(25)

    def _ask(self, url: str, code: str, rate: float) -> None:
        host = canary.host_of(SPACE) if url.startswith(canary.GATEWAY) else ""
        with asking(SPACE, canary.CLIENT, url, rate, host, code=code) as answers:
            self.answers = answers
            self._there.set()
            self._over.wait()

    def stop(self, after: float = 0.0) -> str:
        time.sleep(after)
        self._over.set()
        self._thread.join(45)
        return self.told()

    @property
    def lost(self) -> int:
        return sum(a.said != "200" for a in self.answers)

    def told(self) -> str:
        return f"{len(self.answers)} requests, {self.lost} of them lost"


def ask_service(kept: bool = False) -> Crowd:
    """Callers of the Service; `kept`: eight that keep their connections open."""
    return Crowd(f"http://{IMAGE}/classify", kept)


def ask_gateway() -> Crowd:
    return Crowd(f"{canary.GATEWAY}/classify")


@contextmanager
def counting() -> Iterator[dict[str, int]]:
    """How many requests each release's pods counted while the block ran; filled in when it is left."""
    before, found = canary.counted(SPACE), dict[str, int]()
    yield found
    found |= {name: count - before[name] for name, count in canary.counted(SPACE).items()}


def wilson(hits: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """The 95% interval of a share (Wilson 1927): which true shares make what was seen no surprise."""
    if not trials:
        return 0.0, 1.0
    share, n = hits / trials, trials
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return middle - half, middle + half


def share(seconds: float = 10) -> Picture:
    """Which share of the requests at the gateway the new release gets, with its interval, beside the weight."""
    with counting() as got:
        crowd = ask_gateway()
        crowd.stop(seconds)
    weight, trials = weight_of_new(), sum(got.values())
    low, high = wilson(got[canary.NEW], trials)
    figure, axes = canvas("Does the new release get its share?", 9, 1.6)
    axes.plot([100 * low, 100 * high], [0, 0], color=BLUE, linewidth=6, solid_capstyle="butt")
    axes.plot([100 * got[canary.NEW] / trials], [0], "o", color=BLUE, markersize=9)
    axes.axvline(100 * weight, color=ORANGE, linestyle="--")
    axes.set_yticks([])
    axes.set_xlim(0, max(60, 100 * high + 5))
    axes.set_xlabel("% of the requests (bar: 95% interval; dashed: the weight)")
    told = f"{got[canary.NEW]} of {trials} requests went to the new release: {got[canary.NEW] / trials:.0%}, "
    told += f"95% interval {low:.0%} to {high:.0%}; its weight is {weight:.0%}; {crowd.lost} were lost"
    return Picture(figure, told)


def weight_of_new() -> float:
    """As the cluster has the route, 0 to 1."""
    form = "jsonpath={range .spec.rules[0].backendRefs[*]}{.name} {.weight}{'\\n'}{end}"
    lines = kubectl("get", "httproute", IMAGE, "-o", form, namespace=SPACE).splitlines()
    weights = {name: int(weight) for name, weight in (line.split() for line in lines)}
    return weights[canary.NEW] / sum(weights.values())


def try_release(fault: str, rules: str = "") -> Decision:
    """Releases `new` with that fault ("" for none), gives it half of the requests, lets the gate decide by the rules of
    that file, and follows it."""
    canary.weigh(SPACE, 100, 0)
    canary.plant(SPACE, fault)
    crowd = ask_gateway()
    try:
        time.sleep(2)
        canary.weigh(SPACE, 50, 50)
        decision = canary.decide(SPACE, read_rules(Path(rules)) if rules else None)
        switched = canary.follow(SPACE, decision)
    finally:
        crowd.stop(2)
    lost = canary.lost_by_switch(crowd.answers, switched, not fault)
    print(decision.told())
    print(f"{crowd.told()}; {len(lost)} by the switch")
    return decision


def rest() -> str:
    """Scales what runs here to 0, so that it needs no room; the namespace stays."""
    for name in (canary.STABLE, canary.NEW):
        kubectl("scale", f"deployment/{name}", "--replicas=0", namespace=SPACE)
    kubectl("delete", "pod", canary.CLIENT, "--ignore-not-found", "--wait=false", namespace=SPACE)
    gateway.take_away()
    return f"{SPACE} has no pods any more, and the gateway is gone"
