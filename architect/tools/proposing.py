"""Tools that change the proposal on the desk, show it, and ask the gates about it. The tree itself is never touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from architect.tools.base import Answer, schema
from architect.tools.sheet import SHADERS
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.model.edits import Block
    from architect.protocols import GateResult
    from architect.tools.desk import Desk

STAGE = "tools"
EDITS_MAX = 32
DEADLINE_SECONDS = 20.0
_TEXT = {"type": "string", "maxLength": 64 << 10}


class ProposeEdit:
    """``propose_edit``."""

    name = "propose_edit"
    summary = (
        "Propose changes to sources: each edit replaces the text `search` (exact lines of the file, enough of them to"
        " be unique) by `replace`. Nothing is written to the tree; the person sees the diff, run_gates judges it."
    )
    parameters = schema(
        ("edits",),
        edits={
            "type": "array",
            "minItems": 1,
            "maxItems": EDITS_MAX,
            "items": {
                "type": "object",
                "required": ["file", "search", "replace"],
                "properties": {
                    "file": {"type": "string", "maxLength": 200},
                    "search": _TEXT,
                    "replace": _TEXT,
                },
                "additionalProperties": False,
            },
        },
    )

    def call(self, desk: Desk, edits: list[dict[str, str]]) -> Answer:
        """Lay the edits on the desk; all of them or none."""
        from architect.model.edits import Block

        blocks = [
            Block(row["file"].removeprefix("kernel/"), _lines(row["search"]), _lines(row["replace"]))
            for row in edits
        ]
        changed = propose_blocks(desk, blocks)
        diff = desk.diff()
        return Answer(f"proposed in {', '.join(changed)}:\n{diff}", {"files": changed, "diff": diff})


def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.removesuffix("\n").split("\n"))


def propose_blocks(desk: Desk, blocks: Sequence[Block]) -> list[str]:
    """Apply edit blocks to the sources on the desk; the files that changed. A shader may be new: nothing to search for.

    Blocks that do not fit the sources with the proposal, but do fit them without, take the proposal's place: who sees
    a proposal refused often writes the whole of it again.

    Raises:
        InputError: a block does not apply, or lies outside the fence; then nothing is taken.
    """
    try:
        texts = _applied(blocks, desk.sources())
    except InputError:
        if not desk.changes:
            raise
        originals = desk.originals()
        try:
            texts = _applied(blocks, originals)
        except InputError:
            texts = {}
        if not texts:
            raise
        desk.drop()
    desk.propose(texts)
    return sorted(texts)


def _applied(blocks: Sequence[Block], sources: Mapping[str, str]) -> dict[str, str]:
    """The new texts of the files that blocks change."""
    from architect.model import edits as protocol
    from architect.model.placing import EditError
    from architect.workspace import ended

    fresh = {
        block.file: "\n".join(block.replace) + "\n"
        for block in blocks
        if block.file not in sources
        and block.file.startswith(SHADERS)
        and not any(map(str.strip, block.search))
    }
    rest = [block for block in blocks if block.file not in fresh]
    try:
        found = protocol.apply(rest, sources) if rest else ()
    except EditError as error:
        raise InputError(str(error), stage=STAGE) from error
    changed: dict[str, list[str]] = {}
    for edit in sorted(found, key=lambda edit: -edit.line):
        own = sources[edit.file].split("\n")
        rows = changed.setdefault(edit.file, own)
        rows[edit.line - 1 : edit.line - 1 + len(edit.old)] = ended(edit.new, own)
    return {name: "\n".join(rows) for name, rows in changed.items()} | fresh


class ShowProposal:
    """``show_proposal``."""

    name = "show_proposal"
    summary = "Show the proposed changes as a unified diff."
    parameters = schema()

    def call(self, desk: Desk) -> Answer:
        """The diff."""
        diff = desk.diff()
        return Answer(diff or "nothing is proposed", {"files": sorted(desk.changes)}, ok=bool(diff))


class RunGates:
    """``run_gates``."""

    name = "run_gates"
    summary = (
        "Judge the kernel with the proposed edits: assembles, static checks, contracts, boot with in-kernel tests,"
        " claims measured from outside; with thorough also the ISO and other machines. Only this makes a fix count."
    )
    parameters = schema(
        thorough={"type": "boolean", "description": "ISO by GRUB and three other machines as well"},
        all={"type": "boolean", "description": "go on after a gate said no"},
    )

    def call(self, desk: Desk, thorough: bool = False, all: bool = False) -> Answer:
        """The verdicts."""
        from architect.terms import QUICK, THOROUGH
        from architect.tools.foreign_desk import ForeignDesk

        if isinstance(desk, ForeignDesk):
            gates = desk.gates()
        else:
            gates = judge(desk, THOROUGH if thorough else QUICK, stop=not all)
        passed = bool(gates) and all_passed(gates)
        lines = [gate_text(gate) for gate in gates]
        lines.append("every gate passes" if passed else "refused")
        data = {
            "passed": passed,
            "gates": [{"gate": g.gate, "passed": g.passed, "message": g.message} for g in gates],
        }
        return Answer("\n".join(lines), data, ok=passed)


def all_passed(gates: list[GateResult]) -> bool:
    """Whether no gate said no."""
    return all(gate.passed for gate in gates)


def gate_text(gate: GateResult) -> str:
    """One gate's verdict for people."""
    return (
        f"{'pass' if gate.passed else 'FAIL'}  {gate.gate:<17} {gate.seconds:6.2f} s  {gate.message}".rstrip()
    )


def judge(desk: Desk, names: tuple[str, ...], *, stop: bool) -> list[GateResult]:
    """The gates on the kernel with the proposal, one after the other; each is told as it is known.

    The judge (boot units, tests, headers, models) comes from the tree without the proposal.
    """
    from architect import contracts
    from architect import judge as judges
    from architect.protocols import GateResult
    from architect.terms import FINAL_BOOTS, Terms
    from architect.verify import Trial
    from toolchain.files import make_folder

    copy = desk.copy()
    verdicts = judges.load(desk.tree, copy.files, None)
    try:
        image, elf = desk.image(), desk.elf()
    except InputError as error:
        lines = [str(line) for line in error.lines()]
        return [GateResult("assembles", False, 0.0, lines[0].splitlines()[0], {"first": lines[:3]})]
    folder = desk.out / "gates"
    make_folder(folder, stage=STAGE)
    terms = Terms((), DEADLINE_SECONDS, FINAL_BOOTS)
    trial = Trial(
        verdicts,
        contracts.routines(verdicts.sources),
        image,
        elf,
        partial(_iso, elf),
        folder,
        desk.on_disk(),
        terms,
    )
    told = 0
    for name in names:
        trial.terms = replace(terms, gates=(name,))
        trial.run()
        for gate in trial.gates[told:]:
            desk.say(gate_text(gate))
        told = len(trial.gates)
        if stop and not all_passed(trial.gates):
            break
    return [GateResult("assembles", True, 0.0), *trial.gates]


def _iso(elf: Path) -> Path:
    from toolchain import iso

    target = elf.with_suffix(".iso")
    iso.make(elf, target, firmware="bios")
    return target
