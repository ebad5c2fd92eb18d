"""sc2: the service of lab 02 answers, and what it answers comes from the two saved models, through their two runners.

The probe serves a scratch copy of service/ on a free port and asks it. What it should answer comes from the saved
classifier, loaded in another process, and from MiniLM's own embeddings, made here. The service is asked as a learner
would, as many callers at once would, and as no well-meaning caller would; by clients of several names.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from grader.kit import check, probe
from grader.model import Facts, Finding
from grader.processes import free_port, started, wait_until
from grader.world import pace
from grader.world.asker import (
    BAD,
    CROWD,
    LAB_TEXTS,
    OTHERS,
    STILL,
    Runners,
    ask,
    ask_badly,
    ask_closed,
    ask_frozen,
    ask_models,
    ask_unusual,
    at_once,
    costed,
    counted,
    draw,
    fresh_texts,
    in_turn,
    send,
)
from grader.world.metrics import Sample
from grader.world.saved import CLASSIFIER, EMBEDDER, saved_models
from grader.world.servers import PORT, Served, frozen, served
from grader.world.told import (
    JSON,
    compare,
    computed_together,
    differing,
    is_json,
    lost_meanwhile,
    many,
    needs_no_store,
    one_for_each,
    same_both,
    same_label,
    same_score,
    says_what,
    shape_problem,
    short,
    unusual_read_alike,
)

SERVICE_NAME = "demo_text_intelligence"
PARTS = Runners()
RUNNERS = PARTS.names
SIZES = (0, 1, 2, 10, 64)  # texts in the requests that come one after the other
BURST = (1, 2, 10, 1, 2, 10, 1, 64)  # texts in the requests of a burst, again and again
MANY = ("sizes", "together", "burst")  # facts that hold several answers
# Nothing is shed for being slow, and 64 texts of one request fit into a batch, so a service that hands each text to
# the dispatcher on its own passes, and one that hands over all of them answers too, as long as nobody else asks.
BATCHING = {"enabled": True, "max_batch_size": 64, "max_latency_ms": 60_000}
CONFIG = {"version": 1, "runners": {name: {"batching": BATCHING} for name in RUNNERS}}
DEAD = 3.5  # seconds that a caller waits who is there when the runners die
MODELS = {"embeddingrunner": EMBEDDER, "classifierrunner": CLASSIFIER}  # what each runner opens when it starts
# Of the seconds of CPU that 64 texts take, and the same 64 again: below LEAST a clock that ticks each 10 ms says
# nothing, what is computed again takes AGAIN of the first time or more, and those who embed no text take at most BESIDE
# times what the embedder takes, and some more. Where that does not hold, other texts are tried, TRIES times in all.
LEAST, AGAIN, BESIDE, TRIES = 0.1, 0.3, 3, 3
BACK = 15.0  # seconds in which a runner that was killed has been started again and has looked for its model


@probe(limit=240, ahead=True)
def answers(ws: Any) -> Facts:
    """All that the service does when it is asked; about 20 s, half of it until the server is ready."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with ThreadPoolExecutor(1) as pool, saved_models(ws) as subject:
        saved = pool.submit(ask_models, ws, subject)  # in the time that the server takes to start
        with served(ws.service, ws.store, config=CONFIG, bare=[*MODELS.values()], watchful=True) as server:
            facts: Facts = {"problem": server.problem, "foreign": server.foreign, "seconds": server.seconds}
            facts["log"] = server.log() if server.problem else ""
            facts["first"] = ask_closed(server, ws.store, LAB_TEXTS) if not server.problem else {}
            facts["two"] = counted(server, LAB_TEXTS, PARTS)
            facts["two"]["calls"] = PARTS.calls(server)  # of the first request, too: what is kept costs the second none
            if server.problem or shape_problem(facts["two"], 2):
                facts["log"] = server.log()
                return facts
            answered = time.monotonic()
            facts["saved"] = saved.result()
            facts["spare"] = round(SIZES[-1] * facts["saved"].pop("spare"), 2)
            time.sleep(max(0.0, answered + 1.0 - time.monotonic()))  # what dies of its first answer is dead by then
            facts |= ask_server(server, ws, facts["saved"].pop("pool"), facts["saved"].pop("others"), facts["spare"])
            facts["saved"]["answers"] = asked_of(facts["saved"]["answers"], facts)
            return facts


