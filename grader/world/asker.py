"""Asks a running service for labels as a learner would, as many callers would, and as no well-meaning caller would; and
asks the saved models the same. What comes of it are facts; grader/world/told.py holds answers against the models.

A service of either form is asked: one whose models run in runners, or one that depends on other services. What differs
is how the processes and the counters of its parts are found: `Runners`, `Services`.

parts = Runners()
counted(server, ["a text"], parts)["calls"]  # {"embeddingrunner": 1, "classifierrunner": 1}
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import string
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import httpx
import psutil

from grader.model import Facts
from grader.processes import carriers, refuse_want, wait_until
from grader.world import pace, web
from grader.world.kit_modules import kit_module
from grader.world.minilm import load_minilm
from grader.world.saved import CLASSIFIER, SavedModels
from grader.world.servers import HEALTH, Served, frozen
from grader.world.told import JSON

LAB_TEXTS = ["I was charged twice", "Where is my parcel?"]  # those of the notebook
POOL = 96  # texts that the requests are drawn from, none of them seen before
PATIENCE = 15.0  # seconds that one caller waits
CLEAR = 0.02  # a label is compared where its score leads by this much
CLIENTS = itertools.cycle(
    ["python-httpx/0.28.1", "curl/8.14.1", "python-requests/2.32.5", "Go-http-client/1.1", "k6/1.2"]
)
STILL = 1.5  # seconds for which a part's processes stand still: who answers meanwhile did without it
CROWD = (1, 2, 3, 1, 4, 2, 1, 3)  # texts of the callers who meet while a part stands still; all fit into one batch

# Words of one token each, so that MiniLM still reads what comes after a thousand characters of them.
LONG = "information department international development communication responsibility organization performance "
OTHERS = {
    "with accents": "Für die Lieferung à Genève wurde mehr abgebucht, señor {}",
    "with a capital ẞ": "DIE GROẞE KISTE AUS DER HAUPTSTRAẞE KAM NIE AN {}",
    "in Japanese": "荷物が税関で止まっています。いつ届きますか {}",
    "in Cyrillic letters": "Деньги списаны дважды, верните {}",
    "with emoji": "📦📦 where 😡 {} 💸",
    "with a link that has no https://": "see www.shop.example/account/password/reset?user={} please",
    "with an order's number of four digits": "my order 8421 of {} never came, nor did AB-5510",
    "with amounts in other currencies": "you took 1.234,50 € of {} from me, not 12 GBP",
    "with a mail address that has a plus": "write to anna.b+payments@mail.{}.co.example about the invoice",
    "of several lines": "Hello\n\nmy parcel {}\tis late\r\nanna",
    "with signs as HTML writes them": "I paid &pound;12 &amp; &lt;b&gt;nothing&lt;/b&gt; came {}",
    "that ends in punctuation": "where is my {}???!!!",
    "after 1,200 spaces": " " * 1200 + "the payment of {} was taken twice",
    "of 1,800 characters, whose end says what it is about": LONG * 16 + "refund my payment {} invoice card billing",
}

BAD = {
    "no JSON": (b'{"texts": ', JSON),
    "an empty body": (b"", JSON),
    "an array": (b'["a text"]', JSON),
    "an object without texts": (b'{"text": ["a"]}', JSON),
    "texts that are one string": (b'{"texts": "a text"}', JSON),
    "texts that are null": (b'{"texts": null}', JSON),
    "a number among the texts": (b'{"texts": ["a text", 7]}', JSON),
    "a list among the texts": (b'{"texts": ["a text", ["b"]]}', JSON),
    "an empty text": (b'{"texts": ["a text", ""]}', JSON),
    "65 texts": (json.dumps({"texts": ["a"] * 65}).encode(), JSON),
    "a text of 3,000 characters": (json.dumps({"texts": ["a" * 3000]}).encode(), JSON),
    "a body of 2 MiB": (b'{"texts": ["a"]}'.ljust(2 << 20), JSON),
    "100,000 opening brackets": (b"[" * 100_000, JSON),
    "half of a character (a lone surrogate)": (b'{"texts": ["\\ud83d"]}', JSON),
    "plain text, called so": (b'{"texts": ["a text"]}', "text/plain"),
}


class Parts(Protocol):
    """The parts that compute: how they are found, and what they count."""

    names: Sequence[str]

    def workers(self, server: Served) -> dict[str, list[int]]:
        """The process ids of each part, and of "api"."""

    def calls(self, server: Served) -> dict[str, int]:
        """How many calls each part has answered since the start; those of health checks left out."""

    def batches(self, server: Served) -> dict[str, list[int]]:
        """[batches, calls in them] of each part since the start; none of one that makes no batches."""


class Runners:
    """The runners of a classic service."""

    names: Sequence[str] = ("embeddingrunner", "classifierrunner")

    def workers(self, server: Served) -> dict[str, list[int]]:
        return server.workers()

    def calls(self, server: Served) -> dict[str, int]:
        return server.runner_calls()

    def batches(self, server: Served) -> dict[str, list[int]]:
        return server.batches()


class Services:
    """The services that a modern one depends on, under the names that they have; `find` looks which there are."""

    names: Sequence[str] = ()

    def find(self, server: Served) -> None:
        self.names = sorted(set(self.workers(server)) - {"api"})

    def workers(self, server: Served) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for process in carriers(server.mark):
            with contextlib.suppress(psutil.Error):
                if role := service_of(process.cmdline()):
                    found.setdefault(role, []).append(process.pid)
        return found

    def calls(self, server: Served) -> dict[str, int]:
        found: dict[str, int] = {}
        for name, labels, value in server.metrics():
            if name == "bentoml_service_request_total" and not labels["endpoint"].startswith(HEALTH):
                part = labels["runner_name"]
                found[part] = found.get(part, 0) + int(value)
        return found

    def batches(self, server: Served) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for name, labels, value in server.metrics():
            what = name.removeprefix("bentoml_service_adaptive_batch_size_")
            if what in ("count", "sum"):
                found.setdefault(labels["runner_name"], [0, 0])[what == "sum"] += int(value)
        return found


def service_of(command: list[str]) -> str:
    """ "api" for the service that callers ask, another service's name, or nothing, from a worker's command line."""
    if "_bentoml_impl.worker.service" not in command or "--service-name" not in command:
        return ""
    # of the workers of one `bentoml serve` the one that callers ask alone is told its backlog
    return "api" if "--backlog" in command else command[command.index("--service-name") + 1]


def draw(pool: list[str], size: int) -> list[str]:
    """Texts for one request, in no order; from ten on, one of them stands there twice."""
    texts = random.sample(pool, size)
    return [*texts[:-1], texts[0]] if size >= 10 else texts


def ask(server: Served, texts: list[str], post: Callable[..., httpx.Response] = web.post) -> Facts:
    """`post` is a client's, for who asks often on one connection. Raises where a good request failed while the
    machine ran out of memory."""
    told = send(server, json.dumps({"texts": texts}).encode(), JSON, pace.patience(PATIENCE), post)
    if told["status"] is None or told["status"] >= 500:
        refuse_want(server.memory_kills)
    return {"texts": texts, **told}


def send(
    server: Served, body: bytes, kind: str, patience: float, post: Callable[..., httpx.Response] = web.post
) -> Facts:
    """The answer's status and body; without one `status` is None, and `problem` says how that ended."""
    try:
        headers = {"content-type": kind, "user-agent": next(CLIENTS)}
        got = post(f"{server.url}/classify", content=body, headers=headers, timeout=patience)
    except httpx.TimeoutException:
        return {"status": None, "body": None, "problem": f"no answer in {patience:g} s", "type": ""}
    except httpx.HTTPError as broken:
        problem = f"{type(broken).__name__}: {broken}"[:200]
        return {"status": None, "body": None, "problem": problem, "type": ""}
    said = got.headers.get("content-type", "")
    try:
        return {"status": got.status_code, "body": got.json(), "problem": "", "type": said}
    except ValueError:
        return {"status": got.status_code, "body": None, "problem": f"no JSON: {got.text[:80]!r}", "type": said}


