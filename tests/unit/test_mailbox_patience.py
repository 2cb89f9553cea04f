"""How long the service looks: as long as that finds something, briefly where it does not; in turns, without a clock."""

from __future__ import annotations

import pytest

from tests.unit.mailbox_bench import Bench
from toolchain.mailbox import layout as m
from toolchain.mailbox import native
from toolchain.mailbox.memory import Memory
from toolchain.mailbox.patience import AWAY, BRIEF, FETCH, PROBE, Patience
from toolchain.mailbox.service import SPIN_SECONDS

MOST = 200e-6


def test_it_is_whole_while_something_is_found() -> None:
    patience = Patience(MOST)
    for _ in range(3):
        patience.found()
        assert (patience.seconds, patience.brief) == (MOST, False)


def test_it_halves_down_to_a_brief_look_and_is_whole_again_at_once() -> None:
    patience = Patience(MOST)
    seen = []
    for _ in range(PROBE - 1):
        patience.missed()
        seen.append(patience.seconds)
    assert seen[:4] == [MOST / 2, MOST / 4, MOST / 8, MOST / 16]
    assert set(seen[5:]) == {BRIEF}
    assert patience.brief
    patience.found()
    assert patience.seconds == MOST


def test_a_probe_shows_that_it_pays_again() -> None:
    patience = Patience(MOST)
    lengths = []
    for _ in range(3 * PROBE):
        patience.missed()
        lengths.append(patience.seconds)
    assert [n + 1 for n, length in enumerate(lengths) if length == MOST] == [PROBE, 2 * PROBE, 3 * PROBE]


@pytest.mark.parametrize("most", [0.0, BRIEF / 2, FETCH, 1.0])
def test_it_is_never_longer_than_asked_for(most: float) -> None:
    patience = Patience(most)
    assert patience.brief == (most < FETCH)
    for missed in [False, *[True] * (PROBE + 5), False]:
        (patience.missed if missed else patience.found)()
        assert 0 <= patience.seconds <= most


class Clock:
    """A clock on which each look takes a microsecond."""

    def __init__(self) -> None:
        self.microseconds = 0

    def monotonic(self) -> float:
        self.microseconds += 1
        return self.microseconds * 1e-6


@pytest.mark.parametrize("away", [20, 5000], ids=["at once", "after a while"])
def test_a_client_that_posts_while_the_service_sleeps(monkeypatch: pytest.MonkeyPatch, away: int) -> None:
    """At once, because it shares the processor: soon there is hardly a look. After a while: it may have more."""
    bench = Bench()
    client = bench.connect()
    service = bench.service
    clock = Clock()
    monkeypatch.setattr("toolchain.mailbox.service.time", clock)
    looks: list[int] = []
    turns = 0
    turn = service.turn

    def counted() -> bool:
        nonlocal turns
        turns += 1
        return turn()

    def woken(seconds: float) -> bool:
        nonlocal turns
        looks.append(turns)
        turns = 0
        clock.microseconds += away
        while client.queues[0].take() is not None:
            pass
        client.post(m.OP_PING)
        return True

    monkeypatch.setattr(service, "turn", counted)
    monkeypatch.setattr(bench.lines, "wait", woken)
    service.run(lambda: len(looks) >= PROBE - 1)
    assert looks[0] > 50
    if away < AWAY * 1e6:
        assert max(looks[6:]) * 5 < looks[0]
        assert service.rings.brief
    else:
        assert min(looks) * 2 > looks[0]
        assert not service.rings.brief


def test_a_client_on_another_processor_is_looked_for_as_long_as_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    client = bench.connect()
    service = bench.service
    monkeypatch.setattr("toolchain.mailbox.service.time", Clock())
    posts = 0
    turn = service.turn

    def meanwhile() -> bool:
        """The client posts at every fortieth look."""
        nonlocal posts
        posts += 1
        if posts % 40 == 0:
            while client.queues[0].take() is not None:
                pass
            client.post(m.OP_PING)
        return turn()

    monkeypatch.setattr(service, "turn", meanwhile)
    service.run(lambda: posts > 2000)
    assert service.counters.values[m.COUNTER_SLEEPS] == 0
    assert service.patience.seconds == SPIN_SECONDS


@pytest.mark.skipif(not native.available(), reason="the machine code is for x86-64 Linux")
def test_a_brief_look_of_the_machine_code_is_short() -> None:
    rings = native.NativeRings(Memory(bytearray(m.BYTES_MIN)))
    for brief, rounds in ((False, native.ROUNDS), (True, native.ROUNDS_BRIEF), (False, native.ROUNDS)):
        rings.brief = brief
        assert rings.fetch() == 0
        assert rings._get("ROUNDS") == rounds
    assert native.ROUNDS_BRIEF * 10 < native.ROUNDS
