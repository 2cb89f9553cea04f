"""Whether a suite can fail: small changes are planted in the routines that it tests, and it is asked about each.

Owns the changes (an instruction deleted, a condition inverted, a constant off by one), the sample of them, and the
count. The changed kernels exist in memory alone.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.chat.talk import Talk
    from toolchain.headers import Routine

SAMPLE = 48
SECONDS = 40.0
SHOWN = 8
_INVERSE = {
    "jz": "jnz", "jnz": "jz", "je": "jne", "jne": "je", "jc": "jnc", "jnc": "jc", "ja": "jbe", "jbe": "ja", "jb": "jae",
    "jae": "jb", "jg": "jle", "jle": "jg", "jl": "jge", "jge": "jl", "js": "jns", "jns": "js",
}  # fmt: skip
_STATEMENT = re.compile(r"^(\s+)([a-z]\w*)(\s+[^#]*?)?(\s*#.*)?$")
_NUMBER = re.compile(r"(?<![\w.])(\d+)(?![\w.])")
_LEFT = (
    "call_frame",
    "return_frame",
    "ret",
    "push",
    "pop",
    "nop",
)  # their loss is told by every header alike


class Mutant(NamedTuple):
    """One planted change: the routine, where, the old line, the new one (empty: deleted)."""

    routine: str
    file: str
    line: int
    old: str
    new: str


def report(talk: Talk, routines: Mapping[str, Routine]) -> None:
    """Plant a sample of changes and say how many the contracts find."""
    everything = list(mutants(talk.desk.texts(), routines))
    if not everything:
        return
    sample = random.Random(len(everything)).sample(everything, min(SAMPLE, len(everything)))
    talk.desk.say(f"planting {len(sample)} of {len(everything)} small changes, at most {SECONDS:g} s")
    found, missed, asked = _ask(talk, sample)
    if not asked:
        return
    talk.note(
        f"Of {asked} planted changes (an instruction deleted, a condition inverted, a constant off by one; a sample of"
        f" {len(everything)}) the contracts find {found}, {100 * found // asked} %; boots come on top."
    )
    for one in missed[:SHOWN]:
        change = f"{one.old.strip()} -> {one.new.strip()}" if one.new else f"without {one.old.strip()}"
        talk.note(f"  not found: {one.file}:{one.line} {change}"[:120])
    if len(missed) > SHOWN:
        talk.note(f"  … and {len(missed) - SHOWN} more")


def mutants(texts: Mapping[str, str], routines: Mapping[str, Routine]) -> Iterator[Mutant]:
    """The changes that can be planted in the bodies of routines."""
    for name, routine in routines.items():
        rows = texts.get(routine.file, "").split("\n")
        begin = next(
            (n for n, row in enumerate(rows) if re.match(rf"\s*function {re.escape(name)}\b", row)), None
        )
        if begin is None:
            continue
        for number in range(begin + 1, len(rows)):
            if rows[number].strip().startswith("end_function"):
                break
            for new in _changed(rows[number]):
                yield Mutant(name, routine.file, number + 1, rows[number], new)


def _changed(row: str) -> Iterator[str]:
    found = _STATEMENT.match(row)
    if not found or found[2].startswith(_LEFT):
        return
    word, rest = found[2], found[3] or ""
    if word in _INVERSE:
        yield f"{found[1]}{_INVERSE[word]}{rest}"
        return
    yield ""
    number = _NUMBER.search(rest)
    if number:
        yield f"{found[1]}{word}{rest[: number.start()]}{int(number[1]) + 1}{rest[number.end() :]}"


def _ask(talk: Talk, sample: list[Mutant]) -> tuple[int, list[Mutant], int]:
    """How many are found, those that are not, and how many were asked before the time was up."""
    from architect import contracts
    from toolchain import build

    desk = talk.desk
    headers = contracts.routines(desk.copy().sources())
    until = time.monotonic() + SECONDS
    found, asked, missed = 0, 0, []
    texts = desk.texts()
    with (
        build.Session(desk.on_disk(), desk.out / "cache", still=True) as session,
        closing(contracts.Asked()) as known,
    ):
        session.build()
        for one in sample:
            if time.monotonic() > until:
                break
            rows = texts[one.file].split("\n")
            rows[one.line - 1] = one.new
            try:
                image = session.build({one.file: "\n".join(rows)}, lines=False)
                violation = contracts.first(image, headers, [one.routine], asked=known)
            except InputError:  # it does not assemble: found
                violation = True  # type: ignore[assignment]
            asked += 1
            found += violation is not None
            if violation is None:
                missed.append(one)
    return found, missed, asked
