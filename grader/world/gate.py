"""The promotion gate: promote a release, roll it back, or go on looking, by what its pods count of themselves.

Each look reads `/metrics` of every pod and asks the new ones for the labels of known texts. What a pod counted between
two looks, its stable neighbours counted in the same seconds, so an hour in which everything is slow blames nobody. Two
shares are compared, new against stable: answers with a status of 500 and more, and answers that are late (later than
an edge of the histogram that a release which takes 300 ms more breaks: `choose_edge`).

Each share has a sequential test (`Race`): the release is rolled back when "at most `fair` above the stable's share" has
become unbelievable, and promoted when "at least `bad` above it" has, for both shares. However often one looks, and
however the common share moves meanwhile,

    a release that is fair in both is rolled back by them with a probability of at most 2 alpha,
    one that is bad in either is promoted with a probability of at most beta.

This is Wald's test (Sequential Tests of Statistical Hypotheses, 1945) with an unknown and moving common share, by
e-variables (Turner, Ly, Gruenwald, Generic E-variables for exact sequential k-sample tests, 2024; arXiv 2106.02693). It
assumes that the answers of one look are independent of each other given what was seen before: answers that wait in one
queue are late together, so alpha is somewhat larger in truth. Four things need no test: a pod of the new release that
is silent whose counters fell (it has started again), a wrong label, and a clock that has run out.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from grader.errors import LabError
from grader.world.metrics import MOST, parse
from grader.world.releases import TEXTS

ENDPOINT = "/classify"
TOTAL, SECONDS = "bentoml_api_server_request_total", "bentoml_api_server_request_duration_seconds"
GO_ON, PROMOTE, ROLL_BACK = "go on", "promote", "roll back"


@dataclass(frozen=True)
class Rules:
    """Shares are from 0 to 1, `fair` and `bad` differences of two; `harm` is how many seconds
    more shall be noticed; `warm` answers of a new pod are not judged, since
    BentoML's dispatchers learn in them; after `seconds` without a decision the release is rolled back."""

    errors: tuple[float, float] = (0.005, 0.04)  # fair, bad
    late: tuple[float, float] = (0.02, 0.08)
    alpha: float = 0.01
    beta: float = 0.002
    harm: float = 0.3
    warm: int = 20
    seconds: float = 240.0


def read_rules(path: Path) -> Rules:
    """The rules of a TOML file: keys as in Rules, `errors` and `late` as [fair, bad]. What it leaves out stays. Raises
    LabError for what is no rule."""
    try:
        found = tomllib.loads(path.read_text())
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in found.items()}
        rules = Rules(**values)
        sane = all(0 <= fair < bad < 0.9 for fair, bad in (rules.errors, rules.late))
        if sane and 0 < rules.alpha < 0.5 and 0 < rules.beta < 0.5 and rules.seconds > 0:
            return rules
    except FileNotFoundError:
        raise LabError(f"There is no {path.name}.", "Write the rules before the gate decides by them.") from None
    except (ValueError, TypeError) as wrong:
        raise LabError(f"{path.name}: {wrong}", "Its keys: errors, late, alpha, beta, harm, warm, seconds.") from None
    problem = f"{path.name}: no test can keep these rules."
    raise LabError(problem, "0 <= fair < bad < 0.9 in errors and in late; alpha and beta above 0 and below 0.5.")


class Counts(NamedTuple):
    """Of one pod since its start, or of some pods between two looks."""

    answered: int = 0
    failed: int = 0
    late: int = 0

    def plus(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))

    def minus(self, other: Counts) -> Counts:
        return Counts(*(a - b for a, b in zip(self, other, strict=True)))


NONE = Counts()


class Seen(NamedTuple):
    """One look at one pod. Where it did not answer, `page` is "" and `labels` (what it calls the known texts) empty."""

    new: bool
    pod: str
    page: str
    labels: Mapping[str, str] = {}


@dataclass(frozen=True)
class Decision:
    """`what` is GO_ON, PROMOTE or ROLL_BACK. `seconds` since the first look; `stable` and `new` is what was judged."""

    what: str
    why: str
    seconds: float = 0.0
    stable: Counts = NONE
    new: Counts = NONE

    def told(self) -> str:
        asked = f"{self.new.answered} answers of the new release beside {self.stable.answered} of the stable one"
        return f"{self.what} after {self.seconds:.0f} s, {asked}: {self.why}"


# ---------------------------------------------------------------- what a page counts


def read_counts(page: str, edge: float) -> Counts:
    """What a pod has answered at ENDPOINT since its start. Raises ValueError for what is no page of metrics."""
    answered = failed = good = in_time = 0.0
    for name, labels, value in parse(page):
        if labels.get("endpoint") != ENDPOINT:
            continue
        code = labels.get("http_response_code", "")
        if name == TOTAL:
            answered += value
            failed += value if code >= "500" else 0
        elif name == f"{SECONDS}_bucket" and code == "200":
            good += value if labels["le"] == "+Inf" else 0
            in_time += value if float(labels["le"]) == edge else 0
    return Counts(int(answered), int(failed), int(good - in_time))


