"""What a node of the cluster pays for an image that it has never seen."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from cluster.names import IMAGE
from labs.helpers.charts.canvas import BLUE, GREY, Picture, canvas
from labs.helpers.image.images import NAMES, docker


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
