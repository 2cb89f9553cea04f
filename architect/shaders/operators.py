"""How a line of WGSL may have been meant: the operators of the shader search.

Owns one generator per kind of mistake, each with its cost in bits. An operator sees a line, what its function and file
name, and the lines around it; it never sees a probe or a bug.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import pairwise

from architect.shaders.source import NUMBER, WORD, Token, tokens

# Operators that are mistaken for one another.
_CLASSES = (
    ("<", "<=", ">", ">=", "==", "!="),
    ("+", "-", "*", "/", "%"),
    ("&&", "||"),
    ("&", "|", "^", "<<", ">>"),
    ("+=", "-=", "*=", "/=", "="),
    ("++", "--"),
)
_NEIGHBOURS: Mapping[str, tuple[str, ...]] = {
    "<": ("<=",), "<=": ("<",), ">": (">=",), ">=": (">",), "==": ("!=",), "!=": ("==",),
    "+=": ("=",), "=": ("+=",), "&&": ("||",), "||": ("&&",),
}  # fmt: skip
# Built-in functions and values that are mistaken for one another (WGSL, sections 13.3 and 17).
_BUILT_IN = (
    ("min", "max"), ("floor", "ceil", "round", "trunc"), ("sin", "cos", "tan"), ("exp", "exp2"), ("log", "log2"),
    ("sqrt", "inverseSqrt"), ("workgroupBarrier", "storageBarrier"), ("any", "all"), ("f32", "u32", "i32"),
    ("global_invocation_id", "local_invocation_id", "workgroup_id", "num_workgroups"),
    ("local_invocation_index", "workgroup_index", "global_invocation_index"),
    ("unpack2x16float", "unpack2x16unorm", "unpack2x16snorm"), ("pack2x16float", "pack2x16unorm", "pack2x16snorm"),
)  # fmt: skip
_KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        "fn let var const if else for while loop return break continue switch case default struct true false",
    )
)
_SWIZZLE = re.compile(r"^[xyzw]{1,4}$|^[rgba]{1,4}$")
_LITERAL = re.compile(r"^(0[xX][0-9a-fA-F]+|[\d.]+(?:[eE][+-]?\d+)?)([fhiu]?)$")
_TYPED = re.compile(r"^(?:vec[234]|mat[234]x[234]|array|var|ptr|atomic|bitcast)$")
BARRIER = "workgroupBarrier();"
_EVIDENT = -4.0  # bits of what mends something that is plainly wrong, wherever the probes point
_COMPOUND = ("+=", "-=", "*=", "/=")
_PARTS = (".x", ".y", ".z", ".w")
_NEAR = 0.6  # how alike two spellings are that are taken for each other


@dataclass(frozen=True, slots=True)
class Variant:
    """What may stand in place of a line (``at`` its number, ``old`` whether it is replaced or put before)."""

    bits: float
    new: tuple[str, ...]
    name: str
    note: str
    before: bool = False


@dataclass
class Scope:
    """What a line can name.

    Attributes:
        names: of the function: parameters, variables.
        fields: of the file's structures.
        literals: of the file.
        functions: of the file and its parts, with the number of parameters.
        lines: of the whole file, blanked.
        shared: whether the function touches memory of the workgroup.
        unknown: identifiers that the compiler does not know.
        unwritten: variables of the function that no statement changes: what is declared to vary and never does.
    """

    names: Sequence[str]
    fields: Sequence[str]
    literals: Sequence[str]
    functions: Mapping[str, int]
    lines: Sequence[str]
    shared: bool = False
    unknown: frozenset[str] = field(default_factory=frozenset)
    unwritten: Sequence[str] = ()


def variants(number: int, raw: str, code: str, scope: Scope) -> Iterator[Variant]:
    """Every way to change the line ``number`` (1-based): ``raw`` as written, ``code`` with comments blanked."""
    found = tokens(code)
    for token_operator in (
        _operators,
        _constants,
        _built_in,
        _swizzles,
        _identifiers,
        _unary,
        _indices,
        _updates,
    ):
        for bits, at, text, note in token_operator(found, scope):
            changed = raw[: at.start] + text + raw[at.end :]
            if changed != raw:
                yield Variant(bits, (changed,), token_operator.__name__.strip("_"), note)
    yield from _terms(raw, found)
    yield from _swaps(raw, found)
    yield from _conditions(raw, found)
    yield from _statements(number, raw, code, scope)


_Change = tuple[float, Token, str, str]


def _operators(found: Sequence[Token], scope: Scope) -> Iterator[_Change]:
    typed = _in_types(found)
    for token in found:
        for group in _CLASSES:
            if token.text in group and token not in typed:
                for other in group:
                    if other != token.text:
                        near = other in _NEIGHBOURS.get(token.text, ())
                        yield 3.0 if near else 5.0, token, other, f"`{token.text}` is `{other}`"


def _in_types(found: Sequence[Token]) -> set[Token]:
    """The angles of ``vec4<f32>`` and the like, which are no comparisons."""
    angles: set[Token] = set()
    depth = 0
    for before, token in pairwise(found):
        if token.text == "<" and _TYPED.match(before.text):
            angles.add(token)
            depth += 1
        elif token.text == ">" and depth:
            angles.add(token)
            depth -= 1
    return angles


def _constants(found: Sequence[Token], scope: Scope) -> Iterator[_Change]:
    for token in found:
        match = _LITERAL.match(token.text)
        if match is None or not NUMBER.match(token.text):
            continue
        body, suffix = match[1], match[2]
        yield from ((bits, token, text, f"{token.text} is {text}") for bits, text in _values(body, suffix))
        for other in scope.literals:
            if (other != token.text and other[-1:] == token.text[-1:]) or (
                "." in other and "." in token.text
            ):
                yield 6.5, token, other, f"{token.text} is {other}"


def _values(body: str, suffix: str) -> Iterator[tuple[float, str]]:
    if "." in body or ("e" in body.lower() and not body.startswith("0x")):
        value = float(body)
        for bits, other in ((4.5, value * 2), (4.5, value / 2), (5.0, 1.0), (5.0, 0.0), (5.0, 0.5)):
            if other != value:
                yield bits, f"{other!r}{suffix}"
        return
    value_ = int(body, 0)
    near = [(3.5, value_ + 1), (3.5, value_ - 1)]
    near += [(4.5, value_ * 2), (4.5, value_ // 2), (4.5, 0), (4.5, 1), (6.0, value_ * 4), (6.0, value_ // 4)]
    seen = {value_}
    for bits, number in near:
        if number >= 0 and number not in seen:
            seen.add(number)
            yield bits, f"{number}{suffix}"


def _built_in(found: Sequence[Token], scope: Scope) -> Iterator[_Change]:
    for token in found:
        for group in _BUILT_IN:
            if token.text in group:
                for other in group:
                    if other != token.text:
                        yield 4.0, token, other, f"`{token.text}` is `{other}`"


def _swizzles(found: Sequence[Token], scope: Scope) -> Iterator[_Change]:
    for before, token in pairwise(found):
        if before.text != "." or not _SWIZZLE.match(token.text):
            continue
        for other in "xyzw" if len(token.text) == 1 else (token.text[::-1], "xy", "zw", "xyz"):
            if other != token.text and len(other) == len(token.text):
                yield 4.5, token, other, f".{token.text} is .{other}"


def _identifiers(found: Sequence[Token], scope: Scope) -> Iterator[_Change]:
    for number, token in enumerate(found):
        if not WORD.match(token.text) or token.text in _KEYWORDS:
            continue
        member = number > 0 and found[number - 1].text == "."
        declared = number > 0 and found[number - 1].text in ("let", "var", "fn", "const", ":", "->", "<")
        called = number + 1 < len(found) and found[number + 1].text == "("
        pool: Sequence[str] = scope.fields if member else tuple(scope.functions) if called else scope.names
        if token.text in scope.unknown:
            for other in (*scope.names, *scope.fields, *scope.functions):
                if SequenceMatcher(None, token.text, other).ratio() > _NEAR:
                    yield 1.0, token, other, f"`{token.text}` is unknown; `{other}` is meant"
        if declared or (member and _SWIZZLE.match(token.text)) or token.text not in pool:
            continue
        for other in pool:
            same = not called or scope.functions.get(other) == scope.functions.get(token.text)
            if other != token.text and same:
                yield 5.5, token, other, f"`{token.text}` is `{other}`"


def _unary(found: Sequence[Token], scope: Scope) -> Iterator[_Change]:
    for before, token in pairwise(found):
        opens = before.text in ("(", ",", "=", "return", "&&", "||", "if", "select", "*", "+", "==", "?")
        if opens and token.text in ("-", "!", "~"):
            yield 5.0, token, "", f"without `{token.text}`"
        elif opens and NUMBER.match(token.text) and "." in token.text:
            yield 5.0, token, f"-{token.text}", f"-{token.text}"
        elif opens and WORD.match(token.text) and token.text not in _KEYWORDS:
            yield 6.0, token, f"-{token.text}", f"-{token.text}"
            if before.text in ("&&", "||", "if", "("):
                yield 6.0, token, f"!{token.text}", f"!{token.text}"


def _indices(found: Sequence[Token], scope: Scope) -> Iterator[_Change]:
    """An index one further or one back."""
    for token in found:
        if token.text == "]":
            yield 4.5, token, " + 1u]", "the next index"
            yield 5.0, token, " - 1u]", "the index before"


def _updates(found: Sequence[Token], scope: Scope) -> Iterator[_Change]:
    """What a ``for`` changes each time, where it changes nothing."""
    for before, token in pairwise(found):
        if found[0].text == "for" and before.text == ";" and token.text == ")":
            for word in dict.fromkeys(t.text for t in found if t.text in scope.names):
                yield 2.0, token, f"{word}++)", f"`{word}++` each time"


def _terms(raw: str, found: Sequence[Token]) -> Iterator[Variant]:
    """Without a number that is added or taken away."""
    for sign, token in pairwise(found):
        if sign.text in ("+", "-") and NUMBER.match(token.text):
            new = raw[: sign.start].rstrip() + raw[token.end :]
            yield Variant(4.5, (new,), "term", f"without `{sign.text} {token.text}`")


def _swaps(raw: str, found: Sequence[Token]) -> Iterator[Variant]:
    """Two arguments of a call, the operands of an operator that does not commute."""
    for number, token in enumerate(found):
        if token.text == "(" and number and WORD.match(found[number - 1].text):
            parts = _arguments(found, number)
            for i in range(len(parts)):
                for j in range(i + 1, len(parts)):
                    (a0, a1), (b0, b1) = parts[i], parts[j]
                    first, second = raw[a0:a1], raw[b0:b1]
                    if first.strip() != second.strip():
                        new = raw[:a0] + second + raw[a1:b0] + first + raw[b1:]
                        note = f"`{first.strip()}` and `{second.strip()}` of {found[number - 1].text} swapped"
                        yield Variant(3.5, (new,), "swap", note)
    for a, op, b in zip(found, found[1:], found[2:], strict=False):
        simple = all(WORD.match(t.text) or NUMBER.match(t.text) for t in (a, b))
        if op.text in ("-", "/", "%", "<<", ">>", "<", ">") and simple:
            new = raw[: a.start] + b.text + raw[a.end : b.start] + a.text + raw[b.end :]
            yield Variant(4.5, (new,), "swap", f"`{a.text} {op.text} {b.text}` the other way round")


def _arguments(found: Sequence[Token], opening: int) -> list[tuple[int, int]]:
    """The columns of a call's arguments; none when it goes on in another line."""
    depth, start, parts = 0, found[opening].end, []
    for token in found[opening:]:
        depth += (token.text in "([") - (token.text in ")]")
        if (depth == 1 and token.text == ",") or depth == 0:
            parts.append((start, token.start))
            start = token.end
        if depth == 0:
            return [_trim(found, a, b) for a, b in parts]
    return []


