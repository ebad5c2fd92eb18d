"""Incidents: one of a lab's mutants, made in the learner's own work. It is over when the criterion passes again.

    [[mutant]]                          # as in mutants.py, and:
    incident = true
    shows = "What a caller sees."       # or shows_run = "a command that asks as a caller would"
    live = ["commands after each change of files, such as: kubectl apply -k deploy"]    # usually the mutant's run
    causes = { a = "...", b = "..." };  cause = "b"
    in_place = { edit = [...] }         # instead of the mutant's own changes, where those are of no use here
    own = true                          # only where its edits fit: the solution's file does not pass beside others'
    right = { edit = [...], run = [...] }   # the repair, as the check's third hint has it
    wrong = [{ story, edit, run }]          # repairs that somebody would try, and that do not end it (tests)

`.incident.json` says what was done and where the backup is. It is written before anything is changed, so whatever kills
us, the next call says where one stands.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from grader.errors import LabError, UnknownName, WrongCall
from grader.grade import grade_criterion
from grader.kit import Kit
from grader.model import Criterion, Facts, Verdict
from grader.mutants import apply
from grader.notebooks import make_notebook
from grader.processes import run
from grader.workspace import Workspace, copy_tree, locked, read_json, write_atomic

LIVE_LIMIT = 600
CHANGES = ("edit", "add", "remove", "link")
NOTHING = "There is no incident, so there is nothing to put back."
Say = Callable[[str], None]


def known_incidents(kit: Kit, number: str) -> dict[str, tuple[Criterion, Facts]]:
    """The lab's mutants that are incidents, with their criterion, by id."""
    criteria = [c for c in kit.criteria() if c.lab == kit.lab(number).number]
    return {m["id"]: (c, in_place(m)) for c in criteria for m in kit.mutants(c.short) if m.get("incident")}


def in_place(mutant: Facts) -> Facts:
    """The mutant as it is made in the learner's own work, where its `run` is what makes a change live."""
    changes = mutant.get("in_place", {k: mutant[k] for k in CHANGES if k in mutant})
    told = {k: v for k, v in mutant.items() if k not in (*CHANGES, "run", "around")}
    return {"live": mutant.get("run", []), **told, **changes}


def incident(ws: Workspace, number: str, letter: str, give_up: bool, say: Say) -> list[str]:
    """The next thing to do with an incident: make one, look whether it is over, hear its cause, put all back."""
    with locked(ws.root / ".incident.lock", "the incident", say):
        state = read_json(ws.root / ".incident.json")
        if not state.get("stage"):
            return [NOTHING] if give_up else begin(ws, ws.kit.lab(number).number, say)
        mutant = find_mutant(ws, state)
        if state["stage"] in ("breaking", "restoring"):
            return cut_short(ws, state, mutant, say)
        if state["lab"] != ws.kit.lab(number).number:
            other = state["lab"]
            raise WrongCall(f"Incident {other} is not done yet.", f"`%incident {other}`, or `--give-up` with it.")
        if give_up:
            return abandon(ws, state, mutant, say)
        if state["stage"] == "broken":
            return look_again(ws, state, mutant, say)
        return name_cause(ws, state, mutant, letter)


def begin(ws: Workspace, number: str, say: Say) -> list[str]:
    known = known_incidents(ws.kit, number)
    if not known:
        raise UnknownName("incident in lab", number, [lab.number for lab in ws.kit.labs()])
    done = read_json(ws.root / ".incident.json").get("done", [])
    useful = [name for name, (_, mutant) in known.items() if not (mutant.get("own") and unfit(ws, mutant))]
    criterion, mutant = known[choose(ws, useful or list(known), done)]
    say(f"an incident begins from a pass: grading {criterion.short}")
    graded = grade_criterion(ws, criterion)
    if graded.verdict is not Verdict.PASS:
        seen = graded.first_problem()
        problem = f"{criterion.short} does not pass: {seen.id if seen else graded.note}."
        raise LabError(problem, f"An incident begins from a pass: `./lab grade {criterion.short}`.")
    state = {"lab": number, "criterion": criterion.short, "mutant": mutant["id"], "check": mutant["fails"]}
    state |= {"done": done, "began": time.time(), "replaced": [], "backup": back_up(ws)}
    note(ws, state, "breaking")
    state["replaced"] = replace_unfit(ws, number, mutant, say)
    note(ws, state, "breaking")
    apply(ws, criterion, mutant)
    go_live(ws, mutant, say)
    note(ws, state, "broken")
    forget_hints(ws, mutant["fails"])
    return ["Something is broken now.", *what_shows(ws, mutant), *ways_on(number)]


