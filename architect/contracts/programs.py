"""Programs of ring 3, one routine at a time: made, loaded, started, watched and given back, with stand-ins below.

System V ABI (gABI) 4.1, chapter 5. A program that could not be made leaves nothing; one that has threads stays.
"""

from __future__ import annotations

import struct

from architect.contracts import contract
from architect.contracts.model import INVALID, MALFORMED, MASK64, NO_MEMORY, NOT_FOUND, TIMEOUT
from architect.contracts.steps import BUFFER, Step
from toolchain.harness import Harness

_BUSY, _OVERLOAD = 10, 11
# kernel/include/user.inc
_NEXT, _ID, _SPACE, _ENTRY, _COUNT, _STOP, _HOME = 0x00, 0x08, 0x10, 0x18, 0x20, 0x28, 0x40
_TEXT_FIRST, _TEXT_END, _MAP_NEXT, _PAGES, _UNTIL, _NAME, _SIZE = 0x48, 0x50, 0x60, 0x68, 0x70, 0x90, 0xC8
_NAME_SIZE = 48
_EXIT, _KILLED, _TIME = 1, 2, 3
_USER_WORK = 0x378
_MAP_FIRST = 0x1000_0000_0000
_BUDGET = 30  # per cent, of a first thread
_NX, _WRITE = 1 << 63, 1 << 1
_PAGE = 0x1000
_PROGRAM, _IMAGE, _TEXT = BUFFER + 0x1000, BUFFER + 0x3000, BUFFER + 0x4000
_HEADER, _SEGMENT = 64, 56
_LOAD, _NOTE = 1, 4
_SEGMENT_FIELDS = struct.Struct("<II6Q")  # type, rights, place, address, physical, file, memory, alignment


@contract("program_create", needs=("program_first", "heap_alloc_zeroed", "space_create", "heap_free"))
def made_programs(harness: Harness) -> None:
    """Its own space, no end of its time, a new number, a name that fits; in the list, or nowhere."""
    step = Step(harness, "program_create")
    step.stand("space_create", answer={"rax": 0x77, "cf": 0})
    step.stand("heap_free", "rdi", answer={"rax": 0x4E, "cf": 0})
    step.stand("heap_alloc_zeroed", "rdi", answer={})
    percpu, last = harness.get("gs_base"), None
    home = harness.read_u32(percpu + 8)
    for length in (0, 1, 46, 47, 48, 90):
        harness.write(_PROGRAM, bytes(0x200))
        step.stand_says("heap_alloc_zeroed", {"rax": _PROGRAM, "cf": 0})
        step.put64("program_first", 0x1234)
        name = bytes(0x61 + n % 26 for n in range(length))
        step.put(_TEXT, name + b"\0\xff")
        step.run("does not make a program", cf=0, want={"rax": _PROGRAM}, rdi=_TEXT, r8=length)
        got = [
            harness.read_u64(_PROGRAM + at) for at in (_NEXT, _SPACE, _MAP_NEXT, _UNTIL, _HOME, _COUNT, _STOP)
        ]
        step.same(
            got, [0x1234, 0x77, _MAP_FIRST, MASK64, home, 0, 0], "fills in something else", length=length
        )
        step.same(step.get64("program_first"), _PROGRAM, "leaves it out of the list")
        kept = name[: _NAME_SIZE - 1].ljust(_NAME_SIZE, b"\0")
        step.same(
            step.read(_PROGRAM + _NAME, _NAME_SIZE, step.routine), kept, "gives another name", length=length
        )
        step.same(harness.read(_PROGRAM + _NAME + _NAME_SIZE, 0x40), bytes(0x40), "writes behind the name")
        number = harness.read_u64(_PROGRAM + _ID)
        step.expect(last is None or number == last + 1, step.routine, "gives a number twice", length=length)
        last = number
        step.same(("heap_alloc_zeroed", _SIZE) in step.asked, True, "takes memory of another size")
    for routine, freed in (("heap_alloc_zeroed", []), ("space_create", [("heap_free", _PROGRAM)])):
        step.put64("program_first", 0x1234)
        step.stand_says("heap_alloc_zeroed", {"rax": _PROGRAM, "cf": 0})
        step.stand_says("space_create", {"rax": 0x77, "cf": 0})
        step.stand_fails(routine, NO_MEMORY)
        step.run("hides that there is no memory", cf=1, want={"rax": NO_MEMORY}, rdi=_TEXT)
        step.same(
            [call for call in step.asked if call[0] == "heap_free"], freed, "keeps or frees the wrong memory"
        )
        step.same(step.get64("program_first"), 0x1234, "lists a program that there is not")


