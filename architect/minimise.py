"""The smallest part of a patch that still passes: delta debugging over its lines.

Owns splitting a patch into the smallest changes that make sense alone and ddmin over them (Zeller and Hildebrandt,
"Simplifying and Isolating Failure-Inducing Input", 2002). Never boots: it asks the evaluator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from architect.protocols import Edit, Evaluation, Patch


def atoms(patch: Patch) -> tuple[Edit, ...]:
    """The patch as edits of one line each (replaced, removed or inserted), which together are the same patch."""
    found: list[Edit] = []
    for edit in patch.edits:
        matcher = SequenceMatcher(a=edit.old, b=edit.new, autojunk=False)
        for tag, i1, i2, j1, j2 in matcher.get_opcodes():
            if tag == "equal":
                continue
            both = min(i2 - i1, j2 - j1)
            pairs = zip(edit.old[i1 : i1 + both], edit.new[j1 : j1 + both], strict=True)
            found += [
                Edit(edit.file, edit.line + i1 + n, (old,), (new,)) for n, (old, new) in enumerate(pairs)
            ]
            found += [Edit(edit.file, edit.line + n, (edit.old[n],), ()) for n in range(i1 + both, i2)]
            found += [Edit(edit.file, edit.line + i2, (), (line,)) for line in edit.new[j1 + both : j2]]
    return tuple(found)


def minimise(found: Evaluation, evaluate: Callable[[Sequence[Patch]], Iterable[Evaluation]]) -> Evaluation:
    """The evaluation of the smallest passing part of a passing patch.

    Args:
        found: a passing evaluation.
        evaluate: runs patches through the gates; it may return fewer when the budget is spent, and then the
            smallest patch proved so far is the answer.
    """
    best, parts = found, list(atoms(found.patch))
    chunks = 2
    while len(parts) >= 2:
        size = -(-len(parts) // chunks)
        kept = [parts[:start] + parts[start + size :] for start in range(0, len(parts), size)]
        trials = {edits: part for part in kept if (edits := tuple(part))}
        smaller = _first_passing(found.patch, list(trials), evaluate)
        if smaller is not None:
            best, parts = smaller, trials[smaller.patch.edits]
            chunks = max(chunks - 1, 2)
        elif size == 1:
            break
        else:
            chunks = min(len(parts), chunks * 2)
    return best


def _first_passing(
    patch: Patch, trials: list[tuple[Edit, ...]], evaluate: Callable[[Sequence[Patch]], Iterable[Evaluation]]
) -> Evaluation | None:
    """Of the parts that pass, the smallest, and of equal ones the first, so that the outcome is repeatable."""
    candidates = [replace(patch, edits=edits) for edits in trials]
    passed = {e.patch.edits: e for e in evaluate(candidates) if e.passed}
    order = {edits: (len(edits), n) for n, edits in enumerate(trials)}
    chosen = min(passed, key=order.__getitem__, default=None)
    return passed[chosen] if chosen is not None else None
