"""Budgets that no sequence of requests overruns, counts that bound, and what an interrupted run leaves behind."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from architect.journal import Journal
from architect.model.counting import Counter, least
from architect.model.ledger import Ledger
from architect.model.types import Message, ModelError, Usage

REQUESTS = st.lists(
    st.tuples(st.integers(1, 4000), st.integers(1, 2000), st.floats(0, 1), st.floats(0, 1), st.booleans()),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(REQUESTS, st.integers(1, 20_000), st.integers(0, 400))
def test_no_sequence_of_requests_overruns_a_budget(
    requests: list[tuple[int, int, float, float, bool]], tokens: int, cents: int
) -> None:
    """A request takes at most what was reserved for it; some fail and take nothing, some are still under way."""
    money = Decimal(cents) / 100
    book = Ledger(tokens, money, Decimal(100), Decimal(300))
    under_way = []
    for prompt, answer, part_in, part_out, waits in requests:
        try:
            held = book.reserve(prompt, answer)
        except ModelError as error:
            assert error.kind == "limit"
            continue
        if waits:
            under_way.append((held, prompt, answer))
        else:
            book.settle(held, Usage(int(prompt * part_in), int(answer * part_out)))
    for held, prompt, answer in under_way:
        book.settle(held, Usage(prompt, answer))
    assert book.tokens <= tokens and book.money is not None and book.money <= money


def test_a_request_that_took_nothing_gives_its_reservation_back() -> None:
    book = Ledger(100)
    book.settle(book.reserve(60, 40), None)
    book.settle(book.reserve(60, 40), Usage(60, 40))
    assert book.left() == 0
    with pytest.raises(ModelError):
        book.reserve(1, 0)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=200), min_size=1, max_size=5))
def test_the_bound_is_never_below_a_token_for_each_byte_and_the_least_never_above_it(
    texts: list[str],
) -> None:
    messages = [Message("user", text) for text in texts]
    size = sum(len(text.encode()) for text in texts)
    assert least(messages) <= size <= Counter().bound(messages)


def test_what_the_server_counted_tightens_the_bound_of_a_conversation_that_goes_on() -> None:
    first = [Message("user", "mov rax, rbx\n" * 400)]
    counter = Counter()
    loose = counter.bound(first)
    counter.learn(first, 1500)
    longer = [*first, Message("assistant", "yes"), Message("user", "go on")]
    assert 1500 < counter.bound(longer) < 1700 < loose
    assert counter.bound([Message("user", "x" * 5000)]) > 5000, "another conversation is not known"


def test_tokens_of_an_interrupted_run_are_not_forgotten(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run", {})
    journal.asked(100, 7)
    journal.asked(50, 3)
    journal.close()
    again = Journal(tmp_path / "run", {})
    assert again.resumed and again.model_tokens == (150, 10)
    again.write("end", {"outcome": "fixed"})
    again.close()
    fresh = Journal(tmp_path / "run", {})
    assert fresh.model_tokens == (0, 0)
    fresh.close()


ASSEMBLY = "    mov qword ptr [rdx + rax*8], rsi        # the entry is written\n"


def test_a_count_that_fills_a_context_to_the_brim_is_seen_through() -> None:
    """A server with 4096 tokens of context, sent some 7000: it counts what it kept."""
    messages = [Message("user", ASSEMBLY * 290)]
    assert Counter().dropped(messages, 4090) is not None
    assert Counter().dropped(messages, 4090, silent=False) is None, "this kind would have refused"
    assert Counter().dropped(messages, 6800) is None and Counter().dropped(messages, 5000) is None
    short = [Message("user", ASSEMBLY * 150)]
    assert Counter().dropped(short, 4090) is None, "a prompt that may well have so many"


def test_an_honest_count_is_never_taken_for_a_cut_one() -> None:
    """From dense code to sparse prose, with the tokens a byte that tokenizers make of them."""
    prose = "The kernel maps the page and writes the entry before it is needed by anybody else. " * 200
    numbers = "0x1f3a, " * 900
    kinds = ((ASSEMBLY * 230, (0.22, 0.3, 0.45)), (prose, (0.19, 0.22, 0.3)), (numbers, (0.5, 0.8)))
    for text, ratios in kinds:
        for ratio in ratios:
            counter, messages = Counter(), [Message("user", text)]
            count = round(len(text) * ratio)
            assert counter.dropped(messages, count) is None, (text[:20], ratio)
            counter.learn(messages, count)
            assert counter.dropped([Message("user", text * 2)], 2 * count) is None
