"""What a failed case says about where its cause may lie, one distribution over source lines per kind of evidence.

Owns the reading of a ``Case``: fault report, trace, diagnosis, boot units, failed tests, contract violations, findings,
diagnostics, the last good commit. Each piece of evidence spreads a trust over lines; ``localise`` mixes them. It knows
no bug and no routine of any kernel by name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from typing import Any

from architect.anomalies import Anomaly, anomalies
from architect.dataflow import Flows
from architect.effects import FLAGS, registers_in
from architect.names import Names
from architect.protocols import Case
from architect.slicing import Key, Slicer, Start
from architect.source import Tree
from architect.statements import Statement, symbols
from toolchain import headers
from toolchain.types import CodePlace

_PLACE = re.compile(r"([\w./-]+\.(?:s|inc)):(\d+)")
_WORD = re.compile(r"[A-Za-z_][\w]*")
_GATES = {"contract": 10.0, "checks": 8.0}  # trust in what a gate names; a boot names only where it ended
_CALLEES = 0.25  # of a routine's blame goes to those that it calls
_NEIGHBOURS = {0: 1.0, 1: 0.4, 2: 0.2, 3: 0.1}


@dataclass(frozen=True, slots=True)
class Evidence:
    """One piece: how far it is to be trusted, why (a clause for the report), and its lines with their shares."""

    trust: float
    reason: str
    lines: Mapping[Key, float]


class Reader:
    """Everything that one case says."""

    def __init__(self, case: Case, tree: Tree) -> None:
        self.case = case
        self.tree = tree
        self.flows = Flows(tree)
        self.slicer = Slicer(self.flows)
        self.names = Names(tree, case.tree)

    def read(self) -> Iterator[Evidence]:
        """Every piece of evidence of the case; lines need not be editable and shares need not sum to one."""
        yield from self.diagnostics()
        yield from self.fault()
        yield from self.trace()
        yield from self.suspects()
        yield from self.unit()
        yield from self.judged()
        yield from self.tests()
        yield from self.panic()
        yield from self.anomalous()
        yield from self.loose()
        yield from self.changed()

    # --- what the tree itself says ---------------------------------------------------------------------------

    @cached_property
    def anomalies(self) -> dict[Key, tuple[Anomaly, ...]]:
        """What looks odd without a run."""
        found = anomalies(self.flows)
        return {key: odd for key, odd in found.items() if key[0] in self.tree.editable}

    def anomalous(self) -> Iterator[Evidence]:
        """Anomalies tell the more, the fewer there are."""
        total = sum(len(found) for found in self.anomalies.values())
        if total:
            lines = {key: float(len(found)) for key, found in self.anomalies.items()}
            yield Evidence(min(2.0, 6.0 / total), "its data flow looks odd", self._spread(lines))

    def loose(self) -> Iterator[Evidence]:
        """Code, data and labels that nothing names: what should is near their kin, or in their own routine."""
        lines: dict[Key, float] = {}
        for file, name in self.names.loose:
            for other in (name, *self.names.family(name, file)[:6]):
                for user in self.tree.references.get(other, ()):
                    if user.file != file and other not in self.tree.exported:
                        continue
                    lines.update(self._spread({user.key: 0.5}))
                    for key, part in self._routine(user.routine).items():
                        lines[key] = max(lines.get(key, 0.0), 0.5 * part)
            if name.startswith(".L"):
                for key, part in self._routine(self.tree.local_labels[file, name].routine).items():
                    lines[key] = max(lines.get(key, 0.0), part)
        if lines:
            yield Evidence(3.0, "something near it is defined and never used", lines)

    def changed(self) -> Iterator[Evidence]:
        """Lines that differ from the last good commit, and the places where lines went away."""
        lines: dict[Key, float] = {}
        for file, text in self.case.sources.items():
            if file not in self.case.baseline or self.case.baseline[file] == text:
                continue
            old, new = self.case.baseline[file].split("\n"), text.split("\n")
            for tag, _, _, first, last in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
                if tag != "equal":
                    lines.update({(file, n + 1): 1.0 for n in range(first, max(last, first + 1))})
        if lines:
            yield Evidence(6.0, "it changed since the last good commit", lines)

    # --- what the assembler says -----------------------------------------------------------------------------

    def diagnostics(self) -> Iterator[Evidence]:
        """The places of the assembler's errors, and of every line that names the same word."""
        lines: dict[Key, float] = {}
        for diagnostic in self.case.diagnostics:
            places = [(diagnostic.place.file, diagnostic.place.line)]
            places += [(step.file, step.line) for step in diagnostic.place.trail]
            for file, line in places:
                lines[file, line] = 1.0
            for word in re.findall(r"['\"`‘]([\w.$]+)['\"`’]", diagnostic.message):
                for s in (*self.tree.references.get(word, ()), *self._defining(word)):
                    lines.setdefault(s.key, 0.5)
        if lines:
            yield Evidence(8.0, "the assembler points at it", self._spread(lines))

    def _defining(self, word: str) -> Iterable[Statement]:
        return (s for (_, label), s in self.tree.local_labels.items() if label == word)

    # --- what the dead machine says --------------------------------------------------------------------------

    def fault(self) -> Iterator[Evidence]:
        """The faulting instruction, what made its operands, and the rest of its routine."""
        report = self.case.report
        place = report.place if report else None
        if place is None:
            return
        starts = list(self.starts(place))
        on_stack = {p.symbol for p in (report.trace if report else ()) if p.symbol}
        if starts:
            lines = self.slicer.backward(starts, sorted(on_stack))
            yield Evidence(2.0, "the faulting instruction's operands come from it", lines)
        if place.symbol in self.tree.routines:
            yield Evidence(0.6, f"{place.symbol} is where it died", self._routine(place.symbol))

    def starts(self, place: CodePlace) -> Iterator[Start]:
        """The nodes at a place, with the registers that each reads."""
        sites = self.tree.by_line.get((place.file or "", place.line or 0), ())
        for site in sites:
            flow = self.flows.of(site.routine)
            for node in flow.nodes_of(site) if flow else ():
                assert flow is not None and site.routine is not None
                read = flow.nodes[node].effects.reads - {FLAGS}
                address = registers_in(" ".join(o.text for o in site.operands if "[" in o.text))
                yield Start(site.routine, node, address or read | {"rsp"})

    def trace(self) -> Iterator[Evidence]:
        """The calls that were under way, and the routines that they called: a broken return blames the callee."""
        lines: dict[Key, float] = {}
        for depth, place in enumerate(self.case.report.trace if self.case.report else ()):
            share = 0.6**depth
            call = self._call_before(place)
            for key, part in self._routine(place.symbol).items():
                lines[key] = max(lines.get(key, 0.0), 0.3 * share * part)
            if call is not None:
                lines[call.key] = max(lines.get(call.key, 0.0), share)
                for key, part in self._routine(call.operand(0)).items():
                    lines[key] = max(lines.get(key, 0.0), share * part)
        if lines:
            yield Evidence(0.7, "it was under way when the machine died", lines)

    def _call_before(self, place: CodePlace) -> Statement | None:
        routine = self.tree.routines.get(place.symbol or "")
        if routine is None or place.line is None:
            return None
        calls = [s for s in routine.statements if s.name == "call" and s.line <= place.line]
        return calls[-1] if calls else None

    def suspects(self) -> Iterator[Evidence]:
        """The routines that the diagnosis names, and those that these use."""
        for diagnosis in self.case.report.diagnosis if self.case.report else ():
            lines: dict[Key, float] = {}
            for rank, name in enumerate(diagnosis.suspects):
                for routine, depth in self.tree.reachable([name], 4).items():
                    share = 0.6**rank * 0.5**depth
                    for key, part in self._routine(routine).items():
                        lines[key] = max(lines.get(key, 0.0), share * part)
            if lines:
                yield Evidence(1.5, f"diagnosis: {diagnosis.sentence}", lines)

    def unit(self) -> Iterator[Evidence]:
        """The boot unit in progress (or that failed), by the call graph from its entry; before any, the entry code."""
        names = list(self.units_in_question())
        entries = self.entries
        roots = [entries[name] for name in names if name in entries]
        if roots:
            yield Evidence(1.0, f"boot unit {', '.join(names)} was in progress", self._below(roots))
        elif self.case.boot is not None and not self.case.boot.units and self.case.image is not None:
            first = [s.name for s in self.case.image.symbols if s.address == self.case.image.entry]
            early = [n for n, r in self.tree.routines.items() if r.statements[0].section.startswith(".boot")]
            yield Evidence(1.0, "nothing of the boot came after it", self._below([*first, *early]))

    def units_in_question(self) -> Iterator[str]:
        """Units that began and did not end well, the last one first; the one that the report names before all."""
        report, boot = self.case.report, self.case.boot
        named = [report.unit] if report and report.unit else []
        bad = [u.name for u in reversed(boot.units if boot else ()) if u.state in ("start", "fail")]
        yield from dict.fromkeys((*named, *bad))

    @cached_property
    def entries(self) -> dict[str, str]:
        """Boot unit -> the routine that runs it, from the tree's boot.toml."""
        path = self.case.tree / "boot.toml"
        if not path.is_file():
            return {}
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return {u["name"]: u["entry"] for u in table.get("unit", ()) if "name" in u and "entry" in u}

    def panic(self) -> Iterator[Evidence]:
        """The code that said the words of a panic: who names their string, and the branches that lead there."""
        boot = self.case.boot
        words = boot.panic if boot and boot.panic else None
        lines: dict[Key, float] = {}
        for text in filter(None, words or ()):
            lines.update(self._saying(text))
        if lines:
            yield Evidence(1.5, "the panic was raised there", lines)

    # --- what the judges say ---------------------------------------------------------------------------------

    def judged(self) -> Iterator[Evidence]:
        """Failed gates: every place, routine and register that their evidence names."""
        for gate in self.case.failures:
            lines: dict[Key, float] = {}
            named: dict[str, set[str]] = {}
            for entry in _entries(gate.message, gate.evidence):
                self._mentions(entry, lines, named)
            for name, registers in named.items():
                share = 0.25 if self._is_consequence(name, named) else 1.0
                for key, part in self._about(name, registers).items():
                    lines[key] = max(lines.get(key, 0.0), share * part)
            if lines:
                yield Evidence(_GATES.get(gate.gate, 1.0), f"gate {gate.gate}: {gate.message}", lines)

    def _mentions(self, entry: str, lines: dict[Key, float], named: dict[str, set[str]]) -> None:
        for match in _PLACE.finditer(entry):
            for away, share in _NEIGHBOURS.items():
                for line in {int(match[2]) - away, int(match[2]) + away}:
                    if (match[1], line) in self.tree.by_line:
                        lines[match[1], line] = max(lines.get((match[1], line), 0.0), share)
        words = _WORD.findall(entry)
        registers = {full for w in words if (full := headers.full_register(w))}
        for word in words:
            if word in self.tree.routines:
                named.setdefault(word, set()).update(registers)

    def _is_consequence(self, name: str, named: Mapping[str, object]) -> bool:
        """A routine fails because one that it calls fails too."""
        return any(other in named for other in self.tree.reachable([name], 6) if other != name)

    def _about(self, name: str, registers: Iterable[str]) -> dict[Key, float]:
        """A routine's lines, those that touch the registers in question first, and a share for its callees."""
        lines = self._routine(name)
        flow = self.flows.of(name)
        wanted = frozenset(registers)
        for node in flow.nodes if flow else ():
            if (
                node.effects.writes & wanted
                or registers_in(" ".join(o.text for o in node.site.operands)) & wanted
            ):
                lines[node.site.key] = lines.get(node.site.key, 0.0) * 2.0
        below: dict[Key, float] = {}
        for callee, depth in self.tree.reachable([name], 4).items():
            for key, part in self._routine(callee).items() if depth else ():
                below.setdefault(key, 0.3**depth * part)
        scale = _CALLEES * sum(lines.values()) / (sum(below.values()) or 1.0)
        for key, part in below.items():
            lines.setdefault(key, min(1.0, scale) * part)
        return lines

    def tests(self) -> Iterator[Evidence]:
        """Failed in-kernel tests: the routines that the test calls."""
        boot = self.case.boot
        failed = [name for name, passed in (boot.tests if boot else {}).items() if not passed]
        lines: dict[Key, float] = {}
        for name in failed:
            roots = self._test_routines(name)
            for routine, depth in self.tree.reachable(roots, 5).items():
                for key, part in self._routine(routine).items():
                    lines[key] = max(lines.get(key, 0.0), 0.6**depth * part)
        if lines:
            yield Evidence(2.0, f"test {failed[0]} fails", lines)

    def _test_routines(self, name: str) -> list[str]:
        """The routines named next to the test's name, and those that use a string that is the test's name."""
        found: dict[str, None] = {}
        quoted = f'"{name}"'
        for s in self.tree.statements():
            if quoted not in s.text:
                continue
            for near in range(s.line - 2, s.line + 3):
                for other in self.tree.by_line.get((s.file, near), ()):
                    found.update({t.text: None for t in symbols(other) if t.text in self.tree.routines})
            for label in s.labels:
                for user in self.tree.references.get(label, ()):
                    found.update({t.text: None for t in symbols(user) if t.text in self.tree.routines})
                    found.update({user.routine: None} if user.routine in self.tree.routines else {})
        word = re.sub(r"\W+", "_", name)
        found.update({r: None for r in self.tree.routines if word and r.endswith(word)})
        return [r for r in found if r]

    # --- helpers ---------------------------------------------------------------------------------------------

    def _saying(self, text: str) -> dict[Key, float]:
        """Lines that use a string of the sources which begins with ``text``, and what leads to them."""
        lines: dict[Key, float] = {}
        for s in self.tree.statements():
            if len(text) < 3 or not s.name.startswith(".as") or f'"{text}' not in s.text:
                continue
            for label in s.labels:
                for user in self.tree.references.get(label, ()):
                    flow = self.flows.of(user.routine)
                    if flow is None or user.routine is None:
                        continue
                    starts = [Start(user.routine, n, frozenset({"rsp"})) for n in flow.nodes_of(user)]
                    lines.update(self.slicer.backward(starts))
                    for key, part in self._below([user.routine]).items():
                        lines.setdefault(key, 0.3 * part)
        return lines

    def _below(self, roots: Iterable[str]) -> dict[Key, float]:
        lines: dict[Key, float] = {}
        for routine, depth in self.tree.reachable(list(dict.fromkeys(roots)), 8).items():
            for key, part in self._routine(routine).items():
                lines[key] = max(lines.get(key, 0.0), 0.7**depth * part)
        return lines

    def _routine(self, name: str | None) -> dict[Key, float]:
        """The lines of one routine, each the same; long routines give each line less."""
        routine = self.tree.routines.get(name or "")
        if routine is None:
            return {}
        code = [s for s in routine.statements if s.kind in ("instruction", "macro")]
        share = 1.0 / max(6.0, len(code)) ** 0.5
        return {s.key: share for s in code}

    def _spread(self, lines: Mapping[Key, float]) -> dict[Key, float]:
        """The same lines, with a part for the lines around each."""
        spread: dict[Key, float] = {}
        for (file, line), share in lines.items():
            for away, part in _NEIGHBOURS.items():
                for near in {line - away, line + away}:
                    if (file, near) in self.tree.by_line:
                        spread[file, near] = max(spread.get((file, near), 0.0), share * part)
        return spread


def _entries(message: str, evidence: Any) -> Iterator[str]:
    """The texts of a gate's evidence; what stands in one mapping belongs together."""
    yield message
    if isinstance(evidence, Mapping):
        flat = [str(v) for v in evidence.values() if isinstance(v, str | int)]
        if "file" in evidence and "line" in evidence:
            flat.append(f"{evidence['file']}:{evidence['line']}")
        yield " ".join(flat)
        for value in evidence.values():
            if not isinstance(value, str | int):
                yield from _entries("", value)
    elif isinstance(evidence, list | tuple):
        for value in evidence:
            yield from _entries("", value)
    elif isinstance(evidence, str):
        yield evidence
