"""Mutants that nobody wrote: `python tests/generated.py --minutes 5 [sc2 ...]` tries those whose turn it is today.

Each changes one place of a file that a learner writes, in a copy of the walk's workspace. Caught: some check fails. One
whose own command ends with an error (the build, the training) is refused before any grader sees it, and does not count.
A survivor counts against the graders unless generated.toml calls it equivalent, and says what showed that. Exit code 1
when fewer than 90% of those that count are caught.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import chain, zip_longest
from pathlib import Path

from mutants.entries import control_of
from mutants.prove import mutated
from mutants.turns import rotate, within
from operators import mutate

from grader.grade import gather
from grader.judge import summarise
from grader.kit import Kit
from grader.model import Facts, Verdict

BUILD = "python -m labs.helpers.bento"
SAVE = "python service/save_models.py"
# criterion -> (the lab whose checkpoint it is made from, files, what is run afterwards)
WHERE: dict[str, tuple[str, tuple[str, ...], list[str]]] = {
    "sc1": ("01", ("service/save_models.py",), [SAVE]),  # how texts are prepared is the learner's choice
    "sc2": ("02", ("service/service.py", "service/runnable.py", "service/preprocess.py"), []),
    "sc3": ("03", ("service/bentofile.yaml", "service/requirements.txt", "service/service.py"), [BUILD]),
    "sc5": ("05", ("deploy/deployment.yaml", "deploy/service.yaml", "deploy/probes.yaml", "deploy/resources.yaml",
                   "deploy/security.yaml", "deploy/configuration.yaml", "deploy/networkpolicy.yaml",
                   "deploy/poddisruptionbudget.yaml", "deploy/bentoml_configuration.yml"), []),
}  # fmt: skip
GOAL = 0.9
KNOWN = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True)
class Mutant:
    short: str
    name: str
    facts: Facts  # as in scN.mutants.toml


def generate(kit: Kit, short: str) -> Iterator[Mutant]:
    """Every generated mutant of that criterion, from the files of the walk's checkpoint."""
    lab, files, commands = WHERE[short]
    folder = kit.state / "checkpoints" / lab
    around = control_of(kit, short)
    for file in files:
        for name, text in mutate(Path(file), (folder / file).read_text()):
            facts = {"id": name, "from": lab, "add": [{"file": file, "text": text}], "run": commands, **around}
            yield Mutant(short, name, facts)


def try_one(kit: Kit, mutant: Mutant) -> str:
    """What caught it, "survived", or "error: ..." where the grading could not tell."""
    criterion = kit.criterion(mutant.short)
    try:
        with mutated(kit, criterion, mutant.facts) as ws:
            graded = summarise(criterion, gather(ws, criterion).results, 0)
    except Exception as broken:  # the command that comes after it refuses the file: nothing to grade
        return f"refused: {str(broken).strip().splitlines()[-1][:100]}"
    failed = [c for c in graded.checks if c.verdict is Verdict.FAIL]
    if failed:
        return f"caught by {failed[0].id}"
    errors = [c for c in graded.checks if c.verdict is Verdict.ERROR]
    return f"error: {errors[0].id}: {errors[0].message[:100]}" if errors else "survived"


def mix(rows: list[list[Mutant]]) -> list[Mutant]:
    """One of each list after the other, so that a run which ends early has seen something of each."""
    nothing = object()
    together = chain.from_iterable(zip_longest(*rows, fillvalue=nothing))
    return [item for item in together if item is not nothing]  # type: ignore[misc]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("criteria", nargs="*", default=[])
    given, kit = parser.parse_args(), Kit()
    known = tomllib.loads(KNOWN.read_text())["equivalent"]
    shorts = given.criteria or list(WHERE)
    rows = {s: list(generate(kit, s)) for s in shorts}
    todo = mix([rotate(row, date.today().toordinal()) for row in rows.values()])
    caught, survived, errors, same, refused = 0, [], [], 0, 0
    for mutant in within(given.minutes * 60, [], todo):
        said = try_one(kit, mutant)
        print(f"{mutant.short} {mutant.name:72} {said}", flush=True)
        caught += said.startswith("caught")
        refused += said.startswith("refused")
        errors += [mutant.name] if said.startswith("error") else []
        if said == "survived" and mutant.name in known.get(mutant.short, {}):
            same += 1
        elif said == "survived":
            survived.append(mutant.name)
    counted = caught + len(survived) + len(errors)
    total = sum(map(len, rows.values()))
    print(f"tried {counted + same + refused} of {total}: {caught} of {counted} caught, {same} known to be equivalent, "
          f"{refused} refused by their own command")  # fmt: skip
    print(f"survived: {survived or 'none'}; grading could not tell: {errors or 'none'}")
    # one that survives is to be looked at, and says nothing of the share: a turn tries some dozen
    return int(counted - caught > max(1, (1 - GOAL) * counted))


if __name__ == "__main__":
    sys.exit(main())
