"""The conformance suite: cartridges with the state that each must end in, for any engine of the Pixel VM.

Owns ``pixelvm/conformance/``: for each case of conform_cases.py a cartridge ``NAME.png`` and its end ``NAME.pxst``,
which follows from the table and no engine (``python -m pixelvm.conform`` writes both). An engine conforms when every
cartridge ends in these bytes, having asked the host the same, in one go and in slices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pixelvm import assembler, cartridge, engines, isa, png
from pixelvm import state as states
from pixelvm.conform_cases import CASES, Case
from pixelvm.isa import MASK, Op, Stop
from pixelvm.program import Program
from pixelvm.state import State
from toolchain.errors import InputError
from toolchain.files import read_bounded, write_atomic

STAGE = "vm"
FOLDER = Path(__file__).parent / "conformance"
SLICE = 7  # fuel; several calls cost more, so that a machine also stands still where nothing can happen


class Host:
    """What the cartridges find outside; writes down what it is asked.

    Its console reads ``hi``, its clock stands at 2^32 + 5, its screen has 4 x 3 pixels coloured by their place, its
    mailbox takes one word and holds one, 7.
    """

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self._sent = self._received = False

    def put(self, at: int, byte: int) -> None:
        """Write down."""
        self.log.append(("put", at, byte))

    def get(self, at: int) -> int | None:
        """A byte of ``hi``."""
        self.log.append(("get", at))
        return b"hi"[at] if at < 2 else None

    def milliseconds(self) -> int:
        """More than 32 bits hold."""
        self.log.append(("time",))
        return (1 << 32) + 5

    def size(self) -> tuple[int, int]:
        """4 x 3."""
        self.log.append(("size",))
        return 4, 3

    def plot(self, x: int, y: int, colour: int) -> None:
        """Write down."""
        self.log.append(("plot", x, y, colour))

    def pixel(self, x: int, y: int) -> int:
        """Blue is none, red the column, green the row."""
        self.log.append(("pixel", x, y))
        return 0xFF000000 | y << 8 | x if x < 4 and y < 3 else 0

    def show(self) -> None:
        """Write down."""
        self.log.append(("show",))

    def send(self, word: int) -> bool:
        """The first word only."""
        self.log.append(("send", word))
        self._sent, full = True, self._sent
        return not full

    def receive(self) -> int | None:
        """7, once."""
        self.log.append(("receive",))
        self._received, empty = True, self._received
        return None if empty else 7


class Failure(NamedTuple):
    """A case that ended otherwise on an engine."""

    name: str
    engine: str
    what: str


def program(case: Case) -> Program:
    """The program of a case; with little memory where it does not say how much."""
    memory = "" if ".memory" in case.source else f".memory {isa.MEMORY_STEP}\n"
    made = assembler.assemble(memory + case.source, f"{case.name}.pxa").program
    if case.length:
        first = case.length - len(made.code)
        fill = [isa.word(Op.JUMP, first)] + [isa.word(Op.HALT, 1)] * (first - 1)
        made = made._replace(code=(*fill, *made.code))
    return made


def end(case: Case, of: Program) -> State:
    """The state that a case must end in, from the table alone."""
    state = State(of, fuel=case.fuel - case.spent)
    state.stop = Stop[case.stop]
    state.pc = len(of.code) - 1
    for name, value in case.end.items():
        if name == "memory":
            for at, byte in value.items():
                state.memory[at] = byte
        else:
            setattr(state, name, value)
    return state


def files(case: Case) -> tuple[bytes, bytes]:
    """The cartridge and the saved end."""
    of = program(case)
    return png.write(cartridge.pack(of).picture), states.save(end(case, of), of)


def run(names: Sequence[str]) -> Iterator[tuple[Case, list[Failure]]]:
    """Run every cartridge of ``FOLDER`` on engines; gives each case with what failed.

    Raises:
        InputError: a file is missing or is none of ours.
    """
    for case in CASES:
        cart = FOLDER / f"{case.name}.png"
        of = cartridge.read(read_bounded(cart, png.FILE_MAX, stage=STAGE), str(cart)).program
        wanted = read_bounded(FOLDER / f"{case.name}.pxst", states.BYTES_MAX, stage=STAGE)
        failures = []
        for name in names:
            for portion in (case.fuel, SLICE):
                what = _failed(case, of, wanted, engines.find(name), portion)
                if what:
                    failures.append(Failure(case.name, name, what))
        yield case, failures


def _failed(case: Case, of: Program, wanted: bytes, engine: engines.Run, portion: int) -> str:
    """What is wrong with one run in portions of fuel; empty where nothing is."""
    state, host = State(of), Host()
    left = case.fuel
    while True:
        amount = min(portion, left)
        left -= amount
        state.add_fuel(amount)
        if engine(of, state, host) is not Stop.FUEL or not left:
            break
    state.fuel = state.fuel + left & MASK
    got = states.save(state, of)
    if got != wanted:
        return _difference(state, states.restore(wanted, of, f"{case.name}.pxst"), portion)
    if tuple(host.log) != case.log:
        return f"in portions of {portion} it asked the host {host.log}; expected {list(case.log)}"
    return ""


def _difference(got: State, want: State, portion: int) -> str:
    for name in State.__slots__:
        a, b = getattr(got, name), getattr(want, name)
        if a != b:
            return f"in portions of {portion} {name} is {str(a)[:80]}; expected {str(b)[:80]}"
    raise InputError("states differ in bytes only", stage=STAGE)


def main() -> None:
    """Write the suite's files."""
    FOLDER.mkdir(exist_ok=True)
    for case in CASES:
        picture, state = files(case)
        write_atomic(FOLDER / f"{case.name}.png", picture, stage=STAGE)
        write_atomic(FOLDER / f"{case.name}.pxst", state, stage=STAGE)


if __name__ == "__main__":
    main()
