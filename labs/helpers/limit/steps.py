"""The ladder: from the reference service, one named setting or file a step, to close to the limit. Each step keeps
those before it, so its gain is what it adds to them."""

from __future__ import annotations

import contextlib
import copy
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import yaml

from grader.model import Facts
from grader.workspace import copy_tree
from grader.world.servers import Served, served
from labs.helpers.limit import extras, onnx
from labs.helpers.limit.contestant import Contestant
from labs.helpers.limit.proofs import not_applied
from labs.helpers.limit.store import agreeing, service, store

NO_LOGS = {
    "api_server": {"logging": {"access": {"enabled": False}}},
    "tracing": {"excluded_urls": ["/classify", "/encode", "/predict_proba"]},
}


@dataclass(frozen=True)
class Step:
    """`adds` is the one thing that is new; `where` the file or setting that does it; `costs` what it takes in
    return."""

    name: str
    adds: str
    where: str
    costs: str
    supported: bool  # by BentoML's or the package's own documentation, without a private module
    target: str = "service:svc"
    config: Facts = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    extras: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    least: float = 0.995  # share of held-out texts that must get the models' own label
    model: str = ""  # an ONNX model that must have been made


def chain(*changes: Callable[[Step], Step]) -> list[Step]:
    found = [Step("reference", "nothing: service/ as it is", "service/service.py", "", True)]
    for change in changes:
        found.append(change(found[-1]))
    return found


def add(name: str, adds: str, where: str, costs: str, supported: bool, **new: object) -> Callable[[Step], Step]:
    """A step that changes the one before it; configurations and variables are merged."""

    def change(before: Step) -> Step:
        merged: Facts = dict(new)
        for key, old in (("config", before.config), ("env", before.env)):
            if key in merged:
                merged[key] = merge(dict(old), merged[key])
        if "extras" in merged:
            merged["extras"] = (*before.extras, *merged["extras"])
        about: Facts = {"name": name, "adds": adds, "where": where, "costs": costs, "supported": supported}
        return replace(before, **{**about, **merged})

    return change


def merge(old: Facts, new: Mapping[str, object]) -> Facts:
    made = copy.deepcopy(old)
    for key, value in new.items():
        made[key] = merge(made.get(key, {}), value) if isinstance(value, Mapping) else value
    return made


LADDER = chain(
    add(
        "uvloop", "uvloop and httptools", "two packages: uvicorn takes them where they are installed",
        "two packages with compiled code; MLServer's environment must keep an older uvloop", True, extras=("fast",),
    ),
    add(
        "no-logs", "no line and no trace for a request", "api_server.logging.access, tracing.excluded_urls",
        "neither access log nor traces of /classify; answers lose X-BentoML-Request-ID; metrics stay", True,
        config=NO_LOGS,
    ),
    add(
        "per-core", "an embedding process a core, one thread in each", "service/limit/workers.py",
        "the model's memory once more for each core", True, target="per_core:svc",
    ),
    add(
        "gathered", "the API function gathers what waits into few calls", "service/limit/gather.py, gathered.py",
        "a call that fails takes up to 32 requests with it; the runner's batch sizes count calls; BentoML's client may "
        "send two calls to one worker while another has none, so rounds differ much", True,
        target="gathered:svc",
    ),
    add(
        "one-each", "one connection and one call at a time to each embedding worker", "service/limit/lanes.py, wire.py",
        "wire.py, which speaks the runner's private protocol, and lanes.py", False, target="one_each:svc",
    ),
    add(
        "nice", "embedding processes give way to the API server", "EMBEDDER_NICE=5 (service/limit/workers.py)",
        "where other programs run, they take the embedder's core first", True, env={"EMBEDDER_NICE": "5"},
    ),
    add(
        "onnx", "ONNX Runtime instead of torch, float32", "service/limit/onnx_encoder.py",
        "an export with each new model, four packages, another runtime to know", True,
        env={"EMBEDDER": "onnx"}, extras=("onnx",), model="onnx",
    ),
    add(
        "int8", "the same model with 8-bit weights", "EMBEDDER=int8", "vectors differ: some labels may", True,
        env={"EMBEDDER": "int8"}, model="int8", least=0.98,
    ),
)  # fmt: skip
KNOWN = {step.name: step for step in LADDER}


def configuration(step: Step) -> Facts:
    base = yaml.safe_load((service() / "bentoml_configuration.yml").read_text())
    return merge(base, step.config)


def contestant(step: Step) -> Contestant:
    """Serves a copy of service/ with that step; what it needs (packages, an exported model) is made when it starts."""
    facts = {"adds": step.adds, "where": step.where, "costs": step.costs, "supported": step.supported}
    return Contestant(step.name, step.adds, lambda: opened(step), check=lambda url: checked(step, url), facts=facts)


def checked(step: Step, url: str) -> Facts:
    """Agreement of the labels; of an exported model also the cosines between its vectors and torch's."""
    told = agreeing(step.name, step.least)(url)
    known = onnx.about(step.model) if step.model else {}
    return {**told, **{key: known[key] for key in ("cosine_least", "cosine_mean", "mb") if key in known}}


@contextlib.contextmanager
def opened(step: Step) -> Iterator[Served]:
    with tempfile.TemporaryDirectory(prefix="limit-", ignore_cleanup_errors=True) as folder:
        project = Path(folder) / "project"
        copy_tree(service(), project)
        paths = [str(project / "limit"), *(str(extras.bring(name)) for name in step.extras)]
        env = {**step.env, "PYTHONPATH": os.pathsep.join(paths)}
        if step.model:
            env["ONNX_MODELS"] = str(onnx.made(store()))
        config, options = configuration(step), step.options
        with served(project, store(), step.target, config, env, limit=90, options=options, in_place=True) as server:
            server.problem = server.problem or not_applied(server, wanted(step))
            yield server


def wanted(step: Step) -> Facts:
    """What the running server must show (proofs.py) for the step to be measured: what it adds, and nothing that
    comes later."""
    cores = int(config_of(step, "resources").get("cpu") or psutil.cpu_count() or 1)
    return {
        "uvloop": "fast" in step.extras,
        "httptools": "fast" in step.extras,
        "traced": "tracing" not in step.config,
        "embedders": 1 if step.target == "service:svc" else cores,
        "onnxruntime": bool(step.model),
        "nice": int(step.env.get("EMBEDDER_NICE", "0")),
    }


def config_of(step: Step, key: str) -> Facts:
    """Of the embedding runner."""
    return dict(step.config.get("runners", {}).get("embeddingrunner", {}).get(key, {}))


def contestants(names: Sequence[str] = ()) -> list[Contestant]:
    """Those steps, or all; the reference service is the first."""
    return [contestant(step) for step in LADDER if not names or step.name in names]
