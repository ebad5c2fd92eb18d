"""The layers of an image: what each holds, and which of them an edit makes anew."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from grader.world.images import Image, tidy
from labs.helpers.charts.canvas import BLUE, GREY, ORANGE, Picture, canvas, shorten
from labs.helpers.image.images import docker
from labs.helpers.store.models import size


@dataclass(frozen=True)
class Step:
    """One step of an image's making that left a layer: what the Dockerfile says, and the bytes that it added."""

    says: str
    bytes: int
    id: str  # equal in two images that share the layer


def steps(image: str) -> list[Step]:
    """The layers of an image that the engine has, the first one first. Steps that add no bytes are left out."""
    rows = docker("history", "--no-trunc", "--human=false", "--format", "{{json .}}", image).splitlines()
    made = [(words(row["CreatedBy"]), int(row["Size"])) for row in map(json.loads, reversed(rows))]
    ids = json.loads(docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", image))
    # An engine lists a layer for each step that could have changed files, of no bytes, too: match them from the end.
    full = [m for m in made if m[1] or not re.match(r"(?:ENV|ARG|USER|EXPOSE|ENTRYPOINT|CMD|LABEL)\b", m[0])]
    known = dict(zip(range(len(full) - 1, -1, -1), reversed(ids), strict=False))
    return [Step(says or "the base image", count, known.get(i, "")) for i, (says, count) in enumerate(full)]


def words(command: str) -> str:
    """A history entry as the Dockerfile says it, without what would push its point out of a picture's key: the hash of
    a file, what a shell is told to do about errors, options, the folder that all paths of a Bento begin with."""
    text = re.sub(r"\b(?:file|dir):\w+ in ", "", command)
    text = re.sub(
        r"/bin/sh -c set -\w+(?: &&|;) |\bapt-get update \S* ?(?:&&|;) |(?<= )-(?:-[\w-]+|[qy]|o Dpkg\S+)(?= )",
        "",
        text,
    )
    return re.sub(r" -euxo pipefail /home/bentoml/bento/", " ", tidy(" ".join(text.split())))


def draw_steps(image: str, title: str) -> Picture:
    """One bar a layer, with the words of the Dockerfile that made it."""
    found = [s for s in steps(image) if s.bytes > 1000]
    figure, axes = canvas(title, 10.5, 1.2 + 0.42 * len(found))
    for i, step in enumerate(found):
        heavy = step.bytes > 50e6
        axes.barh(i, step.bytes / 1e6, color=BLUE if heavy else GREY, height=0.6)
        axes.text(step.bytes / 1e6, i, f"  {size(step.bytes)}", va="center", fontsize=9)
    axes.set_yticks(
        range(len(found)), [shorten(s.says, 70).replace("$", r"\$") for s in found], fontsize=8, family="monospace"
    )
    axes.invert_yaxis()
    axes.set_xlim(0, max(s.bytes for s in found) / 1e6 * 1.25)
    axes.set_xlabel("MB, unpacked; the first layer is at the top", color=GREY)
    whole, most = sum(s.bytes for s in found), max(found, key=lambda s: s.bytes)
    told = f"{size(whole)} in {len(found)} layers of more than a kB. {most.bytes / whole:.0%} of it is one step: "
    return Picture(figure, told + shorten(most.says, 70))


def fresh_bytes(before: str, after: str) -> tuple[int, list[Step]]:
    """The layers of `after` that `before` has not, and their bytes (unpacked): what must travel after an edit."""
    old = {s.id for s in steps(before)}
    new = [s for s in steps(after) if s.id not in old]
    return sum(s.bytes for s in new), new


def made_again(image: str) -> int:
    """The bytes of all steps that run again after an edit of a source: the first one that copies sources, and those
    after it. (A copy of the same files may come out as the same layer: then it is made again, and not sent again.)"""
    return after_sources(steps(image))


def after_sources(found: list[Step]) -> int:
    first = next((i for i, s in enumerate(found) if re.match(r"COPY (?:--\S+ )*(?:\S*\bsrc\b|\./? )", s.says)), 0)
    return sum(step.bytes for step in found[first:])


def draw_edit(pairs: dict[str, tuple[str, str]]) -> Picture:
    """How many bytes of each image are new after an edit: {name: (before, after)}. The scale is a logarithm."""
    figure, axes = canvas("One comment is added to a source. What must travel again?", 9, 1.4 + 0.7 * len(pairs))
    costs = {name: max(fresh_bytes(*images)[0], 1) for name, images in pairs.items()}
    for i, (cost, colour, hatch) in enumerate(zip(costs.values(), (ORANGE, BLUE), ("//", ""), strict=False)):
        axes.barh(i, cost, color=colour, hatch=hatch, edgecolor="white", height=0.55)
        axes.text(cost * 1.3, i, size(cost), va="center")
    axes.set_yticks(range(len(costs)), list(costs))
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(1e3, max(costs.values()) * 20)
    axes.set_xlabel("bytes in new layers, unpacked (each mark is ten times the one before)", color=GREY)
    return Picture(figure, "; ".join(f"{name}: {size(cost)}" for name, cost in costs.items()))


def draw_contents(image: Image) -> Picture:
    """What the bytes of a pushed image are for, over all its layers."""
    total: dict[str, int] = {}
    for layer in image.layers:
        for group, count in layer.groups.items():
            total[group] = total.get(group, 0) + count
    rows = sorted(total.items(), key=lambda r: -r[1])
    figure, axes = canvas("What are the bytes of the image for?", 9, 1.2 + 0.36 * len(rows))
    for i, (group, count) in enumerate(rows):
        axes.barh(i, count / 1e6, color=ORANGE if group in ("sources", "weights") else BLUE, height=0.6)
        axes.text(count / 1e6, i, f"  {size(count)}", va="center", fontsize=9)
    names = {"sources": "sources (yours)", "weights": "weights (yours)", "the Bento's papers": "bento.yaml, env, apis"}
    axes.set_yticks(range(len(rows)), [names.get(group, group) for group, _ in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, rows[0][1] / 1e6 * 1.15)
    axes.set_xlabel("MB, unpacked", color=GREY)
    yours = total.get("sources", 0) + total.get("weights", 0)
    first, most = rows[0]
    told = f"{size(image.unpacked)} unpacked, {size(image.packed)} to pull. {first} has {most / image.unpacked:.0%}"
    return Picture(figure, f"{told} of it; your weights and sources together have {yours / image.unpacked:.0%}.")
