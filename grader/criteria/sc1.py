"""sc1: both models lie in the store, each under its name, and do what a server will ask of them.

The probe asks a subject (grader/world/saved.py): a process that has seen neither the notebook nor the training, and
loads the latest versions with only service/ to import from, as a server will. What is expected (MiniLM's embeddings, a
twin of the classifier) is computed here, by the kit's own means. Whatever the subject meets (no model, a pickle that
cannot be read, an exception in `encode`) is a fact about the submission and lands in the facts, never in an exception.
"""

from __future__ import annotations

import os
import random
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from grader.errors import LabError
from grader.kit import check, probe
from grader.model import Facts, Finding
from grader.subject import Subject, attempt
from grader.world import pace
from grader.world.kit_modules import kit_module
from grader.world.minilm import load_minilm
from grader.world.saved import CLASSIFIER, EMBEDDER, METHODS, saved_models
from grader.world.servers import hides
from grader.world.twins import train

SIZE = 384
LABELS = ["account", "billing", "shipping"]
SAME = 0.005  # two trainings on the same embeddings differ by less than 0.0001, on other texts by 0.05 and more
# Alike but for what should not matter: letter case, spaces, the order's number and the amount.
TWINS = ["Order #84213 was charged  $49.99 twice", "order #77001 was charged $12.50 twice"]
# Apart in what a ticket is about, and only there: at the end, on the second line, in letters that are not English ones.
APART = {
    "at the end of 900 characters": [
        f"{'Thank you for your help so far. ' * 28}{end}" for end in ("Refund me", "Log me in")
    ],
    "on the second line": ["Hello\nI was charged twice", "Hello\nwhere is my parcel"],
    "in Japanese": ["荷物が税関で止まっています", "返金してください"],
    "in Cyrillic letters": ["Деньги списаны дважды", "Где моя посылка"],
}
TRAINING = 30.0  # seconds for which a twin is trained; the solution's takes a hundredth of one
UNSEEN = 12  # texts never trained on: beside the eight tickets, two classifiers are compared on these
FRESH = (3, 40, 250, 2000)  # characters of texts that nobody has written before, for which embeddings are compared
ALPHABETS = ("etaoin shrdlu cmfwyp", "äöüß éèç ñ", "пдк лию ж", "税関 荷物 返金", "📦🙂 ok?!")


@probe(limit=300, ahead=True)
def models(ws: Any) -> Facts:
    """The latest version of each model, loaded and used; most of its time goes into importing torch."""
    # One thread: with two, a second job on the same two cores makes every encode 20 times slower.
    os.environ["OMP_NUM_THREADS"] = "1"
    with saved_models(ws) as subject, ThreadPoolExecutor(1) as pool:
        # While the subject imports torch, which it need not to say that there is nothing.
        there = all((ws.store / "models" / name).is_dir() for name in METHODS)
        minilm = pool.submit(load_minilm, ws) if there else None
        subject.get_ready(torch=there)
        facts: Facts = {"store": str(ws.store), **list_models(subject)}
        subject.ask("use_service", folder=str(ws.service))
        facts["prepare"] = try_prepare(subject, hides(ws.service))
        if minilm and not missing(facts) and load_both(subject, facts["models"]):
            use_both(subject, facts, ws, minilm)
    return facts


def list_models(subject: Subject) -> Facts:
    """What `bentoml models list` shows, and of each of our names the latest version and the older ones."""
    found, problem = subject.ask("list_models")
    described: Facts = {}
    for name in METHODS:
        told, trouble = subject.ask("describe_model", name=name)
        if told is not None:
            described[name] = told
        elif f"'{name}' exist" not in trouble:
            described[name] = {"tag": name, "signatures": {}, "older": [], "problem": trouble}
    return {"listed": found or [], "list_problem": problem, "models": described}


def try_prepare(subject: Subject, hidden: str) -> Facts:
    """What service/preprocess.py makes of two texts that should come out alike."""
    made, problem = subject.ask("prepare", texts=TWINS)
    problem += f" ({hidden})" if problem and hidden else ""
    apart = [text for pair in APART.values() for text in pair]
    return {
        "problem": problem,
        "prepared": plain(made, len(TWINS)),
        "apart": plain(subject.ask("prepare", texts=apart)[0], len(apart)),
        "one_by_one": [plain(subject.ask("prepare", texts=[text])[0], 1) for text in reversed(apart)],
    }


