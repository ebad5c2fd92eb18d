"""What a service told its callers, held against the form that an answer has and against what the saved models say.

Pure: facts in (grader/world/asker.py gathers them), words and findings out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from grader.model import Facts, Finding

JSON = "application/json"
CLOSE = 0.001  # batching moves a score by 0.000001, another classifier by 0.05 and more


def shape_problem(answer: Facts, count: int) -> str:
    """What is wrong with the form of an answer for that many texts, or nothing."""
    if answer["status"] != 200 or answer["body"] is None:
        status = "" if answer["status"] is None else f"status {answer['status']}"
        return " ".join(p for p in (status, answer["problem"] or short(answer["body"])) if p)
    body = answer["body"]
    if not isinstance(body, dict) or not all(isinstance(body.get(k), list) for k in ("labels", "scores")):
        return f"{short(body)}, not an object with the lists `labels` and `scores`"
    labels, scores = body["labels"], body["scores"]
    if (len(labels), len(scores)) != (count, count):
        return f"{many(len(labels), 'label')} and {many(len(scores), 'score')}"
    if not all(isinstance(label, str) for label in labels):
        return f"labels that are not words: {short(labels)}"
    fits = all(isinstance(s, int | float) and not isinstance(s, bool) and 0 <= s <= 1 for s in scores)
    return "" if fits else f"scores that are not numbers from 0 to 1: {short(scores)}"


def short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 120 else f"{text[:117]}..."


def many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def is_json(kind: str) -> bool:
    kind = kind.partition(";")[0].strip().lower()
    return kind == JSON or (kind.startswith("application/") and kind.endswith("+json"))


def says_what(body: Any) -> bool:
    """Whether an error's body is an object that says in words what is wrong."""
    return isinstance(body, dict) and any(isinstance(v, str) and v.strip() for v in body.values())


def pairs(answers: list[Facts]) -> Iterator[tuple[str, str, float]]:
    """(text, label, score) of all texts in those answers that have the right form."""
    for answer in answers:
        if not shape_problem(answer, len(answer["texts"])):
            yield from zip(answer["texts"], answer["body"]["labels"], answer["body"]["scores"], strict=True)


Same = Callable[[Facts, str, float], bool]  # (what the models say of a text, its label, its score) -> do they agree?


def differing(answers: list[Facts], told: dict[str, Facts], same: Same) -> list[str]:
    return [text for text, label, score in pairs(answers) if not same(told[text], label, score)]


def same_score(told: Facts, _: str, score: float) -> bool:
    return bool(abs(told["score"] - score) < CLOSE)


def same_both(told: Facts, label: str, score: float) -> bool:
    return same_label(told, label, score) and same_score(told, label, score)


def same_label(told: Facts, label: str, _: float) -> bool:
    return bool(told["label"] == label)


def compare(asked: list[Facts], told: dict[str, Facts], same: Same, what: str) -> Finding:
    """Each text's label, or score, against what the saved models say when they are asked directly."""
    total = len(list(pairs(asked)))
    wrong = [(t, label, score) for t, label, score in pairs(asked) if not same(told[t], label, score)]
    if not wrong:
        message = f"The {what} of each of {total} texts is what the saved models say of it."
        return Finding(True, message, f"{total} of {total}", total)
    text, label, score = wrong[0]
    own = told[text]
    message = f"{len(wrong)} of {total} texts got another {what} than the saved models give to prepare(text)"
    says = f"{label} {score:.3f}, the models say {own['label']} {own['score']:.3f}"
    return Finding(False, f"{message}. One, {text!r}, got {says}.", f"{total - len(wrong)} of {total}", total)


# ---------------------------------------------------------------- findings that both forms of the service share


def unusual_read_alike(others: dict[str, Facts], told: dict[str, Facts], total: int) -> Finding:
    """Texts that are unlike the tickets, by what is unusual in them: what the server makes of each, and what prepare()
    and the models do."""
    for kind, answer in others.items():
        text = answer["texts"][0]
        if wrong := shape_problem(answer, 1):
            return Finding(False, f"A text {kind} got {wrong}: {short(text)}.", wrong, "a label and a score")
        if differing([answer], told, same_both):
            (_, label, score), own = next(pairs([answer])), told[text]
            says = f"got {label} {score:.3f}, and the models say {own['label']} {own['score']:.3f} of prepare(text)"
            message = f"A text {kind} {says}: the server reads another text than the one that prepare() makes of it"
            return Finding(False, f"{message}. It was {short(text)}.", kind, "the models' own score")
    count = len(others)
    return Finding(count > 0, f"{count} unusual texts got what the models say of prepare(text).", count, total)


def one_for_each(answers: Sequence[Facts], sizes: Sequence[int]) -> Finding:
    """Of requests with so many texts each: as many labels and scores as texts."""
    found = {}
    for answer in answers:
        count = len(answer["texts"])
        found[str(count)] = wrong = shape_problem(answer, count)
        if wrong:
            wanted = f"{many(count, 'label')} and {many(count, 'score')}"
            message = f"A request of {many(count, 'text')} got {wrong}; wanted are {wanted}."
            return Finding(False, message, found, wanted)
    asked = ", ".join(found)
    if list(found) != [str(size) for size in sizes]:
        return Finding(False, f"Requests of {asked or 'no'} texts were answered.", asked, list(sizes))
    return Finding(True, f"Requests of {asked} texts got a label and a score for each text.", asked, asked)


def needs_no_store(first: Facts, closed: Facts) -> Finding:
    """Of two requests of two texts while the store could not be read: the first of all, and a later one."""
    if wrong := shape_problem(first, 2):
        message = f"As soon as it said ready, the store was closed, and the first request got {wrong}: what the answer"
        message += f" takes is loaded when it is asked for. The end of the log:\n{first['log']}"
        return Finding(False, message, wrong, "an answer as later")
    if wrong := shape_problem(closed, 2):
        message = f"With the store closed after the start, a request got {wrong}: a model is loaded for each request"
        return Finding(False, f"{message}. The end of the log:\n{closed['log']}", wrong, "an answer as before")
    return Finding(True, "Once started, it needs the store no more: nothing is loaded for a request.", 200, 200)


def lost_meanwhile(name: str, still: Facts, seconds: float) -> Finding | None:
    """Who waited for a part that stood still, and got no answer after it went on; None if all got one."""
    lost = [a for a in still["answers"] if a["status"] != 200]
    if not lost:
        return None
    message = f"After the process of {name} stood still for {seconds:g} s, {many(len(lost), 'caller')} of"
    message += f" {len(still['answers'])} who waited got no answer (the first: {lost[0]['status']})"
    return Finding(False, f"{message}.", lost[0]["status"], "an answer as before")


def computed_together(frozen: dict[str, Facts], callers: int, part: str, hint: str) -> Finding:
    """Callers who wait for a part at the same moment are computed together: what `batchable` is for. Where another part
    has put their calls together before, fewer calls than callers come."""
    found = {name: [still["batches"], still["calls"]] for name, still in frozen.items()}
    wanted = "fewer batches than callers"
    for name, (batches, calls) in found.items():
        met = f"{callers} callers waited for {name} at the same moment"
        if calls < 1:
            return Finding(False, f"{met}, and it makes no batches: its method is not batchable{hint}.", found, wanted)
        if not 0 < batches < callers:
            return Finding(False, f"{met}, and it computed {calls} calls in {batches} batches.", found, wanted)
    return Finding(True, f"Callers who wait for a {part} together are computed together.", found, wanted)
