"""Fits the twin's three numbers to two short runs on this machine: in one nobody is refused, in the other most are."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace

import numpy as np

from labs.helpers.load.twin import Played, Service, Setting, play

ROUNDS = 12


@dataclass(frozen=True)
class Observed:
    """What a run on the real service gave: answers a second, with 200 and in all, and the requests in a batch."""

    setting: Setting
    goodput: float
    rate: float
    people: int = 80


def fit(ample: Observed, short: Observed) -> Service:
    """Whatever the twin does too fast gets slower by as much, again and again: the time a text takes by the run without
    refusals, the time a call takes and the API process's by the run with them. Settles in half of its rounds."""
    service, tried = Service(a=0.005, b=0.02, visit=0.002), list[Service]()
    for turn in range(ROUNDS):
        calm, flooded = (play(service, seen.setting, seen.people, seed=turn) for seen in (ample, short))
        service = replace(
            service,
            a=service.a * factor(calm.goodput, ample.goodput),
            b=service.b * factor(flooded.goodput, short.goodput),
            visit=service.visit * factor(rate(flooded), short.rate),
        )
        tried.append(service)
    late = np.mean([astuple(one) for one in tried[ROUNDS // 2 :]], axis=0)  # each play has its own chance
    return Service(*map(float, late))


def factor(played: float, observed: float) -> float:
    """How much slower, in one round at most by half or twice."""
    return min(2.0, max(0.5, played / max(observed, 0.1)))


def rate(played: Played) -> float:
    return len(played.statuses()) / played.seconds
