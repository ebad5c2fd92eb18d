"""sc9: layers compared and chosen. The learner's MLServer model is served by the grader and asked by V2; the table must
be what the runs say; cards, bill and KServe's object are judged against what grader/world/layers.toml states.
"""

from __future__ import annotations

import csv
import random
import re
import string
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import prod
from pathlib import Path
from typing import Any

import yaml

from grader.kit import check, probe
from grader.model import Facts, Finding
from grader.world import layers, mlserver, pace
from grader.world.kit_modules import kit_module
from grader.world.minilm import load_minilm
from grader.world.saved import CLASSIFIER, SavedModels, saved_models
from grader.world.servers import Served

STATED = layers.stated()
CARDS, BILL, QUESTIONS = STATED["cards"], STATED["bill"], STATED["questions"]
WORDS = 6  # of one's own, for each card; each counts once
STATED_IN = min(condition["as_of"] for condition in STATED["conditions"].values())  # nobody looked at this lab before
DATE = re.compile(r"(20\d\d-(?:0[1-9]|1[0-2]))(-[0-3]\d)?")
ADDRESS = re.compile(r"https://[\w.-]+\.[a-z]{2,}(/\S*)?")
SIZES = (1, 3, 10, 1, 20)  # texts in the requests
CLEAR = 0.02  # a label is compared where its score leads by this much
CLOSE = 0.005
PORT = 3000  # where the image of lab 04 listens
NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")  # of an object from which a Service gets its name
STANDARD = ("Standard", "RawDeployment")  # the second is its name before KServe 0.16
FLOATS = ("FP16", "FP32", "FP64")


# ---------------------------------------------------------------- what was written


@probe(limit=20, ahead=True)
def choices(ws: Any) -> Facts:
    """cards.toml, bill.toml and kserve.yaml in choice/."""
    cards, card_problem = read_toml(ws.root / "choice" / "cards.toml")
    bill, bill_problem = read_toml(ws.root / "choice" / "bill.toml")
    said = {name: words_of(cards.get(name)) for name in CARDS}
    return {
        "cards": {name: card_facts(name, cards.get(name), said) for name in CARDS}, "card_problem": card_problem,
        "bill": {name: pick(bill, "yatai", name, "needs", "lab") for name in BILL},
        "questions": {name: pick(bill, "bentocloud", name, "decides") for name in QUESTIONS},
        "sources": {name: source_facts(bill, name) for name in ("yatai", "bentocloud")},
        "bill_problem": bill_problem, "kserve": kserve_facts(ws.root / "choice" / "kserve.yaml"),
    }  # fmt: skip


def read_toml(path: Path) -> tuple[Facts, str]:
    try:
        return tomllib.loads(path.read_text()), ""
    except FileNotFoundError:
        return {}, f"there is no choice/{path.name}"
    except (OSError, ValueError) as wrong:
        return {}, f"choice/{path.name}: {str(wrong)[:200]}"


def card_facts(name: str, card: Any, said: dict[str, list[str]]) -> Facts:
    """What a card says: how many different words, and whose they are where they are not its own."""
    card = card if isinstance(card, dict) else {}
    told: Facts = {key: str(card.get(key, "")) for key in ("layer", "rejected", "breaks")}
    because = card.get("because")
    reasons = [because] if isinstance(because, str) else because if isinstance(because, list) else []
    words = len(set(said[name]))
    return {**told, "because": [str(b) for b in reasons], "words": words, "copied": whose(name, said)}


def whose(name: str, said: dict[str, list[str]]) -> str:
    """Where else a card's words stand: on another card, or in what this lab itself says; "" for one's own."""
    own = " ".join(said[name])
    others = {f"the card {card}": " ".join(words) == own for card, words in said.items() if card != name}
    given = {place: f" {own} " in f" {' '.join(spelled(text))} " for place, text in given_sentences().items()}
    return next((place for place, same in {**others, **given}.items() if same and own), "")


def words_of(card: Any) -> list[str]:
    return spelled(card.get("words", "")) if isinstance(card, dict) else []


def spelled(text: Any) -> list[str]:
    return re.findall(r"\w+", str(text).lower())