def read_waits(page: str) -> dict[float, int]:
    """How many answers with 200 came within each edge of the histogram, in seconds."""
    within: dict[float, int] = {}
    for name, labels, value in parse(page):
        if name == f"{SECONDS}_bucket" and labels["endpoint"] == ENDPOINT and labels["http_response_code"] == "200":
            edge = float(labels["le"])
            within[edge] = within.get(edge, 0) + int(value)
    return within


def choose_edge(within: Mapping[float, int], harm: float = 0.3, enough: int = 50) -> float:
    """Seconds: the highest edge that an answer breaks which comes `harm` seconds later than the quickest tenth did. A
    lower one would count answers as late that a busy machine delays by less. Infinity where there are not enough
    answers to choose by."""
    most, edges = within.get(math.inf, 0), sorted(within)
    if most < enough:
        return math.inf
    quickest = max((edge for edge in edges if within[edge] <= 0.1 * most), default=0.0)
    return max((edge for edge in edges if edge <= quickest + harm), default=edges[0])


# ---------------------------------------------------------------- the sequential test of one share


@dataclass
class Race:
    """Two hypotheses about how much higher a share is in the new release than in the stable one: at most `fair`, at
    least `bad`. `against_fair` and `against_bad` are the logarithms of what a fair bet against each has won so far;
    a true hypothesis loses a bet of 1/p with a probability of at most p, whenever one looks (Ville's inequality)."""

    fair: float
    bad: float
    hits: float  # what is believed of the stable's share before anything is seen: `hits` of `trials`
    trials: float
    against_fair: float = 0.0
    against_bad: float = 0.0

    def add(self, stable: tuple[int, int], new: tuple[int, int]) -> None:
        """Hits and trials of each between two looks. The bets were placed before: by the share seen until then."""
        share = min(self.hits / self.trials, 0.98 - self.bad)
        self.against_fair += won(stable, new, share, share + self.bad, self.fair)
        self.against_bad += won(stable, new, share, share, self.bad)
        self.hits, self.trials = self.hits + stable[0], self.trials + stable[1]


def won(stable: tuple[int, int], new: tuple[int, int], p: float, q: float, apart: float) -> float:
    """The logarithm of the likelihood ratio of (p, q) to the nearest pair that lies `apart`. No pair of shares that is
    as far apart or, seen from (p, q), further away makes its expectation exceed 1."""
    (hits, trials), (new_hits, new_trials) = stable, new
    if not trials or not new_trials:
        return 0.0
    a = nearest(p, q, apart, trials, new_trials)
    return log_ratio(hits, trials, p, a) + log_ratio(new_hits, new_trials, q, a + apart)


def log_ratio(hits: int, trials: int, p: float, a: float) -> float:
    return hits * math.log(p / a) + (trials - hits) * math.log((1 - p) / (1 - a))


def nearest(p: float, q: float, apart: float, trials: int, new_trials: int) -> float:
    """The a of the pair (a, a + apart) that is nearest to (p, q) in Kullback and Leibler's sense, by bisection."""
    low, high = max(1e-9, min(p, q - apart)), min(1 - apart - 1e-9, max(p, q - apart))
    for _ in range(40):
        a, b = (low + high) / 2, (low + high) / 2 + apart
        slope = trials * (p - a) / (a * (1 - a)) + new_trials * (q - b) / (b * (1 - b))
        low, high = (a, high) if slope > 0 else (low, a)
    return (low + high) / 2


# ---------------------------------------------------------------- the gate


