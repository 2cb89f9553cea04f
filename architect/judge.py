"""What the original tree promises, and whether a boot kept it: boot units, their order, the in-kernel tests.

Owns the baseline of a repair, read once from the original tree (or ``--baseline FILE``) and never from a candidate.
Readiness is not taken at its word: PXREADY counts only after every unit said how it ended, in the declared order.
What can be measured from outside the guest is judged in ``claims``.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolchain import contract, ktap
from toolchain.errors import InputError
from toolchain.files import read_bounded
from toolchain.generate import load_boot_units

STAGE = "baseline"
BASELINE_BYTES_MAX = 1 << 20

_BOOT = re.compile(r"([\w.:-]{1,64}) (start|ok|skip|fail)\b(?:.*?\btsc=(\d{1,20}))?")
_READY = re.compile(r"tsc=(\d{1,20})\s*$")


@dataclass(frozen=True, slots=True)
class Promise:
    """One boot unit: the results that count as kept."""

    unit: str
    results: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judge:
    """The baseline of one repair.

    Attributes:
        promises: the boot units in the order in which they run.
        tests: names of the in-kernel tests that must run and pass; empty when the tree does not tell them.
        sources: every text of the original tree, for the headers that routines are held to.
    """

    promises: tuple[Promise, ...]
    tests: tuple[str, ...]
    sources: Mapping[str, str]

    @property
    def units(self) -> tuple[str, ...]:
        """The names of the boot units."""
        return tuple(promise.unit for promise in self.promises)

    def boot_problem(self, serial: str) -> str | None:
        """What is wrong with the boot that a serial log tells of, or None when every promise was kept."""
        events = _events(serial)
        position = 0
        for promise in self.promises:
            seen: list[str] = []
            while position < len(events) and events[position].unit == promise.unit:
                seen.append(events[position].state)
                position += 1
            problem = _unit_problem(promise, seen, events[position].unit if position < len(events) else None)
            if problem:
                return problem
        rest = [event.unit for event in events[position:]]
        if rest != [READY]:
            what = f"then came {', '.join(rest[:4])}" if rest else "PXREADY never came"
            return f"after the last boot unit PXREADY belongs, once; {what}"
        times = [event.tsc for event in events]
        if times != sorted(times):
            return "the time stamps of the PX lines go backwards"
        return None

    def reached(self, serial: str) -> float:
        """How far a boot came, 0 to 1: the share of the units that ended as promised, in order."""
        ended = {(event.unit, event.state) for event in _events(serial)}
        done = 0
        for promise in self.promises:
            if not any((promise.unit, result) in ended for result in promise.results):
                break
            done += 1
        return done / (len(self.promises) + 1) + ((READY, "ready") in ended) / (len(self.promises) + 1)

    def tests_problem(self, serial: str) -> str | None:
        """What is wrong with the in-kernel tests of a boot with ``test``, or None when all passed."""
        tap = ktap.parse(serial)
        failed = [name for name, passed in tap.tests.items() if not passed]
        if failed:
            return f"{len(failed)} in-kernel tests failed: {', '.join(failed[:4])}"
        if not tap.results:
            return "the in-kernel tests never ran"
        if not tap.complete:
            return f"the in-kernel tests stopped after {len(tap.results)} results"
        missing = [name for name in self.tests if name not in tap.tests]
        if missing:
            return f"in-kernel tests are missing: {', '.join(missing[:4])}"
        return None


READY = "PXREADY"


@dataclass(frozen=True, slots=True)
class _Event:
    unit: str
    state: str
    tsc: int


def _events(serial: str) -> list[_Event]:
    """The PXBOOT and PXREADY lines of a log, in order."""
    boot, ready = contract.string("BOOT_PREFIX"), contract.string("READY_PREFIX")
    events = []
    for line in serial.splitlines():
        if line.startswith(boot) and (found := _BOOT.match(line[len(boot) :])):
            events.append(_Event(found[1], found[2], int(found[3] or 0)))
        elif line.startswith(ready) and (found := _READY.match(line[len(ready) :])):
            events.append(_Event(READY, "ready", int(found[1])))
    return events


def _unit_problem(promise: Promise, seen: list[str], following: str | None) -> str | None:
    name = promise.unit
    if not seen:
        return f"boot unit {name} is missing" + (f": {following} came in its place" if following else "")
    if seen not in (["start", seen[-1]], ["skip"]):
        return f"boot unit {name} said {', '.join(seen)}; expected start, then its result"
    if seen[-1] not in promise.results:
        return f"boot unit {name} said {seen[-1]}; expected {' or '.join(promise.results)}"
    return None


# --- reading it --------------------------------------------------------------------------------------------


def load(tree: Path, files: Mapping[str, bytes], baseline: Path | None = None) -> Judge:
    """The judge of a repair of ``tree``, whose files are ``files`` (as ``TreeCopy`` holds them).

    Args:
        tree: the original tree.
        files: path relative to the tree -> bytes.
        baseline: the units and tests of a good boot: TOML in the form of ``boot.toml``, a unit may give
            ``result``; or the JSON of ``pxos boot --json``.

    Raises:
        InputError: ``boot.toml`` or the baseline is missing or wrong.
    """
    sources = {n: d.decode("utf-8", "replace") for n, d in files.items() if n.endswith((".s", ".inc"))}
    promises, tests = _of_tree(tree), tests_of(sources)
    if baseline is not None:
        told = _baseline(baseline)
        promises = _promises(told, baseline) or promises
        tests = _tests(told, baseline) or tests
    return Judge(promises, tests, sources)


def _of_tree(tree: Path) -> tuple[Promise, ...]:
    units = load_boot_units(tree / "boot.toml")
    return tuple(Promise(u.name, ("ok", "skip") if u.optional else ("ok",)) for u in units)


def tests_of(sources: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the in-kernel tests that a tree declares: its ``ktap_test ROUTINE, "name"`` lines."""
    declared = re.compile(r'^[ \t]*ktap_test\s+[\w.$]+\s*,\s*"([^"]+)"', re.MULTILINE)
    return tuple(
        name for file in sorted(sources) if file.endswith(".s") for name in declared.findall(sources[file])
    )


def _baseline(path: Path) -> Mapping[str, Any]:
    data = read_bounded(path, BASELINE_BYTES_MAX, stage=STAGE)
    try:
        text = data.decode()
        told = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        form = "JSON of `pxos boot --json`" if path.suffix == ".json" else "TOML"
        raise InputError(f"{path}: not {form}: {error}", stage=STAGE) from error
    if not isinstance(told, dict):
        raise InputError(f"{path}: expected a table with the boot units", stage=STAGE)
    return told


def _promises(told: Mapping[str, Any], path: Path) -> tuple[Promise, ...]:
    rows = told.get("unit", told.get("units", []))
    promises = []
    for number, row in enumerate(rows if isinstance(rows, list) else [rows]):
        row = row if isinstance(row, dict) else {}
        name, result = row.get("name"), row.get("result", row.get("state", "ok"))
        results = tuple(result) if isinstance(result, list) else (result,)
        if not isinstance(name, str) or not all(r in ("ok", "skip", "fail") for r in results) or not results:
            raise InputError(
                f"{path}: unit[{number}]: expected a name and its result: ok, skip or fail", stage=STAGE
            )
        promises.append(Promise(name, results))
    return tuple(promises)


def _tests(told: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    tests = told.get("tests", [])
    names = list(tests) if isinstance(tests, list | dict) else []
    if not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: tests: expected names", stage=STAGE)
    return tuple(names)