def counted(server: Served, texts: list[str], parts: Parts) -> Facts:
    """The answer, and how many calls each part took for it."""
    before = parts.calls(server)
    answer = ask(server, texts)

    def calls() -> dict[str, int]:
        now = parts.calls(server)
        return {name: now.get(name, 0) - before.get(name, 0) for name in parts.names}

    if texts and answer["status"] == 200:  # a part counts its call after it has answered
        wait_until(lambda: all(calls().values()), 1.0)
    return {**answer, "calls": calls()}


def costed(server: Served, texts: list[str], parts: Parts, part: str) -> tuple[Facts, Facts]:
    """As `counted`, and the seconds of CPU that it took: in that part, and in everything else of the server. They are
    the same on a busy machine, and on one that others slow down."""
    before = server.cpu()
    answer = counted(server, texts, parts)
    took = {name: used - before.get(name, 0.0) for name, used in server.cpu().items()}
    own = took.pop(part, 0.0)
    return answer, {"own": round(own, 2), "others": round(sum(took.values()), 2)}


def in_turn(server: Served, requests: list[list[str]], parts: Parts) -> list[Facts]:
    """One after the other, up to the first that is not answered."""
    found: list[Facts] = []
    for texts in requests:
        if not found or found[-1]["status"] is not None:
            found.append(counted(server, texts, parts))
    return found


