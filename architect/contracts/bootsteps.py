"""The boot's own routines, each alone: the way into the higher half, what loaders say, the units' lines.

Intel SDM vol. 3, 2.2.1 and vol. 4 (IA32_GS_BASE, 0xc0000101; WRMSR takes EDX:EAX), System V ABI AMD64, 3.2.2 (the
stack is 16-byte aligned before a call). Layouts are those of ``include/boot.inc`` and ``include/percpu.inc``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from architect.contracts import contract
from architect.contracts.steps import BUFFER, Step
from architect.contracts.units import sent
from toolchain import contract as shared
from toolchain.harness import PERCPU_PAGE, Harness
from toolchain.watch import watch

_GS_BASE = 0xC000_0101
_PAGE = 0x1000
_PERCPU = struct.Struct("<QI36xQQ")  # self, id, ..., bottom and top of the stack
_NAME_MAX = 47
_MODULES_MAX = 256  # rows of bootinfo_modules
_BLOCK, _NOTE_COUNT, _NOTES = 0xFFFF_FE12_3456_7000, 0x68, 0x70
_ROW = struct.Struct("<4Q")


@contract("percpu_init")
def percpu_alone(harness: Harness) -> None:
    """The block says where it is, whose, and which stack; GS base points at it, all 64 bits."""
    step = Step(harness, "percpu_init")
    events = watch(harness, ("percpu_init",))
    given = {"rdi": BUFFER, "rsi": 3, "rdx": 0xFFFF_8123_4567_9000, "rcx": 0xFFFF_8123_4567_D000}
    step.run("fails", **given)
    written = [(event.number, event.value) for event in events if event.kind == "wrmsr"]
    step.same(written, [(_GS_BASE, BUFFER)], "points the GS base elsewhere than at the block")
    got = _PERCPU.unpack(harness.read(BUFFER, _PERCPU.size))
    step.same(got, (BUFFER, 3, given["rdx"], given["rcx"]), "fills the block with something else")


@contract(
    "kernel_enter",
    needs=("percpu_init", "serial_init", "boot_main", "boot_stack_bottom", "boot_stack_top", "percpu_boot"),
)
def kernel_enter_alone(harness: Harness) -> None:
    """The stack is the whole of the boot stack, 16-byte aligned, its outermost frame marked; then block, line, boot."""
    step = Step(harness, "kernel_enter")
    stacks: dict[str, tuple[int, int]] = {}

    def reach(name: str) -> Mapping[str, int]:
        stacks[name] = (harness.get("rsp"), harness.get("rbp"))
        if name == "boot_main":
            harness.stop()
        return {}

    bottom, top = step.at("boot_stack_bottom"), step.at("boot_stack_top")
    for name, takes in (
        ("percpu_init", ("rdi", "esi", "rdx", "rcx")),
        ("serial_init", ()),
        ("boot_main", ()),
    ):
        step.stand(name, *takes, answer=lambda *_, name=name: reach(name))
    harness.call("kernel_enter", {}, seed=1, limit=2000)
    where = {"place": step.source("boot_stack_bottom")}
    step.expect("boot_main" in stacks, step.routine, "does not come to boot_main")
    rsp, rbp = stacks["boot_main"][0] + 8, stacks["boot_main"][1]
    step.expect(
        bottom < rsp <= top, step.routine, "puts the stack elsewhere than on the boot stack", rsp=rsp, **where
    )
    step.equal(rsp & 15, 0, step.routine, "leaves the stack off 16 bytes before a call", rsp=rsp)
    step.expect(top - rsp < 64, step.routine, "begins far below the top of the stack", rsp=rsp)
    step.equal(rbp, 0, step.routine, "does not mark the outermost frame")
    block = ("percpu_init", step.at("percpu_boot"), 0, bottom, top)
    step.were([block, ("serial_init",), ("boot_main",)], "does its steps in another way")
    step.expect(top - bottom >= 2 * _PAGE, step.routine, "has a stack of less than two pages", **where)
    step.expect(not (top | bottom) & _PAGE - 1, step.routine, "has a stack that is not whole pages", **where)


# --- what loaders say ---------------------------------------------------------------------------------------


@contract("bootinfo_reach")
def reach_alone(harness: Harness) -> None:
    """Within the first 4 GB, to its last byte; nothing at 0."""
    step = Step(harness, "bootinfo_reach")
    early = 4 << 30
    for pa, length in (
        (0x1000, 8), (1, early - 1), (early - 8, 8), (0x1000, 0), (0, 8), (early - 7, 8), (early, 1), (early + 1, 0),
        (0x1000, early), ((1 << 64) - 8, 16), (1 << 40, 8),
    ):  # fmt: skip
        right = pa != 0 and pa + length <= early
        want = {"rax": harness.direct_base + pa if right else 0}
        step.run("is wrong about what the early map reaches", cf=not right, want=want, rdi=pa, rsi=length)


@contract("bootinfo_add_module", needs=("bootinfo_modules", "bootinfo_module_count"))
def add_module_alone(harness: Harness) -> None:
    """Rows one after the other; the name is cut to its bound, to its zero, to the row."""
    step = Step(harness, "bootinfo_add_module")
    step.put(BUFFER, b"n" * 100)
    step.put(BUFFER + 0x200, b"short\0rest")
    for number, (name, bound, kept) in enumerate((
        (BUFFER, 100, _NAME_MAX), (BUFFER, 9, 9), (BUFFER + 0x200, 100, 5), (0, 100, 0), (BUFFER, 0, 0),
        (BUFFER, _NAME_MAX + 1, _NAME_MAX),
    )):  # fmt: skip
        given = {"rdi": 0x20_0000 + number, "rsi": 0x1234 + number, "rdx": name, "rcx": bound}
        step.run("fails", **given)
        row = harness.read(step.at("bootinfo_modules", number * 64), 64)
        text = harness.read(name, kept) if name else b""
        expected = struct.pack("<QQ48s", given["rdi"], given["rsi"], text)
        step.same(row, expected, "keeps something else of a module", **given)
        step.same(step.get64("bootinfo_module_count"), number + 1, "counts another number of modules")
    step.put64("bootinfo_module_count", _MODULES_MAX)
    step.run("fails", rdi=1, rsi=1, rdx=0, rcx=0)
    step.same(step.get64("bootinfo_module_count"), _MODULES_MAX, "goes on in a full table")


@contract("bootinfo_set_rsdp", needs=("bootinfo_rsdp", "bootinfo_rsdp_length"))
def set_rsdp_alone(harness: Harness) -> None:
    """A whole copy; a later version wins over an earlier one, and stays."""
    step = Step(harness, "bootinfo_set_rsdp")
    old, new = b"RSD PTR " + bytes(range(12)), b"RSD PTR " + bytes(range(100, 128))
    for data, kept in ((old, old), (new, new), (old, new)):
        step.put(BUFFER, data.ljust(64, b"\xee"))
        step.run("fails", rdi=BUFFER, rsi=len(data))
        length = step.get64("bootinfo_rsdp_length")
        step.same(length, len(kept), "keeps another length", rsi=len(data))
        step.same(
            harness.read(step.at("bootinfo_rsdp"), length), kept, "keeps another root pointer", rsi=len(data)
        )


def _tag(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, 8 + len(content)) + content


@contract("tag_read_module", needs=("bootinfo_add_module",))
def tag_module_alone(harness: Harness) -> None:
    """Start, length, and the text to the end of the tag."""
    step = Step(harness, "tag_read_module")
    step.stand("bootinfo_add_module", "rdi", "rsi", "rdx", "rcx")
    for start, end, right in ((0x20_0000, 0x20_1234, True), (0x1000, 0x1000, True), (0x2000, 0x1FFF, False)):
        step.put(BUFFER, _tag(3, struct.pack("<II", start, end) + b"text"))
        step.run("is wrong about whether a module can be", cf=not right, rdi=BUFFER, rsi=20)
        kept = [("bootinfo_add_module", start, end - start, BUFFER + 16, 4)] if right else []
        step.were(kept, "takes a module for another", start=start, end=end)
    step.put(BUFFER, _tag(3, struct.pack("<II", 0x1000, 0x2000) + b"text"))
    step.run("reads a tag that is cut short", cf=True, rdi=BUFFER, rsi=15)


@contract("tag_read_memory", needs=("bootinfo_add_memory",))
def tag_memory_alone(harness: Harness) -> None:
    """Entries by the size that the tag gives, whole ones within the tag."""
    step = Step(harness, "tag_read_memory")
    step.stand("bootinfo_add_memory", "rdi", "rsi", "edx", answer={})
    rows = ((0x1000, 0x9E000, 1), (1 << 32, 1 << 31, 2), (0x10_0000, 0x5000, 3))
    for size in (24, 40):
        body = b"".join(struct.pack("<QQI", *row).ljust(size, b"\xee") for row in rows)
        step.put(BUFFER, _tag(6, struct.pack("<II", size, 0) + body))
        for spare, count in ((0, 3), (-1, 2), (5, 3), (-2 * size, 1), (-3 * size, 0)):
            given = {"rdi": BUFFER, "rsi": 16 + len(body) + spare}
            step.run("takes a sound tag for malformed", cf=False, **given)
            kept = [("bootinfo_add_memory", *row) for row in rows[:count]]
            step.were(kept, "reads other entries", **given)
    step.put(BUFFER, _tag(6, struct.pack("<II", 23, 0) + bytes(64)))
    step.run("takes entries that are too short", cf=True, rdi=BUFFER, rsi=80)
    step.run("reads a tag that is cut short", cf=True, rdi=BUFFER, rsi=15)


@contract("tag_read_framebuffer", needs=("bootinfo_framebuffer",))
def tag_framebuffer_alone(harness: Harness) -> None:
    """Address, pitch, sizes and bits of a framebuffer of pixels."""
    step = Step(harness, "tag_read_framebuffer")
    shown = (0x12_FD00_0000, 4096, 1024, 768, 32)
    for kind, kept in ((0, False), (2, False), (1, True)):
        step.put(BUFFER, _tag(8, struct.pack("<QIIIBBBB", *shown, kind, 0, 0)))
        step.run("takes a sound tag for malformed", cf=False, rdi=BUFFER, rsi=32)
        got = struct.unpack("<QIIII", harness.read(step.at("bootinfo_framebuffer"), 24))
        step.same(got, shown if kept else (0,) * 5, "keeps another framebuffer", kind=kind)
    step.run("reads a tag that is cut short", cf=True, rdi=BUFFER, rsi=29)


@contract("tag_read_rsdp", needs=("bootinfo_set_rsdp",))
def tag_rsdp_alone(harness: Harness) -> None:
    """The content of the tag, when all of it is there."""
    step = Step(harness, "tag_read_rsdp")
    step.stand("bootinfo_set_rsdp", "rdi", "rsi", answer={})
    for size, wanted, right in (
        (28, 20, True),
        (27, 20, False),
        (44, 36, True),
        (43, 36, False),
        (60, 36, True),
    ):
        step.run("is wrong about a tag's size", cf=not right, rdi=BUFFER, rsi=size, rdx=wanted)
        kept = [("bootinfo_set_rsdp", BUFFER + 8, wanted)] if right else []
        step.were(kept, "keeps another root pointer", rsi=size, rdx=wanted)


@contract("pvh_read_modules", needs=("bootinfo_reach", "bootinfo_add_module"))
def pvh_modules_alone(harness: Harness) -> None:
    """Base, length and command line of each module."""
    step = Step(harness, "pvh_read_modules")

    def reach(pa: int, length: int) -> Mapping[str, int]:
        return {"rax": harness.direct_base + pa if pa else 0, "cf": int(not pa)}

    step.stand("bootinfo_reach", "rdi", "rsi", answer=reach)
    step.stand("bootinfo_add_module", "rdi", "rsi", "rdx", "rcx")
    rows = ((0x40_0000, 0x1234, 0x5000), (0x80_0000, 1, 0))
    harness.write(harness.direct_base + 0x2000, b"".join(struct.pack("<4Q", *row, 0) for row in rows))
    for count, place, right in ((2, 0x2000, True), (0, 0, True), (2, 0, False)):
        step.put(BUFFER, struct.pack("<4I5Q", 0x336EC578, 1, 0, count, place, 0, 0, 0, 0))
        step.run("is wrong about a list of modules", cf=not right, rbx=BUFFER)
        got = [call[1:4] for call in step.asked if call[0] == "bootinfo_add_module"]
        kept = [(b, n, harness.direct_base + t if t else 0) for b, n, t in rows] if right and count else []
        step.same(got, kept, "takes modules for others", count=count)
        bounds = [int(call[4]) for call in step.asked if call[0] == "bootinfo_add_module" and call[3]]
        promise = "reads more of a name than it made sure of"
        step.expect(all(bound <= _NAME_MAX + 1 for bound in bounds), step.routine, promise)


@contract(
    "bootinfo_note_counts",
    needs=("unit_note_dec", "bootinfo_memory_count", "bootinfo_module_count", "bootinfo_dropped"),
)
def note_counts_alone(harness: Harness) -> None:
    """Entries always, modules and what found no room where there are any."""
    step = Step(harness, "bootinfo_note_counts")
    step.stand("unit_note_dec", "rdi", "rsi")
    for memory, modules, dropped in ((3, 0, 0), (7, 2, 0), (128, 16, 5), (0, 0, 1)):
        step.put64("bootinfo_memory_count", memory)
        step.put64("bootinfo_module_count", modules)
        step.put64("bootinfo_dropped", dropped)
        step.run("fails")
        got = {_text(step, int(call[1])): call[2] for call in step.asked}
        counts = {b"memory": memory, b"modules": modules, b"dropped": dropped}
        expected = {key: value for key, value in counts.items() if value or key == b"memory"}
        step.same(got, expected, "notes something else", memory=memory, modules=modules, dropped=dropped)


def _text(step: Step, address: int) -> bytes:
    return step.read(address, 24, step.routine).split(b"\0")[0]


# --- units --------------------------------------------------------------------------------------------------


@contract("unit_line_begin", needs=("serial_line_begin", "serial_put_string", "serial_put_dec"))
def line_begin_alone(harness: Harness) -> None:
    """Prefix, name, state, and the time as one number."""
    step = Step(harness, "unit_line_begin")
    pieces: list[bytes] = []

    def string(address: int) -> Mapping[str, int]:
        pieces.append(_text(step, address))
        return {}

    step.stand("serial_line_begin", answer={})
    step.stand("serial_put_string", "rdi", answer=string)
    step.stand("serial_put_dec", "rdi", answer={})
    step.put(BUFFER, _ROW.pack(BUFFER + 0x100, 0, 0, 0))
    step.put(BUFFER + 0x100, b"paging\0 ok\0")
    step.run("fails", rdi=BUFFER, rsi=BUFFER + 0x107)
    line = shared.string("BOOT_PREFIX").encode() + b"paging ok tsc="
    step.same(b"".join(pieces), line, "says another line")
    step.same(step.asked[0], ("serial_line_begin",), "does not take the line first")
    step.same(step.asked[-1][0], "serial_put_dec", "says no time")


@contract(
    "unit_say_needs", needs=("unit_line_begin", "serial_put_string", "serial_line_end", "boot_unit_table")
)
def say_needs_alone(harness: Harness) -> None:
    """The first of the rows that are missing."""
    step = Step(harness, "unit_say_needs")
    table = step.at("boot_unit_table")
    names = [harness.read_u64(table + n * _ROW.size) for n in range(5)]
    step.stand("unit_line_begin", "rdi", "rsi", answer={})
    step.stand("serial_put_string", "rdi", answer={})
    step.stand("serial_line_end", answer={})
    for missing in (1, 2, 0b11000, 0b10100):
        step.run("fails", rdi=table + 4 * _ROW.size, rsi=missing)
        first = (missing & -missing).bit_length() - 1
        said = [int(call[1]) for call in step.asked if call[0] == "serial_put_string"]
        step.same(said[-1:], [names[first]], "names another unit", rsi=missing)
        begun = [call for call in step.asked if call[0] == "unit_line_begin"]
        step.same(
            [call[1] for call in begun],
            [table + 4 * _ROW.size],
            "begins the line of another unit",
            rsi=missing,
        )
        step.same(_text(step, int(begun[0][2])), b" skip", "says another state", rsi=missing)
        step.same(step.asked[-1][0], "serial_line_end", "does not end the line", rsi=missing)


@contract("boot_say_ready", needs=("serial_line_begin",))
def say_ready_alone(harness: Harness) -> None:
    """One line: the prefix and the time."""
    step = Step(harness, "boot_say_ready")
    line = sent(step.run("fails").ports).replace(b"\r", b"").split(b"\n")
    prefix = shared.string("READY_PREFIX").encode() + b"tsc="
    ready = [row for row in line if row.startswith(prefix) and row[len(prefix) :].isdigit()]
    whole = len(ready) == 1 and line[-1] == b""
    step.expect(whole, step.routine, "says another line", got=repr(line))


@contract("unit_note_store")
def note_store_alone(harness: Harness) -> None:
    """Records of key, value and printer one after the other; the ninth is dropped."""
    step = Step(harness, "unit_note_store")
    harness.memory(_BLOCK, _PAGE)  # GS names the block by its first quadword
    harness.write_u64(PERCPU_PAGE, _BLOCK)
    for number in range(9):
        given = {"rdi": 0x1000 + number, "rsi": 0x2000 + number, "rdx": 0x3000 + number}
        harness.write_u64(PERCPU_PAGE + _NOTE_COUNT, number)
        step.run("is wrong about whether there is room", cf=number == 8, **given)
        count = harness.read_u64(PERCPU_PAGE + _NOTE_COUNT)
        step.same(count, min(number + 1, 8), "counts other notes", **given)
        record = struct.unpack("<3Q", harness.read(_BLOCK + _NOTES + 24 * number, 24))
        right = tuple(given.values()) if number < 8 else (0, 0, 0)
        step.same(record, right, "keeps another note, or elsewhere", **given)
