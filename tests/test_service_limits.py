"""limits.py and guard.py without a server: what is refused, in which words, and that nothing else is ever raised."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from service_server import service_module

limits = service_module("limits")
guard = service_module("guard")


def body(texts: object) -> bytes:
    return json.dumps({"texts": texts}).encode()


BAD_BODIES = [
    (b"", 400, "invalid_json"),
    (b"parcel", 400, "invalid_json"),
    (b'{"texts": ["a"]', 400, "invalid_json"),
    (b'{"texts": [NaN]}', 400, "invalid_json"),
    (b'{"texts": ["\xff"]}', 400, "invalid_json"),
    ('{"texts": ["a"]}'.encode("utf-16"), 400, "invalid_json"),
    (b'{"texts": ["a"], "n": ' + b"9" * 5000 + b"}", 400, "invalid_json"),
    (b"[" * 100_000 + b"]" * 100_000, 400, "invalid_json"),
    (b'{"texts": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001, 400, "invalid_json"),
    (b'["a"]', 422, "not_an_object"),
    (b"null", 422, "not_an_object"),
    (b"{}", 422, "texts_missing"),
    (b'{"text": ["a"]}', 422, "texts_missing"),
    (body("a"), 422, "texts_not_a_list"),
    (body(None), 422, "texts_not_a_list"),
    (body({"0": "a"}), 422, "texts_not_a_list"),
    (body(["a", 7]), 422, "text_not_a_string"),
    (body([None]), 422, "text_not_a_string"),
    (body([["a"]]), 422, "text_not_a_string"),
    (body([True]), 422, "text_not_a_string"),
    (body([""]), 422, "text_empty"),
    (body(["a", " \t\n\u00a0"]), 422, "text_empty"),
    (body(["a\0b"]), 422, "text_not_encodable"),
    (b'{"texts": ["\\ud800"]}', 422, "text_not_encodable"),
    (b'{"texts": ["\\ude00\\ud83d"]}', 422, "text_not_encodable"),
    (body(["a"] * 65), 413, "too_many_texts"),
    (body(["a" * 2001]), 413, "text_too_long"),
    (b" " * ((1 << 20) + 1), 413, "body_too_large"),
]
GOOD_TEXTS: list[list[str]] = [
    [],
    ["a"],
    ["a"] * 64,
    ["a" * 2000],
    ["\U0001f4e6" * 2000] * 64,
    ["a\u0301", "\u202e", "\x07"],
]
GOOD_NAMES = ["none", "one", "most", "longest", "largest", "odd characters"]


@pytest.mark.parametrize(("bad", "status", "error"), BAD_BODIES, ids=lambda value: repr(value)[:30])
def test_bad_bodies_are_named(bad: bytes, status: int, error: str) -> None:
    with pytest.raises(limits.Refused) as raised:
        limits.read_texts(bad)
    assert (raised.value.status, raised.value.error) == (status, error)
    assert 0 < len(raised.value.message) <= 200


def test_the_place_is_named() -> None:
    with pytest.raises(limits.Refused, match=r"texts\[2\] is a number"):
        limits.read_texts(body(["a", "b", 3]))


@pytest.mark.parametrize("texts", GOOD_TEXTS, ids=GOOD_NAMES)
def test_good_texts_come_back_unchanged(texts: list[str]) -> None:
    assert limits.read_texts(json.dumps({"texts": texts}, ensure_ascii=False).encode()) == texts


@given(
    st.binary()
    | st.text().map(str.encode)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["texts", "a"]), inner),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_give_texts_or_a_refusal(anything: bytes) -> None:
    try:
        texts = limits.read_texts(anything)
    except limits.Refused as refusal:
        assert limits.STATUS[refusal.error] == refusal.status
    else:
        assert all(isinstance(text, str) and text.strip() and text.encode() for text in texts)


@pytest.mark.parametrize(
    "value", ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"']
)
def test_json_is_let_in(value: str) -> None:
    limits.check_content_type(value)


@pytest.mark.parametrize(
    "value", ["", "text/plain", "application/jsonp", "text/json", "application/json; charset=latin-1"]
)
def test_other_content_types_are_refused(value: str) -> None:
    with pytest.raises(limits.Refused) as raised:
        limits.check_content_type(value)
    assert (raised.value.status, raised.value.error) == (415, "wrong_content_type")


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers as BentoML does: with the body it got, or with a bare JSON string as an error."""
    got = (await receive())["body"]
    status, answer = (503, b'""') if b"overload" in got else (200, got)
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"99")]})
    await send({"type": "http.response.body", "body": answer})


def ask(*parts: bytes, method: str = "POST", kind: str = "application/json") -> tuple[list[dict[str, Any]], list[str]]:
    """Send a body in parts through the guard; returns the messages sent back and the refusals counted."""
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts] + [
        {"type": "http.request"}
    ]
    sent: list[dict[str, Any]] = []
    refused: list[str] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    layer = guard.Guard(application, path="/classify", headers=lambda: {"x-model": "one"}, refused=refused.append)
    scope = {"type": "http", "path": "/classify", "method": method, "headers": [(b"content-type", kind.encode())]}
    asyncio.run(layer(scope, receive, send))
    return sent, refused


def test_a_good_body_in_parts_reaches_the_application_whole() -> None:
    sent, refused = ask(b'{"texts":', b' ["a"]}')
    assert (sent[0]["status"], sent[1]["body"], refused) == (200, b'{"texts": ["a"]}', [])


def test_a_refusal_is_counted_signed_and_an_object() -> None:
    sent, refused = ask(b"[]")
    assert (sent[0]["status"], refused) == (422, ["not_an_object"])
    assert (b"x-model", b"one") in sent[0]["headers"]
    assert json.loads(sent[1]["body"])["error"] == "not_an_object"


def test_a_large_body_is_read_to_its_end_but_not_kept() -> None:
    sent, refused = ask(*[b" " * (1 << 20)] * 10)
    assert (sent[0]["status"], refused) == (413, ["body_too_large"])


def test_an_error_of_the_application_becomes_an_object() -> None:
    sent, _ = ask(b'{"texts": ["overload"]}')
    assert ([message["type"] for message in sent], sent[0]["status"]) == (
        ["http.response.start", "http.response.body"],
        503,
    )
    assert json.loads(sent[1]["body"])["error"] == "overloaded"
    assert dict(sent[0]["headers"])[b"content-length"] == str(len(sent[1]["body"])).encode()


def test_a_client_that_leaves_gets_no_answer() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        raise AssertionError(message)

    layer = guard.Guard(application, path="/classify", headers=dict, refused=lambda _: None)
    asyncio.run(layer({"type": "http", "path": "/classify", "method": "POST", "headers": []}, receive, send))
