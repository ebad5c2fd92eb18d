"""The same two models behind two servers: each started, asked the same texts, ended. choice/runs/ and layers.csv."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil

from grader.errors import LabError
from grader.kit import Kit
from grader.model import Facts
from grader.processes import carriers
from grader.progress import Progress
from grader.workspace import learner_workspace
from grader.world import layers, mlserver
from grader.world.kit_modules import kit_module
from grader.world.load import machine
from grader.world.servers import Served, served
from labs.helpers.teaching.serve import find_server

TEXTS = 24
ROOT = Path()
Ask = Callable[[str, str], str]


def measure_all(names: list[str]) -> int:
    """Runs those layers one after the other; the exit code of the command."""
    if unknown := [name for name in names if name not in layers.MEASURED] or ([] if names else ["nothing"]):
        print(f"{unknown[0]} is no layer that can be measured: {', '.join(layers.MEASURED)}")
        return 1
    for name in names:
        if name == "mlserver" and not mlserver.look()[0]:
            print(f"mlserver is not run: {mlserver.look()[1]}")
            continue
        with Progress(f"measuring {name}"):
            layers.write_run(ROOT, measure(name))
    layers.write_table(ROOT, [layers.row(layers.read_run(ROOT, name)) for name in kept_runs()])
    print((ROOT / layers.TABLE).read_text().strip())
    return 0


def kept_runs() -> list[str]:
    return [name for name in layers.MEASURED if (ROOT / layers.RUNS / f"{name}.json").is_file()]


def measure(name: str) -> Facts:
    """A run: when the first answer came, what the processes used meanwhile, what was answered and how fast."""
    files, texts = layers.own_files(ROOT, name), some_texts()
    began = time.monotonic()
    with start(name) as server:
        if server.problem:
            raise LabError(f"{name} does not serve: {server.problem}", server.log(4))
        ask = ask_bentoml if name == "bentoml" else ask_mlserver
        ask(server.url, texts[0])
        first = time.monotonic() - began
        answers, samples = [], []
        for text in texts:
            asked = time.monotonic()
            label = ask(server.url, text)
            answers.append({"text": text, "label": label, "ms": round((time.monotonic() - asked) * 1000, 2)})
            if len(answers) % 8 == 0:
                samples.append(used(server.mark))
    return {
        "layer": name, "at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine.facts(),
        "files": files, "first_s": round(first, 2), "samples": samples, "answers": answers,
    }  # fmt: skip


def start(name: str) -> AbstractContextManager[Served]:
    if name == "mlserver":
        return mlserver.serving(ROOT.absolute(), (ROOT / "store").absolute())
    config = (ROOT / "service" / "bentoml_configuration.yml").absolute()
    env = {"BENTOML_CONFIG": str(config)} if config.is_file() else {}
    return served(ROOT / "service", ROOT / "store", env=env)


def some_texts() -> list[str]:
    """The same at each call, none of them learnt from."""
    tickets = kit_module(learner_workspace(Kit()), "tickets").held_out(600)
    return [text for text, _ in tickets[:: len(tickets) // TEXTS][:TEXTS]]


def ask_bentoml(url: str, text: str) -> str:
    got = httpx.post(f"{url}/classify", json={"texts": [text]}, timeout=60)
    return str(got.raise_for_status().json()["labels"][0])


def ask_mlserver(url: str, text: str) -> str:
    (model,) = mlserver.models_of(url)
    told = mlserver.metadata_of(url, model["name"])
    name = next(iter(told["inputs"]), "texts")
    got = mlserver.infer(url, model["name"], [text], name, 60)
    labels = [out["data"] for out in got["outputs"].values() if out["datatype"] == "BYTES"]
    if not labels:
        raise LabError(f"MLServer answers {got['status']}: {got['problem']}", "Ask it with curl, and look at its log.")
    return str(labels[0][0])


def used(mark: str) -> Facts:
    """Processes that carry the mark, and the memory that they hold: shared pages are divided among their sharers."""
    sizes = []
    for process in carriers(mark):
        try:
            memory = process.memory_full_info()
            sizes.append(getattr(memory, "pss", 0) or memory.uss)
        except psutil.Error:
            continue
    return {"processes": len(sizes), "mb": round(sum(sizes) / 1e6, 1)}


def row_of(name: str) -> dict[str, str]:
    """The table's row of that layer."""
    return next(row for row in layers.read_table(ROOT) if row["layer"] == name)


def compare(column: str) -> float:
    """MLServer's figure in percent of BentoML's."""
    return 100 * float(row_of("mlserver")[column]) / float(row_of("bentoml")[column])


def tell() -> None:
    """The table, in words that a reader can go by."""
    about = {"files": "files of yours", "lines": "lines of code in them", "processes": "processes"}
    about |= {"memory_mb": "memory, MB", "first_s": "first answer, s after the start", "ms": "an answer, ms"}
    rows = layers.read_table(ROOT)
    print(f"{'':<34}" + "".join(f"{row['layer']:>12}" for row in rows))
    for column, words in about.items():
        print(f"{words:<34}" + "".join(f"{row[column]:>12}" for row in rows))


# ---------------------------------------------------------------- for the notebook


def prepare() -> str:
    """MLServer's environment, and choice/installed where there is one: cells that need it look for that file."""
    said, mark = mlserver.bring(), ROOT / "choice" / "installed"
    mark.parent.mkdir(exist_ok=True)
    mark.unlink(missing_ok=True)
    if mlserver.look()[0]:
        mark.write_text(f"{said}\n")
    return said


def write(name: str, settings: Facts) -> None:
    """A JSON file of the model folder."""
    path = ROOT / "choice" / "mlserver" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=2) + "\n")
    print(f"wrote {path}")


def has(name: str) -> bool:
    """Whether there is a row of that layer; says so where there is none."""
    there = (ROOT / layers.TABLE).is_file() and any(row["layer"] == name for row in layers.read_table(ROOT))
    if not there:
        print(f"not run: {name} was not measured")
    return there


def ask_with_shape(name: str, texts: list[str], shape: list[int]) -> str:
    """In a line what the server of `%%shell --serve NAME` says to those texts under that shape; "" without it."""
    if not (ROOT / "choice" / "installed").is_file():
        print("not run: there is no choice/installed")
        return ""
    body = mlserver.request_of(texts)
    body["inputs"][0]["shape"] = shape
    url = find_server(name).url
    (model,) = mlserver.models_of(url)
    got = httpx.post(f"{url}/v2/models/{model['name']}/infer", json=body, timeout=15)
    labels = next((out["data"] for out in got.json().get("outputs", []) if out["datatype"] == "BYTES"), None)
    return f"{got.status_code} {labels or got.text[:120]}"


def letter(said: str) -> str:
    """The option of 10c that came true."""
    return {"2": "b", "5": "c"}.get(said[0], "a")
