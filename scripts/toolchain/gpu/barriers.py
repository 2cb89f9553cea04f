"""Barriers of a shader: each orders the memory that lies in its address space, and no other.

Owns one rule that validators do not have and lavapipe does not show: ``storageBarrier`` does not order workgroup
memory, nor ``workgroupBarrier`` a storage buffer (WGSL, 17.12, synchronization built-in functions). What a workgroup
shares is followed through an entry point and the functions that it calls, a loop's body twice, branches one behind
the other. Reads text, never a device; what it cannot follow it says nothing of. Where a module has workgroup memory
nothing is said of ``workgroupBarrier``: it may be meant for that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from toolchain.gpu import wgsl
from toolchain.types import Diagnostic

WORKGROUP, STORAGE = "workgroup", "storage"
_KINDS = {"workgroupBarrier": WORKGROUP, "storageBarrier": STORAGE}
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_TOKEN = re.compile(r"[A-Za-z_]\w*|<<=|>>=|[-+*/%&|^]=|==|!=|<=|>=|&&|\|\||\+\+|--|->|\d[\w.]*|\S")
_SHARED = re.compile(r"\bvar\s*<\s*(workgroup|storage\s*,\s*read_write)\s*,?\s*>\s*(\w+)")
_FUNCTION = re.compile(r"((?:@\w+\s*(?:\([^)]*\)\s*)?)*)\bfn\s+(\w+)\s*\(")
_ASSIGNS = frozenset(("=", "++", "--", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="))
_LOOPS = frozenset(("for", "while", "loop"))
_OPENS, _CLOSES = "([{", ")]}"


class _Token(NamedTuple):
    """A token and its offset."""

    text: str
    at: int


class _Function(NamedTuple):
    """Parameters and body of a function; ``entry`` where a dispatch begins with it."""

    tokens: list[_Token]
    entry: bool


class _Event(NamedTuple):
    """A barrier (``space`` alone), or an access to something that is shared."""

    at: int
    space: str
    name: str = ""
    writes: bool = False


class _Module(NamedTuple):
    shared: dict[str, str]  # name -> address space
    functions: dict[str, _Function]


def check(module: wgsl.Module) -> list[Diagnostic]:
    """What a barrier of the wrong kind leaves unordered, each barrier once, in the order of the source."""
    if not any(name in module.code for name in _KINDS):
        return []
    if "storageBarrier" not in module.code and re.search(r"\bvar\s*<\s*workgroup\b", module.code):
        return []  # every barrier is for workgroup memory, and there is some
    code = _COMMENT.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), module.code)
    read = _read(code)
    shares = WORKGROUP in read.shared.values()
    found: dict[int, str] = {}
    for name, function in read.functions.items():
        if function.entry:
            events = list(_events(read, name, ()))
            for barrier, message in _unordered(events, code, shares):
                found.setdefault(barrier, message)
    diagnostics = []
    for at in sorted(found):
        line, column = code.count("\n", 0, at) + 1, at - code.rfind("\n", 0, at)
        place = wgsl.locate(module, line, column)
        diagnostics.append(Diagnostic(place, f"column {column}: {found[at]}"))
    return diagnostics


def _unordered(events: list[_Event], code: str, shares: bool) -> Iterator[tuple[int, str]]:
    """Accesses that only a barrier of the other space stands between: (where it is, what is wrong)."""
    for space, right in ((WORKGROUP, "workgroupBarrier"), (STORAGE, "storageBarrier")):
        if space == STORAGE and shares:
            continue  # an invocation may read its own element again behind a barrier that is meant for other memory
        wrong = next(name for name, kind in _KINDS.items() if kind != space)
        before: list[_Event] = []
        for event in events:
            if not event.name and event.space == space:
                before.clear()
                continue
            if event.name and event.space == space:
                earlier, barrier = _apart(before, event)
                if earlier is not None and barrier is not None:
                    yield (
                        barrier.at,
                        f"{wrong}() does not order `{event.name}', which lies in {space} memory: "
                        f"{_shown(earlier, code)} before it and {_shown(event, code)} after it; expected {right}()",
                    )
            before.append(event)


def _apart(before: list[_Event], event: _Event) -> tuple[_Event | None, _Event | None]:
    """The first access that another invocation's ``event`` must not pass, and the first barrier behind it."""

    def conflicts(one: _Event) -> bool:
        both = (
            one.writes and event.writes and event.space == WORKGROUP
        )  # of a buffer each writes its own part
        return one.name == event.name and (both or one.writes != event.writes)

    at = next((n for n, one in enumerate(before) if conflicts(one)), None)
    if at is None:
        return None, None
    return before[at], next((one for one in before[at:] if not one.name), None)