@contract("program_free", needs=("program_first", "space_destroy", "heap_free"))
def freed_programs(harness: Harness) -> None:
    """Out of the list wherever it stands; not while it has threads, its space is loaded, or it is none."""
    step = Step(harness, "program_free")
    step.stand("space_destroy", "rdi", answer={"rax": 0, "cf": 0})
    step.stand("heap_free", "rdi", answer={"rax": 0, "cf": 0})
    places = [_PROGRAM + n * 0x200 for n in range(3)]

    def listed() -> list[int]:
        found: list[int] = []
        at = step.get64("program_first")
        while at and len(found) < 9:
            found.append(at)
            at = int.from_bytes(step.read(at + _NEXT, 8, step.routine), "little")
        return found

    def fill() -> None:
        for n, at in enumerate(places):
            harness.write(at, bytes(_SIZE))
            harness.write_u64(at + _NEXT, places[n + 1] if n < 2 else 0)
            harness.write_u64(at + _SPACE, 0x70 + n)
        step.put64("program_first", places[0])

    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)):
        fill()
        left = list(places)
        for which in order:
            step.run("refuses a program whose threads are gone", cf=0, rdi=places[which])
            step.were([("space_destroy", 0x70 + which), ("heap_free", places[which])], "frees something else")
            left.remove(places[which])
            step.same(listed(), left, "leaves another list", freed=places[which])
    fill()
    harness.write_u64(places[1] + _COUNT, 1)
    step.run("frees a program that has threads", cf=1, want={"rax": _BUSY}, rdi=places[1])
    step.were([], "touches a program that has threads")
    step.run("frees what is no program", cf=1, want={"rax": NOT_FOUND}, rdi=_TEXT)
    step.were([], "touches what is no program")
    step.stand_fails("space_destroy", _BUSY)
    step.run("frees a program whose space is loaded", cf=1, want={"rax": _BUSY}, rdi=places[0])
    step.were([("space_destroy", 0x70)], "frees the record of a program whose space is loaded")
    step.same(listed(), places, "takes a program from the list that stays")


@contract("program_start", needs=("user_thread_create", "sched_measure"))
def started_programs(harness: Harness) -> None:
    """The first thread: at the entry, with the argument, on the program's CPU, times left to the kernel."""
    step = Step(harness, "program_start")
    seen: list[tuple[int, ...]] = []

    def create(program: int, request: int) -> dict[str, int]:
        seen.append((program, *struct.unpack("<6Q", step.read(request, 48, step.routine))))
        return answer

    step.stand("sched_measure", answer={"rax": 0, "cf": 0})
    step.stand("user_thread_create", "rdi", "rsi", answer=create)
    harness.write_u64(_PROGRAM + _ENTRY, 0x80_0040_1000)
    harness.write_u64(_PROGRAM + _HOME, 3)
    for argument, answer in (
        (7, {"rax": 5, "rdx": 0, "cf": 0}), (MASK64, {"rax": _OVERLOAD, "rdx": 1_200_000, "cf": 1}),
    ):  # fmt: skip
        seen.clear()
        step.run("changes the answer", cf=answer["cf"], want={"rax": answer["rax"], "rdx": answer["rdx"]},
                 rdi=_PROGRAM, rsi=argument)  # fmt: skip
        step.same(seen, [(_PROGRAM, 0x80_0040_1000, argument, 0, _BUDGET, 0, 3)], "asks for another thread")
    seen.clear()
    step.stand_fails("sched_measure", TIMEOUT)
    step.run("goes on without a timer", cf=1, want={"rax": TIMEOUT}, rdi=_PROGRAM)
    step.same(seen, [], "makes a thread on a CPU without a timer")


