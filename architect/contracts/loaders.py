"""What the loaders hand over: Multiboot2 information and PVH start information, sound and hostile.

Multiboot2 Specification 2.0, 3.6 (tags on 8 bytes, each with its size, ended by type 0); Xen ``docs/misc/pvh.pandoc``
and ``arch-x86/hvm/start_info.h``. Everything is placed against the end of memory, so that a reader that goes beyond
what a length allows is found out.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from architect.contracts import contract
from architect.contracts.model import Session
from architect.contracts.units import said
from toolchain.harness import BUFFER_BASE, Harness

_MEMORY = struct.Struct("<QQI4x")
_MEMORY_ROW = struct.Struct("<QQQ")
_MODULE_ROW = struct.Struct("<QQ48s")
_ROWS_MAX, _MODULES_MAX, _NAME_MAX, _CMDLINE_MAX = 128, 256, 47, 1023
_PVH_MAGIC = 0x336EC578
_PVH, _MULTIBOOT2 = 2, 1
_OK, _FAIL = 0, 2
_RSDP_1 = b"RSD PTR " + bytes(range(8, 20))
_RSDP_2 = b"RSD PTR " + bytes(range(8, 15)) + b"\2" + bytes(range(16, 36))

_MAP = ((0, 0x9FC00, 1), (0x100000, 0x7EE0000, 1), (0xFFFC0000, 0x40000, 2), (0x1_0000_0000, 0x8000_0000, 1))


def _tag(kind: int, content: bytes, *, size: int | None = None) -> bytes:
    data = struct.pack("<II", kind, 8 + len(content) if size is None else size) + content
    return data + bytes(-len(data) % 8)


def _memory_tag(rows: Sequence[tuple[int, int, int]], *, entry: int = 24, size: int | None = None) -> bytes:
    body = b"".join(_MEMORY.pack(*row).ljust(entry, b"\xee") for row in rows)
    return _tag(6, struct.pack("<II", entry, 0) + body, size=size)


def _module_tag(start: int, end: int, name: bytes) -> bytes:
    return _tag(3, struct.pack("<II", start, end) + name + b"\0")


def _framebuffer_tag(kind: int = 1) -> bytes:
    return _tag(8, struct.pack("<QIIIBBBB", 0xFD00_0000, 4096, 1024, 768, 32, kind, 0, 0))


_END = _tag(0, b"")


class _Handover(Session):
    """A kernel that has read nothing yet."""

    def fresh(self) -> None:
        """As after the boot code."""
        self.harness.reset()

    def place(self, data: bytes) -> int:
        """Put data so that it ends where memory ends; its physical address."""
        address = self.harness.ram - len(data)
        self.harness.write(self.harness.direct_base + address, data)
        return address

    def multiboot2(self, *tags: bytes, wrong: int | None = None) -> bool:
        """Read an information made of tags; whether it was taken for malformed, and then at the tag ``wrong``."""
        self.fresh()
        body = b"".join(tags)
        data = struct.pack("<II", 8 + len(body), 0) + body
        result = self.call("multiboot2_read", rdi=self.place(data))
        if wrong is not None and result.flag("cf"):
            at = 8 + sum(map(len, tags[:wrong]))
            promise = "names another place than the malformed tag's"
            self.equal(result.registers["rax"], at, "multiboot2_read", promise)
        return result.flag("cf")

    def number(self, name: str) -> int:
        """A quadword of the kernel."""
        return self.harness.read_u64(self.harness.address(name))

    def memory(self, routine: str) -> list[tuple[int, ...]]:
        """The rows that were kept."""
        count = self.number("bootinfo_memory_count")
        self.expect(count <= _ROWS_MAX, routine, "keeps more entries than it has rows for", got=count)
        data = self.harness.read(self.harness.address("bootinfo_memory_map"), count * _MEMORY_ROW.size)
        return list(_MEMORY_ROW.iter_unpack(data))

    def modules(self, routine: str) -> list[tuple[int, int, bytes]]:
        """The modules that were kept."""
        count = self.number("bootinfo_module_count")
        self.expect(count <= _MODULES_MAX, routine, "keeps more modules than it has rows for", got=count)
        data = self.harness.read(self.harness.address("bootinfo_modules"), count * _MODULE_ROW.size)
        return [(base, length, name.split(b"\0")[0]) for base, length, name in _MODULE_ROW.iter_unpack(data)]

    def cmdline(self) -> bytes:
        """The command line up to its zero."""
        text = self.harness.read(self.harness.address("bootinfo_cmdline"), _CMDLINE_MAX + 1)
        self.expect(b"\0" in text, "cmdline_append", "leaves the command line without an end")
        return text.split(b"\0")[0]

    def rsdp(self) -> bytes:
        """The copy of the root pointer."""
        result = self.call("bootinfo_find_rsdp")
        if result.flag("cf"):
            return b""
        return self.read(result.registers["rax"], min(result.registers["rdx"], 64), "bootinfo_find_rsdp")


@contract(
    "multiboot2_read", "tag_read_cmdline", "tag_read_module", "tag_read_memory", "tag_read_framebuffer",
    "tag_read_rsdp_1", "tag_read_rsdp_2", "tag_read_rsdp", "bootinfo_add_module", "bootinfo_set_rsdp",
    "bootinfo_find_rsdp", "bootinfo_reach",
    needs=("bootinfo_memory_map", "bootinfo_modules", "bootinfo_cmdline", "bootinfo_framebuffer", "bootinfo_find_rsdp"),
)  # fmt: skip
def multiboot2(harness: Harness) -> None:
    """A whole information, then one in which each piece in turn is wrong."""
    here = _Handover(harness)
    modules = [(0x200000, 0x201234, b"initrd x=1"), (0x300000, 0x300000, b"n" * 90)]
    tags = [
        _tag(1, b"test exit\0"), _tag(2, b"GRUB\0"), _memory_tag(_MAP), *(_module_tag(*m) for m in modules),
        _tag(14, _RSDP_1), _framebuffer_tag(), _tag(15, _RSDP_2), _tag(99, b"unknown"), _END,
    ]  # fmt: skip
    here.expect(not here.multiboot2(*tags), "multiboot2_read", "takes a sound information for malformed")
    here.expect(here.memory("tag_read_memory") == list(_MAP), "tag_read_memory", "keeps another memory map")
    kept = [(start, end - start, name[:_NAME_MAX]) for start, end, name in modules]
    here.expect(here.modules("tag_read_module") == kept, "tag_read_module", "keeps other modules")
    here.equal(here.cmdline(), b"test exit", "tag_read_cmdline", "keeps another command line")
    here.equal(here.rsdp(), _RSDP_2, "tag_read_rsdp", "keeps another root pointer")
    framebuffer = harness.read(harness.address("bootinfo_framebuffer"), 24)
    shown = struct.pack("<QIIII", 0xFD00_0000, 4096, 1024, 768, 32)
    here.equal(framebuffer, shown, "tag_read_framebuffer", "keeps another framebuffer")
    here.multiboot2(_tag(15, _RSDP_2), _tag(14, _RSDP_1), _END)
    here.equal(
        here.rsdp(), _RSDP_2, "bootinfo_set_rsdp", "lets the root pointer of ACPI 1.0 win over a later one"
    )
    here.multiboot2(_tag(14, _RSDP_1), _END)
    here.equal(here.rsdp(), _RSDP_1, "tag_read_rsdp", "keeps another root pointer")
    here.multiboot2(_memory_tag(_MAP, entry=40), _framebuffer_tag(2), _END)
    promise = "does not step by the entry size that the tag gives"
    here.expect(here.memory("tag_read_memory") == list(_MAP), "tag_read_memory", promise)
    framebuffer = harness.read(harness.address("bootinfo_framebuffer"), 8)
    here.equal(framebuffer, bytes(8), "tag_read_framebuffer", "takes a text mode for pixels")
    here.multiboot2(*(_module_tag(n << 12, n << 12 | 1, b"") for n in range(1, 280)), _END)
    here.equal(len(here.modules("bootinfo_add_module")), _MODULES_MAX, "bootinfo_add_module", "loses modules")
    good = _memory_tag(_MAP[:2])
    for promise, wrong in (
        ("accepts a tag shorter than its head", (good, _tag(1, b"", size=7), _END)),
        ("accepts a tag of size 0", (good, _tag(1, b"", size=0), _END)),
        ("accepts a tag that ends behind the information", (good, _tag(1, b"x\0", size=64))),
        ("accepts an information without an end", (good,)),
        ("accepts a memory map without a head", (good, _tag(6, bytes(4)), _END)),
        ("accepts entries that are too short", (good, _memory_tag((), entry=23), _END)),
        ("accepts entries of size 0", (good, _memory_tag(_MAP, entry=0), _END)),
        ("accepts a module that ends before it begins", (good, _module_tag(0x2000, 0x1000, b"m"), _END)),
        ("accepts a module tag that is cut short", (good, _tag(3, bytes(4)), _END)),
        ("accepts a root pointer that is cut short", (good, _tag(15, _RSDP_2[:30]), _END)),
        ("accepts a framebuffer that is cut short", (good, _tag(8, bytes(20)), _END)),
    ):
        here.expect(here.multiboot2(*wrong, wrong=1), "multiboot2_read", promise)
        promise = "loses what came before the malformed piece, or keeps what is malformed"
        here.expect(here.memory("multiboot2_read") == list(_MAP[:2]), "multiboot2_read", promise)
    beyond = _memory_tag(_MAP, size=16 + 50 * 24)
    here.expect(
        here.multiboot2(beyond, _END), "multiboot2_read", "accepts a tag that ends behind the information"
    )
    for pa in (0, 1 << 32, (1 << 32) - 8, (1 << 64) - 8):
        here.fresh()
        result = here.call("multiboot2_read", rdi=pa)
        here.expect(result.flag("cf"), "bootinfo_reach", "reaches for what no early map holds", rdi=pa)


@contract(
    "pvh_read", "pvh_read_cmdline", "pvh_read_rsdp", "pvh_read_memory", "pvh_read_modules",
    needs=("bootinfo_memory_map", "bootinfo_modules", "bootinfo_cmdline", "bootinfo_find_rsdp"),
)  # fmt: skip
def pvh(harness: Harness) -> None:
    """A whole start information, one of version 0, and pointers that lead nowhere."""
    here = _Handover(harness)
    text, name = b"test alpha", b"module of xen"
    places = {"cmdline": 0x80000, "rsdp": 0x80100, "memory": 0x80200, "modules": 0x80400, "name": 0x80500}

    def given(*, version: int = 1, **changes: int) -> bool:
        at = {**places, "count": len(_MAP), "module_count": 3, **changes}
        here.fresh()
        rows = b"".join(_MEMORY.pack(*row) for row in _MAP)
        for key, data in (
            ("cmdline", text + b"\0"), ("rsdp", _RSDP_2), ("memory", rows), ("name", name + b"\0"),
            ("modules", b"".join(struct.pack("<4Q", 0x40_0000 * n, 0x1234 + n, places["name"], 0) for n in (1, 2, 3))),
        ):  # fmt: skip
            harness.write(harness.direct_base + places[key], data)
        information = struct.pack(
            "<4I4QI4x", _PVH_MAGIC, version, 0, at["module_count"], at["modules"], at["cmdline"], at["rsdp"],
            at["memory"], at["count"],
        )  # fmt: skip
        return here.call("pvh_read", rdi=here.place(information)).flag("cf")

    here.expect(not given(), "pvh_read", "takes a sound information for malformed")
    here.expect(here.memory("pvh_read_memory") == list(_MAP), "pvh_read_memory", "keeps another memory map")
    kept = here.modules("pvh_read_modules")
    modules = [(0x40_0000 * n, 0x1234 + n, name) for n in (1, 2, 3)]
    here.expect(kept == modules, "pvh_read_modules", "keeps other modules")
    here.equal(here.cmdline(), text, "pvh_read_cmdline", "keeps another command line")
    here.equal(here.rsdp(), _RSDP_2, "pvh_read_rsdp", "keeps another root pointer")
    given(version=0)
    promise = "reads a memory map that version 0 does not have"
    here.expect(not here.memory("pvh_read_memory"), "pvh_read_memory", promise)
    given(modules=0, module_count=0, cmdline=0, rsdp=0)
    nothing = not here.modules("pvh_read_modules") and not here.cmdline() and not here.rsdp()
    here.expect(nothing, "pvh_read", "reads what there is not")
    here.expect(here.memory("pvh_read_memory") == list(_MAP), "pvh_read_memory", "keeps another memory map")
    for promise, changes in (
        ("reads a memory map that is out of reach", {"memory": (1 << 32) - 8}),
        ("reads modules that are out of reach", {"modules": 1 << 40}),
        ("reads a memory map that there is not", {"memory": 0}),
    ):
        here.expect(given(**changes), "pvh_read", promise)
        here.equal(here.cmdline(), text, "pvh_read", "loses what is sound")


@contract("bootinfo_add_memory", needs=("bootinfo_memory_map", "bootinfo_memory_count"))
def memory_entries(harness: Harness) -> None:
    """Entries are appended in order; empty ones are left out; the table does not run over."""
    here = _Handover(harness)
    rows = [(n << 20, 0x1000 * (n % 5), 1 + n % 5) for n in range(200)]
    behind = harness.read(harness.address("bootinfo_memory_map") + _ROWS_MAX * _MEMORY_ROW.size, 64)
    for row in rows:
        here.call("bootinfo_add_memory", rdi=row[0], rsi=row[1], rdx=row[2])
    kept = [row for row in rows if row[1]][:_ROWS_MAX]
    here.expect(here.memory("bootinfo_add_memory") == kept, "bootinfo_add_memory", "keeps other entries")
    after = harness.read(harness.address("bootinfo_memory_map") + _ROWS_MAX * _MEMORY_ROW.size, 64)
    here.equal(after, behind, "bootinfo_add_memory", "writes beyond its table")
    here.fresh()
    here.call("bootinfo_add_memory", rdi=(1 << 64) - 0x2000, rsi=0x5000, rdx=1)
    wrapped = here.memory("bootinfo_add_memory")
    sane = all(base + length <= 1 << 64 for base, length, _ in wrapped)
    here.expect(sane, "bootinfo_add_memory", "keeps an entry that goes round the end of the address space")


@contract(
    "bootinfo_init",
    "bootinfo_note_counts",
    needs=("boot_handover_protocol", "boot_handover_info", "multiboot2_read", "pvh_read"),
)
def handover(harness: Harness) -> None:
    """The unit reads what the protocol says; without any memory map it fails."""
    here = _Handover(harness)
    for protocol, data in (
        (_MULTIBOOT2, struct.pack("<II", 24 + len(_memory_tag(_MAP)) - 8, 0) + _memory_tag(_MAP) + _END),
        (_PVH, struct.pack("<4I4QI4x", _PVH_MAGIC, 1, 0, 0, 0, 0, 0, 0x80200, len(_MAP))),
        (_MULTIBOOT2, struct.pack("<II", 16, 0) + _END),
    ):
        here.fresh()
        harness.write(harness.direct_base + 0x80200, b"".join(_MEMORY.pack(*row) for row in _MAP))
        if protocol == _MULTIBOOT2:
            data = struct.pack("<II", len(data), 0) + data[8:]
        where = here.place(data)
        harness.write(harness.address("boot_handover_protocol"), protocol.to_bytes(4, "little"))
        harness.write(harness.address("boot_handover_info"), where.to_bytes(4, "little"))
        result = here.call("bootinfo_init", rdi=BUFFER_BASE).registers["rax"]
        rows = here.memory("bootinfo_init")
        expected = list(_MAP) if len(data) > 16 else []
        here.expect(rows == expected, "bootinfo_init", "keeps another memory map", protocol=protocol)
        promise = "is wrong about whether there is a memory map"
        here.equal(result, _OK if rows else _FAIL, "bootinfo_init", promise, protocol=protocol)
        notes = said(here, "bootinfo_init")
        loader = "pvh" if protocol == _PVH else "multiboot2"
        right = (
            notes.get("loader") == loader
            and notes.get("memory") == str(len(rows))
            and "malformed" not in notes
        )
        here.expect(right, "bootinfo_note_counts", "notes something else", got=repr(notes))
