"""Claims about when a batch starts: BentoML's dispatcher alone, before a stand-in for a model (crowd.py)."""

from __future__ import annotations

import asyncio
import statistics

from grader.model import Facts
from labs.helpers.ledger import crowd
from labs.helpers.ledger.crowd import StandIn
from labs.helpers.ledger.experiment import NotRun, Outcome, Place, Said, experiment
from labs.helpers.load import law

FIXED, EACH = 0.008, 0.001  # seconds: a small model that gains by batches
AMPLE = 60_000  # ms: BentoML's default budget
SOME = 0.01  # a share of 503s from which people are refused
MODULE_RAN = 90.0  # seconds, by the course module's own table


# -- a budget


def decide_refusals(seen: Facts) -> Said:
    at_10, ample = seen["10"]["refused"], seen["60000"]["refused"]
    told = f"40 people, a batch of n takes 8 + n ms: {at_10:.0%} refused with 503 at 10 ms, "
    told += f"{seen['25']['refused']:.0%} at 25 ms, {ample:.0%} at 60,000 ms"
    if at_10 < SOME:
        return Said(Outcome.CONFIRMED, told)
    return Said(Outcome.REFUTED if ample < SOME else Outcome.DEPENDS, told)


@experiment(decide_refusals)
def refusals(place: Place) -> Facts:
    return {str(budget): asyncio.run(loaded(budget)) for budget in (10, 25, AMPLE)}


async def loaded(budget: int, people: int = 40, seconds: float = 3.0) -> Facts:
    """One server's worth of load at that budget, in max_batch_size 32."""
    model = StandIn(FIXED, EACH)
    ask = crowd.behind_dispatcher(model, budget, 32)
    await crowd.train(ask)
    model.sizes.clear()
    answers = await crowd.closed_loop(ask, people, seconds)
    good = sum(a.good for a in answers) / seconds
    refused = round(crowd.share_refused(answers), 4)
    return {
        "good_a_second": round(good, 1),
        "refused": refused,
        "p95_ms": round(crowd.p95_ms(answers), 1),
        "mean_batch": round(crowd.mean(model.sizes), 2),
    }


# -- the order of dispatch


def decide_order(seen: Facts) -> Said:
    early, batches = seen["neither"], seen["batches"]
    told = f"of {batches} batches {early} left neither full nor after the 10 s of the budget "
    told += f"({seen['full']} full, longest wait {seen['longest_ms']:.0f} ms)"
    return Said(Outcome.REFUTED if early > 0.1 * batches else Outcome.CONFIRMED, told)


@experiment(decide_order)
def order(place: Place) -> Facts:
    return asyncio.run(departures(budget=10_000, size=32, people=12))


async def departures(budget: int, size: int, people: int) -> Facts:
    """Why batches left: each is full, or has waited for the budget, or neither."""
    model = StandIn(FIXED, EACH)
    ask = crowd.behind_dispatcher(model, budget, size)
    await crowd.train(ask)
    model.sizes.clear()
    answers = await crowd.closed_loop(ask, people, 3.0)
    longest = max(a.wait for a in answers)
    full = sum(n >= size for n in model.sizes)
    late = len(model.sizes) if longest * 1000 >= budget else 0
    neither = len(model.sizes) - full - late
    return {"batches": len(model.sizes), "full": full, "neither": neither, "longest_ms": round(1000 * longest, 1)}


# -- a lone request


def decide_lone(seen: Facts) -> Said:
    told = f"alone, of {seen['budget_ms']:,} ms: {seen['fresh_ms']:.0f} ms on a fresh server, "
    told += f"{seen['after_ms']:.0f} ms after a load (the call itself takes {seen['call_ms']:.0f})"
    if seen["fresh_ms"] > 0.9 * seen["budget_ms"]:
        return Said(Outcome.CONFIRMED, told)
    return Said(Outcome.DEPENDS if seen["after_ms"] > 2 * seen["fresh_ms"] else Outcome.REFUTED, told)


@experiment(decide_lone)
def lone(place: Place) -> Facts:
    return asyncio.run(lone_before_and_after())


async def lone_before_and_after() -> Facts:
    model = StandIn(0.015, 0.006)
    ask = crowd.behind_dispatcher(model, 10_000, 32)
    await crowd.train(ask)
    fresh = await crowd.lone(ask, 12)
    await crowd.closed_loop(ask, 64, 9.0)
    after = await crowd.lone(ask, 12)
    seconds = {"fresh_ms": fresh, "after_ms": after, "call_ms": model.seconds(1)}
    return {"budget_ms": 10_000, **{name: round(1000 * value, 1) for name, value in seconds.items()}}


# -- what batching gains


def decide_gain(seen: Facts) -> Said:
    shared, nothing, alone = (
        seen["fixed cost, 40 people"],
        seen["no fixed cost, 40 people"],
        seen["fixed cost, 1 person"],
    )
    told = f"answers with batching for each without: {shared:.1f} for 40 people and a call with a fixed cost, "
    told += f"{nothing:.1f} where a call has none, {alone:.1f} for one person"
    gains = [gain > 1.3 for gain in (shared, nothing, alone)]
    return Said(Outcome.CONFIRMED if all(gains) else Outcome.DEPENDS if any(gains) else Outcome.REFUTED, told)


@experiment(decide_gain)
def gain(place: Place) -> Facts:
    kinds = {"fixed cost": (FIXED, EACH), "no fixed cost": (0.0, FIXED + EACH)}
    crowds = {"40 people": 40, "1 person": 1}
    return {
        f"{kind}, {name}": round(asyncio.run(with_and_without(*cost, people)), 2)
        for kind, cost in kinds.items()
        for name, people in crowds.items()
    }


