"""How suspicious each source line is: the evidence of a case mixed into one distribution over editable lines.

Owns the mixture and its spreading from uses to definitions (constants, data, macro bodies). A line that no evidence
names still has a small share, so that no repair is out of reach.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, log2
from typing import NamedTuple

from architect.clue import Evidence
from architect.control import contradictions, settings
from architect.effects import effects
from architect.evidence import Reader
from architect.protocols import Case
from architect.slicing import Key, named
from architect.source import Tree
from architect.statements import ASSIGNMENTS, Statement, names

_UNREACHED = 0.03  # of the share of a line that no failing call executed, read or named
_DEFINED = 0.4  # of the share of a constant's definition
_TEXT = 0.05  # of the share of a string
_BASE = 0.5  # trust in "it can be anywhere"
_UNNAMED = 0.1  # the weight of a line that no evidence names; one that some names has 1 or more
_NOTHING = "no evidence speaks against it"
_CONTRAST = 15.0  # how much a line that a piece of evidence names weakly falls behind its first
_TEMPER = 0.8  # pieces of evidence are not independent
# Parts of the whole suspicion that go from uses to what they name.
_CONSTANTS = 0.16
_DATA = 0.1
_MACROS = 0.04
_STORES = 0.06


@dataclass(frozen=True, slots=True)
class Suspect:
    """A line under suspicion: its share of the whole (all shares sum to one) and the strongest reasons."""

    file: str
    line: int
    score: float
    reasons: tuple[str, ...]


class Localisation:
    """The distribution. ``score`` is a line's share; ``reasons`` says why, strongest first."""

    def __init__(self, scores: Mapping[Key, float], parts: Mapping[Key, Sequence[tuple[float, str]]]) -> None:
        self.scores = dict(scores)
        self._parts = parts

    def score(self, key: Key) -> float:
        """The share of one line."""
        return self.scores.get(key, 0.0)

    def reasons(self, key: Key) -> tuple[str, ...]:
        """Why the line is suspicious."""
        return tuple(dict.fromkeys(reason for _, reason in sorted(self._parts.get(key, ()), reverse=True)))

    def sharpened(self, factor: Callable[[Key], float]) -> Localisation:
        """The same with each line's share multiplied, and shares summing to one again."""
        scores = {key: score * factor(key) for key, score in self.scores.items()}
        whole = sum(scores.values()) or 1.0
        return Localisation({key: score / whole for key, score in scores.items()}, self._parts)

    def ranked(self) -> list[Suspect]:
        """Every line with a share, most suspicious first."""
        order = sorted(self.scores.items(), key=lambda item: (-item[1], item[0]))
        return [Suspect(file, line, score, self.reasons((file, line))) for (file, line), score in order]


class _Gift(NamedTuple):
    """What a line gives of its suspicion: to which sort of target, to which lines, which part to each, and why."""

    sort: int
    targets: tuple[Key, ...]
    part: float
    why: str


def localise(case: Case, tree: Tree, reader: Reader | None = None) -> Localisation:
    """The suspicion of every editable line of a case, from its evidence alone."""
    reader = reader or Reader(case, tree)
    return mix((*reader.read(), *settings(reader), *contradictions(reader)), tree, reader.coverage)


def mix(
    evidence: Iterable[Evidence], tree: Tree, coverage: Mapping[Key, float] | None = None
) -> Localisation:
    """One distribution from many pieces of evidence; then spread from uses to definitions.

    Half of it lets every piece have its say alone, so that one good witness is enough; the other half adds up what they
    say of each line, so that places which several of them name stand out. Where the ``coverage`` of failing calls is
    known, each line falls behind as far as it explains them worse than the best: one that they never ran cannot be
    what made them fail.
    """
    pieces = [piece for piece in evidence if max(piece.lines.values(), default=0.0) > 0]
    sorts = ("instruction", "macro", "directive")
    code = [s.key for s in tree.statements() if s.kind in sorts and _can_act(s, tree)]
    alone, parts = _each_alone(pieces, code)
    joined = _all_together(pieces, code)
    total = {key: alone.get(key, 0.0) + joined.get(key, 0.0) for key in sorted({*alone, *joined})}
    for part in (1.0, 0.4):  # again: a constant may stand for another one, a table for a routine
        _spread(total, parts, tree, part)
    kept = {key: score for key, score in total.items() if key[0] in tree.editable and key in tree.by_line}
    kept = {key: score * _prior(tree.by_line[key]) for key, score in kept.items()}
    if coverage:
        most = max(coverage.values())
        kept = {
            key: score * max(_UNREACHED, (coverage.get(key, 0.0) / most) ** 2) for key, score in kept.items()
        }
    whole = fsum(kept.values()) or 1.0
    return Localisation({key: score / whole for key, score in kept.items()}, parts)


def _can_act(statement: Statement, tree: Tree) -> bool:
    """A line that does more than tell others of names, or one that may be edited."""
    return statement.file in tree.editable or statement.name not in (".globl", ".global")


def _prior(statements: Sequence[Statement]) -> float:
    """How likely such a line is to be wrong beside a line of code: definitions are written once and read often."""
    name = statements[0].name
    return _DEFINED if name in ASSIGNMENTS else _TEXT if name.startswith(".as") else 1.0


