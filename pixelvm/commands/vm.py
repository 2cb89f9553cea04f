"""``pxos vm``: programs that are pictures: run, assemble, disassemble, pack, unpack, verify."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelvm.commands import vm_run
from toolchain.command import STATUS_NO, STATUS_OK, Outcome, Ui

if TYPE_CHECKING:
    from pixelvm.load import Loaded
    from pixelvm.program import Program

HELP = "The Pixel VM: programs that are pictures, one instruction a pixel (pixelvm/SPEC.md)."
EXAMPLE = "pxos vm run pixelvm/examples/hello.pxa"

STAGE = "vm"
_APART = {  # actions that have a module of their own, and say there what they take
    "conformance": "pixelvm.commands.vm_conformance",
    "debug": "pixelvm.commands.vm_debug",
    "fuzz": "pixelvm.commands.vm_fuzz",
    "host": "pixelvm.commands.vm_host",
}
_PROGRAM = "cartridge (PNG), its bytes (.pxvm), assembly source or .pxl source; - for stdin"


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

    vm_run.configure(action("run", "run a program", "run pixelvm/examples/painter.pxa --picture painted.png"))
    action("asm", "the pixels of a program, with the source of each", "asm pixelvm/examples/fib.pxa")
    action("disasm", "a program as assembly source", "disasm hello.png > hello.pxa")
    pack = action(
        "pack",
        "a program as a cartridge, or as a boot module for the kernel (pxos run --module FILE)",
        "pack pixelvm/examples/hello.pxa hello.png; pxos vm pack pixelvm/examples/sort.pxl sort.pxvm",
    )
    pack.add_argument(
        "out", type=Path, metavar="OUT", help="*.pxvm: the bytes that the kernel runs; else a cartridge (PNG)"
    )
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


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """One action on a program."""
    from pixelvm.load import load

    if args.action in _APART:
        module = importlib.import_module(_APART[args.action])
        if module.INTERACTIVE and getattr(args, "json", False):
            from toolchain.errors import InputError

            raise InputError(f"vm {args.action} is interactive: leave --json away", stage=STAGE)
        answer: Outcome = module.run(args, ui)
        return answer
    if args.action == "run" and args.file == args.input == "-":
        from toolchain.errors import InputError

        raise InputError("-: standard input holds the program or its input, not both", stage=STAGE)
    loaded = load(args.file)
    data = {"action": args.action, "file": args.file, "program": _about(loaded.program)}
    if args.action == "run":
        return vm_run.run(args, ui, loaded, data)
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
    from pixelvm import cartridge, png, program
    from pixelvm.load import picture
    from toolchain.errors import InputError
    from toolchain.files import write_atomic

    if args.out.suffix == program.SUFFIX:
        if args.cover is not None:
            raise InputError(f"{args.out}: a {program.SUFFIX} is no picture: leave --cover away", stage=STAGE)
        file = program.to_bytes(loaded.program)
        write_atomic(args.out, file, stage=STAGE)
        told = f"{args.out}: {len(loaded.program.code)} instructions, {len(file)} bytes"
        return Outcome(STATUS_OK, data | {"out": str(args.out)}, told)
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
