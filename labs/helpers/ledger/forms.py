"""Claims about forms: what the course module writes, given to what is installed here."""

from __future__ import annotations

import json

from grader.model import Facts
from labs.helpers.kube import yatai
from labs.helpers.ledger import served
from labs.helpers.ledger.experiment import NotRun, Outcome, Place, Said, experiment

# Calls what stands in argv[1] and says what came of it.
CALL = """
import json, sys
import bentoml
try:
    exec(sys.argv[1])
    print(json.dumps("taken"))
except Exception as refused:
    print(json.dumps(f"{type(refused).__name__}: {refused}"[:160]))
"""


def decide_taken(seen: Facts) -> Said:
    return Said(Outcome.CONFIRMED if seen["said"] == "taken" else Outcome.REFUTED, str(seen["said"]))


def called(place: Place, line: str) -> Facts:
    return {"line": line, "said": served.last_line(served.python(place, ["-c", CALL, line], place.scratch))}


@experiment(decide_taken)
def service_class(place: Place) -> Facts:
    return called(place, 'bentoml.Service("support_ticket_intelligence", runners=[])')


@experiment(decide_taken)
def tracing(place: Place) -> Facts:
    return called(place, 'bentoml.legacy.Service("tickets", runners=[], tracing={"exporter_type": "otlp"})')


# What the kit adds to the definition's own complaints: for it any string is a name, and a Bento's are lowercase.
NO_RUNNER, FITS = ": no runner of the Bento", "nothing: it fits"


def decide_deployment(seen: Facts) -> Said:
    names = [one for one in seen["complaints"] if one.endswith(NO_RUNNER)]
    own = [one for one in seen["complaints"] if one not in (*names, FITS)]
    told = f"{len(own)} complaints of its resource definition{f', the first: {own[0]}' if own else ''}; besides, "
    told += f"{len(names)} names that no runner of a Bento has"
    return Said(Outcome.REFUTED if own else Outcome.CONFIRMED, told)


@experiment(decide_deployment)
def bento_deployment(place: Place) -> Facts:
    found = yatai.complaints("module")
    if found[0].startswith("not run: "):
        raise NotRun(found[0].removeprefix("not run: "))
    return {"complaints": found}


def decide_monitor(seen: Facts) -> Said:
    told = f"Prometheus in the cluster: {len(seen['targets'])} targets by the module's ServiceMonitor, {seen['fixed']} "
    told += "once it selects a Kubernetes label that the Service has and carries the one that Prometheus reads by"
    return Said(Outcome.CONFIRMED if seen["targets"] else Outcome.REFUTED, told)


@experiment(decide_monitor)
def service_monitor(place: Place) -> Facts:
    """From lab 08's run in the cluster, which is kept: in_cluster.json, with its date."""
    file = place.kit / "labs/helpers/monitoring/in_cluster.json"
    kept = json.loads(file.read_text())
    first, *rest = kept["monitors"]
    fixed = max(len(row["targets"]) for row in rest)
    return {"measured_at": kept["made"], "read": file.name, "targets": first["targets"], "fixed": fixed}