def plain(made: Any, count: int) -> Any:
    """The list of so many strings that prepare() was to give; else what it gave, in words."""
    right = isinstance(made, list) and len(made) == count and all(isinstance(text, str) for text in made)
    return made if right else repr(made)[:200]


def load_both(subject: Subject, models: Facts) -> bool:
    return sum(load(subject, name, models[name]) for name in METHODS) == len(METHODS)


def load(subject: Subject, name: str, facts: Facts) -> bool:
    """Whether the object in the store can be loaded; if not, the reason lands in `facts`."""
    told, facts["problem"] = subject.ask("load", tag=name)
    facts |= told or {"kind": "", "methods": []}
    return told is not None


def use_both(subject: Subject, facts: Facts, ws: Any, minilm: Future[Any]) -> None:
    tickets = kit_module(ws, "tickets")
    texts, labels = (list(column) for column in zip(*tickets.TICKETS, strict=True))
    facts["embedder"] = use_embedder(subject, texts, minilm.result())
    unseen = [text for text, _ in tickets.held_out(UNSEEN)]
    facts["classifier"] = use_classifier(subject, texts, labels, unseen)


def fresh_texts() -> list[str]:
    return ["".join(random.choices(letters, k=size)) for size in FRESH for letters in ALPHABETS]


def use_embedder(subject: Subject, texts: list[str], minilm: Any) -> Facts:
    """Shape and length of its rows, whether a text's row depends on its neighbours, how far it is from MiniLM."""
    import numpy as np

    told, problem = subject.ask("encode", tag=EMBEDDER, texts=texts)
    facts: Facts = {"texts": len(texts), "problem": problem, "shape": list(np.shape(told)) if told is not None else []}
    if facts["shape"] != [len(texts), SIZE] or not np.isfinite(rows := np.asarray(told, dtype=float)).all():
        return facts
    lengths = np.linalg.norm(rows, axis=1)
    facts["lengths"] = [float(lengths.min()), float(lengths.max())]
    alone, facts["problem"] = subject.ask("encode", tag=EMBEDDER, texts=texts[:1])
    facts["moved"] = largest_gap(alone, rows[:1])
    fresh, facts["fresh_problem"] = subject.ask("encode", tag=EMBEDDER, texts=(asked := fresh_texts()))
    if np.shape(fresh) != (len(asked), SIZE):
        facts["fresh_problem"] = facts["fresh_problem"] or f"its shape is {list(np.shape(fresh))}"
        return facts | {"minilm": 0.0, "farthest": ""}
    rows, texts = np.vstack([rows, fresh]), [*texts, *asked]
    near = (rows * minilm.encode(texts)).sum(axis=1)
    facts["minilm"], facts["farthest"] = float(near.min()), texts[int(near.argmin())][:60]
    return facts


def use_classifier(subject: Subject, texts: list[str], labels: list[str], unseen: list[str]) -> Facts:
    """Its answers for the tickets, alone and together, and how far its scores are from a twin's, trained here on the
    same tickets as service/preprocess.py prepares them, and as they came."""
    import numpy as np

    rows, problem = subject.ask("encode", tag=EMBEDDER, texts=prepared(subject, texts + unseen))
    if problem:
        return {"problem": f"there is no embedding to classify ({problem})"}
    told, problem = subject.ask("predict_proba", tag=CLASSIFIER, rows=rows)
    answers, trouble = subject.ask("predict", tag=CLASSIFIER, rows=rows)
    if problem or trouble:
        return {"problem": problem or trouble}
    scores, problem = attempt(lambda: np.asarray(told, dtype=float))
    if problem or not isinstance(answers, list):
        return {"problem": problem or f"predict gave {answers!r}"[:200]}
    facts: Facts = {"labels": answers[: len(texts)], "wanted": labels, "shape": list(scores.shape)}
    facts["classes"] = subject.ask("classes", tag=CLASSIFIER)[0] or sorted(set(map(str, answers)))
    alone, facts["problem"] = subject.ask("predict_proba", tag=CLASSIFIER, rows=rows[:1])
    facts["moved"] = largest_gap(alone, scores[:1])
    made, problem = subject.ask("estimator", tag=CLASSIFIER)
    near = problem or gap_to_twin(made, rows[: len(texts)], labels, rows, scores)
    facts["retrained"] = {"prepared": near, "raw": None}
    if isinstance(near, float) and near >= SAME:
        as_they_came = subject.ask("encode", tag=EMBEDDER, texts=texts)[0]
        facts["retrained"]["raw"] = gap_to_twin(made, as_they_came, labels, rows, scores)
    return facts