def _trim(found: Sequence[Token], start: int, end: int) -> tuple[int, int]:
    inside = [t for t in found if start <= t.start and t.end <= end]
    return (inside[0].start, inside[-1].end) if inside else (start, end)


def _conditions(raw: str, found: Sequence[Token]) -> Iterator[Variant]:
    """An ``if`` the other way round."""
    for number, token in enumerate(found):
        if token.text == "if":
            end = next((t for t in found[number:] if t.text == "{"), None)
            if end is not None:
                inner = raw[token.end : end.start].strip()
                new = f"{raw[: token.end]} !({inner}) {raw[end.start :]}"
                yield Variant(4.5, (new,), "negate", f"`if {inner}` negated")


def _statements(number: int, raw: str, code: str, scope: Scope) -> Iterator[Variant]:
    """A barrier before the line, a line from elsewhere before it, none of it."""
    text = code.strip()
    indent = raw[: len(raw) - len(raw.lstrip())]
    if scope.shared and (text.endswith((";", "{", "}"))):
        around = [line.strip() for line in scope.lines[max(0, number - 2) : number]]
        if BARRIER not in around:
            yield Variant(
                4.0, (f"{indent}{BARRIER}",), "barrier", "a barrier of the workgroup before it", before=True
            )
    if text.endswith(";") and not text.startswith(("}", "@", "let ", "var", "const ", "for ")):
        yield Variant(8.0 if BARRIER not in text else 6.0, (), "delete", "without it")
    yield from _updated(number, indent, scope)
    yield from _donors(number, text, indent, scope)


