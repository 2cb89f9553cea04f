"""What the judges say: failed gates and tests, the places, routines, registers and units that they name.

Owns the reading of gate results. Never runs a gate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from architect.clue import Evidence
from architect.effects import registers_in
from architect.protocols import GateResult
from architect.slicing import Key
from architect.spectrum import judgements, suspicion
from architect.statements import symbols
from toolchain import headers

if TYPE_CHECKING:
    from architect.evidence import Reader

_PLACE = re.compile(r"(?<![\w./-])([\w./-]{1,255}\.(?:s|inc)):(\d{1,7})")
_WORD = re.compile(r"[A-Za-z_][\w]*")
_TEXT_MAX = (
    4096  # characters of one text that are read: a serial line's tail comes from a machine that went astray
)
_TEXTS_MAX = 512  # texts of one gate, likewise
_GATES = {"contract": 4.0, "checks": 5.0}  # bits for what a gate names; a boot names only where it ended
_ROWS = {"test": 4.0, "unit": 1.5}  # bits for what the failed judgements have in common
_COVERAGE = 7.0  # bits for what broken contracts ran and kept ones did not
_SHARPNESS = 3.0
_NEAR = {0: 1.0, 1: 0.4, 2: 0.2, 3: 0.1}


def judged(reader: Reader) -> Iterator[Evidence]:
    """Failed gates and tests: what they name, and which routines they have in common."""
    for gate in reader.case.failures:
        yield from _gate(reader, gate)
    if reader.coverage:
        broken = list(dict.fromkeys(run.name for run in reader.case.runs if run.failed))
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        shares = {key: score**_SHARPNESS for key, score in reader.coverage.items()}
        what = broken[0] if broken[0].startswith("the ") else f"contract {broken[0]}"
        yield Evidence("coverage", _COVERAGE, f"{what}{more} broke where it ran", shares)
    rows = list(
        judgements(reader.case, reader.tree, reader.entries, lambda name: _test_routines(reader, name))
    )
    found = suspicion(rows)
    lines: dict[Key, float] = {}
    for routine, score in found.items():
        for key, part in reader.routine_lines(routine).items():
            lines[key] = score**_SHARPNESS * part
    if lines:
        failed = [row.name for row in rows if row.failed]
        trust = max(trust for word, trust in _ROWS.items() if any(name.startswith(word) for name in failed))
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        yield Evidence("spectrum", trust, f"it is what {failed[0]}{more} ran and what passed did not", lines)


def _gate(reader: Reader, gate: GateResult) -> Iterator[Evidence]:
    """Every place, routine, register and boot unit that one gate's evidence names."""
    lines: dict[Key, float] = {}
    named: dict[str, set[str]] = {}
    for entry in entries(gate.message, gate.evidence):
        _mentions(reader, entry, lines, named)
    for name, registers in named.items():
        consequence = any(o in named for o in reader.tree.reachable([name], 6) if o != name)
        for key, part in _about(reader, name, registers).items():
            lines[key] = max(lines.get(key, 0.0), (0.3 if consequence else 1.0) * part)
    if lines:
        yield Evidence("gate", _GATES.get(gate.gate, 1.0), f"gate {gate.gate}: {gate.message}", lines)


def _mentions(reader: Reader, entry: str, lines: dict[Key, float], named: dict[str, set[str]]) -> None:
    for match in _PLACE.finditer(entry):
        for away, share in _NEAR.items():
            for line in {int(match[2]) - away, int(match[2]) + away}:
                if (match[1], line) in reader.tree.by_line:
                    lines[match[1], line] = max(lines.get((match[1], line), 0.0), share)
    words = _WORD.findall(entry)
    registers = {full for w in words if (full := headers.full_register(w))}
    for word in words:
        routine = reader.entries.get(word, word)
        if routine in reader.tree.routines:
            named.setdefault(routine, set()).update(registers)


def _about(reader: Reader, name: str, registers: Iterable[str]) -> dict[Key, float]:
    """A routine's lines, those that touch the registers in question first."""
    lines = reader.routine_lines(name)
    flow = reader.flows.of(name)
    wanted = frozenset(registers)
    for node in flow.nodes if flow else ():
        touched = registers_in(" ".join(o.text for o in node.site.operands))
        if node.effects.writes & wanted or touched & wanted:
            lines[node.site.key] = lines.get(node.site.key, 0.0) * 2.0
    return lines


def _test_routines(reader: Reader, name: str) -> list[str]:
    """The routines named next to the test's name, and those that use a string that is the test's name."""
    tree = reader.tree
    found: dict[str, None] = {}
    quoted = f'"{name}"'
    for s in tree.once("quoted", lambda: [one for one in tree.statements() if '"' in one.text]):
        if quoted not in s.text:
            continue
        for near in range(s.line - 2, s.line + 3):
            for other in tree.by_line.get((s.file, near), ()):
                found.update({t.text: None for t in symbols(other) if t.text in tree.routines})
        for label in s.labels:
            for user in tree.references.get(label, ()):
                found.update({t.text: None for t in symbols(user) if t.text in tree.routines})
                found.update({user.routine: None} if user.routine in tree.routines else {})
    word = re.sub(r"\W+", "_", name)
    found.update({r: None for r in tree.routines if word and r.endswith(word)})
    return [r for r in found if r]


def entries(message: str, evidence: Any) -> Iterator[str]:
    """The texts of a gate's evidence; what stands in one mapping belongs together.

    What a broken kernel said may be among them, so that a text of more than 4,096 characters is read at its beginning
    and its end only, and no more than 512 texts are.
    """
    for text in islice(_texts(message, evidence), _TEXTS_MAX):
        half = _TEXT_MAX // 2
        yield text if len(text) <= _TEXT_MAX else f"{text[:half]}\n{text[-half:]}"


def _texts(message: str, evidence: Any) -> Iterator[str]:
    yield message
    if isinstance(evidence, Mapping):
        flat = [str(v) for v in evidence.values() if isinstance(v, str | int)]
        if "file" in evidence and "line" in evidence:
            flat.append(f"{evidence['file']}:{evidence['line']}")
        yield " ".join(flat)
        for value in evidence.values():
            if not isinstance(value, str | int):
                yield from _texts("", value)
    elif isinstance(evidence, list | tuple):
        for value in evidence:
            yield from _texts("", value)
    elif isinstance(evidence, str):
        yield evidence
