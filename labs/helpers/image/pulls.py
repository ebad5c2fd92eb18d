"""What a node of the cluster pays for an image that it has never seen."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass

from cluster.names import IMAGE, kubeconfig
from cluster.tools import path_with_tools
from grader.model import Facts
from labs.helpers.charts.canvas import BLUE, GREY, Picture, canvas
from labs.helpers.image.images import NAMES, RELEASE, REPOSITORY, Bench, docker
from labs.helpers.image.layers import fresh_bytes


@dataclass(frozen=True)
class Pull:
    """What a node's first pull of an image took: seconds, unpacking included, and bytes as they were sent."""

    seconds: float
    bytes: int


def first_pull(reference: str, keep: bool = False) -> Pull:
    """A node that has no image of the service pulls that one from the registry. It is gone afterwards, unless it is to
    stay for the pods of lab 05, and the node is one that takes pods."""
    node = next((n for n in reversed(NAMES.nodes) if IMAGE not in crictl(n, "images")), NAMES.nodes[0])
    began = time.monotonic()
    crictl(node, "pull", reference)
    seconds = time.monotonic() - began
    about = json.loads(crictl(node, "inspecti", reference))
    if not keep or node == NAMES.nodes[0]:
        crictl(node, "rmi", reference)
    return Pull(seconds, int(about["status"]["size"]))


def ask_version(node: str, reference: str) -> str:
    """What a pod on that node says of the Bento in its image. A pod pulls no image whose name its node has already."""
    pod = f"asks-{time.time_ns() % 10**9}"
    words = ("--restart=Never", f"--overrides={json.dumps({'spec': {'nodeName': node}})}")
    command = ("--command", "--", "sed", "-n", "s/^version: //p", "/home/bentoml/bento/bento.yaml")
    kubectl("run", pod, f"--image={reference}", *words, *command)
    try:
        kubectl("wait", f"pod/{pod}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=180s")
        return f"the Bento {kubectl('logs', pod)}"
    finally:
        kubectl("delete", "pod", pod, "--wait=false")


def kubectl(*words: str) -> str:
    environ = {**os.environ, "KUBECONFIG": str(kubeconfig()), "PATH": path_with_tools()}
    done = subprocess.run(
        ["kubectl", "-n", "default", *words], env=environ, capture_output=True, text=True, timeout=240
    )
    if done.returncode:
        raise RuntimeError(f"kubectl {' '.join(words)[:90]}: {done.stderr.strip()[-300:]}")
    return done.stdout.strip()


SAMPLES = f"{REPOSITORY}:samples"


def with_samples(megabytes: int = 300, pull: bool = False) -> Facts:
    """A Bento with so many MB of samples among its sources, and its image, SAMPLES: {largest: the Bento's largest file,
    edit: the bytes that travel for one comment}. With `pull` also {pulls}: a node's first pull of it and of yours."""
    bench = Bench()
    (bench.folder / "samples.csv").write_bytes(os.urandom(megabytes * 10**6))
    build_file, ignore = bench.folder / "bentofile.yaml", bench.folder / ".bentoignore"
    build_file.write_text(build_file.read_text().replace("include:\n", 'include:\n  - "*.csv"\n'))
    ignore.write_text(ignore.read_text().replace("*.csv\n", ""))
    bench.make(SAMPLES)
    files = [p for p in (bench.store / "bentos").rglob("*") if p.is_file()]
    largest = max(files, key=lambda p: p.stat().st_size)
    found: Facts = {"largest": f"{largest.name}, {largest.stat().st_size / 1e6:.0f} MB"}
    bench.edit()
    bench.make(f"{SAMPLES}-edited")
    found["edit"] = fresh_bytes(SAMPLES, f"{SAMPLES}-edited")[0]
    if pull:
        docker("push", "-q", SAMPLES)
        found["pulls"] = {"yours": first_pull(RELEASE), f"with {megabytes} MB of samples": first_pull(SAMPLES)}
    return found


def crictl(node: str, *words: str) -> str:
    # By itself it gives up on an answer after 2 s, and removing some GB takes longer.
    return docker("exec", node, "crictl", "--timeout=60s", *words)


def draw_pulls(pulls: dict[str, Pull], text: float = 2.8e9) -> Picture:
    """One bar an image, and one for an image of `text` bytes, reckoned at the rate of the slowest pull."""
    rate = min(p.bytes / p.seconds for p in pulls.values())
    rows = {**pulls, "2.8 GB, reckoned": Pull(text / rate, int(text))}
    figure, axes = canvas("How long does a node's first pull take?", 9, 1.2 + 0.5 * len(rows))
    for i, (name, pull) in enumerate(rows.items()):
        done = name in pulls
        axes.barh(i, pull.seconds, color=BLUE if done else "white", edgecolor=BLUE if done else GREY, height=0.55,
                  hatch="" if done else "//")  # fmt: skip
        axes.text(pull.seconds, i, f"  {pull.seconds:.0f} s for {pull.bytes / 1e6:,.0f} MB", va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.3 * max(p.seconds for p in rows.values()))
    axes.set_xlabel("seconds, unpacking included; the registry is on the same machine", color=GREY)
    told = "; ".join(f"{name}: {p.bytes / 1e6:,.0f} MB in {p.seconds:.0f} s" for name, p in rows.items())
    return Picture(figure, told)
