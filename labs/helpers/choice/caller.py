"""`python -m labs.helpers.choice.caller`: what a colleague sees who asks the V2 model in choice/mlserver, and lab 02's
service beside it where the model answers. Incidents begin with it.
"""

from __future__ import annotations

from pathlib import Path

from grader.world import mlserver
from grader.world.servers import served
from labs.helpers.choice.measure import ask_bentoml

TEXTS = [
    "I was charged twice",
    "Where is my parcel?",
    "the code for two-factor login never reaches me, write to invoice.payments@parcel.example",
    "the courier says the address billing@account.example is wrong",
]


def main() -> None:
    with mlserver.serving(Path().absolute(), Path("store").absolute(), limit=40) as server:
        if server.problem:
            return print(f"{server.problem}\n{mlserver.complaint(server)}")
        models = mlserver.models_of(server.url)
        print("POST /v2/repository/index:", models)
        name = next((m["name"] for m in models), "triage")
        got = mlserver.infer(server.url, name, TEXTS)
    labels = [out["data"] for out in got["outputs"].values() if out["datatype"] == "BYTES"]
    if not labels:
        return print(f"POST /v2/models/{name}/infer: {got['status']} {got['problem']}")
    with served(Path("service"), Path("store")) as service:
        for text, label in zip(TEXTS, labels[0], strict=False):
            print(f"V2 {label:<10} service {ask_bentoml(service.url, text):<10} {text[:60]}")


if __name__ == "__main__":
    main()
