"""What a right repair of a bug must satisfy and a merely plausible one may not: the held-out half of the verdict.

Run as a program of its own, after the repair and without anything of it but the patched tree:

    python -m architect.invariants BUG.toml SOUND_TREE PATCHED_TREE

prints a JSON list, one object per invariant: ``kind``, ``holds``, ``message``. Kinds:

    contract  routine           the routine keeps header and models of the sound tree, with more seeds than the gate
    findings                    the static checks find nothing
    boot      [machine display memory cpu smp path firmware cmdline outcome]
                                a boot with these options ends so (default: cmdline test, tests-passed)
    walk      address [writable executable]
                                at PXREADY the address (bar0, a symbol, a number) is mapped, with these rights
    pixels                      at PXREADY every claim that the host can measure holds, the picture among them
    register  name set          at PXREADY these bits of a control register are set
    constant  file value equals the tree's own constant has this value
    reference file              what runs this shader computes what NumPy computes, on sizes that no gate asks
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from architect import checks, claims, contracts, corpus
from toolchain import build, scratch, snapshot, walk
from toolchain.errors import InputError, PxError
from toolchain.generate import load_boot_units
from toolchain.types import BootConfig, BootResult, Image

STAGE = "invariants"
SEEDS = 24
# Deadlines are times what an empty kernel takes to boot on this machine, as loaded as it is: a repair is not wrong
# because others use the machine as well. The minima are generous on an idle one.
TIMEOUT, TIMEOUT_FACTOR = 15.0, 60.0
ISO_TIMEOUT, ISO_TIMEOUT_FACTOR = 30.0, 300.0
_OPTIONS = ("machine", "display", "memory", "cpu", "smp", "path", "firmware", "cmdline")


@dataclass
class Court:
    """One patched tree beside the sound one, built once for all invariants."""

    sound: Path
    patched: Path
    folder: Path
    boots: int = field(default=0)

    @cached_property
    def image(self) -> Image:
        """The patched kernel, linked."""
        return build.once(self.patched)[0]

    @cached_property
    def products(self) -> tuple[Path, Path]:
        """ELF and ISO of the patched tree."""
        built = build.build(self.patched, self.folder / "build")
        assert built.iso is not None
        return built.elf, built.iso

    @cached_property
    def unit(self) -> float:
        """Seconds that an empty kernel's boot takes."""
        from architect.deadlines import empty_boot_seconds

        return empty_boot_seconds(self.folder / "empty")

    def boot(self, **options: Any) -> BootResult:
        """Boot the patched kernel."""
        self.boots += 1
        iso = options.get("path") == "iso"
        image = self.products[1 if iso else 0]
        least, factor = (ISO_TIMEOUT, ISO_TIMEOUT_FACTOR) if iso else (TIMEOUT, TIMEOUT_FACTOR)
        timeout = max(least, factor * self.unit)
        from toolchain import qemu

        return qemu.boot(
            BootConfig(
                image=image, log_dir=self.folder / f"boot{self.boots}", **{"timeout": timeout, **options}
            )
        )

    # --- one method per kind: None when it holds, else why not ---

    def contract(self, routine: str) -> str | None:
        """The routine under Unicorn, by the sound tree's promises."""
        headers = contracts.routines(corpus.sources(self.sound))
        found = contracts.violations(self.image, headers, [routine], seeds=SEEDS)
        return f"{found[0].routine}: {found[0].promise}" if found else None

    def findings(self) -> str | None:
        """Static checks of the whole."""
        found = checks.findings(self.image, corpus.sources(self.sound))
        return str(found[0]) if found else None

    def boot_ends(self, outcome: str = "tests-passed", **options: Any) -> str | None:
        """A boot ends with an outcome."""
        unknown = set(options) - set(_OPTIONS)
        if unknown:
            raise InputError(f"boot knows no option {', '.join(sorted(unknown))}", stage=STAGE)
        result = self.boot(**{"cmdline": "test", **options})
        return None if result.outcome == outcome else f"the boot ended as {result.outcome}"

    def walk(
        self, address: str | int, writable: bool | None = None, executable: bool | None = None
    ) -> str | None:
        """An address is mapped at PXREADY."""
        number = self._address(address)
        result = self.boot(inspect_ready=True, inspect_addresses=() if number is None else (number,))
        seen = result.snapshot
        if result.outcome != "ready" or seen is None:
            return f"the boot ended as {result.outcome}"
        if number is None:
            bar = snapshot.display_bar(seen.bars)
            if bar is None or bar.address is None:
                return "there is no BAR0 with an address"
            number = bar.address
        found = claims.bar0_walk(seen, number)
        if not found.levels or (found.physical is None and found.ends_at is not None):
            return f"{number:#x} is not mapped: {found.reason}"
        entries = [level.entry or 0 for level in found.levels]
        rights = {
            "writable": all(entry & walk.WRITE for entry in entries),
            "executable": not any(entry & walk.NX for entry in entries),
        }
        wanted = {"writable": writable, "executable": executable}
        wrong = [name for name, value in wanted.items() if value is not None and rights[name] != value]
        return f"{number:#x} is {'' if rights[wrong[0]] else 'not '}{wrong[0]}" if wrong else None

    def _address(self, address: str | int) -> int | None:
        if isinstance(address, int):
            return address
        if address == "bar0":
            return None
        for symbol in self.image.symbols:
            if symbol.name == address:
                return symbol.address
        raise InputError(f"the patched kernel has no symbol '{address}'", stage=STAGE)

    def pixels(self) -> str | None:
        """What the kernel claims at PXREADY, measured."""
        units = [unit.name for unit in load_boot_units(self.sound / "boot.toml")]
        return claims.problem(self.boot(inspect_ready=True), units)

    def register(self, name: str, set: int) -> str | None:
        """Bits of a control register at PXREADY."""
        result = self.boot(inspect_ready=True)
        if result.outcome != "ready" or result.snapshot is None:
            return f"the boot ended as {result.outcome}"
        value = result.snapshot.registers.get(name, 0)
        return None if value & set == set else f"{name} is {value:#x}, without {set & ~value:#x}"

    def constant(self, file: str, value: str, equals: int) -> str | None:
        """A constant of the tree."""
        text = (self.patched / file).read_text(encoding="utf-8", errors="replace")
        found = re.search(rf"^[ \t]*\.set\s+{re.escape(value)}\s*,\s*([^\s#]+)", text, re.MULTILINE)
        if found is None:
            return f"{file} sets no {value}"
        try:
            number = int(found[1], 0)
        except ValueError:
            return f"{value} is no number"
        return None if number == equals else f"{value} is {number:#x}, not {equals:#x}"

    def reference(self, file: str) -> str | None:
        """What runs a shader computes what it must."""
        from architect.shaders import proof
        from architect.shaders.gates import HELD_OUT, STATIC

        gates = proof.prove(self.patched, (*STATIC, HELD_OUT), [file])
        return next((gate.message for gate in gates if not gate.passed), None)