def asked_of(told: dict[str, dict[str, Facts]], facts: Facts) -> dict[str, dict[str, Facts]]:
    """Of what the saved models say: the label and score of each text that the service was asked for."""
    texts = {text for answer in all_answers(facts) for text in answer["texts"]}
    parts = {"label", "score"}
    return {tag: {t: {k: row[k] for k in parts} for t, row in rows.items() if t in texts} for tag, rows in told.items()}


def all_answers(facts: Facts) -> list[Facts]:
    """Every answer to a request that was a good one."""
    alone = [facts[name] for name in ("first", "two", "stays", "again", "closed") if facts.get(name)]
    many = [facts[name][i] for name in MANY if name in facts for i in range(len(facts[name]))]
    by_name = [*facts.get("others", {}).values(), *facts.get("killed", {}).values()]
    met = [answer for still in facts.get("frozen", {}).values() for answer in still["answers"]]
    return [*alone, *many, *by_name, *met]


def ask_server(server: Served, ws: Any, pool: list[str], others: dict[str, str], spare: float) -> Facts:
    """One caller after the other, then bad ones, then many at once; what may lock the server comes last."""
    facts: Facts = {"stays": {"alive": server.alive(), "log": server.log(), **ask(server, pool[:1])}}
    samples = server.metrics()
    facts["names"] = {"workers": sorted(server.workers()), "service": service_names(samples), **batch_limits(samples)}
    if not facts["stays"]["alive"]:
        return facts
    facts["sizes"] = in_turn(server, [draw(pool, size) for size in SIZES[:-1]], PARTS)
    if any(answer["status"] is None for answer in facts["sizes"]):
        return facts
    largest, first = costed(server, draw(pool, SIZES[-1]), PARTS, RUNNERS[0])
    facts["sizes"].append(largest)
    if largest["status"] is None:
        return facts
    facts["closed"] = ask_closed(server, ws.store, draw(pool, 2))
    if shape_problem(facts["closed"], 2):  # seconds a request, from here on
        return facts | {"bad": ask_badly(server)}
    facts["again"], again = costed(server, largest["texts"], PARTS, RUNNERS[0])
    facts["work"] = {**first, "again": again["own"]}
    for _ in range(TRIES - 1):
        if not (computes_again(facts["work"]) and embeds(facts["work"], spare)):
            facts["work"] = work_for(server, fresh_texts(ws, SIZES[-1]))
    facts["others"] = ask_unusual(server, others)
    facts["frozen"] = {name: ask_frozen(server, name, [draw(pool, n) for n in CROWD], PARTS) for name in RUNNERS}
    facts["bad"] = ask_badly(server)
    facts["together"] = at_once(server, [draw(pool, 1 + i % 2) for i in range(16)])
    facts["burst"] = at_once(server, [draw(pool, BURST[i % len(BURST)]) for i in range(32)])
    return facts | ask_killed(server, [draw(pool, 2) for _ in RUNNERS])


def work_for(server: Served, texts: list[str]) -> Facts:
    """The CPU that these texts take of the embedder and of all others, and of the embedder when they come again."""
    first, again = (costed(server, texts, PARTS, RUNNERS[0])[1] for _ in range(2))
    return {**first, "again": again["own"]}


def computes_again(work: Facts) -> bool:
    """Whether the embedder worked for texts that it had been asked for before, as far as a clock can tell."""
    return bool(work["own"] < LEAST or work["again"] >= AGAIN * work["own"])


def embeds(work: Facts, spare: float) -> bool:
    """Whether the others did less than what embedding the texts takes, or the embedder worked, too."""
    return bool(work["others"] <= BESIDE * work["own"] + spare)


