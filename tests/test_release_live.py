"""Releases of the real image in the cluster: a good one and one of each fault, tried at the gateway by weight; the gate
decides, and no request is lost by the switch. Then blue/green and back, a roll-out and a drained node. 8 minutes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from live_cluster import kubectl, need_cluster, not_run

from cluster.names import IMAGE, read_names
from grader.world import canary, drain, gateway
from grader.world.callers import asking
from grader.world.gate import PROMOTE, ROLL_BACK
from grader.world.objects import get

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.turn]
SPACE = "ml-serving-test-release"
RATE = 24


@pytest.fixture(scope="module")
def source() -> str:
    """The namespace of a Deployment that lab 05 left."""
    need_cluster()
    names = [read_names().namespace(workspace) for workspace in ("walk", "")]
    found = next((name for name in names if get(name, "deployment", IMAGE)), "")
    return found or not_run(f"no Deployment {IMAGE} in the cluster (lab 05)")


@pytest.fixture(scope="module")
def releases(source: str) -> Iterator[str]:
    gateway.bring()
    try:
        canary.lay_out(source, SPACE)
        yield SPACE
    finally:
        kubectl("delete", "namespace", SPACE, "--ignore-not-found", "--wait=false")
        gateway.take_away()  # its node port is that of tests/test_faults.py, too


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Printed at the end (`pytest -s`): docs/releases.md has one."""
    rows: list[str] = []
    yield rows
    heads = ("release", "decision", "after", "answers of the new one", "requests that failed", "lost by the switch")
    print("\n" + "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *rows]))


@pytest.mark.parametrize("fault", ["good", "crash", "labels", "errors", "slow"])
def test_a_release_is_decided(releases: str, table: list[str], fault: str) -> None:
    canary.weigh(releases, 100, 0)
    canary.plant(releases, "" if fault == "good" else fault)
    with asking(releases, canary.CLIENT, canary.GATEWAY + "/classify", RATE, canary.host_of(releases)) as answers:
        time.sleep(4)
        canary.weigh(releases, 50, 50)
        decision = canary.decide(releases)
        switched = canary.follow(releases, decision)
        time.sleep(6)
    lost = canary.lost_by_switch(answers, switched, fault == "good")
    failed = sum(a.said != "200" for a in answers)
    print(f"\n{fault}: {decision.told()}")
    counted = f"{decision.new.answered:.0f} | {failed} of {len(answers):,} | {len(lost)}"
    table.append(f"| {fault} | {decision.what} | {decision.seconds:.0f} s | {counted} |")
    assert decision.what == (PROMOTE if fault == "good" else ROLL_BACK)
    assert not lost


def test_blue_green_and_back_loses_nothing(releases: str) -> None:
    canary.plant(releases, "")
    with asking(releases, canary.CLIENT, f"http://{IMAGE}/classify", RATE) as answers:
        for release in (canary.NEW, canary.STABLE, canary.NEW):
            canary.turn(releases, release)
            time.sleep(5)
    assert len(answers) > 200
    assert [a for a in answers if a.said != "200"] == []


def test_a_roll_out_and_a_drained_node_lose_nothing(source: str) -> None:
    rows = drain.measure(source, f"{SPACE}-drain", 2, 500, kept=False, say=print)
    print(drain.table(rows))
    assert [row.what.split()[0] for row in rows] == ["rolling", "drain"]
    assert all(row.counts for row in rows), "the machine stopped the sender, so nothing was measured"
    assert all(row.requests >= 500 and not row.lost for row in rows)