def ways_on(number: str) -> list[str]:
    return [f"Find it and repair it. `%incident {number}` says whether it is over, `%hint` helps,",
            f"`%incident {number} --give-up` puts everything back."]  # fmt: skip


def choose(ws: Workspace, names: list[str], done: list[str]) -> str:
    """One that was not had yet, in an order that is the workspace's own; all had: begins again."""
    order = sorted(names, key=lambda name: hashlib.sha256(f"{ws.root}{name}".encode()).hexdigest())
    return min(order, key=lambda name: done.count(name))


def find_mutant(ws: Workspace, state: Facts) -> Facts:
    known = known_incidents(ws.kit, state["lab"])
    if state["mutant"] not in known:
        raise LabError(f"The kit has no incident {state['mutant']} any more.", f"Your files are in {state['backup']}.")
    return known[state["mutant"]][1]


def look_again(ws: Workspace, state: Facts, mutant: Facts, say: Say) -> list[str]:
    """Over when the criterion passes; then a file that was the solution's gives way to the learner's own."""
    criterion = ws.kit.criterion(state["criterion"])
    say(f"checking whether {criterion.short} passes again")
    minutes = (time.time() - state["began"]) / 60
    graded = grade_criterion(ws, criterion)
    if graded.verdict is Verdict.ERROR:
        seen = graded.first_problem()
        raise LabError(f"The grader had trouble: {seen.message if seen else graded.note}", "Call it again.")
    if graded.verdict is not Verdict.PASS:
        return [f"Not over yet, after {minutes:.0f} minutes.", *what_shows(ws, mutant), *ways_on(state["lab"])]
    if state["replaced"]:
        bring_back(ws, state, state["replaced"])
        go_live(ws, mutant, say)
        say(f"your own {', '.join(state['replaced'])} is back")
    note(ws, state, "over")
    return [f"Over after {minutes:.0f} minutes: {criterion.short} passes again. {ask_cause(state, mutant)}"]


def ask_cause(state: Facts, mutant: Facts) -> str:
    causes = [f"  {letter}  {cause}" for letter, cause in mutant["causes"].items()]
    return "\n".join(["What was it?", *causes, f"Name it: `%incident {state['lab']} LETTER`."])


def name_cause(ws: Workspace, state: Facts, mutant: Facts, letter: str) -> list[str]:
    causes, cause = mutant["causes"], mutant["cause"]
    if letter not in causes:
        return [f"It is over. {ask_cause(state, mutant)}"]
    note(ws, {"done": [*state["done"], mutant["id"]]}, "")
    told = "You named it" if letter == cause else f"You said {letter} ({causes[letter]}); it was {cause}"
    more = f"`%incident {state['lab']}` makes the other one."
    return [f"{told}: {causes[cause]}.", mutant["story"], more]


def abandon(ws: Workspace, state: Facts, mutant: Facts, say: Say) -> list[str]:
    if state["stage"] == "broken":
        put_back(ws, state, mutant, say)
    note(ws, {"done": [*state["done"], mutant["id"]]}, "")
    return [f"Everything is as before. It was: {mutant['causes'][mutant['cause']]}.", mutant["story"]]


def cut_short(ws: Workspace, state: Facts, mutant: Facts, say: Say) -> list[str]:
    """Killed while it was made, or while it was put back: puts all back, once more from the start."""
    put_back(ws, state, mutant, say)
    note(ws, {"done": state["done"]}, "")
    return [f"Incident {state['lab']} was cut short while files were changed; everything is as before.",
            f"`%incident {state['lab']}` makes it again."]  # fmt: skip


