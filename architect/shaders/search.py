"""The engine that repairs shaders without a model: suspicious functions times operators, cheapest first.

Owns the order. Where: the line that the compiler names, loops without an end, else Ochiai's measure over the probes
that failed and passed, by the functions that each can reach from the entry points that it ran. What becomes of a
candidate changes the order: what mends some of the broken probes is built upon.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from math import log2, sqrt

from architect.plausibility import apply
from architect.protocols import Case, Edit, Evaluation, GateResult, Patch
from architect.search import difference
from architect.shaders.operators import Scope, Variant, variants
from architect.shaders.source import NUMBER, WORD, Function, blanked, functions, parts, reached, tokens

NAME = "search"
_LEAST = 0.05  # the suspicion of a function that only passing probes ran
_SCOPE = 0.5  # how suspicious a declaration is, of the function that names it
_FAR = 0.5  # and how suspicion fades from the line that the compiler names, for each line
_PLACE = 2.0  # bits for each halving of suspicion
_PARTIAL = 2.0  # bits for a second edit on top of a partial repair
_PARTIALS = 4
_UNSEEN = 0.3  # what a row of tokens counts that nothing else has
_GAIN_LEAST, _GAIN_MOST = -2.0, 4.0
_UNKNOWN = re.compile(r"(?:identifier:|accessor|field) `(\w+)`")
_SHARED = re.compile(r"var\s*<\s*workgroup\s*>\s*(\w+)")
_VARIABLE = re.compile(r"\bvar\s+(\w+)")
_WRITTEN = r"&\s*{name}\b|\b{name}\s*(?:\+\+|--)|\b{name}\b[\w.\[\]+ *]*?(?:[-+*/%&|^]|<<|>>)?=(?!=)"
_PARAMETERS = re.compile(r"\bfn\s+(\w+)\s*\(([^)]*(?:\([^)]*\)[^)]*)*)\)")


class ShaderSearch:
    """Engine ``search`` for shaders."""

    name = NAME

    def __init__(self) -> None:
        self._case: Case | None = None
        self._heap: list[tuple[float, int, Patch]] = []
        self._number = count()
        self._seen: set[tuple[tuple[str, int, tuple[str, ...], tuple[str, ...]], ...]] = set()
        self._partials = 0
        self._common: Counter[tuple[str, ...]] = Counter()

    def propose(self, case: Case) -> Iterator[Patch]:
        """Candidates, likeliest first."""
        self._case = case
        self._heap.clear()
        self._seen.clear()
        self._partials = 0
        rows = (row for text in case.sources.values() for row in blanked(text).split("\n"))
        self._common = Counter(gram for row in rows for gram in _grams(row))
        self._fill(case, None, 0.0)
        while self._heap:
            yield heapq.heappop(self._heap)[2]

    def observe(self, evaluation: Evaluation) -> None:
        """What mends a part of what is broken is continued."""
        if self._case is None or evaluation.passed or evaluation.duplicate or evaluation.patch.engine != NAME:
            return
        failing = {gate.gate for gate in self._case.failures}
        started = -1.001 if "compiles" in failing else 1.0 if "loops" in failing else 2.0
        if evaluation.progress <= started or len(evaluation.patch.edits) > 2 or self._partials >= _PARTIALS:
            return
        self._partials += 1
        sources = dict(self._case.sources)
        for file in {edit.file for edit in evaluation.patch.edits}:
            own = [edit for edit in evaluation.patch.edits if edit.file == file]
            sources[file] = "\n".join(apply(sources[file].split("\n"), own))
        later = replace(self._case, sources=sources, diagnostics=(), asked=_still(self._case, evaluation))
        self._fill(later, evaluation.patch, evaluation.patch.cost + _PARTIAL)

    def _fill(self, case: Case, first: Patch | None, base: float) -> None:
        for file, line, weight, reason in places(case):
            text = case.sources[file]
            raw, code = text.split("\n"), blanked(text).split("\n")
            scope = _scope(case, file, line, code)
            for variant in variants(line, raw[line - 1], code[line - 1], scope):
                self._push(
                    case,
                    file,
                    line,
                    raw,
                    variant,
                    base + _PLACE * -log2(weight) + variant.bits,
                    first,
                    reason,
                )

    def _push(
        self,
        case: Case,
        file: str,
        line: int,
        raw: list[str],
        variant: Variant,
        cost: float,
        first: Patch | None,
        reason: str,
    ) -> None:
        old = () if variant.before else (raw[line - 1],)
        edit = Edit(file, line, old, variant.new)
        cost -= self._gain(raw[line - 1], variant.new[0]) if old and variant.new else 0.0
        edits: tuple[Edit, ...] = (edit,)
        note = f"{file}:{line}: {variant.note}; {reason}"
        operator = variant.name
        if first is not None and self._case is not None:
            files = {file, *(e.file for e in first.edits)}
            after = {name: case.sources[name].split("\n") for name in files}
            after[file] = apply(after[file], [edit])
            edits = tuple(
                e
                for name in sorted(files)
                for e in difference(name, self._case.sources[name].split("\n"), after[name])
            )
            note, operator = f"{first.reason}; and {note}", f"{first.operator}+{operator}"
        key = tuple((e.file, e.line, e.old, e.new) for e in edits)
        if edits and key not in self._seen:
            self._seen.add(key)
            heapq.heappush(self._heap, (cost, next(self._number), Patch(edits, NAME, operator, note, cost)))

    def _gain(self, old: str, new: str) -> float:
        """Bits by which the new line is more usual in these files than the old one, which does not count itself."""
        before = sum(
            -log2(self._common[gram] - 1 + _UNSEEN) for gram in _grams(blanked(old)) if self._common[gram]
        )
        after = sum(-log2(self._common[gram] + _UNSEEN) for gram in _grams(blanked(new)))
        return max(_GAIN_LEAST, min(_GAIN_MOST, (before - after) / 2))


def _grams(line: str) -> list[tuple[str, ...]]:
    """Three tokens in a row, of a line with its ends."""
    words = ["", *(token.text for token in tokens(line)), ""]
    return list(zip(words, words[1:], words[2:], strict=False)) if len(words) > 2 else []


def _still(case: Case, partial: Evaluation) -> tuple[GateResult, ...]:
    """What the gates found, without the probes that a partial repair mends: the rest points at what is left."""
    kept = {tuple(row) for gate in partial.gates for row in gate.evidence.get("kept", ())}
    found = []
    for gate in case.asked:
        broken = [row for row in gate.evidence.get("broken", ()) if tuple(row) not in kept]
        found.append(replace(gate, evidence={**gate.evidence, "broken": broken}) if broken else gate)
    return tuple(found)


# --- where -----------------------------------------------------------------------------------------------------


def places(case: Case) -> list[tuple[str, int, float, str]]:
    """File, line, suspicion (0 to 1) and why, of every line that may be wrong."""
    known = {file: functions(text) for file, text in case.sources.items()}
    named = _named(case)
    found: dict[tuple[str, int], tuple[float, str]] = {}

    def suspect(file: str, line: int, weight: float, why: str) -> None:
        if weight > found.get((file, line), (0.0, ""))[0]:
            found[file, line] = (weight, why)

    for file, line, why in named:
        for function in known.get(file, ()):
            if function.first <= line <= function.last:
                for at in range(function.first, function.last + 1):
                    suspect(file, at, max(_LEAST, _FAR ** min(abs(at - line), 5)), why)
        for at in range(max(1, line - 2), min(line + 2, len(case.sources[file].split("\n")) + 1)):
            suspect(file, at, _FAR ** abs(at - line), why)
    for (file, name), weight in {} if named else _spectrum(case, known).items():
        why = f"{weight:.0%} suspicious: probes that ran {name} failed"
        function = next(f for f in known[file] if f.name == name)
        for at in range(function.first, function.last + 1):
            suspect(file, at, max(weight, _LEAST), why)
        for at in _declarations(case.sources[file], known[file], function):
            suspect(file, at, max(weight * _SCOPE, _LEAST), f"{name} names it")
    code = {file: blanked(text).split("\n") for file, text in case.sources.items()}
    return [
        (file, line, w, why)
        for (file, line), (w, why) in sorted(found.items())
        if code[file][line - 1].strip()
    ]


def _named(case: Case) -> list[tuple[str, int, str]]:
    """The lines that the compiler or the gate of loops names."""
    rows = [row for gate in case.failures for row in gate.evidence.get("findings", ()) if row["line"]]
    return [(row["file"], row["line"], row["message"]) for row in rows if row["file"] in case.sources]


def _spectrum(case: Case, known: Mapping[str, list[Function]]) -> dict[tuple[str, str], float]:
    """(file, function) -> Ochiai's measure: failed runs of it over the root of all failed times all runs of it."""
    failed: defaultdict[tuple[str, str], int] = defaultdict(int)
    passed: defaultdict[tuple[str, str], int] = defaultdict(int)
    total = 0
    for gate in case.asked:
        broken = {tuple(row) for row in gate.evidence.get("broken", ())}
        for probe, variant, entries, _ in gate.evidence.get("ran", ()):
            bad = (probe, variant) in broken
            total += bad
            run: set[tuple[str, str]] = set()
            for file, entry in entries:
                module = [file, *(part for part in parts(case.sources[file]) if part in known)]
                local = {f.name: (name, f) for name in reversed(module) for f in known[name]}
                names = reached(entry, {name: f for name, (_, f) in local.items()})
                run |= {(local[name][0], name) for name in names}
            for place in run:
                (failed if bad else passed)[place] += 1
    return {place: hits / sqrt(total * (hits + passed[place])) for place, hits in failed.items()}