def at_once(server: Served, requests: list[list[str]]) -> list[Facts]:
    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(lambda texts: ask(server, texts), requests))


def ask_frozen(server: Served, part: str, requests: list[list[str]], parts: Parts) -> Facts:
    """Callers who meet while that part's processes stand still: whether one of them is answered meanwhile, what all
    get afterwards, and how many batches the part makes of their calls."""
    processes, before = parts.workers(server).get(part, []), parts.batches(server).get(part, [0, 0])
    with ThreadPoolExecutor(len(requests)) as pool:
        with frozen(processes):
            waiting = [pool.submit(ask, server, texts) for texts in requests]
            time.sleep(STILL)
            early = [w.result() for w in waiting if w.done()]
        answers = [w.result() for w in waiting]
    now = parts.batches(server).get(part, [0, 0])
    batches, calls = (n - b for n, b in zip(now, before, strict=True))
    told = {"status": next((a["status"] for a in early if a["status"] == 200), None), "answers": answers}
    return {**told, "batches": batches, "calls": calls}


def ask_closed(server: Served, store: Path, texts: list[str]) -> Facts:
    """The answer while the store cannot be read: who loads a model for each request has none then."""
    server.close_store()
    try:
        return {**ask(server, texts), "log": server.log(3)}
    finally:
        server.open_store(store)


def ask_unusual(server: Served, others: dict[str, str]) -> dict[str, Facts]:
    """Each of those texts alone, by what is unusual in it, up to the first that gets no answer."""
    found: dict[str, Facts] = {}
    for kind, text in others.items():
        found[kind] = ask(server, [text])
        if found[kind]["status"] is None:
            break
    return found


def ask_badly(server: Served) -> dict[str, Facts]:
    found: dict[str, Facts] = {}
    for name, (body, kind) in BAD.items():
        found[name] = send(server, body, kind, pace.patience(5.0))
        if found[name]["problem"].startswith("no answer"):
            break  # it may hang now, and one such fact is enough
    return found


