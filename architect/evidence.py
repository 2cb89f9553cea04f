"""What a failed case says about where its cause may lie, one distribution over source lines per kind of evidence.

Owns the reading of a ``Case``: fault report, trace, diagnosis, boot units, failed tests, contract violations, findings,
diagnostics, the last good commit. Each piece of evidence spreads a trust over lines; ``localise`` mixes them. It knows
no bug and no routine of any kernel by name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from functools import cached_property

from architect.anomalies import Anomaly, anomalies
from architect.astray import astray
from architect.blame import entries, judged
from architect.clue import Evidence
from architect.dataflow import Flows
from architect.effects import FLAGS, registers_in
from architect.names import Names
from architect.protocols import Case
from architect.slicing import Key, Slicer, Start
from architect.source import Tree
from architect.spectrum import suspicious_lines
from architect.statements import Statement
from architect.wording import Wording
from toolchain import headers
from toolchain.types import CodePlace

_ORIGIN = 5.0  # bits for the steps that a wrong value was made in
_STACK_REACH = 0x2000
_NEIGHBOURS = {0: 1.0, 1: 0.4, 2: 0.2, 3: 0.1}


class Reader:
    """Everything that one case says."""

    def __init__(self, case: Case, tree: Tree) -> None:
        self.case = case
        self.tree = tree
        self.flows = Flows(tree)
        self.slicer = Slicer(self.flows)
        self.names = Names.of(tree, case.tree)

    def read(self) -> Iterator[Evidence]:
        """Every piece of evidence of the case; lines need not be editable and shares need not sum to one."""
        yield from self.diagnostics()
        yield from self.fault()
        yield from self.trace()
        yield from self.called()
        yield from astray(self)
        yield from self.suspects()
        yield from self.unit()
        yield from judged(self)
        yield from self.origins()
        yield from self.panic()
        yield from self.spoken()
        yield from self.stacked()
        yield from self.walked()
        yield from self.anomalous()
        yield from self.loose()
        yield from self.changed()

    def spoken(self) -> Iterator[Evidence]:
        """Parts of the sources that speak of what failed."""
        report, boot = self.case.report, self.case.boot
        texts = [text for gate in self.case.failures for text in entries(gate.message, gate.evidence)]
        texts += [f"{d.sentence} {d.hint}" for d in report.diagnosis] if report else []
        texts += [name for name, passed in boot.tests.items() if not passed] if boot else []
        texts += list(boot.panic) if boot and boot.panic else []
        lines = Wording.of(self.tree).lines(texts)
        if lines:
            yield Evidence("words", 2.0, "it speaks of what failed", lines)

    def stacked(self) -> Iterator[Evidence]:
        """Where the stack pointer is set, when what could not be reached lay beside it."""
        report = self.case.report
        first = report.chain[0] if report and report.chain else None
        pointer = report.registers.get("rsp") if report else None
        if first is None or first.cr2 is None or pointer is None or abs(first.cr2 - pointer) > _STACK_REACH:
            return
        lines = {
            s.key: 1.0
            for s in self.tree.statements()
            if s.name in ("mov", "lea", "movabs", "pop") and headers.full_register(s.operand(0)) == "rsp"
        }
        if lines:
            yield Evidence("stack", 3.0, "it sets the stack pointer, beside which the fault lay", lines)

    def origins(self) -> Iterator[Evidence]:
        """What a broken contract's wrong value came from, along the data of its call."""
        for run in self.case.runs:
            if run.failed and run.origin:
                reason = f"what contract {run.name} found wrong came from it"
                yield Evidence("origin", _ORIGIN, reason, run.origin)

    def walked(self) -> Iterator[Evidence]:
        """What writes the tables of a page walk that failed, where they are known by their addresses."""
        walk = self.case.report.walk if self.case.report else None
        if walk is None or (walk.mapped and walk.ends_at is None):
            return
        tables = {level.entry_address & ~0xFFF for level in walk.levels}
        tables |= {level.entry & 0xFFFF_FFFF_F000 for level in walk.levels if level.entry}
        named = {name for name, value in self.names.values.items() if value in tables and value}
        lines: dict[Key, float] = {}
        for name in named:
            for s in self.tree.references.get(name, ()):
                if s.kind == "instruction":
                    lines[s.key] = 1.0 if "[" in s.operand(0) and name in s.operand(0) else 0.4
        if lines:
            yield Evidence("walk", 3.5, "it writes or names a table of the page walk that failed", lines)

    @cached_property
    def coverage(self) -> dict[Key, float]:
        """How suspicious what broken contracts executed and read makes each line, 0 to 1; empty when none is."""
        return suspicious_lines(self.case.runs, self.tree)

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
            yield Evidence("odd", min(3.0, 8.0 / total), "its data flow looks odd", self.around(lines))

    def loose(self) -> Iterator[Evidence]:
        """Code, data and labels that nothing names: what should is near their kin, or in their own routine."""
        lines: dict[Key, float] = {}
        for file, name in sorted(self.names.loose):
            for other in (name, *self.names.family(name, file)[:6]):
                for user in self.tree.references.get(other, ()):
                    if user.file != file and other not in self.tree.exported:
                        continue
                    lines.update(self.around({user.key: 0.5}))
                    for key, part in self.routine_lines(user.routine).items():
                        lines[key] = max(lines.get(key, 0.0), 0.5 * part)
            if name.startswith(".L"):
                for key, part in self.routine_lines(self.tree.local_labels[file, name].routine).items():
                    lines[key] = max(lines.get(key, 0.0), part)
        if lines:
            yield Evidence("loose", 4.0, "something near it is defined and never used", lines)

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
            yield Evidence("changed", 6.0, "it changed since the last good commit", lines)

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
            yield Evidence("assembler", 8.0, "the assembler points at it", self.around(lines))

    def _defining(self, word: str) -> Iterable[Statement]:
        return (s for (_, label), s in self.tree.local_labels.items() if label == word)

    # --- what the dead machine says --------------------------------------------------------------------------

    def fault(self) -> Iterator[Evidence]:
        """The faulting instruction, what made its operands, and the rest of its routine."""
        report = self.case.report
        place = report.place if report else None
        if place is None:
            return
        first = report.chain[0] if report is not None and report.chain else None
        fetched = first is not None and first.cr2 is not None and first.cr2 == first.rip
        starts = [] if fetched else list(self.starts(place))  # what could not be fetched used no operand
        on_stack = {p.symbol for p in (report.trace if report else ()) if p.symbol}
        if starts:
            lines = self.slicer.backward(starts, sorted(on_stack))
            yield Evidence("slice", 3.0, "the faulting instruction's operands come from it", lines)
        if place.symbol in self.tree.routines:
            yield Evidence("died", 1.5, f"{place.symbol} is where it died", self.routine_lines(place.symbol))

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
            call = self.call_before(place)
            for key, part in self.routine_lines(place.symbol).items():
                lines[key] = max(lines.get(key, 0.0), 0.3 * share * part)
            if call is not None:
                lines[call.key] = max(lines.get(call.key, 0.0), share)
                for key, part in self.routine_lines(call.operand(0)).items():
                    lines[key] = max(lines.get(key, 0.0), share * part)
        if lines:
            yield Evidence("trace", 1.5, "it was under way when the machine died", lines)

    def called(self) -> Iterator[Evidence]:
        """What the routines on the stack had called before it died: work that was to be done and was not."""
        report = self.case.report
        lines: dict[Key, float] = {}
        frames = [report.place, *report.trace] if report else []
        for depth, place in enumerate(p for p in frames if p is not None and p.line is not None):
            routine = self.tree.routines.get(place.symbol or "")
            calls = [s for s in routine.statements if s.name == "call"] if routine else []
            earlier = [s for s in calls if s.line < (place.line or 0)]
            for away, call in enumerate(reversed(earlier)):
                share = 0.6**depth * 0.8**away
                for callee, level in self.tree.reachable([call.operand(0)], 6).items():
                    for key, part in self.routine_lines(callee).items():
                        lines[key] = max(lines.get(key, 0.0), share * 0.8**level * part)
        if lines:
            yield Evidence("called", 1.5, "it ran just before the machine died", lines)

    def call_before(self, place: CodePlace) -> Statement | None:
        """The call of a routine that was under way at a place of it."""
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
                    for key, part in self.routine_lines(routine).items():
                        lines[key] = max(lines.get(key, 0.0), share * part)
            if lines:
                yield Evidence("diagnosis", 3.0, f"diagnosis: {diagnosis.sentence}", lines)

    def unit(self) -> Iterator[Evidence]:
        """The boot unit in progress (or that failed), by the call graph from its entry; before any, the entry code."""
        names = list(self.units_in_question())
        entries = self.entries
        roots = [entries[name] for name in names if name in entries]
        if roots:
            yield Evidence("unit", 2.0, f"boot unit {', '.join(names)} was in progress", self.below(roots))
        elif self.case.boot is not None and not self.case.boot.units and self.case.image is not None:
            first = [s.name for s in self.case.image.symbols if s.address == self.case.image.entry]
            early = [n for n, r in self.tree.routines.items() if r.statements[0].section.startswith(".boot")]
            yield Evidence("unit", 2.0, "nothing of the boot came after it", self.below([*first, *early]))

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
            yield Evidence("panic", 3.0, "the panic was raised there", lines)

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
                    for key, part in self.below([user.routine]).items():
                        lines.setdefault(key, 0.3 * part)
        return lines

    def below(self, roots: Iterable[str]) -> dict[Key, float]:
        """The lines of some routines and of all that they call, less with each call."""
        lines: dict[Key, float] = {}
        for routine, depth in self.tree.reachable(list(dict.fromkeys(roots)), 8).items():
            for key, part in self.routine_lines(routine).items():
                lines[key] = max(lines.get(key, 0.0), 0.7**depth * part)
        return lines

    def routine_lines(self, name: str | None) -> dict[Key, float]:
        """The lines of one routine, each the same; long routines give each line less."""
        routine = self.tree.routines.get(name or "")
        if routine is None:
            return {}
        code = [s for s in routine.statements if s.kind in ("instruction", "macro")]
        share = 1.0 / max(6.0, len(code)) ** 0.5
        return {s.key: share for s in code}

    def around(self, lines: Mapping[Key, float]) -> dict[Key, float]:
        """The same lines, with a part for the lines around each."""
        spread: dict[Key, float] = {}
        for (file, line), share in lines.items():
            for away, part in _NEIGHBOURS.items():
                for near in {line - away, line + away}:
                    if (file, near) in self.tree.by_line:
                        spread[file, near] = max(spread.get((file, near), 0.0), share * part)
        return spread