def judge(bug: corpus.Bug, court: Court) -> list[dict[str, Any]]:
    """Every invariant of a bug on a patched tree; an invariant that cannot be carried out does not hold."""
    kinds: dict[str, Callable[..., str | None]] = {
        "contract": court.contract, "findings": court.findings, "boot": court.boot_ends, "walk": court.walk,
        "pixels": court.pixels, "register": court.register, "constant": court.constant,
        "reference": court.reference,
    }  # fmt: skip
    rows = []
    for row in bug.invariants:
        options = {key: value for key, value in row.items() if key != "kind"}
        if row["kind"] not in kinds:
            raise InputError(f"{bug.file}: no invariant is called '{row['kind']}'", stage=STAGE)
        try:
            message = kinds[row["kind"]](**options)
        except TypeError as error:
            raise InputError(f"{bug.file}: invariant {row['kind']}: {error}", stage=STAGE) from error
        except PxError as error:
            message = error.message
        rows.append(
            {"kind": row["kind"], "arguments": options, "holds": message is None, "message": message or ""}
        )
    return rows


def in_own_process(bug: corpus.Bug, sound: Path, patched: Path) -> list[Mapping[str, Any]]:
    """``judge`` in a process of its own, as the bench wants it; raises ``PxError`` when that ends otherwise."""
    import subprocess

    command = [sys.executable, "-m", "architect.invariants", str(bug.file), str(sound), str(patched)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise PxError(f"{bug.id}: the invariants could not be judged: {done.stderr.strip()}", stage=STAGE)
    rows: list[Mapping[str, Any]] = json.loads(done.stdout)
    return rows


def main(arguments: Sequence[str]) -> int:
    """Bug, sound tree, patched tree -> JSON on stdout."""
    bug, sound, patched = corpus.read(Path(arguments[0])), Path(arguments[1]), Path(arguments[2])
    with scratch.folder("pxos-invariants-") as folder:
        print(json.dumps(judge(bug, Court(sound, patched, folder))))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except PxError as problem:
        print(problem.message, file=sys.stderr)
        sys.exit(problem.status)
