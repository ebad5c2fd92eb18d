"""sc10: the service of lab 11, on BentoML's modern API, keeps what lab 02's service promised its callers.

The probe serves a scratch copy of modern/ on a free port and asks it as sc2 asks the classic service: the asker takes
either form (grader/world/asker.py). The services that it depends on are found by their processes, whatever they are
called. At the end many callers keep asking for some seconds, since inner connections are lost under load alone; which
limits those seconds do not reach, the classes' own configuration says (grader/world/connections.py).
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import yaml

from grader.kit import check, probe
from grader.model import Facts, Finding
from grader.world import connections, web
from grader.world.asker import (
    BAD,
    CROWD,
    LAB_TEXTS,
    OTHERS,
    STILL,
    Services,
    ask,
    ask_badly,
    ask_closed,
    ask_frozen,
    ask_models,
    ask_unusual,
    counted,
    draw,
    in_turn,
)
from grader.world.saved import saved_models
from grader.world.servers import Served, served
from grader.world.told import (
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

TARGET = "service"  # without a build file: of the services in service.py the one that no other depends on
SIZES = (0, 1, 2, 10, 64)
PEOPLE, SECONDS = 32, 5.0  # who ask at the same time, and for how long at least
ENOUGH, LONGEST = 400, 20.0  # requests that they send on a slow machine, too, and the seconds that it gets for them
TAKES, GIVES = {"texts": "list of string"}, {"labels": "list of string", "scores": "list of number"}
OFTEN, LONG = 1_000_000, 3600.0  # calls, seconds: what is closed sooner than that is closed at noon, too


@probe(limit=240, ahead=True)
def answers(ws: Any) -> Facts:
    """All that the service does when it is asked; about 30 s, a third of it until the server is ready."""
    os.environ["OMP_NUM_THREADS"] = "1"
    parts, folder = Services(), ws.root / "modern"
    target = target_of(folder)
    with ThreadPoolExecutor(2) as pool, saved_models(ws) as subject:
        saved = pool.submit(ask_models, ws, subject)  # in the time that the server takes to start
        limits = pool.submit(connections.look_up, folder, ws.store, target)
        with served(folder, ws.store, target=target) as server:
            parts.find(server)
            facts: Facts = {"problem": server.problem, "log": ""}
            facts["first"] = ask_closed(server, ws.store, LAB_TEXTS) if not server.problem else {}
            facts["two"] = counted(server, LAB_TEXTS, parts)
            if server.problem or shape_problem(facts["two"], 2):
                return facts | {"log": server.log()}
            facts["parts"] = {name: len(ids) for name, ids in sorted(parts.workers(server).items())}
            told = saved.result()
            facts["kept"] = limits.result()
            facts |= ask_server(server, ws.store, parts, told)
            kept = {text for answer in alone_and_met(facts) for text in answer["texts"]}
            return facts | {"saved": only(told, kept)}


def target_of(folder: Path) -> str:
    """What `bentoml serve` is given: the service that the build file names, if there is one."""
    try:
        named = yaml.safe_load((folder / "bentofile.yaml").read_text())["service"]
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):
        return TARGET
    return named if isinstance(named, str) and re.fullmatch(r"[\w.]+(:[\w.]+)?", named) else TARGET


def only(told: Facts, texts: set[str]) -> Facts:
    """Of what the saved models say: the label and score of the texts that the service was asked for."""
    rows = {tag: {t: {k: row[k] for k in ("label", "score")} for t, row in by_text.items() if t in texts}
            for tag, by_text in told["answers"].items()}  # fmt: skip
    return {"problem": told["problem"], "latest": told["latest"], "answers": rows}


def ask_server(server: Served, store: Any, parts: Services, told: Facts) -> Facts:
    """One caller after the other, then bad ones, then some who meet while a part stands still, then a crowd."""
    pool = told["pool"]
    facts: Facts = {"sizes": in_turn(server, [draw(pool, size) for size in SIZES], parts)}
    if any(answer["status"] is None for answer in facts["sizes"]):
        return facts
    facts["closed"] = ask_closed(server, store, draw(pool, 2))
    facts["promised"] = promised(server)
    if shape_problem(facts["closed"], 2):  # seconds a request, from here on
        return facts | {"bad": ask_badly(server)}
    facts["others"] = ask_unusual(server, told["others"])
    facts["bad"] = ask_badly(server)
    names = [name for name, calls in facts["sizes"][2]["calls"].items() if calls]
    facts["frozen"] = {name: ask_frozen(server, name, [draw(pool, n) for n in CROWD], parts) for name in names}
    before = parts.calls(server)
    facts["crowd"] = ask_long(server, pool, told["answers"].get(told["latest"], {}))
    facts["crowd"]["calls"] = {
        name: n - before.get(name, 0) for name, n in parts.calls(server).items() if name in names
    }
    return facts


def ask_long(server: Served, pool: list[str], own: Facts) -> Facts:
    """PEOPLE who ask again as soon as they have an answer: how their requests ended, and which got another's answer."""
    asked: list[Facts] = []
    began = time.monotonic()

    def keep_asking(number: int) -> None:
        with web.client() as client:
            while (past := time.monotonic() - began) < SECONDS or (len(asked) < ENOUGH and past < LONGEST):
                asked.append(ask(server, draw(pool, 1 + number % 2), client.post))

    with ThreadPoolExecutor(PEOPLE) as people:
        list(people.map(keep_asking, range(PEOPLE)))
    lost = [a for a in asked if a["status"] != 200]
    ends = Counter(str(a["status"] or a["problem"]) for a in asked)
    wrong = [a for a in asked if a["status"] == 200 and shape_problem(a, len(a["texts"]))]
    mixed = differing(asked, own, same_both) if own else []
    first = short(lost[0]["body"]) if lost and lost[0]["body"] is not None else ""
    return {"ends": dict(ends), "first": first, "wrong": len(wrong) + len(mixed), "log": why(server) if lost else ""}


