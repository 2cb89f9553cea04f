"""``pxos vm``: programs that are pictures: run, assemble, disassemble, pack, unpack, verify."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.command import STATUS_NO, STATUS_OK, STATUS_SPENT, Outcome, Ui

if TYPE_CHECKING:
    from pixelvm.load import Loaded
    from pixelvm.program import Program
    from pixelvm.state import State

HELP = "The Pixel VM: programs that are pictures, one instruction a pixel (pixelvm/SPEC.md)."
EXAMPLE = "pxos vm run pixelvm/examples/hello.pxa"

STAGE = "vm"
FUEL = 10_000_000
ENGINE = "python"
_WORD_MAX = 0xFFFFFFFF
_INPUT_MAX = 16 << 20  # bytes
_APART = {  # actions that have a module of their own, and say there what they take
    "fuzz": "pixelvm.commands.vm_fuzz",
}
_PROGRAM = "cartridge (PNG) or assembly source; - for stdin"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments: one subcommand each."""
    both = argparse.ArgumentParser(add_help=False)
    for options, what in (
        (("--json",), "one JSON object on stdout"),
        (("-q", "--quiet"), "no progress on stderr"),
    ):
        both.add_argument(*options, action="store_true", default=argparse.SUPPRESS, help=what)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, what: str, example: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = actions.add_parser(
            name, parents=[both], help=what, description=what, epilog=f"example: pxos vm {example}"
        )
        made.add_argument("file", metavar="FILE", help=_PROGRAM)
        return made

    _configure_run(action("run", "run a program", "run pixelvm/examples/painter.pxa --picture painted.png"))
    action("asm", "the pixels of a program, with the source of each", "asm pixelvm/examples/fib.pxa")
    action("disasm", "a program as assembly source", "disasm hello.png > hello.pxa")
    pack = action("pack", "a program as a cartridge", "pack pixelvm/examples/hello.pxa hello.png")
    pack.add_argument("out", type=Path, metavar="OUT.png", help="where to write it")
    pack.add_argument("--cover", metavar="PNG", help="hide it in the low bits of this picture")
    unpack = action("unpack", "write the source of a cartridge", "unpack hello.png hello.pxa")
    unpack.add_argument("out", type=Path, metavar="OUT.pxa", help="where to write it")
    action("verify", "prove that no run can leave the stack", "verify hello.png")

    for name, place in _APART.items():
        module = importlib.import_module(place)
        parents = [] if module.INTERACTIVE else [both]
        module.configure(
            actions.add_parser(
                name,
                parents=parents,
                help=module.HELP,
                description=module.HELP,
                epilog=f"example: pxos vm {module.EXAMPLE}",
            )
        )


def _configure_run(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "--fuel",
        type=_fuel,
        default=FUEL,
        metavar="N",
        help=f"how far it may run; an instruction costs 1 to 64, most 1 (default {FUEL})",
    )
    run.add_argument(
        "--engine", default=ENGINE, metavar="NAME", help=f"what runs it: python, x86, wgsl (default {ENGINE})"
    )
    run.add_argument("--seed", type=_word, metavar="N", help="of the random numbers")
    run.add_argument("--input", metavar="FILE", help="what the program reads from its console; - for stdin")
    run.add_argument(
        "--picture", type=Path, metavar="PNG", help="write the program's picture as it is at the end"
    )
    run.add_argument("--save", type=Path, metavar="STATE", help="write the state at the end")
    run.add_argument(
        "--resume",
        type=Path,
        metavar="STATE",
        help="go on from a saved state, with fresh fuel and a fresh picture",
    )


def _fuel(text: str) -> int:
    return _number(text, 1)


def _word(text: str) -> int:
    return _number(text, 0)


def _number(text: str, low: int) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not low <= value <= _WORD_MAX:
        raise argparse.ArgumentTypeError(f"'{text}': expected a number from {low} to {_WORD_MAX}")
    return value


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """One action on a program."""
    from pixelvm.load import load

    if args.action in _APART:
        answer: Outcome = importlib.import_module(_APART[args.action]).run(args, ui)
        return answer
    if args.action == "run" and args.file == args.input == "-":
        from toolchain.errors import InputError

        raise InputError("-: standard input holds the program or its input, not both", stage=STAGE)
    loaded = load(args.file)
    data = {"action": args.action, "file": args.file, "program": _about(loaded.program)}
    if args.action == "run":
        return _run(args, ui, loaded, data)
    if args.action == "asm":
        return _listed(loaded, data)
    if args.action == "disasm":
        return _disassembled(loaded, data)
    if args.action == "pack":
        return _packed(args, loaded, data)
    if args.action == "unpack":
        return _unpacked(args, loaded, data)
    return _verified(loaded, data)


def _about(program: Program) -> dict[str, Any]:
    from pixelvm.program import digest

    return {
        "instructions": len(program.code),
        "data": len(program.data),
        "memory": program.memory,
        "entry": program.entry,
        "sha256": digest(program).hex(),
    }


# --- run ---------------------------------------------------------------------------------------------------


