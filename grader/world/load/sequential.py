"""Ends a trial as soon as its answer is clear: do 95% of the requests come within the goal, or not?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grader.world.load.log import Request

SETTLE = 3.0  # seconds that are not judged
FAILS_AFTER, HOLDS_AFTER = 6, 10  # at least so many seconds are: a queue that is to become too long grows slowly
SURE = 2.5  # standard errors


@dataclass(frozen=True)
class Goal:
    """`late` of the requests may take longer than `seconds`; fewer than `errors` may end without 200."""

    seconds: float = 0.5
    late: float = 0.05
    errors: float = 0.001


@dataclass(frozen=True)
class Verdict:
    """`holds` is None while it is not clear; `late` and `errors` are shares of what was judged."""

    holds: bool | None
    late: float
    errors: float


def judge(goal: Goal, dues: Sequence[float], ended: Sequence[Request], now: float, last: bool) -> Verdict:
    """What is known `now`, in seconds of the trial. `dues` are the times of all requests so far, answered or not: what
    has not come within the goal is late, whenever it comes. `last`: decide, however unclear it is."""
    due = np.array([d for d in dues if SETTLE <= d <= now - goal.seconds])
    if not len(due):
        return Verdict(None, 0.0, 0.0)
    known = [r for r in ended if SETTLE <= r.scheduled <= now - goal.seconds]
    in_time = np.array([r.scheduled for r in known if r.end == "200" and r.ended - r.scheduled <= goal.seconds])
    errors = sum(r.end != "200" for r in known) / len(due)
    late = 1 - len(in_time) / len(due)
    error = standard_error(due, in_time, now - goal.seconds)
    if math.isnan(error) and not last:
        return Verdict(None, late, errors)
    if errors >= goal.errors and errors * len(due) > 1:  # one error may be chance
        return Verdict(False, late, errors)
    clear = last or abs(late - goal.late) > SURE * max(error, 0.004)
    early = late <= goal.late and now - goal.seconds - SETTLE < HOLDS_AFTER and not last
    return Verdict(late <= goal.late if clear and not early else None, late, errors)


def standard_error(due: np.ndarray, in_time: np.ndarray, until: float) -> float:
    """Of the share that is late, from its means over one second each: neighbours wait in one queue, so single requests
    are no independent trials. Not-a-number for too few seconds."""
    edges = np.arange(SETTLE, until, 1.0)
    if len(edges) <= FAILS_AFTER:
        return math.nan
    all_due, all_in_time = np.histogram(due, edges)[0], np.histogram(in_time, edges)[0]
    shares = 1 - all_in_time / np.maximum(all_due, 1)
    return float(shares.std(ddof=1) / math.sqrt(len(shares)))