def why(server: Served) -> str:
    """The errors that its log ends with; between them are thousands of lines of access."""
    lines = [line for line in server.log(2000).splitlines() if re.match(r"[\w.]+(Error|Exception)\b", line)]
    return "\n".join(dict.fromkeys(line[:160] for line in lines[-20:]))


def promised(server: Served) -> Facts:
    """The fields that its OpenAPI document promises to take and to give at /classify, and what each holds."""
    try:
        document = web.get(f"{server.url}/docs.json", timeout=10).json()
        post = document["paths"]["/classify"]["post"]
        takes, gives = post["requestBody"], post["responses"]["200"]
        return {"takes": fields(document, takes), "gives": fields(document, gives)}
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as wrong:
        return {"takes": {}, "gives": {}, "problem": f"{type(wrong).__name__}: {wrong}"[:120]}


def fields(document: Facts, body: Facts) -> dict[str, str]:
    """The properties of what is sent as JSON, and the kind of each."""
    schema = resolved(document, body["content"]["application/json"]["schema"])
    return {str(name): kind(document, part) for name, part in sorted((schema.get("properties") or {}).items())}


def kind(document: Facts, schema: Facts, depth: int = 3) -> str:
    """ "string", "list of number", "anything" ... of what a schema lets in."""
    schema = resolved(document, schema)
    if schema.get("type") == "array" and depth:
        return f"list of {kind(document, schema.get('items') or {}, depth - 1)}"
    return str(schema.get("type", "anything"))


def resolved(document: Facts, schema: Facts) -> Facts:
    """A schema, wherever the document keeps it."""
    for _ in range(5):
        place = schema.get("$ref", "")
        if not place.startswith("#/"):
            break
        schema = document
        for step in place[2:].split("/"):
            schema = schema[step]
    return schema


def alone_and_met(facts: Facts) -> list[Facts]:
    """Every good answer that is kept: one by one, and of callers who met."""
    met = [answer for still in facts.get("frozen", {}).values() for answer in still["answers"]]
    closed = [facts[name] for name in ("first", "closed") if name in facts]
    return [facts["two"], *facts["sizes"], *closed, *facts.get("others", {}).values(), *met]


@check(answers)
def two_labels_two_scores(seen: Facts) -> Finding:
    """Lab 02's own form, asked of the modern service."""
    wanted = {"labels": ["a word", "a word"], "scores": ["0 to 1", "0 to 1"]}
    if seen["problem"]:
        return Finding(False, f"{seen['problem'].capitalize()}. The end of its log:\n{seen['log']}", None, wanted)
    found = seen["two"]["body"]
    if wrong := shape_problem(seen["two"], 2):
        message = f"POST /classify with two texts gave {wrong}. The end of the log:\n{seen['log']}"
        return Finding(False, message, found, wanted)
    return Finding(True, f"Two texts, two labels and two scores: {short(found)}.", found, wanted)


