"""Boot modules that come in one archive: cpio's "New ASCII Format" (newc), as cpio(5) has it.

Files are found whole, in order; anything that does not fit ends the reading and is never followed outside.
"""

from __future__ import annotations

import random

from architect.contracts import contract
from architect.contracts.steps import Step
from toolchain.harness import BUFFER_BASE, Harness

_PHYSICAL = 0x7000_0000
_ROOM = 0x2000


def _entry(
    out: bytearray, name: bytes, data: bytes, *, size: int | None = None, named: int | None = None
) -> None:
    numbers = (1, 0o100644, 0, 0, 1, 0, len(data) if size is None else size, 0, 0, 0, 0,
               len(name) + 1 if named is None else named, 0)  # fmt: skip
    out += b"070701" + b"".join(b"%08x" % number for number in numbers) + name + b"\0"
    out += bytes(-len(out) % 4)
    out += data + bytes(-len(data) % 4)


def _files(data: bytes) -> list[tuple[int, int, bytes]]:
    """Offset, size and name of each file, as the specification reads them."""
    found, at = [], 0
    while at + 110 <= len(data) and data[at : at + 6] == b"070701":
        try:
            size, named = (int(_digits(data[at + k : at + k + 8]), 16) for k in (54, 94))
        except ValueError:
            break
        begin = at + 110 + named + 3 & ~3
        if begin + size > len(data) or (named >= 8 and data[at + 110 : at + 118] == b"TRAILER!"):
            break
        if size:
            found.append((begin, size, data[at + 110 : at + 110 + named].split(b"\0")[0]))
        at = begin + size + 3 & ~3
    return found


def _digits(field: bytes) -> str:
    text = field.decode("latin-1")
    if not all(c in "0123456789abcdefABCDEF" for c in text):
        raise ValueError(text)
    return text


@contract("archive_read", "archive_number", needs=("archive_read", "bootinfo_add_module"))
def archive_files(harness: Harness) -> None:
    """Empty, whole, cut, damaged, and lying archives; bytes that are none."""
    step, noise = Step(harness, "archive_read"), random.Random(12)
    step.stand("bootinfo_add_module", "rdi", "rsi", "rdx", "rcx", answer={})
    whole = bytearray()
    for name, data in ((b"hello", b"x" * 5), (b"folder", b""), (b"a.pxvm", b"PXVM" * 9), (b"x" * 60, b"?")):
        _entry(whole, name, data)
    ended = bytearray(whole)
    _entry(ended, b"TRAILER!!!", b"")
    _entry(ended, b"behind", b"never")
    cases = [b"", b"070701", b"\x7fELF" * 40, bytes(whole), bytes(ended), bytes(whole).upper()]
    for size, named in ((0xFFFFFFFF, None), (None, 0xFFFFFFFF), (0x200, None), (None, 0x200), (None, 0)):
        lying = bytearray()
        _entry(lying, b"first", b"whole")
        _entry(lying, b"liar", b"data", size=size, named=named)
        cases.append(bytes(lying))
    for _ in range(12):
        damaged = bytearray(ended)
        damaged[noise.randrange(len(damaged))] = noise.choice(b"0F/:@G`g\xff")
        cases.append(bytes(damaged[: noise.choice((len(damaged), noise.randrange(len(damaged))))]))
    for number, data in enumerate(cases):
        place = BUFFER_BASE + _ROOM - len(data)
        harness.write(place, data + b"\xcc" * 16)
        step.run("fails", rdi=_PHYSICAL, rsi=len(data), rdx=place)
        got = [(call[1], call[2]) for call in step.asked]
        expected = [(_PHYSICAL + begin, size) for begin, size, _ in _files(data)]
        step.same(got, expected, "finds other files", case=number)
        names = [harness.read(int(call[3]), int(call[4])).split(b"\0")[0] for call in step.asked]
        step.same(names, [name for _, _, name in _files(data)], "finds other names", case=number)
