"""The hypervisor of the Pixel VM: turns, quotas, faults that stay where they are, moves, mailboxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pixelvm import engines, reference, state
from pixelvm.engines import Engine
from pixelvm.hypervisor.guest import GuestHost, Status
from pixelvm.hypervisor.scheduler import SLICE_MAX, Hypervisor
from pixelvm.isa import Stop
from pixelvm.program import Program
from pixelvm.state import State
from tests.unit import schemas
from tests.unit.pxos import pxos
from tests.unit.vm_guests import COUNTING, ECHO, LOOP, PING, PONG, alone, end, finished, guest, made
from toolchain.errors import InputError

EXAMPLES = Path(__file__).resolve().parents[2] / "pixelvm/examples"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(engines.ENGINES, "switch", Engine("switch", "pixelvm.c_switch", "a peer"))
    monkeypatch.setitem(engines.ENGINES, "raising", Engine("raising", __name__, "fails on a loop"))
    return tmp_path


def run(program: Program, state: State, host: Any) -> Stop:
    """The engine ``raising``: fails on LOOP, having changed its state."""
    if program == LOOP:
        state.pc, state.stack = 1, [1, 2, 3]
        raise ZeroDivisionError("a fault of the engine")
    return reference.run(program, state, host)


def run_many(machines: Any) -> None:
    """All or none of them."""
    if any(program == LOOP for program, _, _ in machines):
        raise ZeroDivisionError("a fault of the engine")
    for machine in machines:
        run(*machine)


@pytest.mark.parametrize("portion", [1, 7, 64, 10_000])
@pytest.mark.parametrize("route", [["python"], ["switch"], ["python", "switch"]])
def test_slices_and_moves_change_nothing(portion: int, route: list[str]) -> None:
    guests = [guest(COUNTING, engine=route[0]) for _ in range(3)]
    finished(Hypervisor(guests, route, portion))
    for one in guests:
        assert one.status is Status.HALTED and one.state.result == 3
        assert end(one) == alone(COUNTING)
        assert one.moves == (one.slices - 1 if len(route) > 1 else 0)


def test_turns_are_round_robin() -> None:
    order: list[int] = []

    class Watcher(GuestHost):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def show(self) -> None:
            order.append(self.number)

    ticking = made("main: sys show\n jump main")
    guests = [guest(ticking, host=Watcher(n)) for n in range(3)]
    finished(Hypervisor(guests, ["python"], 65), turns=4)
    assert order == [0, 1, 2] * 4


def test_quotas() -> None:
    fuel, calls, memory = (
        guest(LOOP, fuel=1234),
        guest(COUNTING, calls=5),
        guest(made("halt", 512), memory=256),
    )
    finished(Hypervisor([fuel, calls, memory], ["python"], 100))
    assert (fuel.status, fuel.spent, fuel.slices) == (Status.FUEL, 1234, 13)
    assert calls.status is Status.CALLS
    output: Any = calls.guard.inner
    assert bytes(output.output) == b"012"  # put and show by turns: the sixth call did nothing
    assert (memory.status, memory.slices, memory.why) == (
        Status.REFUSED,
        0,
        "512 bytes of memory; its quota is 256",
    )


def test_what_one_machine_does_is_its_own() -> None:
    class Angry(GuestHost):
        def put(self, at: int, byte: int) -> None:
            raise OSError("the line is down\nreally")

    trapping, angry, good = (
        guest(made("push 0\n drop\n drop")),
        guest(COUNTING, host=Angry()),
        guest(COUNTING),
    )
    finished(Hypervisor([trapping, angry, good], ["python"], 50))
    assert trapping.status is Status.TRAPPED and trapping.why.startswith("UNDERFLOW: the stack holds fewer")
    assert (angry.status, angry.why) == (Status.FAILED, "its host: OSError: the line is down")
    assert end(good) == alone(COUNTING)


def test_an_engine_that_fails_takes_one_machine_only() -> None:
    bad, good, other = (guest(program, engine="raising") for program in (LOOP, COUNTING, COUNTING))
    finished(Hypervisor([bad, good, other], ["raising"], 100))
    assert (
        bad.status is Status.FAILED and bad.why == "engine raising: ZeroDivisionError: a fault of the engine"
    )
    assert state.save(bad.state, LOOP) == state.save(State(LOOP), LOOP)
    assert bad.spent == 0
    assert end(good) == end(other) == alone(COUNTING)


def test_what_is_no_slice_and_no_engine() -> None:
    for portion in (0, SLICE_MAX + 1):
        with pytest.raises(InputError, match=f"a slice of {portion}; expected 1"):
            Hypervisor([], ["python"], portion)
    with pytest.raises(InputError, match="no engine is called 'abacus'"):
        Hypervisor([guest(LOOP, engine="abacus")], [])


def test_mailboxes() -> None:
    closed = guest(made("push 5\n sys send\n sys receive\n halt"))
    finished(Hypervisor([closed], ["python"]))
    assert closed.state.stack == [0, 0, 0]
    one, two = guest(PING), guest(PONG)
    hosts: list[Any] = [one.guard.inner, two.guard.inner]
    hosts[0].connect(hosts[1])
    finished(Hypervisor([one, two], ["python"], 100))
    assert (one.state.result, two.state.result) == (1, 2)
    assert one.state.stack == [6]


@pytest.mark.long
def test_the_command(tmp_path: Path) -> None:
    fib, life = str(EXAMPLES / "fib.pxa"), str(EXAMPLES / "life.pxa")
    Path("bad.pxa").write_text("drop\n")
    answer = pxos(
        "vm", "host", fib, life, "bad.pxa", "--engine", "python", "--json", "-q", "--pictures", "shots"
    )
    assert answer.status == 1
    schemas.validate(answer.data, "vm")
    rows = answer.data["machines"]
    assert [row["status"] for row in rows] == ["halted", "halted", "trapped"]
    assert rows[0]["output"] == pxos("vm", "run", fib).output
    pxos("vm", "run", life, "--picture", "life.png")
    assert Path("shots/2.png").read_bytes() == Path("life.png").read_bytes()
    text = pxos("vm", "host", fib, "bad.pxa").output
    assert "[1] 233\n" in text and "machine 2  bad.pxa: trapped (UNDERFLOW: " in text


def test_connected_by_the_command() -> None:
    Path("a.pxa").write_text(ECHO)
    run = ("vm", "host", "a.pxa", "--connect", "1:host", "--send", "1=41,7", "--json", "-q")
    assert pxos(*run).data["machines"][0]["sent"] == [42]
    for words, message in (
        (["--connect", "1:2"], "--connect: 2 is none of 1 machines"), (["--connect", "1:1"], "1 is none of 1"),
        (["--connect", "1"], "'1': expected two machines"), (["--connect", "0:1"], "0 is none of 1 machines"),
        (["--send", "1=5"], "--connect 1:host"), (["--send", "x"], "'x': expected a machine and words"),
        (["--slice", "0"], "'0': expected a number from 1"), (["--slice", "9999999"], "a slice of 9999999"),
        (["--resume", "s"], "holds all of FILE, --copies"), (["--engine", "abacus"], "no engine is called"),
        (["--every", "2"], "say where with --snapshot"), (["--copies", "99999999"], "99999999 machines; at most"),
    ):  # fmt: skip
        answer = pxos("vm", "host", "a.pxa", *words)
        assert answer.status == 2 and message in answer.errors, words
    assert "nothing to run" in pxos("vm", "host").errors