def ask_killed(server: Served, requests: list[list[str]]) -> Facts:
    """What a caller gets who waits for a runner when it dies, of each runner; and what becomes of both, since their
    models' files are gone."""
    asked = dict(zip(reversed(RUNNERS), requests, strict=True))  # who waits for the classifier has passed the embedder
    old = {pid for name in RUNNERS for pid in server.workers().get(name, [])}
    server.bare_store([*MODELS.values()])
    with ThreadPoolExecutor(len(asked)) as pool, contextlib.ExitStack() as still:
        waiting = {}
        for name, texts in asked.items():
            still.enter_context(frozen(server.workers().get(name, [])))
            waiting[name] = pool.submit(send, server, json.dumps({"texts": texts}).encode(), JSON, DEAD)
            time.sleep(0.5)
        for name in asked:
            server.kill(name)
        lives = watch_bare(server, old)
        told = {name: one.result() for name, one in waiting.items()}
    keys = ("status", "body", "problem")
    killed = {name: {"texts": texts, **{key: told[name][key] for key in keys}} for name, texts in asked.items()}
    return {"killed": killed, "bare": ask_bare(server, lives, requests[0]) if lives else []}


def watch_bare(server: Served, old: set[int]) -> list[str]:
    """The runners that BentoML has started again and that did not end, as one does that loads its model."""
    lives, seen = list(RUNNERS), {name: set[int]() for name in RUNNERS}
    stop = time.monotonic() + pace.patience(BACK)
    while lives and time.monotonic() < stop and server.process.poll() is None:
        there = server.workers()
        now = {name: set(there.get(name, [])) - old for name in lives}
        lives = [name for name in lives if not seen[name] - now[name]]
        for name in lives:
            seen[name] |= now[name]
        time.sleep(0.2)
    return lives


def ask_bare(server: Served, lives: list[str], texts: list[str]) -> list[str]:
    """Those runners, if the service answers: their models' files are still gone, the others get theirs back."""
    server.bare_store([MODELS[name] for name in lives])
    answers = wait_until(lambda: ask(server, texts)["status"] == 200, pace.patience(BACK), pause=0.5)
    return lives if answers else []


def service_names(samples: list[Sample]) -> list[str]:
    return sorted({labels["service_name"] for _, labels, _ in samples if "service_name" in labels})


def batch_limits(samples: list[Sample]) -> Facts:
    """The largest finite bucket of each runner's batch sizes: that is its max_batch_size."""
    found: dict[str, float] = {}
    for name, labels, _ in samples:
        if name == "bentoml_runner_adaptive_batch_size_bucket" and labels["le"] != "+Inf":
            found[labels["runner_name"]] = max(found.get(labels["runner_name"], 0), float(labels["le"]))
    return {"max_batch": found}


@contextlib.contextmanager
def foreign_server(_: Any) -> Iterator[dict[str, str]]:
    """For a mutant: somebody else's server holds the port, and answers as one hopes to be answered."""
    port = free_port()
    with started([sys.executable, "-c", FOREIGN, str(port)]):
        wait_until(lambda: is_open(port), 10)
        yield {PORT: str(port)}


def is_open(port: int) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=1).status_code == 200
    return False


FOREIGN = """
import http.server, json, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self, status=200, body=b"{}"):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        texts = json.loads(self.rfile.read(int(self.headers["content-length"])))["texts"]
        self.do_GET(200, json.dumps({"labels": ["billing"] * len(texts), "scores": [0.8] * len(texts)}).encode())
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


@check(answers)
def two_labels_two_scores(seen: Facts) -> Finding:
    """The module's own form, asked of whoever answers on the port."""
    wanted = {"labels": ["a word", "a word"], "scores": ["0 to 1", "0 to 1"]}
    if seen["problem"] and not seen["foreign"]:
        return Finding(False, f"{seen['problem'].capitalize()}. The end of its log:\n{seen['log']}", None, wanted)
    found = seen["two"]["body"]
    if wrong := shape_problem(seen["two"], 2):
        return Finding(False, f"POST /classify with two texts gave {wrong}.", found, wanted)
    return Finding(True, f"Two texts, two labels and two scores: {short(found)}.", found, wanted)


@check(answers, after=two_labels_two_scores)
def own_server(seen: Facts) -> Finding:
    wanted = "the server that was started for this"
    if seen["foreign"]:
        message = f"An answer came, but {seen['problem']}. Yours never got the port."
        return Finding(False, message, seen["foreign"], wanted)
    return Finding(True, f"The one that answers is your service, ready after {seen['seconds']:g} s.", wanted, wanted)


