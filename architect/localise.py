"""How suspicious each source line is: the evidence of a case mixed into one distribution over editable lines.

Owns the mixture and its spreading from uses to definitions (constants, data, macro bodies). A line that no evidence
names still has a small share, so that no repair is out of reach.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from architect.evidence import Evidence, Reader
from architect.protocols import Case
from architect.slicing import Key
from architect.source import Tree
from architect.statements import ASSIGNMENTS, Statement, symbols

_BASE = 0.25  # trust in "it can be anywhere"
_TO_CONSTANT = 0.25
_TO_DATA = 0.4
_TO_MACRO = 0.3
_DATA_LINES = 24


@dataclass(frozen=True, slots=True)
class Suspect:
    """A line under suspicion: its share of the whole (all shares sum to one) and the strongest reasons."""

    file: str
    line: int
    score: float
    reasons: tuple[str, ...]


class Localisation:
    """The distribution. ``score`` is a line's share; ``reasons`` says why, strongest first."""

    def __init__(self, scores: Mapping[Key, float], reasons: Mapping[Key, tuple[str, ...]]) -> None:
        self.scores = dict(scores)
        self._reasons = reasons

    def score(self, key: Key) -> float:
        """The share of one line."""
        return self.scores.get(key, 0.0)

    def reasons(self, key: Key) -> tuple[str, ...]:
        """Why the line is suspicious."""
        return self._reasons.get(key, ())

    def sharpened(self, factor: Callable[[Key], float]) -> Localisation:
        """The same with each line's share multiplied, and shares summing to one again."""
        scores = {key: score * factor(key) for key, score in self.scores.items()}
        whole = sum(scores.values()) or 1.0
        return Localisation({key: score / whole for key, score in scores.items()}, self._reasons)

    def ranked(self) -> list[Suspect]:
        """Every line with a share, most suspicious first."""
        order = sorted(self.scores.items(), key=lambda item: (-item[1], item[0]))
        return [Suspect(file, line, score, self.reasons((file, line))) for (file, line), score in order]


def localise(case: Case, tree: Tree, reader: Reader | None = None) -> Localisation:
    """The suspicion of every editable line of a case, from its evidence alone."""
    evidence = [*(reader or Reader(case, tree)).read(), _anywhere(tree)]
    return mix(evidence, tree)


def mix(evidence: Iterable[Evidence], tree: Tree) -> Localisation:
    """Weigh pieces of evidence by their trust, each normalised; then spread to definitions."""
    total: dict[Key, float] = {}
    parts: dict[Key, list[tuple[float, str]]] = {}
    for piece in evidence:
        whole = sum(piece.lines.values())
        for key, share in piece.lines.items() if whole > 0 else ():
            amount = piece.trust * share / whole
            total[key] = total.get(key, 0.0) + amount
            parts.setdefault(key, []).append((amount, piece.reason))
    _spread(total, parts, tree)
    kept = {key: score for key, score in total.items() if key[0] in tree.editable and key in tree.by_line}
    whole = sum(kept.values()) or 1.0
    reasons = {
        key: tuple(dict.fromkeys(reason for _, reason in sorted(parts.get(key, ()), reverse=True)))
        for key in kept
    }
    return Localisation({key: score / whole for key, score in kept.items()}, reasons)


def _anywhere(tree: Tree) -> Evidence:
    lines = {s.key: 1.0 for s in tree.statements() if s.kind in ("instruction", "macro", "directive")}
    return Evidence(_BASE, "no evidence speaks against it", lines)


def _spread(total: dict[Key, float], parts: dict[Key, list[tuple[float, str]]], tree: Tree) -> None:
    """Give a share of each line's suspicion to what it names: constants, data, macro bodies."""
    gains: dict[Key, float] = {}
    reason: dict[Key, str] = {}

    def give(keys: Iterable[Key], amount: float, why: str) -> None:
        targets = list(keys)
        for key in targets:
            gains[key] = gains.get(key, 0.0) + amount / len(targets)
            reason.setdefault(key, why)

    uses = {name: len(found) for name, found in tree.references.items()}
    calls = Counter(s.name for s in tree.statements() if s.kind == "macro")
    for key, score in list(total.items()):
        for s in tree.by_line.get(key, ()):
            for name in {t.text for t in symbols(s)}:
                thin = 1.0 / max(1, uses.get(name, 1)) ** 0.5
                constant = tree.constants.get(name)
                if constant is not None:
                    give(
                        [(constant.file, constant.line)], score * _TO_CONSTANT * thin, f"{name} is used there"
                    )
                elif name in tree.labels and name not in tree.routines:
                    give(_data(tree, name), score * _TO_DATA * thin, f"{name} is used there")
            if s.kind == "macro" and s.name in tree.macros:
                body = [b.key for b in tree.macros[s.name].body]
                give(body, score * _TO_MACRO / max(1, calls[s.name]) ** 0.5, f"macro {s.name} is used there")
    for key, amount in gains.items():
        total[key] = total.get(key, 0.0) + amount
        parts.setdefault(key, []).append((amount, reason[key]))


def _data(tree: Tree, label: str) -> list[Key]:
    """The lines of a datum, from its label to the next global one."""
    first = tree.labels[label]
    found: list[Key] = []
    for s in tree.files[first.file]:
        if s.line < first.line or s.routine != label:
            continue
        if _holds_data(s):
            found.append(s.key)
        if len(found) >= _DATA_LINES:
            break
    return found or [first.key]


def _holds_data(s: Statement) -> bool:
    return s.kind in ("directive", "macro") and s.name not in ASSIGNMENTS
