"""What Prometheus in a cluster said (incluster.py), in words."""

from __future__ import annotations

from collections.abc import Mapping

from grader.model import Facts


def monitors(cluster: Facts) -> str:
    """A row for each ServiceMonitor: the jobs it makes, its targets, the labels, the latency query's series."""
    rows = [f"{'ServiceMonitor':<55}{'jobs':>5} {'targets':<10}{'endpoint is':<14}for /classify"]
    for one in cluster["monitors"]:
        series = "nothing" if not one["classify"] else f"{one['classify']:.0f} requests"
        label = ", ".join(one["endpoints"][:1]) or "-"
        up = ", ".join(one["targets"]) or "none"
        rows.append(f"{one['step']:<55}{one['jobs']:>5} {up:<10}{label:<14}{series}")
    return "\n".join(rows)


def letter(cluster: Facts) -> str:
    """What came true of question 08i: the row before the last is up, and its series has another label."""
    before = cluster["monitors"][-2]
    return "a" if before["classify"] else "b" if before["targets"] == ["up"] else "c"


def answers(cluster: Facts, columns: Mapping[str, Facts]) -> str:
    """The queries' answers here and there, and what only a cluster has."""
    rows = [f"{'':<12}" + "".join(f"{name:>14}" for name in columns)]
    for query in ("latency", "batch_size"):
        rows.append(f"{query:<12}" + "".join(f"{column[query]:>14.2f}" for column in columns.values()))
    said = cluster["answers"]
    rows.append(f"targets up: {said['Up']:.0f}; memory of the pod's container: {said['Memory'] / 1e6:.0f} MB")
    return "\n".join(rows)


def alerts(cluster: Facts) -> str:
    """When each alert fired under 503s, and until when after them; times of the rules divided by 20."""
    told, burnt = [], cluster["alerts"]
    ends = ", ".join(f"{count} x {end}" for end, count in sorted(burnt["ends"].items()))
    for name in ("SlowAnswers", "BudgetBurnsFast"):
        if name not in burnt["fired"]:
            told.append(f"{name} does not fire")
            continue
        until = burnt["until"].get(name, 0)
        silent = f"silent {until:.0f} s after the last of them" if until < burnt["watched"] - 2 else "still fires"
        told.append(f"{name} fires after {burnt['fired'][name]:.0f} s, and is {silent}")
    return f"{ends}. {'; '.join(told)}."