def _declarations(text: str, known: list[Function], function: Function) -> Iterator[int]:
    """The lines outside of functions that declare what a function names."""
    lines = blanked(text).split("\n")
    words = {t.text for line in lines[function.first - 1 : function.last] for t in tokens(line)}
    inside = {at for f in known for at in range(f.first, f.last + 1)}
    for at, line in enumerate(lines, 1):
        found = re.match(r"\s*(?:const|var\s*<\s*workgroup\s*>|override)\s*(\w+)", line)
        if at not in inside and found and found[1] in words:
            yield at


# --- what ------------------------------------------------------------------------------------------------------


def _scope(case: Case, file: str, line: int, code: list[str]) -> Scope:
    known = functions(case.sources[file])
    function = next((f for f in known if f.first <= line <= f.last), None)
    span = code[function.first - 1 : function.last] if function else code
    words = [t.text for row in span for t in tokens(row)]
    declared = [
        after
        for before, after, behind in zip(words, words[1:], [*words[2:], ""], strict=False)
        if WORD.match(after) and (before in ("let", "var", "const") or behind == ":")
    ]
    outside = [m[1] for row in code if (m := re.match(r"\s*(?:const|override)\s+(\w+)", row))]
    whole = "\n".join(code)
    blocks = re.findall(r"struct\s+\w+\s*\{(.*?)\}", whole, re.DOTALL)
    fields = [name for block in blocks for name in re.findall(r"(\w+)\s*:", block)]
    literals = [t.text for row in code for t in tokens(row) if NUMBER.match(t.text)]
    parameters = {
        m[1]: m[2].count(":") for text in case.sources.values() for m in _PARAMETERS.finditer(blanked(text))
    }
    shared = set(_SHARED.findall(whole))
    unknown = frozenset(m[1] for d in case.diagnostics for m in _UNKNOWN.finditer(d.message))
    return Scope(
        list(dict.fromkeys([*declared, *(w for w in outside if w in words)])),
        list(dict.fromkeys(fields)),
        list(dict.fromkeys(literals)),
        parameters,
        code,
        bool(shared.intersection(words)),
        unknown,
        unwritten("\n".join(span)) if function else (),
    )


def unwritten(code: str) -> list[str]:
    """The variables that a function declares and that nothing in it assigns, counts or points to."""
    return [
        name
        for name in dict.fromkeys(_VARIABLE.findall(code))
        if not re.search(_WRITTEN.format(name=name), _VARIABLE.sub("", code))
    ]