def ask_models(ws: Any, subject: SavedModels) -> Facts:
    """What the saved models say of POOL fresh texts; what hinders them is a fact too, and sc1's business. `spare`: the
    seconds of CPU for each text with which nobody embeds it, by what preparing and embedding it takes here."""
    candidates, others = fresh_texts(ws, 2 * POOL), other_texts()
    subject.get_ready(torch=False)
    try:
        latest, told, spare = score_all(ws, subject, every := [*LAB_TEXTS, *candidates, *others.values()])
    except NoAnswer as problem:
        nothing: Facts = {"problem": str(problem), "latest": "", "answers": {}, "spare": 0.0}
        return {**nothing, "pool": candidates[:POOL], "others": others}
    by_version = {tag: dict(zip(every, rows, strict=True)) for tag, rows in told.items()}
    pool = [text for text in candidates if by_version[latest][text]["lead"] > CLEAR][:POOL]
    pool += [t for t in candidates if t not in pool][: POOL - len(pool)]  # of a soft classifier, all leads are small
    return {"problem": "", "pool": pool, "others": others, "spare": spare, "latest": latest, "answers": by_version}


class NoAnswer(Exception):
    """The saved models, or preprocess.py, do not answer as they should."""


def score_all(ws: Any, subject: SavedModels, texts: list[str]) -> tuple[str, dict[str, list[Facts]], float]:
    """The latest classifier's tag, and what it and up to three older ones say, to tell it apart from those; `spare`."""
    about = must(subject.ask("describe_model", name=CLASSIFIER))
    subject.ask("use_service", folder=str(ws.service))
    began = time.monotonic()
    prepared = must(subject.ask("prepare", texts=texts))  # the learner's, which sc1 has looked at
    preparing, began = time.monotonic() - began, time.thread_time()
    if not isinstance(prepared, list) or not all(isinstance(t, str) for t in prepared) or len(prepared) != len(texts):
        raise NoAnswer(f"prepare() gave no list of {len(texts)} strings")
    vectors = load_minilm(ws).encode(prepared).tolist()
    spare = (2 * preparing + (time.thread_time() - began) / 4) / len(texts)
    tags = [about["tag"], *(older["tag"] for older in about["older"][:3])]
    return tags[0], {tag: labels_and_scores(subject, tag, vectors) for tag in tags}, spare


def must(told: tuple[Any, str]) -> Any:
    if told[1]:
        raise NoAnswer(told[1])
    return told[0]


def labels_and_scores(subject: SavedModels, tag: str, vectors: list[list[float]]) -> list[Facts]:
    """For each text the label, its score, and by how much it leads."""
    must(subject.ask("load", tag=tag))
    scores, labels = must(subject.ask("predict_proba", tag=tag, rows=vectors)), must(subject.ask("classes", tag=tag))
    found = []
    try:
        for row in scores:
            second, first = sorted(map(float, row))[-2:]
            found.append({"label": str(labels[row.index(max(row))]), "score": first, "lead": first - second})
    except (TypeError, ValueError, IndexError) as wrong:
        raise NoAnswer(f"{tag} gave no row of scores for each text ({type(wrong).__name__})") from None
    if len(found) != len(vectors):
        raise NoAnswer(f"{tag} gave {len(found)} rows of scores for {len(vectors)} texts")
    return found


def fresh_texts(ws: Any, count: int) -> list[str]:
    """Tickets from the kit's templates, each with a word that nobody has written before."""
    known = [text for text, _ in kit_module(ws, "tickets").held_out(600)]
    return [f"{text} {word}" for text, word in zip(random.sample(known, count), fresh_words(count), strict=True)]


def other_texts() -> dict[str, str]:
    """Texts that no template gives, by what is unusual in them: whoever prepares in another way than prepare(), or
    reads a part of a text alone, answers one of them otherwise. Each has a word that nobody has written before."""
    wide = {ord(c): ord(c) + 0xFEE0 for c in map(chr, range(0x21, 0x7F))}
    return {kind: text.format(*fresh_words(1)) for kind, text in OTHERS.items()} | {
        "in letters of full width": f"The invoice of order #84213 shows $49.99 {fresh_words(1)[0]}".translate(wide)
    }


def fresh_words(count: int) -> list[str]:
    return ["".join(random.choices(string.ascii_lowercase, k=9)) for _ in range(count)]