async def with_and_without(fixed: float, each: float, people: int, seconds: float = 1.5) -> float:
    """Good answers with batching for each one without it."""
    rates = []
    for batching in (True, False):
        model = StandIn(fixed, each)
        ask = crowd.behind_dispatcher(model, AMPLE, 32) if batching else crowd.without_batching(model)
        await crowd.train(ask)
        rates.append(sum(a.good for a in await crowd.closed_loop(ask, people, seconds)))
    return rates[0] / rates[1]


# -- a larger budget


def decide_budgets(seen: Facts) -> Said:
    whole = {int(b): row["p95_ms"] for b, row in seen.items() if row["refused"] < SOME}
    cut = {int(b): row for b, row in seen.items() if row["refused"] >= SOME}
    told = "p95 of the good answers, and refused: "
    told += "; ".join(f"{int(b):,} ms: {row['p95_ms']:.0f} ms, {row['refused']:.0%}" for b, row in seen.items())
    if len(whole) > 1 and max(whole.values()) > 1.3 * whole[min(whole)]:
        return Said(Outcome.CONFIRMED, told)
    lower = cut and whole and min(row["p95_ms"] for row in cut.values()) < 0.8 * min(whole.values())
    return Said(Outcome.DEPENDS if lower else Outcome.REFUTED, told)


@experiment(decide_budgets)
def budgets(place: Place) -> Facts:
    return {str(budget): asyncio.run(loaded(budget)) for budget in (40, 500, 5000, AMPLE)}


# -- ten milliseconds at 200 a second


def decide_collects(seen: Facts) -> Said:
    told = "; ".join(
        f"a call of {ms} ms: {row['mean_batch']:.1f} requests a batch, {row['refused']:.0%} refused"
        for ms, row in seen.items()
    )
    several = [row["mean_batch"] >= 2 and row["refused"] < SOME for row in seen.values()]
    return Said(Outcome.CONFIRMED if all(several) else Outcome.DEPENDS if any(several) else Outcome.REFUTED, told)


@experiment(decide_collects)
def collects(place: Place) -> Facts:
    return {str(ms): asyncio.run(arriving(StandIn(ms / 1000, 0.0001))) for ms in (1, 5, 20)}


async def arriving(model: StandIn, rate: float = 200.0, seconds: float = 4.0) -> Facts:
    ask = crowd.behind_dispatcher(model, 10, 32)
    await crowd.train(ask)
    model.sizes.clear()
    answers = await crowd.strangers(ask, rate, seconds)
    return {"mean_batch": round(crowd.mean(model.sizes), 2), "refused": round(crowd.share_refused(answers), 4)}


# -- a replica more


def decide_replicas(seen: Facts) -> Said:
    one, two = seen["1"], seen["2"]
    told = f"40 people: {one:.1f} requests a batch with one replica, {two:.1f} with two"
    return Said(Outcome.CONFIRMED if two < 0.8 * one else Outcome.REFUTED, told)


@experiment(decide_replicas)
def replicas(place: Place) -> Facts:
    return {str(count): round(asyncio.run(shared_out(count)), 2) for count in (1, 2)}


async def shared_out(count: int, people: int = 40) -> float:
    """The mean batch where that many replicas, each on cores of its own, have equal shares of the people."""
    models = [StandIn(FIXED, EACH) for _ in range(count)]
    asks = [crowd.behind_dispatcher(model, AMPLE, 64) for model in models]
    for ask, model in zip(asks, models, strict=True):
        await crowd.train(ask)
        model.sizes.clear()
    await asyncio.gather(*[crowd.closed_loop(ask, people // count, 3.0) for ask in asks])
    return crowd.mean([size for model in models for size in model.sizes])


# -- Little's law


def decide_law(seen: Facts) -> Said:
    """A server that answers in turn cannot refute what the law allows where a few wait very long."""
    row, people = law.MODULE[0], seen["rate"] * seen["mean_ms"] / 1000
    mean = 80_000 / row.rate
    slowest = law.slowest_mean(row, mean)
    told = f"80 people, {seen['rate']:.0f} answers a second in turn: half waited {seen['p50_ms']:.0f} ms, and rate x "
    told += (
        f"mean wait is {people:.0f} people. {row.rate:.0f} a second need a mean of {mean:.0f} ms: with the module's "
    )
    told += f"p95 that is possible only if the slowest 5% wait {slowest:.0f} s each"
    if seen["p50_ms"] < 2 * row.p50:
        return Said(Outcome.CONFIRMED, told)
    return Said(Outcome.DEPENDS if slowest < MODULE_RAN else Outcome.REFUTED, told)


@experiment(decide_law)
def littles_law(place: Place) -> Facts:
    """Raises NotRun where not even this server keeps the law: its sender was too slow."""
    seen = asyncio.run(eighty_people())
    if abs(seen["rate"] * seen["mean_ms"] / 80_000 - 1) > 0.1:
        raise NotRun("Rate and waits of 80 people do not fit each other.", "Try it on a quiet machine.")
    return seen


async def eighty_people(people: int = 80, rate: float = law.MODULE[0].rate) -> Facts:
    """Before a server that answers as many a second as the module's first row, one after the other."""
    answers = await crowd.closed_loop(crowd.without_batching(StandIn(1 / rate, 0.0)), people, 8.0)
    steady = [a for a in answers if 2 <= a.at < 8]
    waits = [a.wait for a in steady]
    return {
        "rate": round(len(steady) / 6, 1),
        "mean_ms": round(1000 * statistics.mean(waits), 1),
        "p50_ms": round(1000 * statistics.median(waits), 1),
    }