def given_sentences() -> dict[str, str]:
    """Sentences of layers.toml that a learner is shown, by what they are about."""
    rows = {f"the layer {name}": str(text) for name, text in STATED["layers"].items()}
    rows |= {f"the team {name}": card["says"] for name, card in CARDS.items()}
    for name, condition in STATED["conditions"].items():
        rows |= {f"the condition {name}": condition["says"]}
        rows |= {f"the condition {name} about {layer}": why for layer, why in condition["breaks"].items()}
    return rows


def pick(tables: Facts, table: str, name: str, *keys: str) -> Facts:
    """Those values of tables[table][name]; None for what is not there. TOML's dates as words."""
    group = tables.get(table)
    found = group.get(name) if isinstance(group, dict) else None
    values = {key: found.get(key) if isinstance(found, dict) else None for key in keys}
    return {key: v if isinstance(v, str | bool | int | float | None) else str(v) for key, v in values.items()}


def source_facts(bill: Facts, name: str) -> Facts:
    """Where something was looked up and when; `odd` is what cannot be about that date."""
    source = pick(bill, "sources", name, "url", "as_of")
    return {**source, "odd": odd_date(source["as_of"])}


def odd_date(as_of: Any) -> str:
    """Why nobody can have looked something up for this lab then; "" where one can."""
    found = DATE.fullmatch(str(as_of))
    newest = max(f"{datetime.now(UTC) + timedelta(days=1):%Y-%m}", STATED_IN)
    if not found:
        return "no year and month"
    if found[1] > newest:
        return "that month has not come yet"
    return f"before this lab was written, in {STATED_IN}" if found[1] < STATED_IN else ""


