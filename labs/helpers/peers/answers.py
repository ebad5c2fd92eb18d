"""Whether a peer answers as the reference does. Many are asked at a time, since a batcher that gives one caller another
one's answer looks right as long as there is one caller."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx

from cluster.names import KIT
from labs.helpers.limit.contestant import WrongAnswers
from labs.helpers.peers.asking import Answer, Form

COUNT, CALLERS = 120, 24
CLOSE = 1e-3  # scores differ in their last digits with the batch that a text was in


def texts(count: int = COUNT) -> list[str]:
    """Held-out tickets of the kit, the same at each call."""
    spec = importlib.util.spec_from_file_location("kit_tickets", KIT / "service" / "tickets.py")
    assert spec and spec.loader
    tickets = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tickets)
    return [text for text, _ in tickets.held_out(count)]


def collect(url: str, form: Form, asked: Sequence[str], callers: int = CALLERS) -> dict[str, Answer]:
    """Every text's answer. Raises httpx.HTTPError, LookupError, TypeError, ValueError for what is no answer."""
    limits = httpx.Limits(max_connections=callers, max_keepalive_connections=callers)
    with httpx.Client(timeout=60, limits=limits) as client, ThreadPoolExecutor(callers) as pool:

        def ask(text: str) -> Answer:
            got = client.post(f"{url}{form.path}", json=form.body(text))
            return form.read(got.raise_for_status().json())

        return dict(zip(asked, pool.map(ask, asked), strict=True))


def check(name: str, url: str, form: Form, right: Mapping[str, Answer]) -> int:
    """How many texts it answered as the reference. Raises WrongAnswers unless it is all."""
    try:
        said = collect(url, form, list(right))
    except (httpx.HTTPError, LookupError, TypeError, ValueError) as none:
        raise WrongAnswers(name, f"no label and score to a text ({type(none).__name__}: {none})", "does") from none
    wrong = [text for text in right if not is_same(said[text], right[text])]
    if wrong:
        text = wrong[0]
        found = f"{len(wrong)} of {len(right)} texts otherwise: {text[:60]!r} with {told(said[text])}"
        raise WrongAnswers(name, found, f"says {told(right[text])}")
    return len(right)


def is_same(one: Answer, other: Answer) -> bool:
    return one[0] == other[0] and abs(one[1] - other[1]) <= CLOSE


def told(answer: Answer) -> str:
    return f"{answer[0]}, {answer[1]:.4f}"
