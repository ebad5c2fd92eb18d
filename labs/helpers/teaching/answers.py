"""Predictions that answer back: `%%answer ID` keeps what is expected, `measured(ID, it)` holds it against the world.

grader/questions.toml says what is asked: a number (unit, near), a choice (options) or a text. answers.json, in the
workspace, keeps both sides. Nothing of an explanation is shown before the cell that measures.
"""

import json
import re
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from grader.errors import BadKit, Refused, UnknownName
from grader.kit import Kit
from grader.model import Facts
from grader.workspace import Workspace, learner_workspace, write_atomic

ASKS = re.compile(r'\bmeasured\(\s*"(\w+)"')


@dataclass(frozen=True)
class Question:
    """`near`: {within = 5}, in the unit, or {factor = 2}. `option`: {is, shows} by letter; the right one: {is}."""

    id: str
    lab: str
    question: str
    explanation: str
    kind: str = "text"
    unit: str = ""
    near: Facts | None = None
    option: dict[str, Facts] | None = None

    def read(self, text: str) -> Any:
        """The number, the option's letter or the text; None when it is none of them. A reason may follow."""
        if self.kind == "number":
            found = re.search(r"-?\d+(?:,\d{3})*(?:\.\d+)?", text)
            return float(found[0].replace(",", "")) if found else None
        if self.kind == "choice":
            return self.letter(text)
        return text

    def letter(self, text: str) -> str | None:
        """Of `b`, of `b, because it waits`, of the option's whole line; "a pod waits" is no choice of a."""
        found = re.match(r"\W*(\w)(?!\w)(.*)", text, re.DOTALL)
        if not found or found[1].lower() not in (self.option or {}):
            return None
        letter, rest = found[1].lower(), found[2]
        is_word = letter == "a" and re.match(r" \w", rest) and not re.match(r" (because|since|as|it)\b", rest)
        whole = rest.strip().startswith(str((self.option or {})[letter]["is"]))
        return None if is_word and not whole else letter

    def wants(self) -> str:
        number = f"a number ({self.unit})" if self.unit else "a number"
        return {"number": number, "choice": f"one of {', '.join(self.option or {})}"}.get(self.kind, "a sentence")

    def phrase(self, value: Any) -> str:
        if self.kind == "number" and not isinstance(value, str):
            return f"{value:,.0f}" if value == round(value) or abs(value) >= 100 else f"{value:.2g}"
        return f"{value} ({self.option[value]['is']})" if self.option and value in self.option else f'"{value}"'

    def is_near(self, said: Any, it: Any) -> bool | None:
        """None for a text: nobody can tell."""
        if self.kind == "number":
            by = self.near or {"factor": 1.1}
            if "within" in by:
                return bool(abs(said - it) <= by["within"])
            low, high = sorted((abs(said), abs(it)))
            return bool(said == it or (said * it > 0 and high <= low * by["factor"]))
        return bool(said == it) if self.kind == "choice" else None

    def verdict(self, said: Any, it: Any) -> str:
        """One sentence: near or not, or the misunderstanding that a wrong choice shows."""
        near = self.is_near(said, it)
        if self.kind == "choice":
            return "" if near or not self.option else str(self.option[said].get("shows", ""))
        if near is None:
            return ""
        by = self.near or {"factor": 1.1}
        if said == it or by.get("within") == 0:
            return "That is right." if near else "That is not right."
        much = f"{by['within']:g}" if "within" in by else f"a factor of {by['factor']:g}"
        return f"That is near: within {much}." if near else f"That is not near: near is within {much}."


def questions(kit: Kit) -> dict[str, Question]:
    """All questions by id; empty when the kit asks nothing."""
    path = kit.root / "grader" / "questions.toml"
    try:
        entries = tomllib.loads(path.read_text()) if path.exists() else {}
        return {name: Question(id=name, **entry) for name, entry in entries.items()}
    except (tomllib.TOMLDecodeError, TypeError) as wrong:
        raise BadKit(path, str(wrong)) from wrong


def find_question(kit: Kit, name: str) -> Question:
    known = questions(kit)
    if name not in known:
        raise UnknownName("question", name, list(known))
    return known[name]


def kept_of(ws: Workspace, name: str) -> Facts:
    return next((a for a in ws.answers() if a["id"] == name), {})


