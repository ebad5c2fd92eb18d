"""The dispatcher's twin: its three rules, BentoML's own dispatcher beside it, and its fit."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import ROOT
from measure_twin import hold

from labs.helpers.load import fit
from labs.helpers.load.twin import TRAINING, Dispatcher, Service, Setting, play

MACHINE = Service(a=0.0022, b=0.013, visit=0.0013)


def waiting(setting: Setting, *ages: float, batches: int = TRAINING, **learnt: Any) -> Dispatcher:
    """A dispatcher at the moment 10, after so many batches, with requests of these ages in its queue."""
    dispatcher = Dispatcher(setting, a=0.005, b=0.02, **learnt)
    dispatcher.seen.extend([(1, 0.025, 0.0)] * batches)
    dispatcher.queue.extend((10 - age, (10 - age, True)) for age in ages)
    return dispatcher


def test_the_oldest_is_refused_while_it_would_be_late() -> None:
    refused, batch = waiting(Setting(32, 0.05), 0.04, 0.03, 0.001).turn(10)
    assert [round(10 - asked, 3) for asked, _ in refused] == [0.04, 0.03] and len(batch) == 1


def test_in_training_only_those_are_refused_who_are_late_already_and_not_needed() -> None:
    refused, batch = waiting(Setting(32, 0.05), 0.06, 0.06, 0.04, batches=TRAINING - 2).turn(10)
    assert [round(10 - asked, 3) for asked, _ in refused] == [0.06] and len(batch) == 2


def test_it_learns_from_each_batch_of_its_training_and_then_each_five_seconds() -> None:
    dispatcher, believed = Dispatcher(Setting(32, 1.0), a=0.005, b=0.02), list[float]()
    for number in range(TRAINING + 2):
        dispatcher.learn(0.1 * number, 1 + number % 2, 0.1 + 0.1 * number, waited=0.4)
        believed.append(dispatcher.a + dispatcher.b)
    assert len(set(believed)) == TRAINING and believed[-1] == believed[-3] and dispatcher.wait == 0
    dispatcher.learn(5.1, 1, 2.0, waited=0.4)
    assert dispatcher.a + dispatcher.b != believed[-1] and dispatcher.wait > 0


def test_a_lone_request_is_refused_only_while_a_batch_is_computed() -> None:
    assert not waiting(Setting(32, 0.01), 1.0).turn(10)[0]
    assert waiting(Setting(32, 0.01), 1.0, busy=True).turn(10)[0]


def test_a_lone_request_waits_as_long_as_was_learnt_and_not_at_all_before() -> None:
    assert waiting(Setting(32, 10), 0.0).turn(10)[1]
    assert not waiting(Setting(32, 10), 0.0, wait=0.2).turn(10)[1]
    assert waiting(Setting(32, 10), 0.19, wait=0.2).turn(10)[1]


def test_a_batch_has_at_most_its_size_and_one_without_batching() -> None:
    assert len(waiting(Setting(2, 10), 0.2, 0.1, 0.0).turn(10)[1]) == 2
    assert len(waiting(Setting(2, 0.01, enabled=False), 0.2, 0.1, 0.0).turn(10)[1]) == 1


def test_it_shows_what_lab_07_tells() -> None:
    short, ample = (play(MACHINE, Setting(32, budget, 64), seconds=8) for budget in (0.01, 10))
    off = play(MACHINE, Setting(enabled=False), seconds=8)
    assert short.refused > 0.8 and ample.refused == 0 and short.goodput < off.goodput < ample.goodput
    law = 80 / ample.goodput
    assert statistics.mean(ample.waits()) == pytest.approx(law, rel=0.05), "Little's law"
    moments = [16 + 0.4 * number for number in range(10)]
    alone = [
        play(MACHINE, Setting(32, 10, 64), people, moments, 6, 14.5, until=12).percentile(0.5) for people in (0, 80)
    ]
    assert alone[1] > 3 * alone[0], "after a spike a lone request waits for what was learnt"


def test_no_batch_has_more_requests_than_there_are_connections() -> None:
    played = play(MACHINE, Setting(100, 60, 16), seconds=8)
    assert max(size for _, size in played.batches) == 16 and played.mean_batch > 6


def test_what_holds_a_batch_up_shows() -> None:
    whole = play(MACHINE, Setting(8, 60, 64), seconds=8)
    alone = play(replace(MACHINE, steal=0.0, sends=0.0), Setting(8, 60, 64), seconds=8)
    assert alone.goodput > 1.2 * whole.goodput


def test_the_fit_finds_the_numbers_again() -> None:
    settings = (Setting(32, 60, 64), Setting(32, 0.01, 64))
    runs = [play(MACHINE, setting, seed=99) for setting in settings]
    found = fit.fit(*(fit.Observed(s, run.goodput, fit.rate(run)) for s, run in zip(settings, runs, strict=True)))
    assert found.a == pytest.approx(MACHINE.a, rel=0.15) and found.b == pytest.approx(MACHINE.b, rel=0.15)
    assert found.visit == pytest.approx(MACHINE.visit, rel=0.1)


async def dispatched(setting: Setting, service: Service, people: int, seconds: float) -> tuple[float, float]:
    """Good answers a second and the share refused, of BentoML's own dispatcher with a model that only takes time."""
    from bentoml._internal.marshal.dispatcher import CorkDispatcher

    async def compute(batch: Sequence[Any]) -> Sequence[Any]:
        await asyncio.sleep(service.a * len(batch) + service.b)
        return batch

    one = SimpleNamespace(sample=SimpleNamespace(batch_size=1))
    cork: Any = CorkDispatcher(int(1000 * setting.budget), setting.size, fallback=lambda: "refused")
    ask, ends, began = cork(compute), list[bool](), time.monotonic()

    async def person() -> None:
        while (now := time.monotonic() - began) < seconds:
            answer = await ask(one)
            await asyncio.sleep(3 * service.visit if answer != "refused" else 2 * service.visit)
            if now > seconds / 2:
                ends.append(answer != "refused")

    await asyncio.gather(*(person() for _ in range(people)))
    cork.shutdown()
    return sum(ends) / (seconds / 2), 1 - sum(ends) / len(ends)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "budget"), [(32, 10.0), (8, 10.0), (8, 0.1)])
def test_bentomls_own_dispatcher_does_the_same(size: int, budget: float) -> None:
    """The same rules on the same queue: almost nothing but the dispatcher takes time here."""
    service, setting = Service(a=0.002, b=0.02, visit=0.001), Setting(size, budget, 64)
    goodput, refused = asyncio.run(dispatched(setting, service, people=40, seconds=4))
    twins = play(Service(service.a, service.b, 3e-4, steal=0.0, sends=0.0), setting, people=40, seconds=5)
    assert twins.goodput == pytest.approx(goodput, rel=0.15)
    assert (twins.refused > 0.1) == (refused > 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("hour", sorted((ROOT / "tests" / "hours").glob("*.json")), ids=lambda hour: hour.stem)
def test_it_is_near_in_each_hour_that_was_measured(hour: Path) -> None:
    assert hold(json.loads(hour.read_text())["runs"])