def _run(args: argparse.Namespace, ui: Ui, loaded: Loaded, data: dict[str, Any]) -> Outcome:
    from pixelvm import engines, png
    from pixelvm.host import PlainHost
    from pixelvm.isa import SEED_DEFAULT, Stop
    from pixelvm.state import State, save
    from toolchain.files import write_atomic

    engine = engines.find(args.engine)
    seed = SEED_DEFAULT if args.seed is None else args.seed
    picture = loaded.picture
    host = PlainHost(
        input=_input(args.input), width=picture.width, height=picture.height, pixels=picture.pixels
    )
    state = _resumed(args, loaded.program) if args.resume else State(loaded.program, seed=seed)
    host.begin(state.written)
    state.fuel = 0
    state.add_fuel(args.fuel)
    stop = engine(loaded.program, state, host)
    if args.picture is not None:
        shown = png.write(png.Picture(host.width, host.height, bytes(host.pixels)))
        write_atomic(args.picture, shown, stage=STAGE)
    if args.save is not None:
        write_atomic(args.save, save(state, loaded.program), stage=STAGE)
    spent = args.fuel - state.fuel
    ui.note(_end(loaded, state, spent))
    output = host.output.decode("utf-8", "replace")
    data |= {
        "stop": stop.name.lower(),
        "result": state.result,
        "pc": state.pc,
        "place": loaded.place(state.pc),
    }
    data |= {"spent": spent, "output": output}
    status = (
        STATUS_SPENT
        if stop is Stop.FUEL
        else STATUS_NO
        if stop is not Stop.HALTED or state.result
        else STATUS_OK
    )
    return Outcome(status, data, _printable(output).removesuffix("\n"))


def _input(name: str | None) -> bytes:
    from toolchain.files import read_bounded

    if name is None:
        return b""
    return (
        sys.stdin.buffer.read(_INPUT_MAX)
        if name == "-"
        else read_bounded(Path(name), _INPUT_MAX, stage=STAGE)
    )


def _resumed(args: argparse.Namespace, program: Program) -> State:
    from pixelvm import state
    from toolchain.errors import InputError
    from toolchain.files import read_bounded

    if args.seed is not None:
        raise InputError("--seed: a resumed state has its own; leave --seed away", stage=STAGE)
    data = read_bounded(args.resume, state.BYTES_MAX, stage=STAGE)
    return state.restore(data, program, str(args.resume))


def _end(loaded: Loaded, state: State, spent: int) -> str:
    """What a person wants to know of the end of a run."""
    from pixelvm.disassembler import instruction
    from pixelvm.isa import STOPS, Stop

    if state.stop is Stop.HALTED:
        return f"halted with {state.result}, fuel spent {spent}"
    code = loaded.program.code
    where = f" `{instruction(code[state.pc], loaded.program)}'" if state.pc < len(code) else ""
    name = "out of fuel" if state.stop is Stop.FUEL else f"trap {state.stop.name}"
    return (
        f"{loaded.place(state.pc)}: {name} at{where or ' the end'}: {STOPS[state.stop]}; fuel spent {spent}"
    )


def _printable(text: str) -> str:
    """Nothing that a terminal obeys."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


# --- the others --------------------------------------------------------------------------------------------


def _rows(loaded: Loaded) -> list[dict[str, Any]]:
    from pixelvm.disassembler import instruction

    return [
        {
            "pc": pc,
            "word": f"{code:08x}",
            "text": instruction(code, loaded.program),
            "place": loaded.place(pc),
        }
        for pc, code in enumerate(loaded.program.code)
    ]


def _listed(loaded: Loaded, data: dict[str, Any]) -> Outcome:
    rows = _rows(loaded)
    lines = [f"{row['pc']:6}  {row['word']}  {row['text']:<24}  {row['place']}" for row in rows]
    return Outcome(STATUS_OK, data | {"pixels": rows}, "\n".join(lines))


def _disassembled(loaded: Loaded, data: dict[str, Any]) -> Outcome:
    from pixelvm.disassembler import disassemble

    text = disassemble(loaded.program)
    return Outcome(STATUS_OK, data | {"source": text}, text.removesuffix("\n"))


def _packed(args: argparse.Namespace, loaded: Loaded, data: dict[str, Any]) -> Outcome:
    from pixelvm import cartridge, png
    from pixelvm.load import picture
    from toolchain.files import write_atomic

    packed = cartridge.pack(loaded.program, None if args.cover is None else picture(args.cover))
    file = png.write(packed.picture)
    write_atomic(args.out, file, stage=STAGE)
    width, height = packed.picture.width, packed.picture.height
    data |= {"out": str(args.out), "width": width, "height": height, "covered": packed.covered}
    text = f"{args.out}: {width}x{height} pixels, {len(loaded.program.code)} instructions, {len(file)} bytes"
    return Outcome(STATUS_OK, data, text)


def _unpacked(args: argparse.Namespace, loaded: Loaded, data: dict[str, Any]) -> Outcome:
    from pixelvm.disassembler import disassemble
    from toolchain.files import write_atomic

    write_atomic(args.out, disassemble(loaded.program), stage=STAGE)
    text = f"{args.out}: {len(loaded.program.code)} instructions, {len(loaded.program.data)} bytes of data"
    return Outcome(STATUS_OK, data | {"out": str(args.out)}, text)


def _verified(loaded: Loaded, data: dict[str, Any]) -> Outcome:
    from pixelvm.verifier import verify

    verdict = verify(loaded.program)
    rows = [
        {"pc": finding.pc, "place": loaded.place(finding.pc), "message": finding.message}
        for finding in verdict.findings
    ]
    data |= {
        "proved": verdict.proved,
        "calls": verdict.calls,
        "accesses": sorted(verdict.accesses),
        "findings": rows,
    }
    lines = [f"{row['place']}: {row['message']}" for row in rows]
    if verdict.proved:
        calls = "call depth proved" if verdict.calls else "call depth checked as it runs"
        lines = [
            f"proved: no stack fault on any path; {calls}; {len(verdict.accesses)} accesses proved in bounds"
        ]
    return Outcome(STATUS_OK if verdict.proved else STATUS_NO, data, "\n".join(lines))