@check(answers, after=own_server)
def stays_up(seen: Facts) -> Finding:
    facts = seen["stays"]
    if not facts["alive"] or facts["status"] is None:
        state = "is still there and gave no answer" if facts["alive"] else "had ended"
        message = f"A second after its first answer the server {state} ({facts['problem']}). The end of its log:"
        return Finding(False, f"{message}\n{facts['log']}", facts["problem"], "an answer")
    if wrong := shape_problem(facts, len(facts["texts"])):
        message = f"A second after its first answer the server gave {wrong}. The end of its log:"
        return Finding(False, f"{message}\n{facts['log']}", wrong, "a label and a score")
    return Finding(True, "It answers a second time.", facts["status"], 200)


@check(answers, after=stays_up)
def two_runners(seen: Facts) -> Finding:
    found, wanted = seen["names"]["workers"], sorted(["api", *RUNNERS])
    if found != wanted:
        there = ", ".join(w for w in found if w != "api") or "none"
        message = f"Beside the API server runs {there}; wanted are {' and '.join(RUNNERS)}."
        return Finding(False, message, found, wanted)
    if seen["names"]["service"] != [SERVICE_NAME]:
        names = ", ".join(seen["names"]["service"])
        return Finding(False, f"The metrics call the service {names}, not {SERVICE_NAME}.", names, SERVICE_NAME)
    return Finding(True, "An API server and two runners, each under its name.", found, wanted)


@check(answers, after=two_runners)
def configured(seen: Facts) -> Finding:
    """A runner whose name has capitals keeps BentoML's default: the configuration's key does not reach it."""
    found, wanted = seen["names"]["max_batch"], dict.fromkeys(RUNNERS, BATCHING["max_batch_size"])
    for name, limit in wanted.items():
        if name in found and found[name] != limit:
            message = f"The configuration gives {name} a max_batch_size of {limit}, and it has {found[name]:g}"
            return Finding(False, f"{message}: its key in the file is not the name in the service.", found, wanted)
    return Finding(True, "What the configuration says of a runner reaches it.", found, wanted)


@check(answers, after=stays_up)
def one_answer_per_text(seen: Facts) -> Finding:
    return one_for_each(seen["sizes"], SIZES)


@check(answers, after=one_answer_per_text)
def loads_once(seen: Facts) -> Finding:
    """For no request, not even the first."""
    return needs_no_store(seen["first"], seen["closed"])


@check(answers, after=[two_runners, loads_once])
def asks_both_runners(seen: Facts) -> Finding:
    wanted = dict.fromkeys(RUNNERS, "1 or more")
    for answer in [seen["two"], *seen["sizes"]]:
        idle = [name for name in RUNNERS if answer["calls"].get(name, 0) < 1]
        if answer["texts"] and idle:
            known = (
                "the notebook's two texts" if answer["texts"] == LAB_TEXTS else many(len(answer["texts"]), "new text")
            )
            message = f"A request with {known} was answered without a call to {' and '.join(idle)}"
            return Finding(False, f"{message}, by the runners' own counters.", answer["calls"], wanted)
    for name in RUNNERS:
        still = seen["frozen"][name]
        if still["status"] == 200:
            message = f"With the process of {name} stopped, a request was answered all the same: not by that runner"
            return Finding(False, f"{message}, whatever /metrics counts.", still, "no answer until it goes on")
        if lost := lost_meanwhile(name, still, STILL):
            return lost
    if not embeds(seen["work"], seen["spare"]):
        own, others = seen["work"]["own"], seen["work"]["others"]
        message = f"For {SIZES[-1]} texts {RUNNERS[0]} used {own:g} s of CPU, and the other processes {others:g} s"
        return Finding(False, f"{message}: the answer was made there, and that runner was asked for show.", own, others)
    return Finding(True, "Each request reached both runners, by their own counters.", seen["two"]["calls"], wanted)


@check(answers, after=asks_both_runners)
def asks_again(seen: Facts) -> Finding:
    found, wanted = seen["again"]["calls"], dict.fromkeys(RUNNERS, "1 or more")
    if idle := [name for name in RUNNERS if found[name] < 1]:
        message = f"The same request a second time did not reach {' and '.join(idle)}: something keeps old answers"
        return Finding(False, f"{message}. A load test would then measure that instead of the models.", found, wanted)
    if not computes_again(seen["work"]):
        first, second = seen["work"]["own"], seen["work"]["again"]
        message = f"{RUNNERS[0]} used {first:g} s of CPU for {SIZES[-1]} texts, and {second:g} s for the same again"
        return Finding(False, f"{message}: it keeps old answers. A load test would measure that.", second, first)
    if wrong := shape_problem(seen["again"], len(seen["again"]["texts"])):
        return Finding(False, f"The same request a second time got {wrong}.", wrong, "an answer as before")
    return Finding(True, "The same texts a second time ask the runners again.", found, wanted)


