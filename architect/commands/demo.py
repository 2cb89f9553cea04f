"""``pxos demo``: the main job on real input, without a network service or a language model.

Boots the healthy kernel, plants the bug that the project began with (a routine that "maps" the GPU's BAR0 and never
writes the page-table entry) with and without an interrupt table, shows the fault reports, repairs the kernel, and
then repairs another bug of the class with and without what was learnt. Every figure is of this run.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from toolchain.command import STATUS_NO, STATUS_OK, Outcome, Ui, paint, wants_colour
from toolchain.errors import InputError
from toolchain.files import LOCK_NAME, claimed
from toolchain.scratch import folder

HELP = "The main job on real input: boot, plant a bug, explain the fault, repair it, learn from it."
EXAMPLE = "pxos demo"

SEED = "seed-bar0-unmapped"
SEED_WITHOUT_IDT = "seed-without-idt"
ELSEWHERE = "large-page-unmapped"
STAGE = "demo"
HEALTHY = "healthy"  # folder of the healthy kernel's build
BUDGET = 160.0  # seconds of a repair; it takes ten on two free cores
BOOT_TIMEOUT = 20.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument(
        "--kernel", type=Path, default=Path("kernel"), metavar="DIR", help="the sound kernel tree"
    )
    parser.add_argument("--bugs", type=Path, default=Path("tests/bugs"), metavar="DIR", help="the corpus")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", default=Path("build/demo"), help="where all of it is kept"
    )


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """The whole demonstration."""
    from architect import corpus
    from toolchain import build

    build.kernel_tree(args.kernel)
    for name in (SEED, SEED_WITHOUT_IDT, ELSEWHERE):
        corpus.read(args.bugs / f"{name}.toml")
    _check_ours(args.out)
    with claimed(args.out.absolute(), stage=STAGE) as out:
        _check_ours(out)
        _clear(out)
        return _Demo(args.kernel, args.bugs, out, ui).run()


def _check_ours(out: Path) -> None:
    """A folder that holds anything but what an earlier demo left is not ours to empty.

    Raises:
        InputError: ``out`` is such a folder.
    """
    if out.is_dir() and {path.name for path in out.iterdir()} - {LOCK_NAME} and not (out / HEALTHY).is_dir():
        raise InputError(
            f"{out}: holds what no earlier demo left; name a new folder (--out DIR)", stage=STAGE
        )


def _clear(out: Path) -> None:
    """Take away what an earlier demo left; last that by which it is known, so that it can be interrupted."""
    import shutil

    for path in sorted(out.iterdir(), key=lambda path: path.name == HEALTHY):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != LOCK_NAME:
            path.unlink()


class _Demo:
    def __init__(self, kernel: Path, bugs: Path, out: Path, ui: Ui) -> None:
        self.kernel, self.bugs, self.ui = kernel, bugs, ui
        self.out = out
        self.colour = wants_colour(sys.stderr)
        self.data: dict[str, Any] = {}
        self.began = time.monotonic()

    def run(self) -> Outcome:
        """Chapter by chapter; ends at the first that fails."""
        with folder("pxos-demo-") as scratch:
            good = (
                self._healthy() and self._faults(scratch) and self._repair(scratch) and self._learnt(scratch)
            )
        seconds = time.monotonic() - self.began
        self.data["seconds"] = round(seconds, 2)
        verdict = "every step did what it should" if good else "a step did not do what it should"
        text = paint(
            f"demo: {verdict}; {seconds:.1f} s; all of it is kept in {self.out}", "bold", self.colour
        )
        return Outcome(STATUS_OK if good else STATUS_NO, self.data, text)

    # --- chapters ----------------------------------------------------------------------------------------------

    def _healthy(self) -> bool:
        from toolchain import build

        self._chapter("1. The healthy kernel")
        built = build.build(self.kernel, self.out / HEALTHY, ui=self.ui)
        assert built.iso is not None
        outcomes = {}
        for path, image in (("direct", built.elf), ("iso", built.iso)):
            result = self._boot(image, f"healthy-{path}", path=path)
            outcomes[path] = result.outcome
            units = ", ".join(f"{unit.name} {unit.state}" for unit in result.units)
            self.ui.step(f"{path:<6} {result.outcome.upper()} after {result.seconds:.2f} s: {units}")
        self.data["healthy"] = outcomes
        return set(outcomes.values()) == {"ready"}

    def _faults(self, scratch: Path) -> bool:
        self._chapter("2. The bug: BAR0 is 'mapped' by a routine that never writes the page-table entry")
        self._show_plant(SEED)
        with_idt = self._fault(SEED, scratch)
        self._chapter(
            "3. The same without an interrupt table: IDT limit 0, so the CPU goes on to the triple fault"
        )
        without = self._fault(SEED_WITHOUT_IDT, scratch)
        self.data["faults"] = {SEED: with_idt, SEED_WITHOUT_IDT: without}
        return with_idt is not None and without is not None and with_idt["cr2"] == without["cr2"]

    def _repair(self, scratch: Path) -> bool:
        self._chapter("4. The architect repairs it: no model, no lessons yet")
        found = self._fix(scratch / SEED, self.out / "lessons", "repair")
        self.data["repair"] = found
        self._lesson(self.out / "lessons")
        return bool(found["outcome"] == "fixed")

    def _learnt(self, scratch: Path) -> bool:
        self._chapter("5. Another bug of the class elsewhere, without and with the lesson, same budget")
        self._show_plant(ELSEWHERE)
        self._plant(ELSEWHERE, scratch)
        runs = {}
        for name, lessons in (("without", self.out / "no-lessons"), ("with", self.out / "lessons")):
            self.ui.note(paint(f"  {name} the lesson", "bold", self.colour))
            runs[name] = self._fix(scratch / ELSEWHERE, lessons, f"elsewhere-{name}")
        self.data["elsewhere"] = runs
        rows = [("", "outcome", "engine", "proposal", "candidates", "boots", "seconds")]
        rows += [
            (
                name,
                r["outcome"],
                r["engine"] or "-",
                str(r["place"] or "-"),
                str(r["candidates"]),
                str(r["boots"]),
                f"{r['seconds']:.1f}",
            )
            for name, r in runs.items()
        ]
        for row in rows:
            self.ui.note("  " + "".join(f"{cell:<12}" for cell in row).rstrip())
        return all(row["outcome"] == "fixed" for row in runs.values())

    # --- steps -------------------------------------------------------------------------------------------------

    def _chapter(self, title: str) -> None:
        self.ui.note("")
        self.ui.note(paint(title, "cyan", self.colour))

    def _bug(self, name: str) -> Any:
        from architect import corpus

        return corpus.read(self.bugs / f"{name}.toml")

    def _plant(self, name: str, scratch: Path) -> Path:
        from architect import corpus

        return corpus.plant(self._bug(name), self.kernel, scratch / name)

    def _show_plant(self, name: str) -> None:
        from architect import corpus
        from architect.report import coloured

        self.ui.note("  planted:")
        diff = corpus.diff(self._bug(name), corpus.sources(self.kernel))
        self.ui.note("\n".join(f"    {line}" for line in coloured(diff, self.colour).splitlines()))

    def _boot(self, image: Path, name: str, **options: Any) -> Any:
        from toolchain import qemu
        from toolchain.types import BootConfig

        return qemu.boot(BootConfig(image=image, timeout=BOOT_TIMEOUT, log_dir=self.out / name, **options))

    def _fault(self, name: str, scratch: Path) -> dict[str, Any] | None:
        from toolchain import build, fault, render
        from toolchain.symbols import SymbolTable

        tree = self._plant(name, scratch)
        built = build.build(tree, self.out / name, iso=False, ui=self.ui)
        result = self._boot(built.elf, f"{name}-boot")
        report = fault.analyse(result, SymbolTable(built.elf), tree)
        if report is None:
            self.ui.step(f"no fault: the boot ended as {result.outcome}")
            return None
        self.ui.note(render.text(report, self.colour))
        return {
            "outcome": result.outcome,
            "cause": report.cause,
            "cr2": report.chain[0].cr2 if report.chain else None,
            "chain": [item.name for item in report.chain],
        }

    def _fix(self, tree: Path, lessons: Path, name: str) -> dict[str, Any]:
        from architect import run as runner
        from architect.report import coloured

        settings = runner.Settings(tree=tree, out=self.out / name, lessons=lessons, seconds=BUDGET)
        data = runner.repair(settings, self.ui).data
        if data["patch"]:
            self.ui.note(coloured(data["patch"], self.colour))
        self.ui.step(f"{data['outcome']}: {data['reason']}")
        self.ui.step(f"{data['boots']} boots, {data['candidates']} candidates, {data['seconds']:.1f} s")
        return {
            key: data[key]
            for key in ("outcome", "engine", "boots", "candidates", "place", "seconds", "lesson", "patch")
        }

    def _lesson(self, folder: Path) -> None:
        from architect.lesson_text import dump
        from architect.lessons import SqliteLessons

        self.ui.note(paint("  the lesson, as it can be reviewed:", "bold", self.colour))
        self.ui.note("\n".join(f"    {line}" for line in dump(SqliteLessons(folder).all()).splitlines()))
