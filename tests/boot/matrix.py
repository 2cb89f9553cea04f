"""The matrix of machines on which the kernel's own tests run: every combination, and a sample that covers all pairs.

Owns: the axes, the sample, how one boot is judged, and ``make test-matrix`` (this module run by itself), which goes on
where it was interrupted. A boot passes when the kernel's tests pass, the machine is the one that was asked for (all its
CPUs came, its memory was found, its display is used), and no test was skipped that this machine can run.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from toolchain import build, qemu, qemu_args
from toolchain.errors import PxError
from toolchain.types import BootConfig, BootResult

ROOT = Path(__file__).resolve().parents[2]
AXES: dict[str, tuple[Any, ...]] = {
    "machine": ("q35", "pc"),
    "path": ("direct", "bios", "uefi"),
    "cpus": (1, 2, 4, 16),
    "memory": ("64M", "512M", "8G"),
    "display": ("std", "bochs", "virtio", "none"),
}
VERDICTS = "verdicts.jsonl"
FRAME = 4096
LEAST_FOUND = 0.8  # of the RAM: OVMF keeps 7 MB of 64, the kernel and its modules lie in the rest
DEADLINES = {"direct": 120.0, "bios": 120.0, "uefi": 300.0}  # seconds, on a loaded machine

# Why a test may be skipped, and on which machines.
_NEVER_HERE = (
    "no edu device", "no 82574",  # tests/boot/test_platform.py has them
    "no GPU service",  # tests/boot/test_mailbox.py has one
    "this CPU raises no #XM",  # QEMU 7.2 does not under TCG
)  # fmt: skip
_ONE_CPU = ("one CPU",)
_NO_DISPLAY = ("no GPU with a framebuffer", "no framebuffer")
_SKIPPED = re.compile(r"^ok \d+ (\w+) # SKIP (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Point:
    """One machine, and how it is booted."""

    machine: str
    path: str
    cpus: int
    memory: str
    display: str

    @property
    def name(self) -> str:
        """As ``q35-uefi-4-64M-std``."""
        return "-".join(map(str, astuple(self)))

    @property
    def cost(self) -> float:
        """CPU seconds of its boot, roughly: 16 CPUs share one host, OVMF takes its time."""
        return self.cpus / 4 + (4 if self.path == "uefi" else 0)

    def config(self, elf: Path, iso: Path) -> BootConfig:
        """The boot with the kernel's tests."""
        direct = self.path == "direct"
        return BootConfig(
            elf if direct else iso,
            path="direct" if direct else "iso",
            firmware="uefi" if self.path == "uefi" else "bios",
            machine=self.machine,  # type: ignore[arg-type]
            smp=self.cpus,
            memory=self.memory,
            display=self.display,  # type: ignore[arg-type]
            cmdline="test",
            timeout=DEADLINES[self.path],
        )


def points() -> list[Point]:
    """Every combination, in the order of the axes. All of them exist: OVMF too boots with 64 MB."""
    return [Point(*values) for values in itertools.product(*AXES.values())]


def pairs(point: Point) -> set[tuple[tuple[str, Any], tuple[str, Any]]]:
    """Each two values that ``point`` brings together."""
    values = [(field.name, getattr(point, field.name)) for field in fields(point)]
    return set(itertools.combinations(values, 2))


def sample(every: Sequence[Point]) -> list[Point]:
    """Few and cheap points that bring each two values together which any of ``every`` does.

    Greedy: whichever covers most pairs that are missing, then the cheapest, then the one whose values were chosen
    least. Deterministic.
    """
    missing = set().union(*map(pairs, every))
    used: Counter[Any] = Counter()
    chosen: list[Point] = []

    def worth(point: Point) -> tuple[float, ...]:
        return len(pairs(point) & missing), -point.cost, -sum(used[value] for value in astuple(point))

    while missing:
        best = max(every, key=worth)
        chosen.append(best)
        used.update(astuple(best))
        missing.difference_update(pairs(best))
    return chosen


def judge(point: Point, result: BootResult) -> list[str]:
    """What is wrong with a boot, a sentence each; empty where nothing is."""
    if result.outcome != "tests-passed":
        failed = [name for name, passed in result.tests.items() if not passed]
        fault = result.kernel_fault or {}
        more = [*failed, *([f"{fault['name']} at {fault['rip']}"] if fault else []), *(result.panic or ())]
        return [" ".join([result.outcome, *more])]
    said = {unit.name: unit for unit in result.units}
    wrong = [f"unit {unit.name} failed" for unit in result.units if unit.state not in ("ok", "skip")]
    cpus = said["processors"].values.get("cpus")
    if cpus != str(point.cpus):
        wrong.append(f"{cpus} CPUs of {point.cpus}")
    found = int(said["frames"].values["frames"]) * FRAME / qemu_args.memory_bytes(point.memory)
    if not LEAST_FOUND <= found <= 1:
        wrong.append(f"{found:.0%} of the memory found")
    shown = point.display != "none"
    for unit in ("gpu", "framebuffer"):
        if (said[unit].state == "ok") != shown:
            wrong.append(f"unit {unit}: {said[unit].state}")
    allowed = [*_NEVER_HERE, *(_ONE_CPU if point.cpus == 1 else ()), *(() if shown else _NO_DISPLAY)]
    wrong += [
        f"{name} skipped: {reason}"
        for name, reason in _SKIPPED.findall(result.serial)
        if reason not in allowed
    ]
    return wrong


