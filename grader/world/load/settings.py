"""A batching setting, and the BentoML configuration that applies it to both runners."""

from __future__ import annotations

import copy
import re
from dataclasses import asdict, dataclass

from grader.model import Facts
from grader.world.load.metrics import RUNNERS

PLACES = ("local", "cluster")
KEYS = ("name", "batching", "max_batch_size", "max_latency_ms", "where")


@dataclass(frozen=True)
class Setting:
    """`max_latency_ms` is no waiting time: what would be answered later than that is refused with 503."""

    name: str
    batching: bool = True
    max_batch_size: int = 32  # requests
    max_latency_ms: int = 10_000
    where: str = "local"  # or "cluster"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,40}", self.name):
            raise ValueError(f"name = {self.name!r}: use small letters, digits, dots and dashes")
        if self.batching and self.max_batch_size < 2:
            raise ValueError(f"{self.name}: max_batch_size is {self.max_batch_size}; a batch holds at least 2 requests")
        if self.batching and self.max_latency_ms < 1:
            raise ValueError(f"{self.name}: max_latency_ms is {self.max_latency_ms}")
        if self.where not in PLACES:
            raise ValueError(f"{self.name}: where = {self.where!r}; known: {', '.join(PLACES)}")

    @classmethod
    def read(cls, asked: object) -> Setting:
        """One [[setting]] of an experiment file. Raises ValueError in words about what is wrong with it."""
        if not isinstance(asked, dict):
            raise ValueError("each setting is a block that begins with [[setting]], in double brackets")
        if unknown := sorted(asked.keys() - set(KEYS)):
            raise ValueError(f"a setting has nothing called {', '.join(unknown)}; known: {', '.join(KEYS)}")
        if "name" not in asked:
            raise ValueError("a setting has no name")
        return cls(**asked)

    def key(self) -> tuple[str, bool, int, int]:
        """What is set, and where, whatever it is called: two settings with one key are one setting."""
        limits = (self.max_batch_size, self.max_latency_ms) if self.batching else (0, 0)
        return (self.where, self.batching, *limits)

    def block(self) -> Facts:
        """The `batching:` block of a runner."""
        if not self.batching:
            return {"enabled": False}
        return {"enabled": True, "max_batch_size": self.max_batch_size, "max_latency_ms": self.max_latency_ms}

    def configuration(self, base: Facts) -> Facts:
        """The whole configuration: `base`, with the batching of both runners replaced."""
        made = copy.deepcopy(base) or {"version": 1}
        for name in RUNNERS:
            made.setdefault("runners", {}).setdefault(name, {})["batching"] = self.block()
        return made

    def facts(self) -> Facts:
        return asdict(self)
