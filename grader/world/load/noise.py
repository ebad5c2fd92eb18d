"""How far repeats of one and the same setting differ: the A/A noise of this machine in this hour.

A difference between two settings that is not clearly larger says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

FLOOR = 0.02  # nothing on a shared machine is more exact
RANGE = 6.0  # three repeats that differ by more than 6 standard deviations do so once in a hundred times


def of(groups: Mapping[str, Sequence[float]], without: str = "") -> float:
    """The standard deviation of repeats, as a share of their mean, over all groups but one; nan for no repeats."""
    squares, freedom = 0.0, 0
    for name, values in groups.items():
        if name != without and len(values) > 1 and min(values) > 0:
            logs = np.log(np.asarray(values, dtype=float))
            squares += float(((logs - logs.mean()) ** 2).sum())
            freedom += len(values) - 1
    return math.sqrt(squares / freedom) if freedom else math.nan


def without_the_worst(groups: Mapping[str, Sequence[float]]) -> float:
    """The noise of all settings but that which adds most to it: one that was disturbed is no busy machine."""
    return min((of(groups, without=name) for name in groups if len(groups) > 1), default=math.nan)


def spread(values: Sequence[float]) -> float:
    """Largest over smallest, less one."""
    return max(values) / min(values) - 1 if values and min(values) > 0 else math.inf


def disagree(groups: Mapping[str, Sequence[float]], name: str, answers: float = math.inf) -> bool:
    """Whether the repeats of that group differ by more than those of the others make likely. `answers`: how many stand
    behind a figure; few of them differ by chance alone."""
    others = of(groups, without=name)
    least = max(FLOOR, 1 / math.sqrt(max(answers, 1)))
    return spread(groups[name]) > RANGE * max(least, 0.0 if math.isnan(others) else others)
