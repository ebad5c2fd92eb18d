"""Alert rules in the lesson: which small mistakes their tests let through, and the same rules sixty times as fast."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

from grader.errors import LabError
from grader.model import Facts
from grader.processes import wait_until
from grader.world import rules
from grader.world.prometheus import Prometheus
from labs.helpers.monitoring.asking import HOME, connect

LIVE = Path("tryout/live-rules.yml")


def survivors() -> str:
    """The mutants of each rule that the unit tests do not notice. Raises LabError when they fail on the rules as they
    are: then they fail on each mutant, too, and that would count as noticed."""
    document, tests = rules.read_yaml(HOME / "rules.yml"), sorted(HOME.glob("*_test.yml"))
    passed, output = rules.run_tests(document, tests)
    if not passed:
        raise LabError(f"Your tests fail on your own rules, so they cannot tell a mistake yet:\n{output}")
    said = []
    for name, killed in rules.try_mutants(document, tests).items():
        alive = [what for what, dead in killed.items() if not dead]
        said.append(f"{name}: {len(killed) - len(alive)} of {len(killed)} mistakes noticed")
        said += [f"  not noticed: {what}" for what in alive]
    return "\n".join(said)


def go_live(factor: float = 60) -> str:
    """Gives the kept Prometheus the rules with every duration divided by `factor`; returns them."""
    LIVE.write_text(rules.scale((HOME / "rules.yml").read_text(), factor))
    httpx.post(f"{connect().url}/-/reload", timeout=10).raise_for_status()
    return LIVE.read_text()


def watch_alerts(seconds: float, prometheus: Prometheus | None = None) -> list[Facts]:
    """Looks twice a second which alerts fire: [{at, name, state}], `at` in seconds from now."""
    prometheus, began = prometheus or connect(), time.monotonic()
    seen: list[Facts] = []

    def look() -> bool:
        for alert in prometheus.alerts():
            at = round(time.monotonic() - began, 1)
            seen.append({"at": at, "name": alert["labels"]["alertname"], "state": alert["state"]})
        return False

    wait_until(look, seconds, pause=0.5)
    return seen


def first_firing(seen: list[Facts]) -> dict[str, float]:
    """Alert -> the second at which it first fired."""
    found: dict[str, float] = {}
    for look in seen:
        if look["state"] == "firing":
            found.setdefault(look["name"], look["at"])
    return found


def last_firing(seen: list[Facts]) -> dict[str, float]:
    """Alert -> the second at which it was last seen to fire; what never fired is not there."""
    return {look["name"]: look["at"] for look in seen if look["state"] == "firing"}
