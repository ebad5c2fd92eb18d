"""The one preprocessing of ticket texts: training and serving both call `prepare`, so they cannot drift apart.

What differs from ticket to ticket without saying what it is about (order numbers, amounts, links, addresses, letter
case, odd spaces) becomes one plain word, because a sentence encoder reads words and would otherwise read
`https://shop.example/account/login` in a signature as a ticket about accounts.
"""

import re
import unicodedata
from collections.abc import Sequence

# Saved with the classifier. A server that prepares differently from the training can then be told by its metadata.
VERSION = "1"

# In this order: a link may hold an address or a number, and the number mask would cut an amount in two. Every
# repetition is bounded or of one character class, so that no text of 2,000 characters can keep a worker busy.
_DIGITS = r"\d{1,12}(?:[.,]\d{1,3}){0,4}"
_MASKS = (
    (re.compile(r"(?:https?://|www\.)\S+"), " link "),
    (re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}"), " address "),
    (re.compile(rf"[$€£] ?{_DIGITS}|\b{_DIGITS} ?(?:[€£]|(?:usd|eur|gbp)\b)"), " amount "),
    (re.compile(r"#? ?\b[a-z]{0,4}-?\d{4,}\b"), " number "),
)


def prepare(texts: Sequence[str]) -> list[str]:
    """Return one prepared text for each text, in order. Raises nothing for any `str`.

    NFKC, case folding, runs of white space become one space, then the masks above. A text may become empty (one of
    spaces alone does); refusing such texts is the business of `limits.py`.
    """
    return [_prepare_one(text) for text in texts]


def _prepare_one(text: str) -> str:
    prepared = _one_spaced(unicodedata.normalize("NFKC", text).casefold())
    for pattern, word in _MASKS:
        prepared = pattern.sub(word, prepared)
    return _one_spaced(prepared)


def _one_spaced(text: str) -> str:
    return " ".join(text.split())