def put_back(ws: Workspace, state: Facts, mutant: Facts, say: Say) -> None:
    note(ws, state, "restoring")
    for entry in [*mutant.get("add", []), *mutant.get("link", [])]:
        (ws.root / entry["file"]).unlink(missing_ok=True)
    kept = Path(state["backup"])
    bring_back(ws, state, [p.relative_to(kept).as_posix() for p in kept.rglob("*") if p.is_file()])
    go_live(ws, mutant, say)


# ---------------------------------------------------------------- files


def note(ws: Workspace, state: Facts, stage: str) -> None:
    write_atomic(ws.root / ".incident.json", json.dumps({**state, "stage": stage}, indent=1).encode())


def back_up(ws: Workspace) -> str:
    """What a mutant may change, copied to backups/: all but the store, results and notebooks. Nothing is moved."""
    target = ws.root / "backups" / f"incident.{datetime.now():%Y%m%d-%H%M%S-%f}"
    skip = {"store", "results", "backups", "answers.json"}
    skip |= {p.name for p in ws.root.iterdir() if p.name.startswith(".") or p.suffix == ".ipynb"}
    copy_tree(ws.root, target, skip)
    return str(target)


def bring_back(ws: Workspace, state: Facts, names: list[str]) -> None:
    for name in names:
        kept, path = Path(state["backup"]) / name, ws.root / name
        if path.is_symlink() or not path.is_file() or path.read_bytes() != kept.read_bytes():
            path.unlink(missing_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(kept, path)


def replace_unfit(ws: Workspace, number: str, mutant: Facts, say: Say) -> list[str]:
    """Where an edit does not fit the learner's text, the solution's file takes its place. Returns which."""
    for name in (names := unfit(ws, mutant)):
        write_atomic(ws.root / name, solution_file(ws.kit, number, name).encode())
        say(f"your {name} is unlike the solution's, which takes its place during the incident; yours comes back")
    return names


def unfit(ws: Workspace, mutant: Facts) -> list[str]:
    """The learner's files that an edit does not fit."""
    names = []
    for edit in mutant.get("edit", []):
        path = ws.root / edit["file"]
        text = path.read_text() if path.is_file() else ""
        names += [edit["file"]] if text.count(edit["find"]) != 1 else []
    return list(dict.fromkeys(names))


def solution_file(kit: Kit, number: str, name: str) -> str:
    """The file as the solutions up to that lab leave it: the last `%%work` cell that writes it, or as it is given."""
    found = None
    for lab in [lab for lab in kit.labs() if lab.number <= number]:
        if name in lab.front.get("gives", []):
            found = (kit.root / name).read_text()
        for cell in json.loads(make_notebook(lab, solved=True))["cells"]:
            first, _, rest = "".join(cell["source"]).partition("\n")
            if first.split()[:2] == ["%%work", name]:
                found = rest + "\n"
    if found is None:
        raise LabError(f"Your {name} is not as the kit laid it out.", "Bring it back by the lab's first cells.")
    return found


def forget_hints(ws: Workspace, check: str) -> None:
    """The ladder of an incident's check begins at its first step."""
    path = ws.root / ".hints.json"
    write_atomic(path, json.dumps({**read_json(path), check: 0}).encode())


# ---------------------------------------------------------------- the world


def go_live(ws: Workspace, mutant: Facts, say: Say) -> None:
    """The commands that make changed files count: a build, a push, an apply."""
    for command in mutant.get("live", []):
        say(command.splitlines()[0][:100])
        done = run(["bash", "-c", command], LIVE_LIMIT, cwd=ws.root, env=ws.environ())
        if not done.ok:
            raise LabError(f"{command!r} ended with {done.code}: {done.tail(4)}", "`--give-up` puts everything back.")


def what_shows(ws: Workspace, mutant: Facts) -> list[str]:
    """A text, or what a command prints that asks as a caller would; it may fail, as a caller's does."""
    if "shows_run" not in mutant:
        return [str(mutant["shows"]).strip()]
    done = run(["bash", "-c", mutant["shows_run"]], 90, cwd=ws.root, env=ws.environ())
    return [str(mutant.get("shows", "")).strip(), *done.tail(12).splitlines()]


def open_check(ws: Workspace) -> str:
    """The check that an incident has broken, so that `%hint` helps with it; "" without one."""
    state = read_json(ws.root / ".incident.json")
    return str(state["check"]) if state.get("stage") == "broken" else ""