def _each_alone(
    pieces: Sequence[Evidence], code: Sequence[Key]
) -> tuple[dict[Key, float], dict[Key, list[tuple[float, str]]]]:
    """The mixture: each piece a distribution of its own, weighted by its trust. Also why each line has its share."""
    total: dict[Key, float] = {}
    parts: dict[Key, list[tuple[float, str]]] = {}
    weights = [(piece.trust**2, piece.reason, piece.lines) for piece in pieces]
    weights.append((_BASE, _NOTHING, dict.fromkeys(code, 1.0)))
    whole = sum(weight for weight, _, _ in weights)
    for weight, reason, lines in weights:
        size = fsum(lines.values()) or 1.0
        for key, share in lines.items():
            amount = weight / whole * share / size
            total[key] = total.get(key, 0.0) + amount
            parts.setdefault(key, []).append((amount, reason))
    return total, parts


def _all_together(pieces: Sequence[Evidence], code: Sequence[Key]) -> dict[Key, float]:
    """The product: what each kind of evidence is worth to each line, in bits, added up."""
    gains: dict[Key, dict[str, float]] = {}
    for piece in pieces:
        peak = max(piece.lines.values())
        for key, share in piece.lines.items():
            worth = piece.trust * log2(1 + _CONTRAST * share / peak) / log2(1 + _CONTRAST)
            best = gains.setdefault(key, {})
            best[piece.kind] = max(best.get(piece.kind, 0.0), worth)
    total = dict.fromkeys(code, _UNNAMED)
    for key, kinds in gains.items():
        total[key] = float(2 ** (_TEMPER * sum(kinds.values())))
    whole = fsum(total.values()) or 1.0
    return {key: score / whole for key, score in total.items()}


def _spread(
    total: dict[Key, float], parts: dict[Key, list[tuple[float, str]]], tree: Tree, strength: float
) -> None:
    """Give parts of the suspicion to what suspicious lines name: constants, data, macro bodies, stores of variables."""
    gains: list[tuple[float, dict[Key, float]]] = [
        (_CONSTANTS, {}), (_DATA, {}), (_MACROS, {}), (_STORES, {}),
    ]  # fmt: skip
    reason: dict[Key, str] = {}
    known = gifts(tree)
    for key, score in total.items():
        for sort, targets, part, why in known.get(key, ()):
            amount, gained = score * part, gains[sort][1]
            for target in targets:
                gained[target] = gained.get(target, 0.0) + amount
                reason.setdefault(target, why)
    whole = sum(total.values())
    for part, found in gains:
        size = sum(found.values())
        for key, amount in found.items() if size > 0 else ():
            gain = strength * part * whole * amount / size
            if part == _STORES:  # a small tree may have one variable, whose only writer would get all of this
                gain = min(gain, amount)
            total[key] = total.get(key, 0.0) + gain
            parts.setdefault(key, []).append((gain, reason[key]))


def gifts(tree: Tree) -> Mapping[Key, Sequence[_Gift]]:
    """What each line of a tree gives of its suspicion to the lines behind what it names; made once for each tree."""
    return tree.once("gifts", lambda: _gifts(tree))


def _gifts(tree: Tree) -> dict[Key, list[_Gift]]:
    table: dict[Key, list[_Gift]] = {}
    uses = {name: len(found) ** 0.5 for name, found in tree.references.items()}
    calls = Counter(s.name for s in tree.statements() if s.kind == "macro")
    stores = _stores(tree)
    for s in tree.statements():
        found = [*_to_names(s, tree, uses, stores)]
        if s.kind == "macro" and s.name in tree.macros:
            body = tuple(b.key for b in tree.macros[s.name].body)
            why = f"macro {s.name} is used at {s.file}:{s.line}"
            found.append(_Gift(2, body, 1 / calls[s.name] ** 0.5, why))
        for gift in found:
            if gift.targets:
                part = gift.part / len(gift.targets) ** 0.5
                table.setdefault(s.key, []).append(gift._replace(part=part))
    return table


def _to_names(
    s: Statement, tree: Tree, uses: Mapping[str, float], stores: Mapping[str, Sequence[Key]]
) -> Iterator[_Gift]:
    own = s.operand(0) if s.name in ASSIGNMENTS else None  # a definition is no use
    for name in names(s):
        if name == own:
            continue
        part, constant = 1 / uses.get(name, 1.0), tree.constants.get(name)
        if constant is not None:
            yield _Gift(0, ((constant.file, constant.line),), part, f"{name} is used at {s.file}:{s.line}")
        elif name not in tree.routines and not name.startswith(".L"):
            yield _Gift(1, tuple(tree.data(s.file, name)), part, f"{name} is used at {s.file}:{s.line}")
            others = tuple(at for at in stores.get(name, ()) if at != s.key)
            yield _Gift(3, others, part, f"it writes {name}, used at {s.file}:{s.line}")


def _stores(tree: Tree) -> dict[str, list[Key]]:
    """Variable -> the lines that write it."""
    table: dict[str, list[Key]] = {}
    for s in tree.statements():
        if s.kind == "instruction" and s.operands and "[" in s.operand(0):
            for operand in effects(s).stores:
                for name in named(operand):
                    table.setdefault(name, []).append(s.key)
    return table