@contract("program_load", needs=("elf_check", "space_switch", "program_load_segment"))
def loaded_programs(harness: Harness) -> None:
    """What was checked is loaded, each segment in its order, in its space; the kernel's own is loaded again behind."""
    step = Step(harness, "program_load")
    step.stand("elf_check", "rdi", "rsi", answer={"rax": 0, "rdx": 21, "cf": 0})
    step.stand("space_switch", "rdi", answer={"rax": 0, "cf": 0})
    step.stand("program_load_segment", "rdi", "rsi", "rdx", answer={"rax": 0, "cf": 0})
    types, place = (_LOAD, _NOTE, _LOAD, _LOAD), 0x50
    header = bytearray(_HEADER)
    struct.pack_into("<QQ", header, 0x18, 0x80_0040_0078, place)
    struct.pack_into("<H", header, 0x38, len(types))
    step.put(_IMAGE, bytes(header))
    for n, kind in enumerate(types):
        step.put(_IMAGE + place + n * _SEGMENT, struct.pack("<I", kind))
    harness.write_u64(_PROGRAM + _SPACE, 0x77)
    loads = [_IMAGE + place + n * _SEGMENT for n, kind in enumerate(types) if kind == _LOAD]
    calls = [("program_load_segment", _PROGRAM, at, _IMAGE) for at in loads]
    checked, there, back = ("elf_check", _IMAGE, 0x999), ("space_switch", 0x77), ("space_switch", 0)
    given = {"rdi": _PROGRAM, "rsi": _IMAGE, "rdx": 0x999}
    step.run("refuses what was checked", cf=0, want={"rax": 0, "rdx": 0}, **given)
    step.were([checked, there, *calls, back], "loads something else", **given)
    got = (harness.read_u64(_PROGRAM + _ENTRY), harness.read_u64(_PROGRAM + _PAGES))
    step.same(got, (0x80_0040_0078, 21), "keeps another entry, or counts other pages")
    step.stand_says(
        "program_load_segment",
        lambda _program, at, _image: {"rax": NO_MEMORY if at == loads[1] else 0, "cf": int(at == loads[1])},
    )
    step.run("hides that a segment was not loaded", cf=1, want={"rax": NO_MEMORY, "rdx": 0}, **given)
    step.were([checked, there, *calls[:2], back], "goes on behind a segment that was not loaded", **given)
    step.stand_says("elf_check", {"rax": 17, "rdx": 0x5555, "cf": 1})
    step.run("gives another reason", cf=1, want={"rax": MALFORMED, "rdx": 17}, **given)
    step.were([checked], "touches an image that was refused", **given)


