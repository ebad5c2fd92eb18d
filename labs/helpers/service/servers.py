"""Servers of a notebook: started by one cell, asked by others, and ended with the kernel at the latest."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import io
import json
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from grader.errors import LabError
from grader.processes import carriers
from grader.progress import Progress
from grader.world.servers import Served, served
from labs.helpers.teaching.serve import find_server

RUNNERS = ("embeddingrunner", "classifierrunner")
_running: dict[str, contextlib.ExitStack] = {}


def start(
    folder: str, target: str = "service:svc", config: dict[str, Any] | None = None, options: Sequence[str] = ()
) -> Served:
    """Serves `target` in `folder` on a free port. A server that a cell started under that target before is ended first,
    so a cell may be run twice; what is left when the kernel ends, or is killed, is ended by the kit's guard."""
    stop(target)
    if "--reload" in options and re.search(r"[\s'\"]", f"{Path(folder).resolve()}{sys.executable}"):
        problem = f"BentoML's --reload never gets ready in a path with a space or a quote: {Path(folder).resolve()}."
        raise LabError(problem, "Move the kit's folder to a path without; your notebooks and work/ come along.")
    stack = contextlib.ExitStack()
    # traces are sent at once, instead of every five seconds
    env = {"OTEL_BSP_SCHEDULE_DELAY": "100"}
    with Progress(f"starting {target}"):
        context = served(Path(folder), Path("store"), target, config, env, options=options, in_place=True)
        server = stack.enter_context(context)
    if server.problem:
        log = server.log(6)
        stack.close()
        raise RuntimeError(f"{server.problem}. The end of its log:\n{log}")
    _running[target] = stack
    print(f"{target} is ready after {server.seconds:.1f} s, at {server.url}")
    return server


def typed(name: str) -> Served:
    """The server that `%%shell --serve NAME` keeps, for what is drawn and counted here."""
    kept = find_server(name)
    return Served(kept.url, kept.home, kept.log, kept.mark, kept.process, seconds=round(kept.seconds, 1))


def parent(server: Served) -> psutil.Process | None:
    """The `bentoml serve` process itself, also below a shell."""
    for process in carriers(server.mark):
        with contextlib.suppress(psutil.Error):
            if "serve" in process.cmdline():
                return process
    return None


def write_config(path: str, settings: dict[str, Any]) -> None:
    """A BentoML configuration as a file, for BENTOML_CONFIG."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(yaml.safe_dump(settings, sort_keys=False))
    print(f"wrote {path}")


def stop(target: str | None = None) -> float:
    """Ends that server, or all of them, and returns the seconds that it took."""
    began = time.perf_counter()
    for name in [target] if target else list(_running):
        if name in _running:
            _running.pop(name).close()
    return time.perf_counter() - began


def outlives(server: Served, patience: float) -> str:
    """Asks the server's parent process to end, politely, and tells what is left of it after so many seconds. Then all
    is killed."""
    if process := parent(server):
        process.terminate()
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(patience)
    left = list(server.workers())
    for process in carriers(server.mark):
        with contextlib.suppress(psutil.Error):
            process.kill()
    return ", ".join(left) or "nothing"


atexit.register(stop)


def batching(max_batch_size: int, **more: Any) -> dict[str, Any]:
    """A configuration in which both runners batch up to that many items, and nothing is shed for being slow."""
    settings = {"enabled": True, "max_batch_size": max_batch_size, "max_latency_ms": 60_000}
    # one worker a runner; BentoML's own choice for some models is one a core
    runners = {name: {"batching": settings, "resources": {"cpu": 1}} for name in RUNNERS}
    return {"version": 1, "runners": runners, **more}


def tell(act: Callable[[], httpx.Response]) -> str:
    """Status and body of an answer in one line, or that none came."""
    try:
        answer = act()
        return f"{answer.status_code} {answer.text[:110].strip()}".strip()
    except httpx.TimeoutException:
        return "no answer"
    except httpx.HTTPError as broken:
        return type(broken).__name__


def locked_letter(said: dict[str, str]) -> str:
    """Question 02c's option that came true, from what `tell` said of the three requests."""
    ready = said["/readyz"].startswith("200")
    if said["ten texts"].startswith("200"):
        return "a"
    if said["ten texts"] != "no answer" or said["one text, later"] != "no answer":
        return "b"
    return "c" if ready else "d"