def prepared(subject: Subject, texts: list[str]) -> list[str]:
    """As the learner's service will prepare them; as they are when it cannot, which its own check then says."""
    made = plain(subject.ask("prepare", texts=texts)[0], len(texts))
    return made if isinstance(made, list) else texts


def gap_to_twin(made: Any, given: Any, labels: list[str], rows: Any, scores: Any) -> float | str | None:
    """The largest difference between its scores and those of the nearest of its twins, trained on `given`; less what
    two twins differ by, where chance has a part in the training. Or what went wrong."""
    limit = pace.patience(TRAINING)
    twins, problem = attempt(lambda: train(made, given, labels, rows), limit)
    if problem.startswith("TimeoutError"):
        advice = "Grade again with nothing beside it; if this comes again, a smaller search or forest will do as well."
        raise LabError(f"A twin of the classifier is not trained within {limit:g} s, so it cannot be compared.", advice)
    if problem:
        return problem
    gaps = [largest_gap(twin, scores) for twin in twins]
    if None in gaps:
        return None
    chance = max([0.0, *(gap for twin in twins[1:] if (gap := largest_gap(twin, twins[0])) is not None)])
    return max(0.0, min(gap for gap in gaps if gap is not None) - chance)


def largest_gap(one: Any, other: Any) -> float | None:
    """The largest difference of two arrays; None when they cannot be compared."""
    import numpy as np

    if one is None or np.shape(one) != np.shape(other):
        return None
    return float(np.abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float)).max())


def missing(facts: Facts) -> list[str]:
    return [name for name in METHODS if name not in facts["models"]]


@check(models)
def both_listed(seen: Facts) -> Finding:
    names, wanted = sorted({tag.split(":")[0] for tag in seen["listed"]}), sorted(METHODS)
    if seen["list_problem"]:
        return Finding(False, f"`bentoml models list` breaks on this store: {seen['list_problem']}.", names, wanted)
    if absent := [name for name in METHODS if name not in names or name not in seen["models"]]:
        there = ", ".join(names) or "no model"
        message = f"The store {seen['store']} shows {there}; missing: {', '.join(absent)}."
        return Finding(False, message, names, wanted)
    tags = [seen["models"][name]["tag"] for name in METHODS]
    return Finding(True, f"`bentoml models list` shows {' and '.join(tags)}.", names, wanted)


@check(models, after=both_listed)
def loads_fresh(seen: Facts) -> Finding:
    kinds = {model["tag"]: model["problem"] or model["kind"] for model in seen["models"].values()}
    for model in seen["models"].values():
        if model["problem"]:
            where = "A fresh process with only service/ to import from"
            return Finding(False, f"{where} cannot load {model['tag']}: {model['problem']}.", kinds)
    return Finding(True, f"A fresh process loads both: {', '.join(kinds.values())}.", kinds)


@check(models, after=loads_fresh)
def own_names(seen: Facts) -> Finding:
    found = {name: seen["models"][name]["methods"] for name in METHODS}
    for name, methods in METHODS.items():
        if lacks := [m for m in methods if m not in found[name]]:
            model = seen["models"][name]
            message = f"{model['tag']} holds a {model['kind']}, which has no {' and no '.join(lacks)}"
            return Finding(False, f"{message}: is another model saved under this name?", found, METHODS)
    return Finding(True, "The embedder encodes and the classifier predicts, each under its own name.", found, METHODS)


@check(models, after=own_names)
def signatures_batchable(seen: Facts) -> Finding:
    noted = {name: seen["models"][name]["signatures"] for name in METHODS}
    found = {f"{n}.{method}": s["batchable"] for n, signatures in noted.items() for method, s in signatures.items()}
    wanted = {f"{name}.{method}": True for name, method in every_method()}
    for name, method in every_method():
        if not is_batchable(noted[name], method):
            model = seen["models"][name]
            there = ", ".join(noted[name]) or "nothing"
            said = "says batchable: false" if method in noted[name] else f"is not in the store, which has: {there}"
            right = [m["tag"] for m in model["older"] if is_batchable(m["signatures"], method)]
            older = f" The older {right[0]} has it, but `latest` is what gets served." if right else ""
            return Finding(False, f"{model['tag']}: the signature of {method} {said}.{older}", found, wanted)
    return Finding(True, "encode, predict and predict_proba are batchable.", found, wanted)


