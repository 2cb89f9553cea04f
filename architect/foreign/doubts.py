"""What speaks against a repair that passes: edits that a weak judge lets through although they mend nothing.

Owns the kinds of such edits, read from the lines before and after in any of the syntaxes. It knows no kernel. Each says
how much less its passing is worth, in bits; none rejects anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from architect.foreign.cplaces import is_c
from architect.protocols import Edit, Patch
from architect.rivals import Doubt

_CODE = re.compile(r"^\s*(?:[\w.$]+:)?\s*(?:(?:rep|repe|repne|lock)\s+)?([A-Za-z_.][\w.]*)\s*(.*)$")
_COMMENT = re.compile(r"\s*(?:/\*.*\*/|//.*|[;#](?!define|include).*)$")
_SIZED = re.compile(r"(?<=\w)[bwlq]$")
_MASK = re.compile(r"\$?\w*(?:MASK|EMPTY|FULL|READY|BUSY|FLAG|BIT)\w*|\$?(?:0x)?(?:1|2|4|8)0*", re.IGNORECASE)
_JUMP = re.compile(r"j(?!mp)\w+$|loop\w*$")
_MOVES = frozenset({"mov", "movabs", "lea", "movzx", "movsx", "pop"})
_COMBINES = frozenset({"or", "and", "xor", "add", "sub", "adc", "sbb", "cmp", "test"})
_STEP = re.compile(r"^(.*?)\s*[-+]\s*1$")
_STACK_BITS = re.compile(r"\s*(?:or|xor)[lqw]?\s+(?:[er]?sp\b|.*%[er]?sp\s*(?:[#;].*)?$)", re.IGNORECASE)
_TERM = re.compile(r"\s*(?:[-+*|&]|<<|>>)\s*[\w$]+")
_OUTSIDE = re.compile(r"sizeof\s+\(?\w+\)?\s*\+\s*\d|\[[^]]*\b[A-Z][A-Z_0-9]+\s*\+\s*\d")
_NAMED = re.compile(r"[A-Z][A-Z0-9_]{2,}\s*[-+]\s*\d+\b|[A-Z][A-Z0-9_]{2,}\s*(?:<<|>>)\s*\d+\b")


def doubts(patch: Patch) -> tuple[Doubt, ...]:
    """What speaks against a patch, the weightiest first."""
    found = {doubt.why: doubt for edit in patch.edits for doubt in _of_edit(edit)}
    if sum(len(edit.new) - len(edit.old) for edit in patch.edits) < 0:
        found["gone"] = Doubt(3.0, "it takes code away")
    return tuple(sorted(found.values(), key=lambda doubt: -doubt.bits))


def _of_edit(edit: Edit) -> Iterator[Doubt]:
    if any(_STACK_BITS.match(line) for line in set(edit.new) - set(edit.old)):
        yield Doubt(4.0, "it sets bits of the stack pointer, or flips them")
    if len(edit.old) != len(edit.new):
        return
    for old, new in zip(edit.old, edit.new, strict=True):
        before, after = _COMMENT.sub("", old).strip(), _COMMENT.sub("", new).strip()
        if before == after:
            continue
        if len(_NAMED.findall(after)) > len(_NAMED.findall(before)):
            yield Doubt(2.0, "it puts a number onto a name that the tree defines")
        if _OUTSIDE.search(after) and not _OUTSIDE.search(before):
            yield Doubt(4.0, "it reaches behind the end of what it measures")
        yield from _of_c(before, after) if is_c(edit.file) else _of_assembly(before, after)


def _of_c(before: str, after: str) -> Iterator[Doubt]:
    """A condition that holds always or never, and a count that is nothing."""
    if re.search(r"\b(?:if|while)\s*\(\s*!?[01]\s*\)", after):
        yield Doubt(4.0, "its condition is always the same")
    zeros = [len(re.findall(r"[,(]\s*0\s*\)", text)) for text in (before, after)]
    if zeros[1] > zeros[0]:
        yield Doubt(2.5, "it makes the last argument of a call nothing: the call may do no more")


def _of_assembly(before: str, after: str) -> Iterator[Doubt]:
    """A comparison, a branch or a load that became something else; a term that is gone."""
    (was, had), (now, has) = _parts(before), _parts(after)
    if not was or not now:
        return
    if was == "cmp" and now == "test" and not any(_MASK.fullmatch(o.strip()) for o in has.split(",")):
        yield Doubt(4.0, "it makes a bit test of a comparison with what is no mask")
    elif was in ("cmp", "test") and now not in ("cmp", "test"):
        yield Doubt(4.0, "it takes a comparison away")
    if _JUMP.match(was) and not _JUMP.match(now):
        yield Doubt(4.0, "it takes a condition away")
    if was in _MOVES and now in _COMBINES:
        yield Doubt(3.0, "it mixes a value with what was there by chance")
    if was == now and has in (had[: cut.start()] + had[cut.end() :] for cut in _TERM.finditer(had)):
        yield Doubt(2.0, "it drops a part of an expression")


def _parts(code: str) -> tuple[str, str]:
    """The mnemonic without AT&T's size, and the operands."""
    found = _CODE.match(code)
    if found is None:
        return "", ""
    name = found[1].lower()
    short = _SIZED.sub("", name)
    return (short if short in _MOVES | _COMBINES else name), found[2].strip()