@contract("program_load_segment", needs=("space_alloc", "copy_to_user", "space_protect", "user_rights"))
def loaded_segments(harness: Harness) -> None:
    """Whole pages, writable while they are filled, then with their rights; where text lies is kept."""
    step = Step(harness, "program_load_segment")
    for routine, takes in (
        ("space_alloc", ("rdi", "rsi", "rcx", "r8")), ("copy_to_user", ("rdi", "rsi", "rdx")),
        ("space_protect", ("rdi", "rsi", "rcx", "r8")),
    ):  # fmt: skip
        step.stand(routine, *takes, answer={"rax": 0, "cf": 0})
    base = 0x80_0040_0000
    for rights, flags, address, file, memory, first, pages in (
        (4, _NX, base, 0x10, 0x10, base, 1), (6, _NX | _WRITE, base + 0x1FF8, 8, 9, base + _PAGE, 2),
        (5, 0, base + 0x2010, 0xFF0, 0xFF0, base + 2 * _PAGE, 1), (5, 0, base, 1, _PAGE, base, 1),
        (6, _NX | _WRITE, base + 1, 0, 5 * _PAGE, base, 6),
    ):  # fmt: skip
        harness.write(_PROGRAM, bytes(_SIZE))
        harness.write_u64(_PROGRAM + _SPACE, 0x77)
        step.put(_TEXT, _SEGMENT_FIELDS.pack(_LOAD, rights, 0x40, address, 0, file, memory, _PAGE))
        given = {"rdi": _PROGRAM, "rsi": _TEXT, "rdx": _IMAGE}
        calls = [
            ("space_alloc", 0x77, first, pages * _PAGE, _NX | _WRITE), ("copy_to_user", address, _IMAGE + 0x40, file),
            ("space_protect", 0x77, first, pages * _PAGE, flags),
        ]  # fmt: skip
        step.run("refuses a segment", cf=0, **given)
        step.were(calls, "maps, fills or protects something else", **given)
        text = (harness.read_u64(_PROGRAM + _TEXT_FIRST), harness.read_u64(_PROGRAM + _TEXT_END))
        step.same(
            text, (address, address + memory) if rights & 1 else (0, 0), "takes other addresses for text"
        )
        for count, routine in enumerate(("space_alloc", "copy_to_user", "space_protect"), 1):
            step.stand_fails(routine, NO_MEMORY)
            step.run("hides that a segment was not loaded", cf=1, want={"rax": NO_MEMORY}, **given)
            step.were(calls[:count], f"goes on behind {routine}, which failed", **given)
            step.stand_says(routine, {"rax": 0, "cf": 0})
    harness.write_u64(_PROGRAM + _TEXT_FIRST, base)
    step.put(_TEXT, _SEGMENT_FIELDS.pack(_LOAD, 5, 0x40, base + 8 * _PAGE, 0, 1, 1, _PAGE))
    step.run("refuses a segment", cf=0, rdi=_PROGRAM, rsi=_TEXT, rdx=_IMAGE)
    text = (harness.read_u64(_PROGRAM + _TEXT_FIRST), harness.read_u64(_PROGRAM + _TEXT_END))
    step.same(text, (base, base + 8 * _PAGE + 1), "forgets the text before")


@contract("program_wait", "program_stop", needs=("user_attend", "serial_get_char", "clock_ns"))
def watched_programs(harness: Harness) -> None:
    """Until its threads are gone; Escape, Ctrl-C and the end of its time end it, nothing else, and only once."""
    step = Step(harness, "program_wait")
    percpu = harness.get("gs_base")
    rounds = [0]

    def attend() -> dict[str, int]:
        rounds[0] += 1
        harness.write_u64(percpu + _USER_WORK, 1)  # so that nobody halts
        if rounds[0] == 4:
            harness.write_u64(_PROGRAM + _COUNT, 0)
        return {}

    step.stand("user_attend", answer=attend)
    step.stand("serial_get_char", answer={})
    step.stand("clock_ns", answer={"rax": 1000})
    for key, until, stop, want in (
        (None, MASK64, 0, 0), (27, MASK64, 0, _KILLED), (3, MASK64, 0, _KILLED), (65, MASK64, 0, 0),
        (None, 1001, 0, 0), (None, 1000, 0, _TIME), (None, 0, 0, _TIME), (27, MASK64, _EXIT, _EXIT),
        (None, 5, _KILLED, _KILLED),
    ):  # fmt: skip
        rounds[0] = 0
        harness.write_u64(_PROGRAM + _COUNT, 2)
        harness.write_u64(_PROGRAM + _UNTIL, until)
        harness.write_u64(_PROGRAM + _STOP, stop)
        step.stand_says("serial_get_char", {"cf": 1} if key is None else {"rax": key, "cf": 0})
        step.run("fails", rdi=_PROGRAM, r8=until)
        step.same(rounds[0], 4, "does not wait until its threads are gone", r8=until)
        got = harness.read_u64(_PROGRAM + _STOP)
        step.same(got, want, "ends a program for another reason", key=key or 0, until=until, stop=stop)
    for stop in (0, _EXIT, _KILLED, _TIME, INVALID << 40):
        harness.write_u64(_PROGRAM + _STOP, stop)
        step.call("program_stop", rbx=_PROGRAM, rcx=_KILLED)
        got = harness.read_u64(_PROGRAM + _STOP)
        step.equal(got, stop or _KILLED, "program_stop", "changes why a program ends", stop=stop)
