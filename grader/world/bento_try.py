"""A Bento as a subject answers for it (grader/subject.py), in a process that has the Bento and its models alone."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import sys
import warnings
from typing import Any

_service: Any = None
_asked: dict[str, set[str]] = {}  # of each model the tags that were asked for
_opened: set[str] = set()  # paths, as they were given


def ready() -> str:
    """Imports what a server has imported, outside the learner's time."""
    import bentoml
    import sentence_transformers  # noqa: F401

    warnings.simplefilter("ignore")
    return str(bentoml.__version__)


def load(tag: str) -> None:
    """Loads it as a server does, with an eye on what its code asks the store for, now and when it answers."""
    global _service
    import bentoml

    note_models()
    sys.addaudithook(note_files)
    _service = bentoml.load(tag)
    for model in [m for runner in _service.runners for m in runner.models] + list(_service.models):
        _asked.setdefault(model.tag.name, set()).add(str(model.tag))


def note_models() -> None:
    from bentoml._internal.models.model import ModelStore

    right = ModelStore.get

    def get(self: Any, tag: Any) -> Any:
        model = right(self, tag)
        _asked.setdefault(model.tag.name, set()).add(str(model.tag))
        return model

    ModelStore.get = get  # type: ignore[method-assign]


def note_files(event: str, given: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(given[0], str):
        _opened.add(given[0])


def opened(folder: str) -> list[str]:
    """Files in that folder that were opened by their whole path, relative to it; at most 20."""
    return sorted(path.removeprefix(f"{folder}/") for path in _opened.copy() if path.startswith(f"{folder}/"))[:20]


def loaded() -> dict[str, list[str]]:
    """The tags of each model that its code asked the store for, by name."""
    return {name: sorted(tags) for name, tags in _asked.items()}


def lost(modules: list[str]) -> list[str]:
    """Those that cannot be imported any more: once the service is imported, BentoML takes src/ off the path."""

    def is_found(name: str) -> bool:
        with contextlib.suppress(ImportError, ValueError):
            return name in sys.modules or importlib.util.find_spec(name) is not None
        return False

    return [name for name in modules if not is_found(name)]


def classify(texts: list[str]) -> Any:
    """What it answers, its runners in this same process."""
    for runner in _service.runners:
        runner.init_local(quiet=True)
    return asyncio.run(ask(by_route("/classify"), json.dumps({"texts": texts}).encode()))


def by_route(route: str) -> Any:
    """The API function that answers there, whatever its name."""
    routes = {f"/{api.route.strip('/')}": api for api in _service.apis.values()}
    if route not in routes:
        raise LookupError(f"no API function has the route {route}; there are {', '.join(routes) or 'none'}")
    return routes[route]


async def ask(api: Any, body: bytes) -> Any:
    """As BentoML's server does it (api_func in its http_app.py): a request for the input's descriptor, the function
    with or without a context, a response of the output's descriptor."""
    from starlette.requests import Request

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    scope = {"type": "http", "method": "POST", "path": api.route, "headers": headers, "query_string": b""}
    with _service.context.in_request(request := Request(scope, receive)) as context:
        given = [await api.input.from_http_request(request), *([context] if api.needs_ctx else [])]
        answer = api.func(*given)
        answer = await answer if asyncio.iscoroutine(answer) else answer
        response = await api.output.to_http_response(answer, context if api.needs_ctx else None)
    return json.loads(bytes(response.body))


QUESTIONS = {f.__name__: f for f in (ready, load, lost, classify, loaded, opened)}
