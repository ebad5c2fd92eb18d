"""Claims about `bentoml build` and the Dockerfile that BentoML makes of a Bento. No container engine is needed."""

from __future__ import annotations

from pathlib import Path

from grader.model import Facts
from labs.helpers.ledger import served
from labs.helpers.ledger.experiment import Outcome, Place, Said, experiment

BENTOFILE = "service: service:svc\npython: {lock_packages: false}\n"
STRAYS = (".env", "notes.ipynb", "sample.csv", "tests/test_service.py")
VALUE = "told-to-no-one"


def build(place: Place, more: str = "") -> Path:
    """Builds tiny.py with that addition to its bentofile; the Bento's folder."""
    project = served.lay_out(place)
    (project / "bentofile.yaml").write_text(BENTOFILE + more)
    return served.build(place, project)


def decide_strays(seen: Facts) -> Said:
    told = f"{len(seen['got_in'])} of {len(STRAYS)} files that the service does not import got in: "
    told += ", ".join(seen["got_in"]) or "none"
    return Said(Outcome.REFUTED if seen["got_in"] else Outcome.CONFIRMED, told)


@experiment(decide_strays)
def strays(place: Place) -> Facts:
    for name in STRAYS:
        path = place.scratch / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("not for serving\n")
    source = build(place) / "src"
    return {"got_in": [name for name in STRAYS if (source / name).is_file()]}


def decide_secret(seen: Facts) -> Said:
    told = f"files of the Bento in which a value of docker.env can be read: {', '.join(seen['files']) or 'none'}"
    return Said(Outcome.REFUTED if seen["files"] else Outcome.CONFIRMED, told)


@experiment(decide_secret)
def secret(place: Place) -> Facts:
    bento = build(place, f"docker:\n  env: {{INDEX_TOKEN: {VALUE}}}\n")
    holds = [p for p in sorted(bento.rglob("*")) if p.is_file() and VALUE in p.read_text(errors="replace")]
    return {"files": [p.relative_to(bento).as_posix() for p in holds]}


# What get_containerfile gives back, and where it says it.
GET = """
import contextlib, io, json, sys
import bentoml

out, err = io.StringIO(), io.StringIO()
with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    given = bentoml.container.get_containerfile(sys.argv[1])
print(json.dumps({"given": type(given).__name__, "out": len(out.getvalue()), "err": len(err.getvalue())}))
"""


def decide_containerfile(seen: Facts) -> Said:
    told = (
        f"it returns {seen['given']}; {seen['out']} characters go to standard output, {seen['err']} to standard error"
    )
    return Said(Outcome.CONFIRMED if seen["given"] == "str" else Outcome.REFUTED, told)


@experiment(decide_containerfile)
def containerfile(place: Place) -> Facts:
    return dict(served.last_line(served.python(place, ["-c", GET, tag(build(place))], place.scratch)))


def tag(bento: Path) -> str:
    return f"{bento.parent.name}:{bento.name}"


# Writes the Dockerfile that the image would be made by.
WRITE = "import sys, bentoml; bentoml.container.get_containerfile(sys.argv[1], output_path=sys.argv[2])"


def decide_layers(seen: Facts) -> Said:
    told = f"what the Dockerfile copies out of the Bento: {'; '.join(seen['whole'] + seen['parts']) or 'nothing'}"
    return Said(Outcome.CONFIRMED if seen["parts"] and not seen["whole"] else Outcome.REFUTED, told)


@experiment(decide_layers)
def layers(place: Place) -> Facts:
    """The COPY instructions that bring sources or models: all in one, or each of its own."""
    target = place.scratch / "Dockerfile"
    served.python(place, ["-c", WRITE, tag(build(place)), str(target)], place.scratch)
    copies = [line for line in target.read_text().splitlines() if line.startswith("COPY")]
    whole = [line for line in copies if line.split()[-2] in (".", "./")]
    parts = [line for line in copies if line.split()[-2].strip("./").split("/")[0] in ("src", "models")]
    return {"copies": copies, "whole": whole, "parts": parts}
