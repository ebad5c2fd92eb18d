"""Whether a peer answers as the reference does. Many are asked at a time, since a batcher that gives one caller another
one's answer looks right as long as there is one caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx

from grader.errors import LabError
from labs.helpers.peers.asking import Answer, Form

TEXTS, CALLERS = 96, 24
CLOSE = 1e-3  # scores differ in their last digits with the batch that a text was in


class WrongAnswers(LabError):
    """The peer `name` answers otherwise than the reference: nothing that was measured of it counts."""

    def __init__(self, name: str, wrong: Mapping[str, tuple[Answer, Answer]], of: int) -> None:
        text, (said, right) = next(iter(wrong.items()))
        super().__init__(
            f"{name} answers {len(wrong)} of {of} texts otherwise than the reference.",
            f"{text[:60]!r}: {said[0]} {said[1]:.4f}, and the reference says {right[0]} {right[1]:.4f}.",
        )
        self.name, self.wrong = name, wrong


def collect(url: str, form: Form, texts: Sequence[str], callers: int = CALLERS) -> dict[str, Answer]:
    """Every text's answer. Raises httpx.HTTPError, LookupError, TypeError, ValueError for what is no answer."""
    limits = httpx.Limits(max_connections=callers, max_keepalive_connections=callers)
    with httpx.Client(timeout=60, limits=limits) as client, ThreadPoolExecutor(callers) as pool:

        def ask(text: str) -> Answer:
            got = client.post(f"{url}{form.path}", json=form.body(text))
            return form.read(got.raise_for_status().json())

        return dict(zip(texts, pool.map(ask, texts), strict=True))


def compare(name: str, said: Mapping[str, Answer], right: Mapping[str, Answer]) -> None:
    """Raises WrongAnswers unless each label is the same and each score close."""
    wrong = {text: (said[text], right[text]) for text in right if not is_same(said[text], right[text])}
    if wrong:
        raise WrongAnswers(name, wrong, len(right))


def is_same(one: Answer, other: Answer) -> bool:
    return one[0] == other[0] and abs(one[1] - other[1]) <= CLOSE
