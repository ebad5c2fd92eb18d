"""What a request may be, all of it in this module: the numbers, and the check that names what is wrong.

It knows nothing of HTTP servers or BentoML, so it can be tried in a cell: `read_texts(b'{"texts": [""]}')`.
"""

import json

MAX_TEXTS = 64  # in a request
MAX_CHARACTERS = 2_000  # in a text, counted as Python counts: code points. MiniLM reads the first 256 tokens of them
MAX_BYTES = 1 << 20  # in a request's body, 1 MiB. 64 texts of 2,000 characters fit, unless all are escaped as \uXXXX


class Refused(Exception):
    """A request that is not answered with labels: the HTTP status, a word for programs, a sentence for people."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status, self.error, self.message = status, error, message


# The word for programs and its status. The OpenAPI document is made from this table, and `refuse` reads it.
STATUS = {
    "invalid_json": 400,
    "body_too_large": 413,
    "too_many_texts": 413,
    "text_too_long": 413,
    "wrong_content_type": 415,
    "not_an_object": 422,
    "texts_missing": 422,
    "texts_not_a_list": 422,
    "text_not_a_string": 422,
    "text_empty": 422,
    "text_not_encodable": 422,
}


def refuse(error: str, message: str) -> Refused:
    """Return the exception to raise; `error` is a key of STATUS."""
    return Refused(STATUS[error], error, message)


def check_content_type(value: str) -> None:
    """Raise Refused unless the header's value says JSON (RFC 8259: always UTF-8, whatever a charset claims)."""
    kind, _, rest = value.lower().partition(";")
    charset = rest.partition("charset=")[2].strip(' "')
    if kind.strip() != "application/json" or charset not in ("", "utf-8", "utf8"):
        raise refuse("wrong_content_type", f"content type {value[:80]!r}; wanted application/json in UTF-8")


def read_texts(body: bytes) -> list[str]:
    """Return the texts of a JSON body, 0 to 64 of them, unchanged. Raises Refused, and nothing else, for any bytes."""
    if len(body) > MAX_BYTES:
        raise refuse("body_too_large", f"more than {MAX_BYTES} bytes")
    document = _parsed(body)
    if not isinstance(document, dict):
        raise refuse("not_an_object", f'the body is {_kind(document)}; wanted an object: {{"texts": [...]}}')
    if "texts" not in document:
        raise refuse("texts_missing", "the object has no `texts`")
    texts = document["texts"]
    if not isinstance(texts, list):
        raise refuse("texts_not_a_list", f"`texts` is {_kind(texts)}; wanted a list of strings")
    if len(texts) > MAX_TEXTS:
        raise refuse("too_many_texts", f"{len(texts)} texts; at most {MAX_TEXTS} in a request")
    for index, text in enumerate(texts):
        _check_text(f"texts[{index}]", text)
    return texts


def _parsed(body: bytes) -> object:
    try:
        # Without parse_constant Python accepts NaN and Infinity, which JSON does not have.
        return json.loads(body.decode("utf-8"), parse_constant=_not_json)
    except RecursionError:
        raise refuse("invalid_json", "nested too deeply") from None
    except ValueError as error:  # also UnicodeDecodeError, and an integer of more than 4,300 digits
        raise refuse("invalid_json", f"the body is not JSON in UTF-8: {error}"[:200]) from None


def _check_text(where: str, text: object) -> None:
    if not isinstance(text, str):
        raise refuse("text_not_a_string", f"{where} is {_kind(text)}; wanted a string")
    if len(text) > MAX_CHARACTERS:
        raise refuse("text_too_long", f"{where} has {len(text)} characters; at most {MAX_CHARACTERS}")
    if not text.strip():
        raise refuse("text_empty", f"{where} is empty or white space alone")
    # The tokenizer, written in Rust, raises TypeError for a lone surrogate: a 500. It drops NUL without a word.
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise refuse("text_not_encodable", f"{where} holds a NUL or a lone surrogate")


def _not_json(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