@check(answers, after=two_labels_two_scores)
def parts_of_their_own(seen: Facts) -> Finding:
    """A service that depends on two others runs as three processes or more."""
    found = seen["parts"]
    others = {name: count for name, count in found.items() if name != "api" and count > 0}
    told = ", ".join(others) or "none"
    if len(others) < 2 or found.get("api", 0) < 1:
        message = f"Beside the service that callers ask runs {told}; wanted are two, one for each model"
        return Finding(False, f"{message}: what is not depended on gets no process.", found, "two beside the API")
    return Finding(True, f"Beside the service that callers ask there are {told}.", found, "two beside the API")


@check(answers, after=two_labels_two_scores)
def one_answer_per_text(seen: Facts) -> Finding:
    return one_for_each(seen["sizes"], SIZES)


@check(answers, after=one_answer_per_text)
def loads_once(seen: Facts) -> Finding:
    """For no request, not even the first."""
    return needs_no_store(seen["first"], seen["closed"])


@check(answers, after=[parts_of_their_own, loads_once])
def parts_do_the_work(seen: Facts) -> Finding:
    """By their own counters, and by what happens while one of them stands still."""
    wanted = "two parts, 1 call or more each"
    for answer in [seen["two"], *seen["sizes"]]:
        busy = [name for name, calls in answer["calls"].items() if calls > 0]
        if answer["texts"] and len(busy) < 2:
            asked = many(len(answer["texts"]), "text")
            message = f"A request with {asked} was answered by the API and {' and '.join(busy) or 'no other service'}"
            return Finding(False, f"{message}, by the services' own counters.", answer["calls"], wanted)
    for name, still in seen["frozen"].items():
        if still["status"] == 200:
            message = f"With the process of {name} stopped, a request was answered all the same: not by that service"
            return Finding(
                False, f"{message}, whatever /metrics counts.", still["status"], "no answer until it goes on"
            )
        if lost := lost_meanwhile(name, still, STILL):
            return lost
    if len(seen["frozen"]) < 2:
        return Finding(False, "Fewer than two services took part in an answer.", list(seen["frozen"]), wanted)
    return Finding(True, "Each request reached both services, by their own counters.", seen["two"]["calls"], wanted)


@check(answers, after=parts_do_the_work)
def answers_right(seen: Facts) -> Finding:
    """Each text's label and score against what the saved models say of it."""
    saved, asked = seen["saved"], [seen["first"], seen["two"], *seen["sizes"], seen["closed"]]
    if saved["problem"]:
        message = f"The saved models cannot be asked, to compare with: {saved['problem']}. sc1 says more."
        return Finding(False, message, saved["problem"], "an answer")
    latest = saved["answers"][saved["latest"]]
    if differing(asked, latest, same_score):
        for tag, told in saved["answers"].items():
            if tag != saved["latest"] and not differing(asked, told, same_score):
                message = f"The scores are those of {tag}; the latest in the store is {saved['latest']}."
                return Finding(False, message, tag, saved["latest"])
    labels = compare(asked, latest, same_label, "label")
    return compare(asked, latest, same_score, "score") if labels.ok else labels


@check(answers, after=answers_right)
def other_texts_right(seen: Facts) -> Finding:
    latest = seen["saved"]["answers"][seen["saved"]["latest"]]
    return unusual_read_alike(seen["others"], latest, len(OTHERS) + 1)


@check(answers, after=answers_right)
def makes_batches(seen: Facts) -> Finding:
    return computed_together(seen["frozen"], len(CROWD), "service", "")