def every_method() -> list[tuple[str, str]]:
    return [(name, method) for name, methods in METHODS.items() for method in methods]


def is_batchable(signatures: Facts, method: str) -> bool:
    return method in signatures and signatures[method]["batchable"] is True


@check(models, after=signatures_batchable)
def batch_dim_zero(seen: Facts) -> Finding:
    wanted = [0, 0]
    found = {f"{n}.{m}": seen["models"][n]["signatures"][m]["batch_dim"] for n, m in every_method()}
    for method, dim in found.items():
        if dim != wanted:
            into, out = (*dim, "none", "none")[:2]
            message = f"{method} has batch_dim {into} for what goes in and {out} for what comes out"
            return Finding(False, f"{message}; one row a text means axis 0 for both.", found, wanted)
    return Finding(True, "Rows of several callers are joined along axis 0 and cut along it.", found, wanted)


@check(models, after=own_names)
def embeds_384(seen: Facts) -> Finding:
    facts = seen["embedder"]
    shape, wanted = facts["shape"], [facts["texts"], SIZE]
    if not shape:
        return Finding(False, f"encode raised {facts['problem']} for {facts['texts']} texts.", shape, wanted)
    if shape != wanted:
        message = f"encode turns {facts['texts']} texts into {' x '.join(map(str, shape))} numbers"
        return Finding(False, f"{message}; wanted is one row of {SIZE} for each.", shape, wanted)
    if "lengths" not in facts:
        return Finding(False, "encode gives infinite numbers, or NaN.", "not finite", "finite")
    return Finding(True, f"encode turns {facts['texts']} texts into {facts['texts']} x {SIZE} numbers.", shape, wanted)


@check(models, after=embeds_384)
def unit_length(seen: Facts) -> Finding:
    low, high = seen["embedder"]["lengths"]
    right = 0.999 < low <= high < 1.001
    why = "" if right else ": MiniLM's last step, Normalize, is missing, and a dot product is then no cosine"
    return Finding(right, f"The embeddings are {low:.3f} to {high:.3f} long{why}.", [low, high], [1.0, 1.0])


@check(models, after=embeds_384)
def fitted(seen: Facts) -> Finding:
    facts = seen["classifier"]
    if not facts.get("shape"):
        message = f"The classifier does not answer: {facts['problem']}."
        return Finding(False, message, facts["problem"], "labels and scores")
    rows = len(facts["wanted"]) + UNSEEN
    if len(facts["shape"]) != 2 or facts["shape"][0] != rows:
        message = f"predict_proba turns {rows} embeddings into {' x '.join(map(str, facts['shape']))} numbers"
        return Finding(False, f"{message}; wanted is a row of scores for each.", facts["shape"], rows)
    return Finding(True, f"The classifier scores {facts['shape'][0]} embeddings.", facts["shape"], rows)


@check(models, after=[unit_length, fitted])
def rows_independent(seen: Facts) -> Finding:
    """Batchable promises it: strangers' texts share a batch, and nobody's answer may depend on whose."""
    found = {"encode": seen["embedder"]["moved"], "predict_proba": seen["classifier"]["moved"]}
    wanted = "below 0.001"
    for method, part in (("encode", "embedder"), ("predict_proba", "classifier")):
        gap = found[method]
        if gap is None:
            message = f"{method} cannot be asked for one text alone: {seen[part]['problem'] or 'its shape differs'}."
            return Finding(False, message, found, wanted)
        if not gap <= 0.001:  # NaN, which a mean over one row may give, is no small number either
            message = f"{method} answers differently for a text alone and among others (by {gap:.3f})"
            return Finding(False, f"{message}: in a batch, strangers would change each other's answers.", found, wanted)
    return Finding(True, "A text gets the same answer alone and among others.", found, wanted)


@check(models, after=rows_independent)
def is_minilm(seen: Facts) -> Finding:
    found, problem = seen["embedder"]["minilm"], seen["embedder"]["fresh_problem"]
    if problem:
        message = f"Texts that nobody has written before, up to {max(FRESH)} characters in any script, are not encoded"
        return Finding(False, f"{message}: {problem}.", problem, 1.0)
    if 0.999 < found < 1.001:
        return Finding(True, "The embeddings are those of MiniLM's checked weights.", found, 1.0)
    text = seen["embedder"]["farthest"]
    message = f"The embeddings are not MiniLM's: for {text!r} the cosine between the two is {found:.2f}"
    return Finding(False, f"{message}. load_encoder() of service/weights.py gives the checked weights.", found, 1.0)