def _shown(event: _Event, code: str) -> str:
    return f"{'written' if event.writes else 'read'} (line {code.count(chr(10), 0, event.at) + 1})"


# --- reading -------------------------------------------------------------------------------------------------


def _read(code: str) -> _Module:
    shared = {name: WORKGROUP if space == WORKGROUP else STORAGE for space, name in _SHARED.findall(code)}
    functions = {}
    for match in _FUNCTION.finditer(code):
        tokens = _body(code, match.end() - 1)
        functions[match[2]] = _Function(tokens, "@compute" in match[1])
    return _Module(shared, functions)


def _body(code: str, at: int) -> list[_Token]:
    """The tokens from a function's parameters to the end of its body."""
    tokens, depth, body = [], 0, False
    for match in _TOKEN.finditer(code, at):
        token = match[0]
        tokens.append(_Token(token, match.start()))
        if token in _OPENS:
            depth += 1
            body = body or (token == "{" and depth == 1)
        elif token in _CLOSES:
            depth -= 1
            if not depth and body and token == "}":
                break
    return tokens


def _events(module: _Module, name: str, callers: tuple[str, ...]) -> Iterator[_Event]:
    """Barriers and accesses of a function, those of what it calls in their place."""
    tokens = module.functions[name].tokens
    hidden = {b.text for a, b in pairwise(tokens) if a.text in ("let", "var", "const")}
    hidden |= {a.text for a, b in pairwise(tokens) if b.text == ":"}  # parameters too
    yield from _walk(module, tokens, 0, len(tokens), frozenset(hidden), (*callers, name))


def _walk(
    module: _Module, tokens: list[_Token], at: int, end: int, hidden: frozenset[str], callers: tuple[str, ...]
) -> Iterator[_Event]:
    while at < end:
        token = tokens[at]
        called = at + 1 < end and tokens[at + 1].text == "("
        if token.text in _LOOPS:
            brace = next((n for n in range(at, end) if tokens[n].text == "{"), end - 1)
            behind = _closed(tokens, brace)
            once = list(_walk(module, tokens, at + 1, min(behind, end), hidden, callers))
            yield from once
            yield from once
            at = behind
            continue
        if token.text in _KINDS and called:
            yield _Event(token.at, _KINDS[token.text])
        elif token.text == "workgroupUniformLoad" and called:
            behind = _closed(tokens, at + 1)
            yield _Event(token.at, WORKGROUP)  # it waits before the load and behind it
            yield from _walk(module, tokens, at + 1, min(behind, end), hidden, callers)
            yield _Event(token.at, WORKGROUP)
            at = behind
            continue
        elif token.text in module.functions and called and token.text not in callers:
            behind = _closed(tokens, at + 1)
            yield from _walk(module, tokens, at + 1, min(behind, end), hidden, callers)
            yield from _events(module, token.text, callers)
            at = behind
            continue
        elif token.text in module.shared and token.text not in hidden and tokens[at - 1].text != ".":
            yield _Event(token.at, module.shared[token.text], token.text, _writes(tokens, at))
        at += 1


def _writes(tokens: list[_Token], at: int) -> bool:
    """Whether an access is the target of an assignment, or goes out as a pointer to what is no plain load."""
    if at and tokens[at - 1].text == "&" and at >= 2 and tokens[at - 2].text in "(,":
        return at < 3 or tokens[at - 3].text not in ("atomicLoad", "workgroupUniformLoad", "arrayLength")
    at += 1
    while at < len(tokens) and tokens[at].text in ("[", "."):
        at = _closed(tokens, at) if tokens[at].text == "[" else at + 2
    return at < len(tokens) and tokens[at].text in _ASSIGNS


def _closed(tokens: list[_Token], at: int) -> int:
    """Index behind what closes the bracket at ``at``."""
    depth = 0
    for number in range(at, len(tokens)):
        if tokens[number].text in _OPENS:
            depth += 1
        elif tokens[number].text in _CLOSES:
            depth -= 1
            if not depth:
                return number + 1
    return len(tokens)