def kserve_facts(path: Path) -> Facts:
    """What the object asks KServe for, as plain words; `problem` where it is none."""
    try:
        (thing,) = [part for part in yaml.safe_load_all(path.read_text()) if part]
        (container,) = thing["spec"]["predictor"]["containers"]
        ready = container.get("readinessProbe", {}).get("httpGet", {})
        return {
            "problem": "", "kind": f"{thing['apiVersion']} {thing['kind']}",
            "name": str(thing["metadata"].get("name", "")),
            "mode": str(thing["metadata"].get("annotations", {}).get("serving.kserve.io/deploymentMode", "")),
            "image": str(container.get("image", "")),
            "ports": [p.get("containerPort") for p in container.get("ports") or []],
            "ready": str(ready.get("path", "")), "ready_at": number_of(ready.get("port"), container.get("ports") or []),
        }  # fmt: skip
    except FileNotFoundError:
        return {"problem": "there is no choice/kserve.yaml"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as wrong:
        return {"problem": f"no predictor with one container ({type(wrong).__name__}: {str(wrong)[:120]})"}


def number_of(port: Any, ports: list[Facts]) -> int | None:
    """The number of a probe's port, which may be named; None where no port has that name."""
    named = {p.get("name"): p.get("containerPort") for p in ports}
    return port if isinstance(port, int) else named.get(port) if isinstance(port, str) else None


@check(choices)
def cards_answered(seen: Facts) -> Finding:
    """Each card has a layer and a reason of the known ones, a layer that was rejected, and words of one's own."""
    wrong = [f"{name}: {problem}" for name, card in seen["cards"].items() if (problem := card_problem(card))]
    wrong += [name for name in CARDS if name not in seen["cards"]]
    good = not wrong and not seen["card_problem"]
    found = seen["card_problem"] or "; ".join(wrong) or "all six"
    wanted = f"layer, because, words (at least {WORDS}), rejected and breaks for {', '.join(CARDS)}"
    return Finding(good, "all six cards are answered", found, wanted)


def card_problem(card: Facts) -> str:
    known, conditions = STATED["layers"], STATED["conditions"]
    for key, names in (("layer", known), ("rejected", known), ("breaks", conditions)):
        if card.get(key) not in names:
            return f"{key} is {card.get(key) or 'missing'!r}, not one of {', '.join(names)}"
    if unknown := [b for b in card["because"] if b not in conditions] or ([] if card["because"] else ["nothing"]):
        return f"because names {unknown[0]!r}, no condition"
    if not WORDS <= card["words"] < 1000:
        return f"{card['words']} words of your own"
    return f"its words are those of {card['copied']}" if card["copied"] else ""


@check(choices, after=cards_answered)
def layers_fit(seen: Facts) -> Finding:
    """No chosen layer breaks a condition of its card. More than one may be right."""
    wrong = [
        f"{name}: {card['layer']} breaks {condition}, since {why}"
        for name, card in seen["cards"].items()
        for condition, why in layers.broken(name, card["layer"]).items()
    ]
    return Finding(not wrong, "each layer meets what its card asks", "; ".join(wrong) or "no condition is broken",
                   "layers that break none of the card's conditions")  # fmt: skip


@check(choices, after=cards_answered)
def reasons_hold(seen: Facts) -> Finding:
    """Each reason is a condition that the card asks for, and each is there once."""
    wrong = []
    for name, card in seen["cards"].items():
        stray = [b for b in card["because"] if b not in CARDS[name]["asks"]]
        twice = len(card["because"]) != len(set(card["because"]))
        wrong += [f"{name}: nobody asks for {stray[0]} there"] if stray else [f"{name}: one twice"] if twice else []
    return Finding(not wrong, "each reason is a condition of its card", "; ".join(wrong) or "all are",
                   str({name: card["asks"] for name, card in CARDS.items()}))  # fmt: skip


@check(choices, after=cards_answered)
def rejections_hold(seen: Facts) -> Finding:
    """The rejected layer breaks the condition that is named, and the card asks for it."""
    wrong = []
    for name, card in seen["cards"].items():
        if card["breaks"] not in layers.broken(name, card["rejected"]):
            asked = card["breaks"] in CARDS[name]["asks"]
            why = "that layer meets it" if asked else "the card does not ask for it"
            wrong.append(f"{name}: {card['rejected']} is not out because of {card['breaks']}: {why}")
    return Finding(not wrong, "each rejected layer breaks the condition that is named", "; ".join(wrong) or "all do",
                   "a layer, and a condition of the card that it breaks")  # fmt: skip


@check(choices)
def bill_filled(seen: Facts) -> Finding:
    wrong = [f"yatai.{name}: {got}" for name, got in seen["bill"].items() if not same(got, bill_row(name))]
    wrong += [f"bentocloud.{n}: {q['decides']}" for n, q in seen["questions"].items() if not same(q, decides(n))]
    for name, source in seen["sources"].items():
        if not ADDRESS.fullmatch(str(source.get("url"))):
            wrong.append(f"sources.{name}: {source.get('url')} is no https address")
        if source["odd"] or not DATE.fullmatch(str(source["as_of"])):
            wrong.append(f"sources.{name}: as_of = {source['as_of']}, {source['odd']}")
    missing = [n for n in (*BILL, *QUESTIONS) if n not in {**seen["bill"], **seen["questions"]}]
    good = not wrong and not missing and not seen["bill_problem"] and len(seen["sources"]) == 2
    found = seen["bill_problem"] or "; ".join(wrong) or "all rows"
    wanted = "what each part needs, whether the lab has it, what each question decides; url, and the month of your look"
    return Finding(good, "the bill has every row right, with a dated source", found, wanted)


def same(found: Any, wanted: Any) -> bool:
    return bool(found == wanted)


def bill_row(name: str) -> Facts:
    return {key: BILL[name][key] for key in ("needs", "lab")}


def decides(name: str) -> Facts:
    return {"decides": QUESTIONS[name]["decides"]}


@check(choices)
def kserve_object(seen: Facts) -> Finding:
    """An InferenceService in Standard mode whose predictor is lab 04's image, at the port where that listens."""
    told = seen["kserve"]
    if told["problem"]:
        return Finding(False, "choice/kserve.yaml asks for your image", told["problem"], "an InferenceService")
    wrong = [
        part
        for part, good in {
            told["kind"]: told["kind"] == "serving.kserve.io/v1beta1 InferenceService",
            f"name {told['name'] or 'missing'}": bool(NAME.fullmatch(told["name"])),
            f"deploymentMode {told['mode'] or 'not named'}": told["mode"] in STANDARD,
            f"image {told['image']}": told["image"] == "demo-text-intelligence" or "@sha256:" in told["image"],
            f"ports {told['ports']}": told["ports"] == [PORT],
            f"readiness {told['ready'] or 'not asked'}": told["ready"] == "/readyz",
            f"readiness asked at port {told['ready_at']}": told["ready_at"] == PORT or not told["ready"],
        }.items()
        if not good
    ]
    wanted = f"Standard mode, your image and no tag, containerPort {PORT}, a readinessProbe at /readyz of that port"
    wanted += ", a name of small letters, digits and hyphens"
    return Finding(not wrong, "choice/kserve.yaml asks for your image", ", ".join(wrong) or "as wanted", wanted)


# ---------------------------------------------------------------- what MLServer answers


@probe(limit=240, needs=("mlserver",), ahead=True)
def v2(ws: Any) -> Facts:
    """The learner's model folder, served and asked; some 25 s."""
    with saved_models(ws) as subject:
        wanted = expect(ws, subject)
    if wanted["problem"]:
        return {"problem": wanted["problem"], "log": "", "models": []}
    with mlserver.serving(ws.root, ws.store) as server:
        facts: Facts = {"problem": server.problem, "log": "", "models": []}
        if server.problem:
            return {**facts, "log": mlserver.complaint(server)}
        facts["models"] = mlserver.models_of(server.url)
        ready = [m["name"] for m in facts["models"] if m["state"] == "READY"]
        if len(ready) == 1:
            facts |= {"told": mlserver.metadata_of(server.url, ready[0]), "wanted": wanted["rows"]}
            facts["unstored"] = ask_closed(server, ws.store, ready[0], facts["told"], next(iter(wanted["rows"]), "a"))
            facts["answers"] = list(ask(server.url, ready[0], facts["told"], list(wanted["rows"])))
        return facts


def ask_closed(server: Served, store: Path, model: str, told: Facts, text: str) -> int | None:
    """The status of the first request of all, while the store cannot be read: what says READY has its models."""
    server.close_store()
    try:
        name = next(iter(told["inputs"]), "texts")
        status: int | None = mlserver.infer(server.url, model, [text], name, pace.patience(15))["status"]
        return status
    finally:
        server.open_store(store)


def ask(url: str, model: str, told: Facts, texts: list[str]) -> Iterator[Facts]:
    """Requests of several sizes, each with the name of the input that the metadata tell."""
    name, rest = next(iter(told["inputs"]), "texts"), list(texts)
    for size in SIZES:
        some, rest = rest[:size], rest[size:]
        yield {"texts": some, **mlserver.infer(url, model, some, name, pace.patience(15))}


def expect(ws: Any, subject: SavedModels) -> Facts:
    """Label and score of fresh texts by the saved classifier; a third of them gets another label without prepare()."""
    tickets = kit_module(ws, "tickets").held_out(400)
    texts = [f"{text} {word()}" for text, _ in random.sample(tickets, 240)]
    subject.get_ready(torch=False)
    subject.ask("use_service", folder=str(ws.service))
    try:
        prepared = must(subject.ask("prepare", texts=texts))
        tag = must(subject.ask("describe_model", name=CLASSIFIER))["tag"]
        must(subject.ask("load", tag=tag))
        encode = load_minilm(ws).encode
        told, raw = (classify(subject, tag, encode(some).tolist()) for some in (prepared, texts))
    except NoAnswer as problem:
        return {"problem": f"the saved models do not answer: {problem}", "rows": {}}
    rows = choose({t: (a, b["label"]) for t, a, b in zip(texts, told, raw, strict=True)})
    return {"problem": "", "rows": {text: {k: row[k] for k in ("label", "score")} for text, row in rows.items()}}


def classify(subject: SavedModels, tag: str, vectors: list[list[float]]) -> list[Facts]:
    """For each vector the label, its score, and by how much it leads."""
    names = must(subject.ask("classes", tag=tag))
    found = []
    for scores in must(subject.ask("predict_proba", tag=tag, rows=vectors)):
        second, first = sorted(scores)[-2:]
        found.append({"label": str(names[scores.index(first)]), "score": first, "lead": first - second})
    return found


def choose(told: dict[str, tuple[Facts, str]]) -> dict[str, Facts]:
    """As many texts as are asked, all with a clear label, and a third with another one where they are not prepared."""
    clear = {text: row for text, (row, _) in told.items() if row["lead"] > CLEAR}
    moved = [text for text, row in clear.items() if told[text][1] != row["label"]][: sum(SIZES) // 3]
    chosen = [*moved, *(text for text in clear if text not in moved)][: sum(SIZES)]
    random.shuffle(chosen)
    return {text: clear[text] for text in chosen}


class NoAnswer(Exception):
    """The saved models, or preprocess.py, do not answer as they should."""


def must(told: tuple[Any, str]) -> Any:
    if told[1]:
        raise NoAnswer(told[1])
    return told[0]


def word() -> str:
    return "".join(random.choices(string.ascii_lowercase, k=9))


@check(v2)
def v2_ready(seen: Facts) -> Finding:
    """What says READY has its models: the first request is answered although the store is closed."""
    states = [f"{m['name']} {m['state']}" for m in seen["models"]]
    ready = [m for m in seen["models"] if m["state"] == "READY" and m["name"]]
    good = not seen["problem"] and len(ready) == len(seen["models"]) == 1
    found = "; ".join(filter(None, [seen["problem"], seen["log"][-600:]])) or ", ".join(states) or "no model"
    answered = good and seen["answers"][:1] and seen["answers"][0]["status"] == 200
    if answered and seen["unstored"] != 200:
        good = False
        found += f", and the first request, with the store closed, got {seen['unstored']}: the models are opened later"
    return Finding(good, "MLServer loads the model of choice/mlserver", found, "one model, READY, loaded by load()")


@check(v2, after=v2_ready)
def v2_as_told(seen: Facts) -> Finding:
    """Metadata that a client can go by: one input of texts, labels and scores out, and answers of that form."""
    told = seen["told"]
    kinds = sorted("FP" if kind in FLOATS else kind for kind in told["outputs"].values())
    wanted = "inputs: one of BYTES; outputs: one of BYTES (labels), one of FP64 or FP32 (scores); answers of that form"
    message = "/v2/models/NAME tells what goes in and comes out, and it is so"
    if list(told["inputs"].values()) != ["BYTES"] or kinds != ["BYTES", "FP"]:
        return Finding(False, message, str({k: told[k] for k in ("inputs", "outputs")}), wanted)
    shapes = {**told["shapes"]["inputs"], **told["shapes"]["outputs"]}
    if fixed := [f"{name} has the shape {shape}" for name, shape in shapes.items() if mlserver.is_fixed(shape)]:
        found = f"{'; '.join(fixed)}: as many texts and no others"
        return Finding(False, message, found, "-1 for what changes with the request")
    wrong = [f"{name} has the shape {shape}, and each text is one" for name, shape in told["shapes"]["inputs"].items()
             if not mlserver.holds(shape, [1])]  # fmt: skip
    wrong += [problem for a in seen["answers"] if (problem := form_problem(a, told))]
    good = not wrong and [len(a["texts"]) for a in seen["answers"]] == list(SIZES)
    return Finding(good, message, wrong[0] if wrong else "all answers", wanted)


def form_problem(answer: Facts, told: Facts) -> str:
    """What is wrong with the form of one answer, or nothing."""
    count = len(answer["texts"])
    if answer["status"] != 200 or answer["problem"]:
        return f"{count} texts: {answer['status'] or ''} {answer['problem']}".strip()
    got = answer["outputs"]
    if {name: out["datatype"] for name, out in got.items()} != told["outputs"]:
        kinds = [(name, out["datatype"]) for name, out in got.items()]
        return f"outputs {kinds}, told were {list(told['outputs'].items())}"
    for name, out in got.items():
        shape, values = out["shape"], out["data"]
        if not isinstance(shape, list) or not isinstance(values, list) or not all(isinstance(n, int) for n in shape):
            return f"{name}: {str(out)[:120]}"
        fits = shape[:1] == [count] and prod(shape) == len(values)
        kind = str if told["outputs"][name] == "BYTES" else (int, float)
        if not fits or not all(isinstance(v, kind) for v in values) or (kind is str and len(values) != count):
            return f"{count} texts: {name} has shape {shape} and {len(values)} values: {str(values)[:80]}"
        if not mlserver.holds(promised := told["shapes"]["outputs"].get(name), shape):
            return f"{count} texts: {name} has shape {shape}, told was {promised}"
    return ""


@check(v2, after=v2_as_told)
def v2_labels_right(seen: Facts) -> Finding:
    """For texts that nobody has seen, a third of which need prepare()."""
    wrong = []
    for answer in seen["answers"]:
        outputs = answer["outputs"].values()
        labels = next(out["data"] for out in outputs if out["datatype"] == "BYTES")
        scores = next(out["data"] for out in outputs if out["datatype"] in FLOATS)
        width = len(scores) // len(labels)
        best = [max(scores[i * width : (i + 1) * width]) for i in range(len(labels))]
        for text, label, score in zip(answer["texts"], labels, best, strict=True):
            told = seen["wanted"].get(text, {"label": "an unknown text", "score": -1.0})
            if label != told["label"] or not abs(score - told["score"]) <= CLOSE:
                wrong.append(f"{label} {score:.3f} instead of {told['label']} {told['score']:.3f}: {text[:60]}")
    count = sum(len(a["texts"]) for a in seen["answers"])
    found = f"{len(wrong)} of {count} wrong: {'; '.join(wrong[:2])}" if wrong else f"{count} right"
    wanted = "what predict_proba says of prepare()'s texts"
    return Finding(not wrong, "its labels are those of the saved models", found, wanted)


# ---------------------------------------------------------------- what was measured


@probe(limit=20, needs=("mlserver",), ahead=True)
def table(ws: Any) -> Facts:
    """choice/layers.csv, and what the runs say that it is made of."""
    try:
        rows, problem = layers.read_table(ws.root), ""
    except (OSError, ValueError, csv.Error) as wrong:
        rows, problem = [], f"choice/layers.csv: {type(wrong).__name__}"
    runs = {layer: run_facts(ws.root, layer) for layer in layers.MEASURED}
    return {"problem": problem, "rows": rows[:20], "runs": runs}


def run_facts(root: Path, layer: str) -> Facts:
    try:
        run = layers.read_run(root, layer)
        sealed = run.get("seal") == layers.seal(run) and run["layer"] == layer
        return {
            "problem": "" if sealed else "its seal does not fit, so it was edited", "row": layers.row(run),
            "texts": [a["text"] for a in run["answers"]], "labels": [a["label"] for a in run["answers"]],
        }  # fmt: skip
    except FileNotFoundError:
        return {"problem": f"there is no run of {layer}"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as wrong:
        return {"problem": f"{type(wrong).__name__}: {str(wrong)[:120]}"}


@check(table)
def table_from_runs(seen: Facts) -> Finding:
    """Each row is what its run says, and both layers gave the same texts the same labels."""
    broken = [f"{layer}: {run['problem']}" for layer, run in seen["runs"].items() if run["problem"]]
    problem = seen["problem"] or "; ".join(broken) or table_problem(seen["rows"], seen["runs"])
    wanted = "choice/layers.csv as measured: python -m labs.helpers.choice bentoml mlserver"
    return Finding(not problem, "the table is what the runs measured", problem or "both rows", wanted)


def table_problem(rows: list[Facts], runs: dict[str, Facts]) -> str:
    """Where table and runs differ, or nothing."""
    told = {row.get("layer", ""): row for row in rows}
    for layer in layers.MEASURED:
        if not same(told.get(layer), runs.get(layer, {}).get("row")):
            return f"the row of {layer} says {told.get(layer)}, its run {runs.get(layer, {}).get('row')}"
    said = [[run["texts"], run["labels"]] for run in runs.values()]
    if any(one != said[0] for one in said):
        return "the layers were asked other texts, or gave other labels"
    return "" if len(rows) == len(runs) == len(layers.MEASURED) else f"{len(rows)} rows"
