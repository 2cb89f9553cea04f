"""The monitor shell: words and numbers, completion, and what commands print (its line editor: ``lineedit``).

RFC 8259 (JSON).
"""

from __future__ import annotations

import json
import random
import re
from typing import Any

from architect.contracts import contract
from architect.contracts.lineedit import EXECUTED, asciz
from architect.contracts.model import Session
from architect.contracts.units import sent
from toolchain.harness import BUFFER_BASE, Harness

_WORDS = 8
_OFFERED = 256  # words at most
_OTHER_BUFFER = BUFFER_BASE + 0x800


@contract("words_split", "words_same", "words_number", "words_nth", "words_find")
def words(harness: Harness) -> None:
    """Lines of any blanks, words that begin alike, numbers at the edges of 64 bits, tables of any row size."""
    session, noise = Session(harness), random.Random(1)
    lines = [b" ".join(b"w" * noise.randrange(4) for _ in range(noise.randrange(12))) for _ in range(12)]
    for line in (b" a" * _WORDS, b"a " * (_WORDS + 1), b"a " * 30, *lines):
        harness.write(BUFFER_BASE, line + b"\0")
        result = session.call("words_split", rdi=BUFFER_BASE, rsi=_OTHER_BUFFER)
        expected = line.split()
        many = len(expected) > _WORDS
        session.equal(
            result.flag("cf"), many, "words_split", "is wrong about too many words", line=repr(line)
        )
        got = [
            asciz(harness, harness.read_u64(_OTHER_BUFFER + 8 * i)) for i in range(result.registers["rax"])
        ]
        session.expect(
            got == expected[:_WORDS] or many,
            "words_split",
            "splits in another way",
            got=repr(got),
            line=repr(line),
        )
    for text, value in _NUMBERS:
        harness.write(BUFFER_BASE, text.encode() + b"\0")
        result = session.call("words_number", rdi=BUFFER_BASE)
        session.equal(result.flag("cf"), value is None, "words_number", "is wrong about a number", word=text)
        if value is not None:
            session.equal(result.registers["rax"], value, "words_number", "reads another number", word=text)
    for one, other in ((b"ab", b"ab"), (b"ab", b"abc"), (b"abc", b"ab"), (b"", b""), (b"x", b"y")):
        harness.write(BUFFER_BASE, one + b"\0")
        harness.write(_OTHER_BUFFER, other + b"\0")
        differ = session.call("words_same", rdi=BUFFER_BASE, rsi=_OTHER_BUFFER).flag("cf")
        session.equal(differ, one != other, "words_same", "is wrong about two words", one=repr(one))
    for n, rows, size in ((0, 3, 8), (2, 3, 40), (3, 3, 24), (0xFFFF, 3, 16), (0, 0, 8)):
        for row in range(rows):
            harness.write_u64(BUFFER_BASE + row * size, 0x1000 + row)
        result = session.call("words_nth", rdi=n, rsi=BUFFER_BASE, rdx=BUFFER_BASE + rows * size, rcx=size)
        session.equal(result.flag("cf"), n >= rows, "words_nth", "is wrong about the end of a table", n=n)
        if n < rows:
            session.equal(result.registers["rax"], 0x1000 + n, "words_nth", "gives another row", n=n)
    _find(session)


def _find(session: Session) -> None:
    """Names of a table by which others begin, the first and the last among them, and such as it has not."""
    names, size = (b"one", b"on", b"", b"other"), 24
    text = _OTHER_BUFFER
    for row, name in enumerate(names):
        session.harness.write(text, name + b"\0")
        session.harness.write_u64(BUFFER_BASE + row * size, text)
        text += len(name) + 1
    asked = ((4, b"one"), (4, b"on"), (4, b""), (4, b"other"), (4, b"oth"), (3, b"other"), (0, b"one"))
    for rows, name in asked:
        session.harness.write(text, name + b"\0")
        end = BUFFER_BASE + rows * size
        result = session.call("words_find", rdi=text, rsi=BUFFER_BASE, rdx=end, rcx=size)
        here = name in names[:rows]
        session.equal(result.flag("cf"), not here, "words_find", "is wrong about a name", name=repr(name))
        if here:
            row = BUFFER_BASE + names.index(name) * size
            session.equal(result.registers["rax"], row, "words_find", "gives another row", name=repr(name))


