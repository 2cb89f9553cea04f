"""Results of in-kernel tests, read from KTAP lines among whatever else a serial line carries.

Owns the grammar (Linux ``Documentation/dev-tools/ktap.rst``, version 1): version line, plan, ``ok``/``not ok``
with directives, nested subtests by indentation, diagnostics. Stray lines are skipped. Never decides how the boot
ended: a plan that was not fulfilled only shows in ``complete``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["pass", "fail", "skip"]

_VERSION = re.compile(r"K?TAP version 1[34]?\s*$")
_PLAN = re.compile(r"1\.\.(\d{1,6})(?:\s|$)")
_RESULT = re.compile(r"(ok|not ok) (\d{1,6})(?:\s+-)?(?:\s+(.*))?$")
_DIRECTIVE = re.compile(r"\s*(?<!\\)# *(SKIP|TODO|XFAIL|TIMEOUT|ERROR)\b[: ]*(.*)$", re.IGNORECASE)
_MAX_TESTS = 10_000
_MAX_NAME = 200
_MAX_NOTES = 20  # diagnostic lines kept for one test
_MAX_DEPTH = 16


@dataclass(frozen=True, slots=True)
class TestResult:
    """One result line. ``name`` is the path of nested tests joined by ``/``; ``notes`` its diagnostic lines."""

    name: str
    verdict: Verdict
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Level:
    """A plan being worked off at one indentation; ``prefix`` is where its names start among the results."""

    planned: int | None = None
    seen: int = 0
    first: int = 0


@dataclass(slots=True)
class Parser:
    """Takes lines one at a time; ask ``results``, ``tests`` and ``complete`` at any time."""

    results: list[TestResult] = field(default_factory=list)
    started: bool = False
    _levels: list[_Level] = field(default_factory=list)
    _notes: list[str] = field(default_factory=list)
    _short: bool = False

    def feed(self, line: str) -> TestResult | None:
        """Take one line (without its newline); the result it reports, or None."""
        text = line.rstrip()
        body = text.lstrip(" ")
        if _VERSION.match(body):
            self._open((len(text) - len(body)) // 2)
            return None
        if not self.started:
            return None
        depth = min((len(text) - len(body)) // 2, len(self._levels) - 1)
        if plan := _PLAN.match(body):
            self._plan(depth, int(plan[1]))
        elif body.startswith("#"):
            if len(self._notes) < _MAX_NOTES:
                self._notes.append(body[1:].strip()[:_MAX_NAME])
        elif result := _RESULT.match(body):
            return self._result(depth, result[1] == "ok", result[3] or f"test {result[2]}")
        return None

    @property
    def tests(self) -> dict[str, bool]:
        """Leaf and parent tests: name -> passed (a skipped test passed). A repeated name gets ``#2``, ``#3``..."""
        found: dict[str, bool] = {}
        counts: dict[str, int] = {}
        for result in self.results:
            counts[result.name] = number = counts.get(result.name, 0) + 1
            found[result.name if number == 1 else f"{result.name}#{number}"] = result.verdict != "fail"
        return found

    @property
    def complete(self) -> bool:
        """True when a plan was seen and every planned test of every level reported."""
        if not self._levels or self._short or len(self._levels) != 1:
            return False
        return self._fulfilled(self._levels[0])

    @property
    def passed(self) -> bool:
        """True when the run is complete and nothing failed. An empty plan proves nothing."""
        return self.complete and bool(self.results) and all(self.tests.values())

    @staticmethod
    def _fulfilled(level: _Level) -> bool:
        return level.planned is not None and level.seen >= level.planned

    def _open(self, depth: int) -> None:
        self.started = True
        if depth == 0 or not self._levels:
            self._short |= any(not self._fulfilled(level) for level in self._levels)
            self._levels = [_Level(first=len(self.results))]
        elif depth < _MAX_DEPTH:
            del self._levels[depth:]
            self._levels.append(_Level(first=len(self.results)))
        self._notes.clear()

    def _plan(self, depth: int, planned: int) -> None:
        level = self._levels[depth]
        if level.planned is None:
            level.planned = planned
        self._notes.clear()

    def _result(self, depth: int, ok: bool, rest: str) -> TestResult | None:
        if len(self.results) >= _MAX_TESTS:
            self._short = True
            return None
        verdict: Verdict = "pass" if ok else "fail"
        if directive := _DIRECTIVE.search(rest):
            rest = rest[: directive.start()]
            kind = directive[1].upper()
            if kind in ("TIMEOUT", "ERROR"):
                verdict = "fail"
            elif kind == "SKIP" and ok:
                verdict = "skip"
            if directive[2] and len(self._notes) < _MAX_NOTES:
                self._notes.append(directive[2].strip()[:_MAX_NAME])
        name = rest.strip()[:_MAX_NAME] or "unnamed"
        self._close_children(depth, name)
        result = TestResult(name, verdict, tuple(self._notes))
        self._notes.clear()
        self._levels[depth].seen += 1
        self.results.append(result)
        return result

    def _close_children(self, depth: int, parent: str) -> None:
        """The results of deeper levels belong to ``parent``, whose result line comes after theirs (KTAP)."""
        if len(self._levels) <= depth + 1:
            return
        child = self._levels[depth + 1]
        self._short |= any(not self._fulfilled(level) for level in self._levels[depth + 1 :])
        for index in range(child.first, len(self.results)):
            old = self.results[index]
            self.results[index] = TestResult(f"{parent}/{old.name}"[:_MAX_NAME], old.verdict, old.notes)
        del self._levels[depth + 1 :]


def parse(text: str) -> Parser:
    """Parse a whole log at once."""
    parser = Parser()
    for line in text.splitlines():
        parser.feed(line)
    return parser