def spike(server: Served, texts: list[str], callers: int, seconds: float = 2.0) -> dict[str, float]:
    """How many requests are in each part, on average, while callers keep asking. The parts are disjoint: a request
    that is in a runner is inside the API server as well, and counts for the runner alone."""
    import threading

    end = time.monotonic() + seconds
    seen: list[dict[str, float]] = []

    def call() -> None:
        with httpx.Client(timeout=20) as client:
            while time.monotonic() < end:
                client.post(f"{server.url}/classify", json={"texts": texts})

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    while time.monotonic() < end - 0.2:
        time.sleep(0.2)
        seen.append(in_progress(server))
    for thread in threads:
        thread.join()
    mean = {who: sum(s.get(who, 0) for s in seen) / len(seen) for who in ("API server", *RUNNERS)}
    runners = {name: mean[name] for name in RUNNERS}
    return {"API server alone": mean["API server"] - sum(runners.values()), **runners}


def in_progress(server: Served) -> dict[str, float]:
    """The two gauges from /metrics: requests that are inside, by process; health checks left out."""
    found: dict[str, float] = {}
    for name, labels, value in server.metrics():
        if name.endswith("_request_in_progress") and labels["endpoint"] in ("/classify", "/encode", "/predict_proba"):
            who = labels.get("runner_name", "API server")
            found[who] = found.get(who, 0) + value
    return found


@contextlib.contextmanager
def edited(file: str, find: str, put: str) -> Iterator[None]:
    """The file with that change made, and as it was afterwards."""
    path = Path(file)
    before = path.read_text()
    path.write_text(replaced(file, find, put))
    try:
        yield
    finally:
        path.write_text(before)


def replaced(file: str, find: str, put: str) -> str:
    """The file's text with that change made. Raises ValueError unless there is one place for it."""
    before = Path(file).read_text()
    if before.count(find) != 1:
        raise ValueError(f"{find!r} stands {before.count(find)} times in {file}, not once")
    return before.replace(find, put)


def until(act: Callable[[], str], holds: Callable[[str], bool], limit: float = 120.0) -> float:
    """The seconds until what `act` gives is as wanted; an answer that does not come counts as not yet."""
    began = time.perf_counter()
    with Progress("asking again and again"):
        while time.perf_counter() - began < limit:
            with contextlib.suppress(httpx.HTTPError):
                if holds(act()):
                    return time.perf_counter() - began
            time.sleep(0.1)
    raise TimeoutError(f"not within {limit:g} s")


def load_model(name: str) -> Any:
    """The latest version of that name, in this kernel."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of picklable_model: deprecated
        return import_module("bentoml").models.get(name).load_model()


def load_function(module: str = "service", function: str = "classify") -> Callable[[Any], Any]:
    """The API function, imported anew from its file, with both runners in this kernel instead of in processes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of runners: deprecated
        sys.modules.pop(module, None)
        svc = import_module(module).svc
        for runner in svc.runners:
            runner.init_local(quiet=True)
    act = svc.apis[function].func
    # in a thread of its own, since this kernel's loop is busy with the cell that calls
    return lambda request: ThreadPoolExecutor(1).submit(asyncio.run, act(request)).result()


BAD = {
    "no JSON": b'{"texts": ',
    "an array": b'["a text"]',
    "a number for a text": b'{"texts": [7]}',
    "an empty text": b'{"texts": [""]}',
    "100,000 times [": b"[" * 100_000,
}


def send_bad(server: Served) -> dict[str, str]:
    """What each kind of bad input gets, and what a good one gets that is called text/plain."""
    as_json = {"content-type": "application/json"}
    with httpx.Client(base_url=server.url, timeout=2) as client:

        def post(body: bytes, headers: dict[str, str]) -> str:
            return tell(lambda: client.post("/classify", content=body, headers=headers))

        told = {name: post(body, as_json) for name, body in BAD.items()}
        return {**told, "called text/plain": post(b'{"texts": ["a"]}', {"content-type": "text/plain"})}


def as_json(rows: list[list[float]]) -> bytes:
    return json.dumps(rows).encode()


def png_of(width: int, height: int) -> bytes:
    """A small picture, as a camera's file would come."""
    from PIL import Image

    out = io.BytesIO()
    Image.effect_noise((width, height), 60).save(out, format="PNG")
    return out.getvalue()