@dataclass
class Gate:
    """Give it each look, and it decides. `expected`: the labels that the known texts must get."""

    rules: Rules = field(default_factory=Rules)
    expected: Mapping[str, str] = field(default_factory=lambda: TEXTS)
    edge: float = math.inf
    began: float | None = None
    stable: Counts = NONE
    new: Counts = NONE
    known: dict[str, Counts] = field(default_factory=dict)
    silent: dict[str, int] = field(default_factory=dict)
    waits: dict[str, dict[float, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.races = {
            "errors": Race(*self.rules.errors, hits=0.5, trials=100),
            "late": Race(*self.rules.late, hits=2, trials=40),
        }

    def look(self, seen: Sequence[Seen], now: float) -> Decision:
        """`now` in seconds of any clock that does not jump."""
        self.began = now if self.began is None else self.began
        what, why = self.decide(seen, now - self.began)
        return Decision(what, why, round(now - self.began, 1), self.stable, self.new)

    def find_edge(self, seen: Sequence[Seen]) -> None:
        """What was late until now was late by no edge, so with the edge counting begins again."""
        self.edge = choose_edge(self.recent(seen), self.rules.harm)
        self.known |= {s.pod: read_counts(s.page, self.edge) for s in seen if s.page and s.pod in self.known}

    def recent(self, seen: Sequence[Seen]) -> dict[float, int]:
        """What the stable release's answers took since the first look: an hour ago the machine was another one."""
        found: dict[float, int] = {}
        for one in (s for s in seen if not s.new and s.page):
            now = read_waits(one.page)
            before = self.waits.setdefault(one.pod, now)
            for edge, count in now.items():
                found[edge] = found.get(edge, 0) + count - before.get(edge, 0)
        return found

    def decide(self, seen: Sequence[Seen], seconds: float) -> tuple[str, str]:
        if why := self.broken(seen) or self.mislabelled(seen):
            return ROLL_BACK, why
        if self.edge == math.inf:
            self.find_edge(seen)
        self.compare(seen)
        limit = math.log(1 / self.rules.alpha)
        for name, race in self.races.items():
            if race.against_fair > limit:
                return ROLL_BACK, self.told(name)
        if all(race.against_bad > math.log(1 / self.rules.beta) for race in self.races.values()):
            return PROMOTE, f"{self.told('errors')}, {self.told('late')}"
        if seconds > self.rules.seconds:
            return ROLL_BACK, f"no decision within {self.rules.seconds:.0f} s, and nothing is promoted on trust"
        return GO_ON, "neither is clear yet"

    def broken(self, seen: Sequence[Seen]) -> str:
        """Why a pod of the new release counts as crashed, or ""."""
        for one in (s for s in seen if s.new):
            self.silent[one.pod] = 0 if one.page and one.labels else self.silent.get(one.pod, 0) + 1
            if self.silent[one.pod] > 2 and one.pod in self.known:
                return f"{one.pod} was there and has not answered in three looks: it has crashed, or hangs"
            if one.page and read_counts(one.page, self.edge).answered < self.known.get(one.pod, NONE).answered:
                return f"{one.pod} counts from the beginning again: it has crashed, and was started again"
        return ""

    def mislabelled(self, seen: Sequence[Seen]) -> str:
        for one in (s for s in seen if s.new):
            for text, label in one.labels.items():
                if label != self.expected[text]:
                    return f"{one.pod} calls {text!r} {label}, not {self.expected[text]}"
        return ""

    def compare(self, seen: Sequence[Seen]) -> None:
        """Adds what was counted since the last look, on both sides; only while a new pod is warm."""
        stable, new = (self.grown([s for s in seen if s.new is side]) for side in (False, True))
        if not new.answered or not stable.answered or self.edge == math.inf:
            return
        self.stable, self.new = self.stable.plus(stable), self.new.plus(new)
        for name, race in self.races.items():
            race.add(trials_of(name, stable), trials_of(name, new))

    def grown(self, seen: Sequence[Seen]) -> Counts:
        """What these pods counted since the last look that saw them warm."""
        total = Counts()
        for one in (s for s in seen if s.page):
            now, before = read_counts(one.page, self.edge), self.known.get(one.pod)
            if before and before.answered >= self.rules.warm and now.answered >= before.answered:
                total = total.plus(now.minus(before))
            self.known[one.pod] = now
        return total

    def told(self, name: str) -> str:
        word = "failed" if name == "errors" else f"took longer than {1000 * self.edge:.0f} ms"
        (hits, trials), (new_hits, new_trials) = trials_of(name, self.stable), trials_of(name, self.new)
        return f"{new_hits / max(new_trials, 1):.1%} {word}, and {hits / max(trials, 1):.1%} of the stable release's"


def trials_of(name: str, counts: Counts) -> tuple[int, int]:
    """Hits and trials: failed of all answers, late of those that did not fail."""
    if name == "errors":
        return counts.failed, counts.answered
    return counts.late, counts.answered - counts.failed


# ---------------------------------------------------------------- looking


def visit(new: bool, pod: str, url: str, patience: float = 3.0) -> Seen:
    """A look at a pod that this machine reaches at `url` (its root)."""
    place = urlsplit(url)
    try:
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=patience)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            page = connection.getresponse().read(MOST).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return Seen(new, pod, "")
    return Seen(new, pod, page, ask_labels(place, patience))  # stable pods too: all shall bear the same load


def ask_labels(place: SplitResult, patience: float) -> dict[str, str]:
    """What the known texts are called there. Empty when they were not answered: that is counted, not judged here."""
    try:
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=patience)
        with contextlib.closing(connection):
            body = json.dumps({"texts": list(TEXTS)})
            connection.request("POST", ENDPOINT, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            return read_labels(answer.status, answer.read(MOST).decode(errors="replace"))
    except (OSError, http.client.HTTPException):
        return {}


def read_labels(status: int, body: str) -> dict[str, str]:
    try:
        labels = json.loads(body)["labels"] if status == 200 else []
        return dict(zip(TEXTS, map(str, labels), strict=False))
    except (ValueError, KeyError, TypeError):
        return {}


def watch(look: Callable[[], Sequence[Seen]], gate: Gate, pause: float = 1.0) -> Decision:
    """Looks every `pause` seconds until the gate has decided, which takes at most the rules' seconds and one look."""
    while (decision := gate.look(look(), time.monotonic())).what == GO_ON:
        time.sleep(pause)
    return decision
