"""The eight tickets that the classifier learns from, and more, never trained on, for the places that quote a share.

All are invented. `held_out` builds its texts from templates, so it measures whether two ways of serving agree and how
far a change moves the answers; it does not measure how good the classifier would be on real tickets.
"""

import random
from itertools import product

LABELS = ("account", "billing", "shipping")  # sorted, as scikit-learn keeps its classes

TICKETS: tuple[tuple[str, str], ...] = (
    ("I was charged $49.99 twice for order #84213.", "billing"),
    ("Please refund the 12.50 EUR that you took after I cancelled.", "billing"),
    ("The invoice for March shows the wrong amount.", "billing"),
    ("I forgot my password and the reset link never arrives.", "account"),
    ("How do I change the email address of my profile?", "account"),
    ("My parcel AB-55102 has been in transit for two weeks.", "shipping"),
    ("The box arrived broken; when will the replacement come?", "shipping"),
    ("Tracking says delivered, but nothing came to my door.", "shipping"),
)

_CORES = {
    "billing": (
        "the payment of {amount} was taken twice",
        "I want my {amount} back, the subscription was cancelled",
        "your receipt says {amount} but the price was lower",
        "why is there a fee of {amount} on my card",
        "the discount was not applied to {order}",
        "I need a corrected invoice for {order}",
    ),
    "account": (
        "I cannot log in since the update",
        "the code for two-factor login never reaches me",
        "please delete my profile and all my data",
        "somebody changed my password, I am locked out",
        "how can I rename my user, it still shows {order}",
        "my login {mail} is no longer accepted",
    ),
    "shipping": (
        "the courier left {order} at the wrong house",
        "when will {order} be sent",
        "{order} has not moved at the depot for days",
        "half of the delivery is missing, only {amount} of goods came",
        "can I send the package {order} back",
        "the parcel came wet and torn",
    ),
}
_OPENINGS = ("", "Hello, ", "URGENT: ", "hi there,   ", "Good morning. ")
# What mail carries and what says nothing about the ticket. `prepare` turns most of it into one plain word.
_CLOSINGS = (
    ". Thank you",
    ". https://shop.example/account/login/password?user={name}",
    ". payments.invoices.refunds@{name}-billing.example",
    ". {name}@parcel-delivery-tracking.example",
    ". Ref #{digits}, {amount}, {amount}, {amount}",
    ". Our numbers: {digits}, AB-{digits}, #{digits}",
)


def held_out(count: int = 600) -> list[tuple[str, str]]:
    """Return `count` distinct (text, label) pairs, the same ones at each call; none is in TICKETS. Raises ValueError
    when `count` is below 1 or above the 540 x 4 that the templates give."""
    chance = random.Random(20261124)
    frames = [
        (label, core, opening, closing)
        for label, cores in _CORES.items()
        for core, opening, closing in product(cores, _OPENINGS, _CLOSINGS)
    ]
    if not 1 <= count <= 4 * len(frames):
        raise ValueError(f"held_out gives 1 to {4 * len(frames)} texts, not {count}")
    chance.shuffle(frames)
    found: dict[str, str] = {}
    for label, core, opening, closing in frames * 8:
        found.setdefault(opening + _filled(core + closing, chance), label)
        if len(found) == count:
            break
    return list(found.items())


def _filled(template: str, chance: random.Random) -> str:
    digits = str(chance.randrange(10_000, 999_999))
    order = chance.choice(("order #{}", "ORDER {}", "AB-{}", "#{}")).format(digits)
    money = f"{chance.randrange(3, 900)}.{chance.randrange(100):02}"
    amount = chance.choice(("${}", "{} EUR", "£{}")).format(money)
    name = chance.choice(("anna", "otto", "mei", "kofi", "lena"))
    return template.format(order=order, amount=amount, digits=digits, name=name, mail=f"{name}{digits}@mail.example")
