# ruff: noqa: E501  (lines of pages, as they stand there)
"""Puts what tests/figures/remeasure.sh measured into its pages: `.venv/bin/python tests/figures/keep_again.py OUT`.

For each OUT/NAME.txt: the table is kept as docs/runs/NAME.json, replaces the old one in its page, and its [[lost]] entry of
docs/numbers.toml becomes a [[table]]. What is not there stays lost. Read the diff: the prose beside a table may say more
than the new one does. This goes when nothing is lost any more.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
NUMBERS = ROOT / "docs/numbers.toml"
OUT = Path(sys.argv[1] if sys.argv[1:] else "lost")


def edit(name: str, *pairs: tuple[str, str]) -> None:
    path = ROOT / name
    text = path.read_text()
    for old, new in pairs:
        assert text.count(old) == 1, (name, text.count(old), old[:80])
        text = text.replace(old, new)
    path.write_text(text)


def kept(name: str, command: str) -> str:
    """Keeps the run; its table as text, or "" without output."""
    file, run = OUT / f"{name}.txt", ROOT / f"docs/runs/{name}.json"
    if not file.is_file():
        return ""
    words = [sys.executable, "tests/check_numbers.py", "--check", "--keep-table", name, str(file.resolve()), command]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if not run.is_file():
        sys.exit(f"{name}: {done.stdout}{done.stderr}")
    return "\n".join(json.loads(run.read_text())["table"])


def block(page: str, begins: str) -> str:
    """The table in the page whose head begins so."""
    found = re.search(rf"^{re.escape(begins)}.*\n(?:\|.*\n)+", (ROOT / page).read_text(), re.M)
    assert found, (page, begins)
    return found[0]


def register(name: str, page: str, lost: list[str]) -> None:
    """[[table]] in, the [[lost]] entries out whose text has one of `lost`."""
    parts = re.split(r"(?m)^(?=\[\[|# -- )", NUMBERS.read_text())
    mine = [p for p in parts if p.startswith("[[lost]]") and f'file = "{page}"' in p and any(one in p for one in lost)]
    assert len(mine) == len(lost), (name, len(mine))
    out = [p for p in parts if p not in mine]
    at = next(i for i, p in enumerate(out) if p.startswith("# -- lost"))
    out.insert(at, f'[[table]]\nfile = "{page}"\nrun = "docs/runs/{name}.json"\n\n')
    NUMBERS.write_text("".join(out))


def main() -> None:
    page = "service/README.md"
    if t := kept(
        "burst", "python experiments/burst.py ../tests/module_service/service:svc service:svc service_per_text:svc"
    ):
        old = block(page, "| max_batch_size |")
        edit(
            page,
            (
                "**A mixed burst**: 48 requests of 1, 2, 10 and 64 texts at once, twice (`python experiments/burst.py\n"
                f"../tests/module_service/service:svc service:svc service_per_text:svc`).\n\n{old}\n"
                "The columns of the module's service and of `service_per_text.py` were taken beside other work on the machine. `/readyz` of the\n"
                "locked service still says 200.\n",
                "**A mixed burst**: 48 requests of 1, 2, 10 and 64 texts at once, twice (`python experiments/burst.py\n"
                "../tests/module_service/service:svc service:svc service_per_text:svc`). The first column is the module's service.\n\n"
                f"{t}\n\n`hung`: no answer within the limit of the script. `/readyz` of the locked service still says 200.\n",
            ),
        )
        register("burst", page, ["| max_batch_size | the module's service"])
    if t := kept("runnables", "python experiments/runnable_vs_picklable.py"):
        old = block(page, "| | `service.py` |")
        edit(
            page,
            (
                old,
                f"{t}\n\nA client asks again when it is answered. Embedding runners of the store come in several processes, and with one API process\n"
                "one of these does all the work. A GPU is used by the kit's runner if BentoML assigns one (not run on a GPU yet), by the store's never.\n",
            ),
        )
        register("runnables", page, ["| | `service.py` |"])
    if t := kept("threads", "python experiments/threads.py"):
        found = re.search(r"\*\*A spinning OpenMP\*\*.*?Hence `OMP_WAIT_POLICY`\.\n", (ROOT / page).read_text(), re.S)
        old = found[0] if found else ""
        edit(
            page,
            (
                old,
                "**A spinning OpenMP** (`python experiments/threads.py`): threads that wait for work, alone and beside a neighbour that keeps\n"
                f"one core busy. Hence `OMP_WAIT_POLICY`.\n\n{t}\n\n",
            ),
        )
        register("threads", page, ["alone, spinning 97"])
    if all((OUT / f"{name}.txt").is_file() for name in ("burst", "runnables", "threads")):
        found = re.search(r"The run files of the burst, .*?\)\.\n\n", (ROOT / page).read_text(), re.S)
        edit(page, (found[0] if found else "", ""), ("## Measured (2026-11-24, 2 cores", "## Measured (2 cores"))
    if t := kept("room", "python experiments/room.py IMAGE"):
        edit(
            page,
            (
                "**SIGTERM under 20 clients**",
                "**What a container takes** (`python experiments/room.py IMAGE`), with the limits and restrictions of the manifests:\n\n"
                f"{t}\n\nThe largest requests are more than one core can compute in time: all but a few are refused.\n\n**SIGTERM under 20 clients**",
            ),
        )
        register("room", page, [])
    if t := kept("xray", "python tests/look_into_batches.py"):
        old = block("docs/releases.md", "| budget | runner |")
        edit(
            "docs/releases.md",
            (old, t + "\n"),
            (
                "\nA line costs 12 microseconds, so 0.02% of a core in the first and 0.12% in the second. Measured 2026-11-26; no run file.\n",
                "",
            ),
            (
                "40 clients for 6 s on a busy\nmachine, `max_batch_size` 32; what was seen leaving",
                "40 clients for 6 s,\n`max_batch_size` 32 (`python tests/look_into_batches.py`); what was seen leaving",
            ),
        )
        register("xray", "docs/releases.md", ["| budget | runner | batches |", "A line costs 12"])
    if t := kept("releases", "./lab test -s -m turn tests/test_release_live.py -k decided"):
        old = block("docs/releases.md", "| release | decision |")
        edit(
            "docs/releases.md",
            (f"{old}\nMeasured 2026-11-26; no run file.\n", t + "\n"),
            (
                "24 requests a second, half to the new one. The rows are of runs made one by one, with the steps of\n"
                "`tests/test_release_live.py`; as a whole it ran on 2026-11-26 (7 tests, all decided as here, none lost, a roll-out and a drained node included).\n\n"
                "    ./lab test -m turn tests/test_release_live.py\n",
                "24 requests a second, half to the new one:\n\n    ./lab test -s -m turn tests/test_release_live.py\n",
            ),
        )
        register("releases", "docs/releases.md", ["| release | decision | after |"])
        text = NUMBERS.read_text()
        gone = '[[setting]]\nfile = "docs/releases.md"\nsays = "(7 tests, all decided as here"\nwhy = "how many tests the file has"\n\n'
        assert gone in text
        NUMBERS.write_text(text.replace(gone, ""))
    if t := kept("faults", "./lab test -s -m fault tests/test_faults.py"):
        old = block("docs/faults.md", "| fault | asked meanwhile |")
        edit(
            "docs/faults.md",
            (old, t + "\n"),
            ("One run, 2026-11-24, on", "One run, on"),
            ("BentoML 1.4.39; its run file\nwas not kept.", "BentoML 1.4.39."),
        )
        register("faults", "docs/faults.md", ["| fault | asked meanwhile |"])
    if t := kept("clone", "python tests/measure.py"):
        edit(
            "README.md",
            ("The engine has at most 2,600 lines of code", f"{t}\n\nThe engine has at most 2,600 lines of code"),
        )
        register("clone", "README.md", [])

    done = subprocess.run([sys.executable, "tests/check_numbers.py"], cwd=ROOT, capture_output=True, text=True).stdout
    count = re.search(r"(\d+) lost", done)
    NUMBERS.write_text(re.sub(r"lost_at_most = \d+", f"lost_at_most = {count[1] if count else 0}", NUMBERS.read_text()))
    print(done)


if __name__ == "__main__":
    main()
