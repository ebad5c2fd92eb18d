"""Tickets to send. text(number) is the same at each call, and no other number gives it, prepared or not."""

from __future__ import annotations

FRAMES = (
    "My parcel to {} has not moved at the depot for days.",
    "I was charged twice for the order that went to {}.",
    "I cannot log in since you moved my account to {}.",
    "The courier left the box for {} at the wrong house.",
    "Your invoice for {} shows a price that I never agreed to.",
    "Please change the address of my profile to {}.",
    "Half of the delivery for {} is missing, who can help me?",
    "The discount for {} was not applied to my last payment.",
)
CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"


def text(number: int) -> str:
    """The ticket of that number. The word in it holds no digit, since preprocessing replaces those."""
    return FRAMES[number % len(FRAMES)].format(word(number).capitalize())


def word(number: int) -> str:
    """A made-up word of four syllables or more: another number, another word."""
    syllables: list[str] = []
    while number or len(syllables) < 4:
        number, rest = divmod(number, len(CONSONANTS) * len(VOWELS))
        syllables.append(CONSONANTS[rest // len(VOWELS)] + VOWELS[rest % len(VOWELS)])
    return "".join(syllables)


def pick(asked: int, first: int, repeat: int) -> str:
    """The text of a load's request number `asked`: counted from `first` on, or over and over when `repeat` is set."""
    return text(first + (asked % repeat if repeat else asked))