def _updated(number: int, indent: str, scope: Scope) -> Iterator[Variant]:
    """Where the line before changes a variable: the like for one that nothing changes, of a vector or a part of it."""
    above = scope.lines[number - 2].strip() if number > 1 else ""
    found = tokens(above)
    if not scope.unwritten or len(found) < 3 or found[1].text not in _COMPOUND or not above.endswith(";"):
        return
    names = [t for t in found[2:] if WORD.match(t.text) and t.text in scope.names]
    for name in scope.unwritten:
        if name == found[0].text:
            continue
        rows = {name + above[found[0].end :]: 0.0}
        for token in names:
            for other in scope.names:
                if other != token.text and SequenceMatcher(None, other, token.text).ratio() > _NEAR:
                    rows[name + above[found[0].end : token.start] + other + above[token.end :]] = 0.5
        for row, bits in rows.items():
            for part in ("", *_PARTS):
                line = row[:-1] + part + ";"
                note = f"nothing changes `{name}`: `{line}` before it"
                yield Variant(
                    _EVIDENT + bits + bool(part) / 2, (f"{indent}{line}",), "update", note, before=True
                )


def _donors(number: int, text: str, indent: str, scope: Scope) -> Iterator[Variant]:
    """Lines that stand before a line like this one elsewhere in the file, or behind one like the line before."""
    if not text or number < 2:
        return
    above = scope.lines[number - 2].strip()
    known = set(scope.names) | set(scope.fields) | set(scope.functions) | _KEYWORDS
    offered: dict[str, float] = {}
    for at in range(1, len(scope.lines) - 1):
        line = scope.lines[at].strip()
        if not line.endswith(";") or line in (above, text) or line.startswith(("}", "@", "for ")):
            continue
        unknown = [t.text for t in tokens(line) if WORD.match(t.text) and t.text not in known]
        near = max(_alike(scope.lines[at + 1].strip(), text), _alike(scope.lines[at - 1].strip(), above))
        if near > _NEAR and len(unknown) <= line.count("("):
            offered[line] = min(offered.get(line, 99.0), 7.0 - 3.0 * near)
    for line, bits in offered.items():
        yield Variant(bits, (f"{indent}{line}",), "donor", f"`{line}` before it", before=True)
        words = [t for t in tokens(line) if WORD.match(t.text) and t.text in scope.names]
        for token in words:
            for other in scope.names:
                if other != token.text and SequenceMatcher(None, other, token.text).ratio() > 0.4:
                    changed = line[: token.start] + other + line[token.end :]
                    yield Variant(
                        bits + 3.0, (f"{indent}{changed}",), "donor", f"`{changed}` before it", before=True
                    )


def _alike(one: str, other: str) -> float:
    if not one or not other or one in "{}" or other in "{}":
        return 0.0
    matcher = SequenceMatcher(None, one, other)
    return matcher.ratio() if matcher.quick_ratio() > _NEAR else 0.0
