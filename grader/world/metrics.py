"""Reads what a `/metrics` page says: (name, labels, value) of each sample. The page is another's text."""

from __future__ import annotations

from typing import NamedTuple

from grader.world import web

MOST = 5_000_000  # bytes of one page; BentoML's has some 50,000


class Sample(NamedTuple):
    """One line of the page."""

    name: str
    labels: dict[str, str]
    value: float


def parse(text: str) -> list[Sample]:
    """Every sample of the page. Raises ValueError when it is none."""
    from prometheus_client.parser import text_string_to_metric_families as families

    return [Sample(s.name, dict(s.labels), float(s.value)) for family in families(text) for s in family.samples]


def fetch(url: str, patience: float = 15.0) -> str:
    """The page of the server at `url` (its root). Raises httpx.HTTPError, or ValueError for one that is too long."""
    with web.stream("GET", f"{url}/metrics", timeout=patience) as answer:
        answer.raise_for_status()
        body = bytearray()
        for block in answer.iter_bytes():
            body += block
            if len(body) > MOST:
                raise ValueError(f"more than {MOST:,} bytes of metrics")
    return body.decode(errors="replace")


def read(url: str, patience: float = 5.0) -> list[Sample]:
    """Its samples. Raises httpx.HTTPError, or ValueError for what is no such page."""
    return parse(fetch(url, patience))