_NUMBERS: tuple[tuple[str, int | None], ...] = (
    ("0", 0), ("9", 9), ("10", 10), ("00012", 12), ("0x0", 0), ("0xAf", 0xAF), ("0xg", None), ("0x", None),
    ("a", None), ("-1", None), ("1a", None), ("1:", None), ("/", None), ("0x1G", None), ("0x1@", None),
    ("18446744073709551615", 2**64 - 1), ("18446744073709551616", None), ("99999999999999999999", None),
    ("0xffffffffffffffff", 2**64 - 1), ("0x10000000000000000", None), ("0xFFFF800000000000", 0xFFFF800000000000),
)  # fmt: skip


@contract(
    "line_complete", "offer_choose", "offer_each", "offer_fits", "offer_count_one", "offer_show_one", "offer_insert",
    "shell_nth", "shell_find",
    needs=("line_complete", "line_load", "line_begin", "shell_nth", "shell_find", "line_text", "line_cursor"),
)  # fmt: skip
def completion(harness: Harness) -> None:
    """Every beginning of every command: completed as far as the names agree, else shown."""
    session = Session(harness)
    names = _names(session, "shell_nth")
    session.expect(len(set(names)) == len(names) > 0, "shell_nth", "names no commands, or one twice")
    starts = {name[:end] for name in names for end in range(len(name) + 1)} | {b"zz"}
    for start in sorted(starts):
        _completes(session, b"", start, names)
    _completes(session, b"  ", names[0][:1], names)
    if b"test" in names and harness.has("ktap_nth"):
        tests = _names(session, "ktap_nth")
        for start in {test[:end] for test in tests[::9] for end in (0, 1, 3, len(test) - 1)}:
            _completes(session, b"test  ", start, tests)
    session.expect(
        _tab(session, b"help help x").endswith(b"\7"), "offer_choose", "offers words for a third word"
    )


def _names(session: Session, routine: str) -> list[bytes]:
    """What a routine that gives the nth word gives."""
    names: list[bytes] = []
    while len(names) < _OFFERED:
        result = session.call(routine, rdi=len(names))
        if result.flag("cf"):
            break
        names.append(asciz(session.harness, result.registers["rax"]))
    return names


def _completes(session: Session, before: bytes, start: bytes, names: list[bytes]) -> None:
    """Tab behind a word that begins as some of ``names`` do."""
    said = _tab(session, before + start)
    fits = [name for name in names if name.startswith(start)]
    line = asciz(session.harness, session.harness.address("line_text"))
    expected = start
    if len(fits) == 1:
        expected = fits[0] + b" "
    elif fits:
        expected = _common(fits)
    given = repr(before + start)
    session.equal(line, before + expected, "line_complete", "makes another word", start=given)
    if len(fits) > 1 and expected == start:
        shown = set(fits) <= set(said.replace(b"\x1b", b" ").split())
        session.expect(shown, "line_complete", "does not show what fits", start=given, said=repr(said))


def _common(words: list[bytes]) -> bytes:
    short, long = min(words), max(words)
    end = next((i for i, pair in enumerate(zip(short, long, strict=False)) if pair[0] != pair[1]), len(short))
    return short[:end]


def _tab(session: Session, line: bytes) -> bytes:
    """What Tab at the end of a line prints."""
    session.call("line_begin")
    session.harness.write(BUFFER_BASE, line + b"\0")
    session.call("line_load", limit=EXECUTED, rdi=BUFFER_BASE)
    return sent(session.call("line_complete", limit=EXECUTED).ports)