@check(answers, after=asks_both_runners)
def saved_version(seen: Facts) -> Finding:
    """Whose scores are they? An older version that fits while the latest does not is the one that is served; a runner
    that starts without the saved file has a model of its own."""
    saved, asked = seen["saved"], seen["sizes"]
    latest = saved["latest"]
    if saved["problem"]:
        message = f"The saved models cannot be asked, to compare with: {saved['problem']}. sc1 says more."
        return Finding(False, message, saved["problem"], "an answer")
    if differing(asked, saved["answers"][latest], same_score):
        for tag, told in saved["answers"].items():
            if tag != latest and not differing(asked, told, same_score):
                message = f"The scores are those of {tag}; the latest in the store is {latest}."
                return Finding(False, message, tag, latest)
    if made := seen["bare"]:
        message = f"With the file of {MODELS[made[0]]} gone from the store, {made[0]} starts all the same and answers"
        return Finding(False, f"{message}: it does not load what was saved.", made, latest)
    return Finding(True, f"No older version than {latest} answers here.", latest, latest)


@check(answers, after=saved_version)
def labels_right(seen: Facts) -> Finding:
    told = seen["saved"]["answers"][seen["saved"]["latest"]]
    return compare(one_by_one(seen), told, same_label, "label")


@check(answers, after=labels_right)
def scores_right(seen: Facts) -> Finding:
    told = seen["saved"]["answers"][seen["saved"]["latest"]]
    return compare(one_by_one(seen), told, same_score, "score")


def one_by_one(seen: Facts) -> list[Facts]:
    """The answers to one caller after the other: the notebook's, later ones, the same again, with the store closed."""
    return [seen["first"], seen["two"], seen["stays"], *seen["sizes"], seen["again"], seen["closed"]]


@check(answers, after=scores_right)
def other_texts_right(seen: Facts) -> Finding:
    told = seen["saved"]["answers"][seen["saved"]["latest"]]
    return unusual_read_alike(seen["others"], told, len(OTHERS) + 1)


@check(answers, after=scores_right)
def own_answers_under_load(seen: Facts) -> Finding:
    told, met = seen["saved"]["answers"][seen["saved"]["latest"]], [f["answers"] for f in seen["frozen"].values()]
    asked = [*seen["together"], *itertools.chain(*met)]
    wrong = [w for a in asked if (w := shape_problem(a, len(a["texts"])))]
    if wrong:
        message = f"Of {len(asked)} callers at once, {len(wrong)} got no right answer; the first got {wrong[0]}"
        return Finding(False, f"{message}. One after the other, all did.", wrong[:3], "an answer for each")
    mixed = differing(asked, told, same_both)
    if mixed:
        message = f"With {len(asked)} callers at once, {many(len(mixed), 'text')} got the answer of another text"
        return Finding(False, f"{message}, {mixed[0]!r} for one. One after the other, all were right.", len(mixed), 0)
    return Finding(True, f"{len(asked)} callers at once each got their own answers.", 0, 0)


@check(answers, after=own_answers_under_load)
def survives_burst(seen: Facts) -> Finding:
    ends = Counter(str(a["status"] or a["problem"]) for a in seen["burst"])
    total, told = len(seen["burst"]), ", ".join(f"{count} x {end}" for end, count in ends.items())
    if ends["200"] != total:
        message = f"{total} requests of 1, 2, 10 and 64 texts at once: {told}"
        message += ". Asked one after the other, each size was answered."
        return Finding(False, message, dict(ends), {"200": total})
    wrong = [w for a in seen["burst"] if (w := shape_problem(a, len(a["texts"])))]
    mixed = differing(seen["burst"], seen["saved"]["answers"][seen["saved"]["latest"]], same_both)
    if wrong or mixed:
        what = f"the first of {len(wrong)} wrong ones is {wrong[0]}" if wrong else ""
        what = what or f"{many(len(mixed), 'text')} got the answer of another text, {mixed[0]!r} for one"
        return Finding(False, f"Of {total} requests at once each had the status 200, and {what}.", what, "own answers")
    return Finding(True, f"All of {total} requests of 1, 2, 10 and 64 texts at once were answered.", dict(ends))


