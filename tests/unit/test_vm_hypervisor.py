"""The hypervisor of the Pixel VM: turns, quotas, faults that stay where they are, moves, snapshots, mailboxes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pixelvm import assembler, engines, reference, state
from pixelvm.engines import Engine
from pixelvm.host import PlainHost
from pixelvm.hypervisor import snapshot
from pixelvm.hypervisor.guest import Guest, GuestHost, Quota, Status, admit
from pixelvm.hypervisor.scheduler import SLICE_MAX, Hypervisor
from pixelvm.isa import Stop
from pixelvm.program import Program
from pixelvm.state import State
from tests.unit import schemas
from tests.unit.pxos import pxos
from toolchain.errors import InputError
from toolchain.files import write_atomic

EXAMPLES = Path(__file__).resolve().parents[2] / "pixelvm/examples"
COUNT = """
main: push 0
next: dup
 push '0'
 add
 sys putc
 sys random
 drop
 sys show
 push 1
 add
 dup
 push 9
 ltu
 jnz next
 halt 3
"""


def made(source: str, memory: int = 256) -> Program:
    return assembler.assemble(f".memory {memory}\n{source}", "test.pxa").program


LOOP = made("main: jump main")
COUNTING = made(COUNT)


def guest(program: Program, *, engine: str = "python", host: Any = None, **quota: int) -> Guest:
    return admit("test", program, State(program), host or GuestHost(), Quota(**quota), engine)


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


def finished(hypervisor: Hypervisor, turns: int = 10_000) -> Hypervisor:
    while hypervisor.turns < turns and hypervisor.turn():
        pass
    return hypervisor


def end(of: Guest) -> tuple[bytes, bytes]:
    host: Any = of.guard.inner
    at = state.restore(state.save(of.state, of.program), of.program)
    at.fuel = 0
    return state.save(at, of.program), bytes(host.output)


def alone(program: Program) -> tuple[bytes, bytes]:
    at, host = State(program, fuel=100_000), PlainHost()
    reference.run(program, at, host)
    at.fuel = 0
    return state.save(at, program), bytes(host.output)


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


ECHO = "again: sys receive\n jnz got\n drop\n jump again\n got: push 1\n add\n sys send\n halt 2"
PING = made("push 5\n sys send\n drop\n again: sys receive\n jnz got\n drop\n jump again\n got: halt 1")
PONG = made(ECHO)


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


# --- snapshots ----------------------------------------------------------------------------------------------


def connected() -> list[Guest]:
    guests = [guest(PING), guest(PONG), guest(COUNTING, fuel=5000), guest(made("halt", 512), memory=256)]
    hosts: list[Any] = [one.guard.inner for one in guests]
    hosts[0].connect(hosts[1])
    hosts[2].connect(None)
    hosts[2].inbox.extend([1, 2])
    return guests


@pytest.mark.parametrize("turns", [0, 1, 2, 5, 50])
def test_a_snapshot_goes_on_where_it_was(turns: int) -> None:
    whole = finished(Hypervisor(connected(), ["python"], 60)).guests
    part = finished(Hypervisor(connected(), ["python"], 60), turns).guests
    snapshot.save(Path("snap"), part)
    back = snapshot.load(Path("snap"))
    assert [end(one) for one in back] == [end(one) for one in part]
    snapshot.save(Path("again"), back)
    assert (Path("again") / "manifest.json").read_bytes() == (Path("snap") / "manifest.json").read_bytes()
    rest = finished(Hypervisor(back, [], 60)).guests
    assert [end(one) for one in rest] == [end(one) for one in whole]
    assert [(one.status, one.spent, one.guard.calls, one.slices) for one in rest] == [
        (one.status, one.spent, one.guard.calls, one.slices) for one in whole
    ]


def test_a_snapshot_that_cannot_be_finished_leaves_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    guests = connected()
    snapshot.save(Path("snap"), guests)
    before = [end(one) for one in snapshot.load(Path("snap"))]
    finished(Hypervisor(guests, ["python"], 60), 3)

    def full(path: Path, data: Any, *, stage: str) -> bool:
        if path.name == snapshot.MANIFEST:
            raise InputError("no space left", stage=stage)
        return write_atomic(path, data, stage=stage)

    monkeypatch.setattr(snapshot, "write_atomic", full)
    with pytest.raises(InputError, match="no space left"):
        snapshot.save(Path("snap"), guests)
    assert [end(one) for one in snapshot.load(Path("snap"))] == before
    monkeypatch.setattr(snapshot, "write_atomic", write_atomic)
    snapshot.save(Path("snap"), guests)
    text = Path("snap/manifest.json").read_text()
    assert all(path.stem in text for path in Path("snap").glob("*.blob"))  # what no manifest names has gone


def at(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        manifest["machines"][0][key] = value

    return change


def version(manifest: dict[str, Any]) -> None:
    manifest["version"] = 2


def screen(manifest: dict[str, Any]) -> None:
    at("width", 3)(manifest)
    at("height", 7)(manifest)


def nothing(manifest: dict[str, Any]) -> None:
    manifest["machines"] = []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (version, "no snapshot of version 1"), (nothing, "its machines are none"),
        (at("given", -1), "machine 1: given is wrong; expected a number from 0"),
        (at("given", True), "given is wrong"), (at("given", 1), "given is wrong; expected at least the"),
        (at("name", 5), "name is wrong"), (at("refused", 1), "refused is wrong; expected true or false"),
        (at("inbox", [1 << 32]), "inbox is wrong; expected up to 256 words"),
        (at("inbox", [0] * 257), "inbox is wrong"),
        (at("engine", "abacus"), "engine is wrong; expected one of python"), (at("quota", {}), "quota is wrong"),
        (at("quota", {"fuel": -1, "memory": 0, "calls": 0}), "quota is wrong"),
        (at("width", 1 << 40), "width is wrong"), (screen, "its screen is wrong; expected 3 x 7"),
        (at("state", "../../etc/passwd"), "state is wrong; expected a SHA-256"),
        (at("state", "0" * 64), "no such file; the snapshot is not whole"),
        (at("peer", 9), "connected to none of 4"), (at("peer", 2), "connected to none of 4"),
        (at("peer", True), "connected to none of 4"),
    ],
)  # fmt: skip
def test_a_snapshot_that_is_none(change: Callable[[dict[str, Any]], None], words: str) -> None:
    guests = finished(Hypervisor(connected(), ["python"], 60), 1).guests
    guests[0].state.fuel, guests[0].given = 60, 120
    snapshot.save(Path("snap"), guests)
    path = Path("snap/manifest.json")
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError) as caught:
        snapshot.load(Path("snap"))
    assert words in caught.value.message and "\n" not in caught.value.message


def test_files_that_are_none() -> None:
    with pytest.raises(InputError, match="no such file; name the folder of a snapshot"):
        snapshot.load(Path("nowhere"))
    snapshot.save(Path("snap"), connected())
    blob = next(path for path in Path("snap").glob("*.blob") if path.stat().st_size)
    blob.write_bytes(b"X" + blob.read_bytes()[1:])
    with pytest.raises(InputError, match="its SHA-256 does not fit"):
        snapshot.load(Path("snap"))
    for text in ("", "[" * 100_000, "[]", '{"version": 1, "machines": [5]}'):
        Path("snap/manifest.json").write_text(text)
        with pytest.raises(InputError):
            snapshot.load(Path("snap"))


# --- the command --------------------------------------------------------------------------------------------


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


def test_parts_through_a_snapshot_are_the_run() -> None:
    fib = str(EXAMPLES / "fib.pxa")
    whole = pxos("vm", "host", fib, "--copies", "2", "--slice", "999", "--json", "-q").data["machines"]
    first = pxos(
        "vm",
        "host",
        fib,
        "--copies",
        "2",
        "--slice",
        "999",
        "--turns",
        "9",
        "--snapshot",
        "s",
        "--json",
        "-q",
    )
    assert first.status == 3 and first.data["machines"][0]["status"] == "running"
    rest = pxos("vm", "host", "--resume", "s", "--slice", "999", "--json", "-q")
    assert (rest.status, rest.data["machines"]) == (0, whole)
    more = pxos("vm", "host", fib, "--quota-fuel", "500", "--snapshot", "s", "--json", "-q")
    assert (more.status, more.data["machines"][0]["status"]) == (3, "quota of fuel")
    assert pxos("vm", "host", "--resume", "s", "--quota-fuel", "100000").status == 0


def test_ctrl_c_leaves_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = Hypervisor.turn

    def interrupted(self: Hypervisor) -> bool:
        if self.turns == 5:
            raise KeyboardInterrupt
        return turn(self)

    fib = str(EXAMPLES / "fib.pxa")
    with monkeypatch.context() as patch:
        patch.setattr(Hypervisor, "turn", interrupted)
        assert pxos("vm", "host", fib, "--slice", "1000", "--snapshot", "s").status == 130
    answer = pxos("vm", "host", "--resume", "s", "--json", "-q")
    assert (answer.status, answer.data["machines"][0]["output"]) == (0, pxos("vm", "run", fib).output)


def test_a_snapshot_every_few_turns_outlives_a_death(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = Hypervisor.turn

    def deadly(self: Hypervisor) -> bool:
        if self.turns == 8:
            monkeypatch.setattr(snapshot, "save", lambda folder, guests: None)  # nothing more is written
            raise KeyboardInterrupt
        return turn(self)

    fib = str(EXAMPLES / "fib.pxa")
    with monkeypatch.context() as patch:
        patch.setattr(Hypervisor, "turn", deadly)
        assert pxos("vm", "host", fib, "--slice", "1000", "--snapshot", "s", "--every", "3").status == 130
    assert snapshot.load(Path("s"))[0].slices == 6
    assert (
        pxos("vm", "host", "--resume", "s", "--json", "-q").data["machines"][0]["output"]
        == pxos("vm", "run", fib).output
    )


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