_TEXTS = (b"", b"plain", b'quote " and \\', b"\x01\x1f\x7f\x80\xff", b"{[,:]}")


@contract(
    "out_begin", "out_end", "out_key", "out_separate", "out_quoted", "out_code", "out_digit", "out_number", "out_hex",
    "out_mark", "out_text", "out_plain", "out_list", "out_list_end", "out_row", "out_row_end",
    needs=("shell_json", "out_begin", "out_end", "out_text", "out_list", "out_row"),
)  # fmt: skip
def output(harness: Harness) -> None:
    """Objects of values and rows, as JSON that a parser reads back, and as lines of text."""
    session, noise = Session(harness), random.Random(4)
    for round_ in range(2 * len(_TEXTS)):
        wanted: dict[str, Any] = {}
        calls: list[tuple[str, dict[str, int]]] = []
        place = iter(range(BUFFER_BASE, BUFFER_BASE + 0x4000, 0x40))

        def put(text: bytes, place: Any = place) -> int:
            at: int = next(place)
            harness.write(at, text + b"\0")
            return at

        def values(into: dict[str, Any], calls: Any = calls, put: Any = put) -> None:
            for i in range(noise.randrange(3)):
                kind = noise.choice(("number", "hex", "text"))
                number = noise.choice((0, 7, 2**53 - 1, noise.getrandbits(40)))
                text = noise.choice(_TEXTS)
                key = f"k{i}"
                at = {"rdi": put(key.encode())}
                calls.append((f"out_{kind}", {**at, "rsi": put(text) if kind == "text" else number}))
                into[key] = {"number": number, "hex": f"{number:#x}", "text": text.decode("latin-1")}[kind]

        values(wanted)
        calls.append(("out_text", {"rdi": put(b"text"), "rsi": put(_TEXTS[round_ % len(_TEXTS)])}))
        wanted["text"] = _TEXTS[round_ % len(_TEXTS)].decode("latin-1")
        rows: list[dict[str, Any]] = []
        calls.append(("out_list", {"rdi": put(b"list")}))
        for _ in range(noise.randrange(4)):
            calls.append(("out_row", {}))
            rows.append({})
            values(rows[-1])
            calls.append(("out_row_end", {}))
        calls.append(("out_list_end", {}))
        wanted["list"] = rows
        for as_json in (1, 0):
            harness.write(harness.address("shell_json"), bytes((as_json,)))
            said = _said(session, put(b"name"), calls)
            if as_json:
                _read_back(session, said, {"command": "name", **wanted}, round_)
            else:
                lines = [f"{key}={value}" for key, value in wanted.items() if key != "list"]
                lines += ["  ".join(f"{key}={value}" for key, value in row.items()) for row in rows]
                expected = re.sub(rb"[^ -~\n]", b"?", "\n".join(lines).encode("latin-1"))
                session.equal(said.strip(b"\n"), expected.strip(b"\n"), "out_key", "prints another text")


def _said(session: Session, name: int, calls: list[tuple[str, dict[str, int]]]) -> bytes:
    said = sent(session.call("out_begin", rdi=name).ports)
    for routine, registers in calls:
        said += sent(session.call(routine, **registers).ports)
    return said + sent(session.call("out_end").ports)


def _read_back(session: Session, said: bytes, expected: dict[str, Any], round_: int) -> None:
    try:
        got = json.loads(said.decode("latin-1"))
    except ValueError as error:
        session.expect(False, "out_quoted", "prints no JSON", said=repr(said), error=str(error))
        return
    session.expect(said.isascii(), "out_quoted", "leaves bytes that are no ASCII", said=repr(said))
    session.expect(got == expected, "out_key", "prints another object", got=repr(got), round=round_)
    session.expect(said.strip(b"\n").count(b"\n") == 0, "out_separate", "breaks the line of an object")