def keep(ws: Workspace, name: str, **facts: Any) -> None:
    path = ws.root / "answers.json"
    kept = {entry.pop("id"): entry for entry in ws.answers()}
    kept[name] = {"text": "", **kept.get(name, {}), **facts}
    write_atomic(path, (json.dumps(kept, indent=1) + "\n").encode())


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def answer(line: str, cell: str) -> None:
    """`%%answer ID`: saves the prediction and says how it was read. One that was measured stays as it was made."""
    ws, question = learner_workspace(Kit()), find_question(Kit(), line.strip())
    text = "\n".join(row for row in cell.strip().splitlines() if not row.startswith("#")).strip().strip("\"' \n")
    old = kept_of(ws, question.id)
    value = question.read(text)
    if text in ("", "..."):
        done = " It is skipped, so the run goes on." if old.get("skipped") else ""
        print(f"{question.id} is unanswered: write {question.wants()} instead of the dots.{done}")
    elif value is None:
        print(f"{question.id} is not saved: begin with {question.wants()}; a reason may follow.")
    elif "measured" in old and not ws.name and old["text"] not in ("", text):
        print(f"{question.id} has been measured, so your first answer stays: {old['text']}")
    else:
        keep(ws, question.id, text=text, at=now(), value=value, skipped=False)
        unit = f" {question.unit}" if question.unit else ""
        print(f"{question.id} is saved: {question.phrase(value)}{unit}. The cell that measures it answers back.")


def skip(line: str) -> None:
    """`%skip ID`: goes on without a prediction; what is measured is shown all the same."""
    ws, question = learner_workspace(Kit()), find_question(Kit(), line.strip())
    if not kept_of(ws, question.id).get("text"):
        keep(ws, question.id, at=now(), skipped=True)
    print(f"{question.id} is skipped.")


def measured(name: str, it: Any = None, **facts: Any) -> None:
    """Holds what was measured against the prediction, keeps both, and shows the explanation. `it`: the number, in the
    question's unit; the letter of the option that came true; for a text what was seen, or nothing. `facts` are kept
    beside it: the rows that a letter was read off, or `measured_at` of a run that is kept."""
    from IPython.display import Markdown, display

    ws, question = learner_workspace(Kit()), find_question(Kit(), name)
    require_answer(ws, name)
    if it is not None:
        it = float(it) if question.kind == "number" else str(it)
        if question.kind == "choice" and it not in (question.option or {}):
            raise BadKit(Kit().root / "grader" / "questions.toml", f"{name} has no option {it!r}, which was measured")
        keep(ws, name, **{"measured": it, "measured_at": now(), **facts})
    print(compare(question, kept_of(ws, name)))
    display(Markdown(question.explanation.replace("{it}", "" if it is None else question.phrase(it))))


def compare(question: Question, kept: Facts) -> str:
    """ "You said 90; it is 52 of 120 tickets." and what that shows. An answer of an older kit is a text alone."""
    it, text = kept.get("measured"), kept["text"]
    said = question.read(text) if text else None
    unit = f" {question.unit}" if question.unit else ""
    you = f"You said {question.phrase(text if said is None else said)}" if text else f"You skipped {question.id}"
    if it is None:
        return f"{you}{unit if said is not None else ''}."
    if question.kind == "choice" and said == it:
        return f"{you}, and that is right."
    sentence = f"{you}; it is {question.phrase(it)}{unit}."
    return sentence if said is None else f"{sentence} {question.verdict(said, it)}".strip()


def require_answer(ws: Workspace, name: str) -> None:
    kept = kept_of(ws, name)
    if not kept.get("text") and not kept.get("skipped"):
        raise Refused(f"{name} is unanswered: predict first, in the cell above; `%skip {name}` goes on without.")


def ask_first(lines: list[str]) -> list[str]:
    """An input transformer: a cell that measures refuses before it runs, not after a minute of load."""
    text = "".join(lines)
    if not text.startswith("%%"):
        for name in ASKS.findall(text):
            if f"%skip {name}" not in text:
                require_answer(learner_workspace(Kit()), name)
    return lines


ask_first.has_side_effects = True  # type: ignore[attr-defined]  # IPython leaves it out where it only looks ahead


def listed(ws: Workspace) -> list[Facts]:
    """Each answer with its lab, whether it was near, and the sentence that the notebook showed; for a report."""
    known = questions(ws.kit)
    return [{**kept, **about(known.get(kept["id"]), kept)} for kept in ws.answers()]


def about(question: Question | None, kept: Facts) -> Facts:
    if question is None:  # of an older kit
        return {"lab": "", "kind": "text", "says": f"You said {kept['text']!r}."}
    said, it = question.read(kept["text"]) if kept["text"] else None, kept.get("measured")
    near = None if said is None or it is None else question.is_near(said, it)
    same = {"lab": question.lab, "kind": question.kind, "unit": question.unit}
    return {**same, "value": said, "near": near, "says": compare(question, kept)}