@check(models, after=is_minilm)
def three_labels(seen: Facts) -> Finding:
    found = seen["classifier"]["classes"]
    if found != LABELS:
        message = f"The classifier's classes are {found}; a caller is promised the three words {', '.join(LABELS)}."
        return Finding(False, message, found, LABELS)
    if seen["classifier"]["shape"][1] != len(LABELS):
        message = f"The classifier gives {seen['classifier']['shape'][1]} scores for {len(LABELS)} classes."
        return Finding(False, message, seen["classifier"]["shape"], LABELS)
    return Finding(True, f"The classifier knows {', '.join(LABELS)}.", found, LABELS)


@check(models, after=three_labels)
def right_labels(seen: Facts) -> Finding:
    found, wanted = seen["classifier"]["labels"], seen["classifier"]["wanted"]
    right = sum(a == b for a, b in zip(found, wanted, strict=False))
    where = "" if found == wanted else ", and these are the tickets that it must learn from"
    return Finding(found == wanted, f"{right} of {len(wanted)} tickets get their own label{where}.", found, wanted)


@check(models)
def prepares_texts(seen: Facts) -> Finding:
    facts, wanted = seen["prepare"], "two equal strings"
    made = facts["problem"] or facts["prepared"]
    if facts["problem"]:
        return Finding(False, f"prepare() of service/preprocess.py: {facts['problem']}.", made, wanted)
    if isinstance(made, str) or len(made) != len(TWINS):
        return Finding(False, f"prepare() gave {made!r} for two texts; wanted is a list of two strings.", made, wanted)
    if made[0] != made[1]:
        message = "prepare() keeps apart two texts that differ only in case, spaces, an order's number and an amount"
        return Finding(False, f"{message}: {made[0]!r} and {made[1]!r}.", made, wanted)
    return Finding(True, f"prepare() makes {made[0]!r} of two texts that mean the same.", made, wanted)


@check(models, after=prepares_texts)
def keeps_apart(seen: Facts) -> Finding:
    """What prepare() throws away, no model can read."""
    made, wanted = seen["prepare"]["apart"], "another text for another ticket"
    count = 2 * len(APART)
    if isinstance(made, str) or len(made) != count:
        return Finding(False, f"prepare() gave {made} for {count} texts; wanted are {count} strings.", made, wanted)
    for where, one, other in zip(APART, made[::2], made[1::2], strict=True):
        if one == other:
            message = f"prepare() makes one text of two that differ {where}"
            return Finding(False, f"{message}: {one[:60]!r} ({len(one)} characters).", one[:200], wanted)
    return Finding(True, f"Texts that differ {', '.join(APART)} stay different.", len(made), wanted)


@check(models, after=keeps_apart)
def same_each_time(seen: Facts) -> Finding:
    """A text is prepared by itself: not by what came before it, nor by what stands beside it."""
    together, alone = seen["prepare"]["apart"], seen["prepare"]["one_by_one"][::-1]
    wanted = "the same text each time"
    if alone != [[text] for text in together]:
        one, again = next(((a, b) for a, b in zip(together, alone, strict=False) if b != [a]), ("", "nothing"))
        message = f"prepare() made {one[-60:]!r} of a text among others, and {again!r:.80} of it alone, later"
        return Finding(False, f"{message}: it keeps something, or looks at the neighbors.", again, wanted)
    return Finding(True, "prepare() makes the same of a text alone and among others, each time.", None, wanted)


@check(models, after=[right_labels, prepares_texts])
def one_preprocessing(seen: Facts) -> Finding:
    """A twin, trained here on what service/preprocess.py gives, has the same scores only if training used that too."""
    gaps, wanted = seen["classifier"]["retrained"], f"below {SAME}"
    gap = gaps["prepared"]
    if isinstance(gap, str):
        return Finding(False, f"A twin of the classifier cannot be trained, to compare with: {gap}.", gaps, wanted)
    twin = "Trained again on the tickets as service/preprocess.py prepares them, the classifier gives"
    if gap is not None and gap < SAME:
        return Finding(True, f"{twin} the same scores.", gaps, wanted)
    raw = isinstance(gaps["raw"], float) and gaps["raw"] < SAME
    guess = "the texts as they came" if raw else "texts that other code prepared, or on other tickets"
    size = "scores of another shape" if gap is None else f"scores that differ by up to {gap:.2f}"
    return Finding(False, f"{twin} {size}: the one in the store learnt from {guess}.", gaps, wanted)
