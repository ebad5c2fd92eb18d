"""Makes a mutant: a wrong submission, for an incident or to prove that a check can fail (tests/mutants).

    [[mutant]]                          # scN.mutants.toml
    id = "first-label-only";  from = "02";  fails = "one-answer-per-text";  story = "Indexes the batch."
    edit = [{ file = "service/service.py", find = "labels.tolist()", put = "labels.tolist()[:1]" }]

Also add [{file, text}], link [{file, to}], remove [path], run [shell command]. @TOKEN@ in what is put or added becomes
a token that nobody has written down.
"""

import secrets
import shutil

from grader.errors import BadKit
from grader.model import Criterion, Facts
from grader.processes import run
from grader.workspace import Workspace

RUN_LIMIT = 300


def apply(ws: Workspace, criterion: Criterion, mutant: Facts) -> None:
    where = ws.kit.criteria_dir / f"{criterion.short}.mutants.toml"
    for edit in mutant.get("edit", []):
        path = ws.root / edit["file"]
        text = path.read_text()
        if (times := text.count(edit["find"])) != 1:
            raise BadKit(where, f"{mutant['id']} is stale: {edit['find']!r} stands {times} times in {edit['file']}")
        path.write_text(text.replace(edit["find"], with_token(edit["put"])))
    for name in mutant.get("remove", []):
        path = ws.root / name
        if not path.exists():
            raise BadKit(where, f"{mutant['id']} is stale: there is no {name} to remove")
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for add in mutant.get("add", []):
        (ws.root / add["file"]).parent.mkdir(parents=True, exist_ok=True)
        (ws.root / add["file"]).write_text(with_token(add["text"]))
    for link in mutant.get("link", []):
        (ws.root / link["file"]).symlink_to(link["to"])
    for command in mutant.get("run", []):
        done = run(["sh", "-c", command], RUN_LIMIT, cwd=ws.root, env=ws.environ())
        if not done.ok:
            raise BadKit(where, f"{mutant['id']}: {command!r} ended with {done.code}: {done.tail(4)}")


def with_token(text: str) -> str:
    return text.replace("@TOKEN@", f"ghp_{secrets.token_hex(18)}")
