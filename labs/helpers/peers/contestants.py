"""Peers as labs.helpers.limit measures them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from grader.model import Facts
from grader.world.servers import role_of
from labs.helpers.limit import steps
from labs.helpers.limit.contestant import Contestant, last_word
from labs.helpers.peers import answers, environments, serving
from labs.helpers.peers.asking import Answer, template
from labs.helpers.peers.peers import Peer

MODERN = "--service-name"  # a worker of BentoML's modern API says which class it runs


def contestant(peer: Peer, store: Path, right: Mapping[str, Answer]) -> Contestant:
    def check(url: str) -> Facts:
        return {"checked": answers.check(peer.title, url, peer.form, right)}

    start = steps.contestant(steps.KNOWN[peer.step]).start if peer.step else partial(serving.serving, peer, store)
    return Contestant(
        peer.name, peer.title, start, peer.form.path, template(peer.form), check, facts_of(peer), role
    )  # fmt: skip


def facts_of(peer: Peer) -> Facts:
    """What the page says of it besides its figures."""
    told = {"title": peer.title, "batches": peer.batches, "program": started_with(peer), "lines": peer.lines()}
    return {**told, "version": environments.version(peer)}


def started_with(peer: Peer) -> str:
    return f"./lab bench ladder --step {peer.step}" if peer.step else " ".join(peer.program)


def role(command: Sequence[str]) -> str:
    """What a process of a peer is for, in a word or two, by its command line."""
    words = list(command)
    if known := role_of(words):
        return known
    line = " ".join(words)
    if MODERN in words:
        return words[words.index(MODERN) + 1]
    if line.startswith("ray::"):
        return line.removeprefix("ray::").partition(" ")[0].partition(":")[0]
    if "resource_tracker" in line or "forkserver" in line:
        return "helper"
    return "worker" if "multiprocessing" in line else program_of(words)


def program_of(words: Sequence[str]) -> str:
    """A native program's own name; of Python's processes the module or file that they run."""
    first = words[0].rsplit("/", 1)[-1] if words else ""
    if not first.startswith("python"):
        return first or "other"
    if "-m" in words[:-1]:
        return words[words.index("-m") + 1].rsplit("/", 1)[-1]
    return next((Path(word).name for word in words[1:] if not word.startswith("-")), last_word(words))


def right_answers(reference: Peer, store: Path) -> dict[str, Answer]:
    """What the reference says of the held-out texts, asked by one caller, one after the other."""
    with serving.serving(reference, store) as running:
        return answers.collect(running.url, reference.form, answers.texts(), callers=1)