@check(answers, after=survives_burst)
def makes_batches(seen: Facts) -> Finding:
    return computed_together(seen["frozen"], len(CROWD), "runner", ", whatever the store's signatures say")


@check(answers, after=survives_burst)
def failure_is_told(seen: Facts) -> Finding:
    """Whoever gets an answer with 200 from a service with a dead runner has to be able to believe it."""
    told = seen["saved"]["answers"][seen["saved"]["latest"]]
    found = {name: a["status"] or a["problem"] for name, a in seen["killed"].items()}
    for name, answer in seen["killed"].items():
        wrong = answer["status"] == 200 and (shape_problem(answer, 2) or differing([answer], told, same_both))
        if wrong:
            message = f"With {name} dead, a request got status 200 and {short(answer['body'])}"
            return Finding(False, f"{message}: made up, and nobody can tell it from an answer.", found, "500 to 599")
    if rest := [name for name in RUNNERS if name not in found]:
        return Finding(False, f"With {rest[0]} dead, nobody asked.", found, "500 to 599")
    return Finding(True, "With a runner dead, nobody gets a made-up answer.", found, "500 to 599")


@check(answers, after=one_answer_per_text)
def answers_in_json(seen: Facts) -> Finding:
    """The header by which a client chooses how to read the body."""
    found = sorted({a["type"] for a in all_answers({**seen, "killed": {}}) if a["status"] == 200})
    wrong = [kind for kind in found if not is_json(kind)]
    if wrong or not found:
        message = f"The header content-type of an answer is {' and '.join(wrong) or 'not there'}"
        return Finding(False, f"{message}: a client that goes by it does not read the body as JSON.", found, JSON)
    return Finding(True, f"Answers are called {' and '.join(found)}.", found, JSON)


@check(answers, after=one_answer_per_text)
def bad_input_answered(seen: Facts) -> Finding:
    found = {name: a["status"] for name, a in seen["bad"].items()}
    for name, answer in seen["bad"].items():
        if answer["status"] is None:
            return Finding(False, f"Bad input, {name}: {answer['problem']}.", found, "400 to 499")
        if answer["status"] >= 500:
            message = f"Bad input, {name}: status {answer['status']} blames the service and not the caller"
            return Finding(False, f"{message}. It said {short(answer['body'])}.", found, "400 to 499")
    if rest := [name for name in BAD if name not in found]:
        return Finding(False, f"Bad input, {rest[0]}: it was not asked any more.", found, "400 to 499")
    return Finding(True, f"{len(found)} bad requests, and none of them broke anything.", found, "400 to 499")


@check(answers, after=bad_input_answered)
def bad_input_refused(seen: Facts) -> Finding:
    found = {name: a["status"] for name, a in seen["bad"].items()}
    for name, answer in seen["bad"].items():
        if not 400 <= answer["status"] < 500:
            message = f"Bad input, {name}: status {answer['status']} with {short(answer['body'])}"
            return Finding(False, f"{message}. Programs read the status first.", found, "400 to 499")
    return Finding(True, f"{len(found)} bad requests were refused with a status from 400 to 499.", found, "400 to 499")


@check(answers, after=bad_input_refused)
def errors_are_objects(seen: Facts) -> Finding:
    wanted = {"error": "a word", "message": "a sentence"}
    for name, answer in seen["bad"].items():
        body = answer["body"]
        if not says_what(body):
            what = answer["problem"] or f"the body {short(body)}"
            message = f"Bad input, {name}: status {answer['status']} with {what}; wanted is a JSON object"
            return Finding(False, f"{message} that names what is wrong.", body, wanted)
        if not is_json(answer["type"]):
            message = f"Bad input, {name}: a refusal in JSON, whose header content-type is {answer['type'] or 'empty'}"
            return Finding(False, f"{message}.", answer["type"], JSON)
    return Finding(True, "Each refusal is a JSON object that names what is wrong.", body, wanted)