@check(answers, after=answers_right)
def no_answer_lost(seen: Facts) -> Finding:
    """Many callers for some seconds: each gets an answer, its own."""
    crowd, latest = seen["crowd"], seen["saved"]["answers"][seen["saved"]["latest"]]
    total, good = sum(crowd["ends"].values()), crowd["ends"].get("200", 0)
    asked = f"{PEOPLE} callers at once sent {total} requests"
    if good != total or good < PEOPLE:
        ends = ", ".join(f"{count} x {end}" for end, count in sorted(crowd["ends"].items()))
        message = f"{asked}: {ends}. One after the other, all are answered"
        said = f" A lost one said {crowd['first']}." if crowd["first"] else ""
        return Finding(False, f"{message}.{said} The end of the log:\n{crowd['log']}", crowd["ends"], {"200": total})
    met = [answer for still in seen["frozen"].values() for answer in still["answers"]]
    cut = sum(bool(shape_problem(answer, len(answer["texts"]))) for answer in met)
    if count := crowd["wrong"] + cut + len(differing(met, latest, same_both)):
        message = f"{asked}, and {many(count, 'text')} got another answer than alone"
        return Finding(False, f"{message}: callers share something that they should not.", count, 0)
    if soon := closed_soon(seen["kept"], list(seen["frozen"]), crowd["calls"]):
        return Finding(False, f"{asked}, and all were answered. But {soon}.", seen["kept"]["parts"], [OFTEN, LONG])
    return Finding(True, f"{asked}, and each got its own answer.", crowd["ends"], crowd["ends"])


def closed_soon(kept: Facts, names: list[str], calls: dict[str, int]) -> str:
    """Which connections will be closed on calls that are under way, though nobody met that here. Where the crowd made
    more calls than a connection is kept for, it was closed under them, and what asks again has shown that it does."""
    for name in names:
        if name not in kept["parts"]:
            return f"how long connections to {name} are kept could not be read: {kept['problem'] or 'it is not there'}"
        most, age = kept["parts"][name]["max_requests"], kept["parts"][name]["max_age"]
        if most >= calls.get(name, 0) and not (most >= OFTEN and age >= LONG):
            message = f"the connections to {name} are closed after {most} calls or {age:g} s, with calls under way"
            return f"{message}, and these people had not asked for that long"
    return ""


@check(answers, after=one_answer_per_text)
def bad_input_refused(seen: Facts) -> Finding:
    """A status from 400 to 499, and an object that names what is wrong."""
    found = {name: a["status"] for name, a in seen["bad"].items()}
    for name, answer in seen["bad"].items():
        status, body = answer["status"], answer["body"]
        if status is None or not 400 <= status < 500:
            said = answer["problem"] if status is None else f"status {status} with {short(body)}"
            return Finding(False, f"Bad input, {name}: {said}. Programs read the status first.", found, "400 to 499")
        if not says_what(body):
            message = f"Bad input, {name}: status {status} with the body {short(body)}; wanted is a JSON object"
            return Finding(False, f"{message} that names what is wrong.", body, {"error": "a word"})
        if not is_json(answer["type"]):
            message = f"Bad input, {name}: a refusal whose header content-type is {answer['type'] or 'empty'}"
            return Finding(False, f"{message}.", answer["type"], "application/json")
    if rest := [name for name in BAD if name not in found]:
        return Finding(False, f"Bad input, {rest[0]}: it was not asked any more.", found, "400 to 499")
    return Finding(True, f"{len(found)} bad requests were refused with a status from 400 to 499.", found, "400 to 499")


@check(answers, after=one_answer_per_text)
def contract_told(seen: Facts) -> Finding:
    """What /docs.json promises to whoever writes a client."""
    found, wanted = {k: seen["promised"][k] for k in ("takes", "gives")}, {"takes": TAKES, "gives": GIVES}
    if why := seen["promised"].get("problem"):
        return Finding(False, f"/docs.json does not describe POST /classify ({why}).", found, wanted)
    if "texts" not in found["takes"]:
        message = f"/docs.json says that /classify takes {', '.join(found['takes']) or 'anything'}, not texts"
        return Finding(False, f"{message}: a parameter of the function is a field of the request.", found, wanted)
    if missing := [name for name in GIVES if name not in found["gives"]]:
        message = f"/docs.json does not promise {' and '.join(missing)} in an answer"
        return Finding(False, f"{message}: the document is made from the function's types.", found, wanted)
    told = {**found["takes"], **found["gives"]}
    if vague := [f"{name} is a {told[name]}" for name, kind in (TAKES | GIVES).items() if told[name] != kind]:
        message = f"/docs.json says that {vague[0]}, no more"
        return Finding(
            False, f"{message}: the type of the items is what a client's types are made from.", found, wanted
        )
    return Finding(True, "/docs.json promises texts, labels and scores.", found, wanted)
