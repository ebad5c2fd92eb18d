"""One preprocessing for training and serving, and the tickets that it is tried on."""

import ast
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from service_server import SERVICE, service_module

preprocess = service_module("preprocess")
tickets = service_module("tickets")


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I was charged $49.99 TWICE", "i was charged amount twice"),
        ("12,50 EUR, £3 and 7€", "amount , amount and amount"),
        ("order #84213 and AB-55102", "order number and number"),
        ("see https://shop.example/account/login?order=1 now", "see link now"),
        ("write to billing.desk@shipping.example", "write to address"),
        ("  two\t\nlines\u00a0here ", "two lines here"),
        ("\uff46\uff55\uff4c\uff4c width, Stra\u00dfe", "full width, strasse"),
        ("two weeks, 3 parcels, order 12", "two weeks, 3 parcels, order 12"),
        (" ", ""),
    ],
)
def test_examples(text: str, prepared: str) -> None:
    assert preprocess.prepare([text]) == [prepared]


@given(st.lists(st.text(st.characters(exclude_categories=()))))
def test_any_string_gives_one_string_each_on_its_own(texts: list[str]) -> None:
    prepared = preprocess.prepare(texts)
    assert prepared == [one for text in texts for one in preprocess.prepare([text])]
    assert all(one == " ".join(one.split()) for one in prepared)


@given(st.text(alphabet="aB1 $€#@./-:\u017f\u0345\u1fb3", max_size=40).map(lambda text: text.replace("a", "http://")))
def test_a_blank_text_is_the_only_one_that_becomes_empty(text: str) -> None:
    assert (preprocess.prepare([text]) == [""]) == (not text.strip())


@pytest.mark.parametrize(
    "unit", ["1", "1.", "1,", "a@", "a.", "@a.", "$1", "#", "a-", "www.", "\ufdfa", "1 ", "\u2488"]
)
def test_no_text_within_the_limits_takes_long(unit: str) -> None:
    text = (unit * 2000)[:2000]
    began = time.perf_counter()
    preprocess.prepare([text])
    assert time.perf_counter() - began < 0.25  # seconds; 0.002 is usual


def test_training_and_both_services_call_the_one_prepare() -> None:
    for name in ("save_models.py", "service.py", "service_per_text.py"):
        tree = ast.parse((SERVICE / name).read_text())
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "preprocess"
            for alias in node.names
        }
        called = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert "prepare" in imported & called, name


def test_eight_tickets_of_three_labels() -> None:
    assert len(tickets.TICKETS) == 8
    assert sorted({label for _, label in tickets.TICKETS}) == sorted(tickets.LABELS) == list(tickets.LABELS)


def test_held_out_texts_are_distinct_the_same_each_time_and_never_trained_on() -> None:
    pairs = tickets.held_out()
    texts = {text for text, _ in pairs}
    assert len(pairs) == len(texts) == 600
    assert pairs == tickets.held_out()
    assert not texts & {text for text, _ in tickets.TICKETS}
    assert {label: sum(label == one for _, one in pairs) > 150 for label in tickets.LABELS} == dict.fromkeys(
        tickets.LABELS, True
    )


@pytest.mark.parametrize("count", [1, 600, 2160])
def test_held_out_gives_as_many_as_asked(count: int) -> None:
    assert len(tickets.held_out(count)) == count


@pytest.mark.parametrize("count", [0, -1, 2161])
def test_held_out_refuses_what_it_cannot_give(count: int) -> None:
    with pytest.raises(ValueError, match="held_out gives 1 to 2160"):
        tickets.held_out(count)