# --- make test-matrix --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """One boot of one kernel image."""

    image: str
    point: str
    seconds: float
    problems: list[str]


@dataclass(frozen=True)
class Images:
    """The kernel, both ways of booting it, and what identifies it."""

    elf: Path
    iso: Path
    digest: str


def past(path: Path, image: str) -> dict[str, Verdict]:
    """The verdicts about ``image`` that a run before this one left, by point; those that failed are tried again."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            verdict = Verdict(**json.loads(line))
        except (ValueError, TypeError):
            continue  # the line that was being written when the run was killed
        if verdict.image == image:
            found[verdict.point] = verdict
    return {name: verdict for name, verdict in found.items() if not verdict.problems}


def attempt(point: Point, kernel: Images, folder: Path) -> Verdict:
    """Boot once; what a boot that did not pass has said is kept under ``folder``."""
    result = qemu.boot(point.config(kernel.elf, kernel.iso))
    problems = judge(point, result)
    if problems:
        (folder / f"{point.name}.serial").write_text(result.serial)
    return Verdict(kernel.digest, point.name, round(result.seconds, 2), problems)


def table(done: dict[str, Verdict]) -> str:
    """Rows by machine, path and memory, columns by CPUs, a letter for each display: . passed, F failed, - not run."""
    letters = {name: "F" if verdict.problems else "." for name, verdict in done.items()}
    lines = [f"displays in each cell: {' '.join(AXES['display'])}", ""]
    lines.append(f"{'CPUs':<22}" + "".join(f"{cpus:<7}" for cpus in AXES["cpus"]))
    for machine, path, memory in itertools.product(AXES["machine"], AXES["path"], AXES["memory"]):
        cells = [
            "".join(
                letters.get(Point(machine, path, cpus, memory, display).name, "-")
                for display in AXES["display"]
            )
            for cpus in AXES["cpus"]
        ]
        lines.append(f"{machine:<5}{path:<9}{memory:<8}" + "".join(f"{cell:<7}" for cell in cells))
    return "\n".join(lines)


def images(folder: Path) -> Images:
    """Build the kernel of this checkout under ``folder``."""
    built = build.build(ROOT / "kernel", folder)
    assert built.iso is not None
    return Images(built.elf, built.iso, hashlib.sha256(built.elf.read_bytes()).hexdigest()[:16])


def run(waiting: Sequence[Point], kernel: Images, folder: Path, jobs: int) -> Iterator[Verdict]:
    """Boot each of ``waiting``, ``jobs`` at a time; every verdict is kept before it is given."""
    pool = ThreadPoolExecutor(jobs)
    try:
        futures = [pool.submit(attempt, point, kernel, folder) for point in waiting]
        for future in as_completed(futures):
            verdict = future.result()
            with (folder / VERDICTS).open("a") as file:
                file.write(json.dumps(vars(verdict)) + "\n")
            yield verdict
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def main() -> int:
    """Run the matrix or a part of it; 0 when all of it passes."""
    parser = argparse.ArgumentParser(prog="make test-matrix", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("words", nargs="*", help="only points that have all these values: uefi 16 none")
    parser.add_argument("--sample", action="store_true", help="only the sample that covers all pairs")
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="only each Nth point; 7 comes round to all values"
    )
    parser.add_argument("--jobs", type=int, default=2, help="boots at a time (default 2)")
    parser.add_argument("--out", type=Path, default=ROOT / "build/matrix", help="where verdicts are kept")
    args = parser.parse_args()
    every = sample(points()) if args.sample else points()
    chosen = [
        point for point in every[:: max(args.every, 1)] if set(args.words) <= set(map(str, astuple(point)))
    ]
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        kernel = images(args.out / "kernel")
        done = past(args.out / VERDICTS, kernel.digest)
        waiting = [point for point in chosen if point.name not in done]
        _say(f"{len(waiting)} boots to do; {len(chosen) - len(waiting)} have passed with this kernel before")
        for count, verdict in enumerate(run(waiting, kernel, args.out, args.jobs), 1):
            done[verdict.point] = verdict
            said = "; ".join(verdict.problems) or "passed"
            _say(f"{count}/{len(waiting)} {verdict.point:<26} {verdict.seconds:7.2f} s  {said}")
    except KeyboardInterrupt:
        _say("interrupted; the next run goes on from here")
        sys.stderr.flush()
        os._exit(130)  # the boots in progress end with this process
    except PxError as error:
        _say(str(error))
        return 2
    ours = {point.name: done[point.name] for point in chosen}
    failed = [verdict for verdict in ours.values() if verdict.problems]
    print(table(ours))
    for verdict in failed:
        print(f"{verdict.point}: {'; '.join(verdict.problems)} (said: {args.out / verdict.point}.serial)")
    print(f"{len(ours) - len(failed)} of {len(chosen)} passed")
    return 1 if failed else 0


def _say(text: str) -> None:
    print(f"matrix: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
