"""For which boots a machine is kept, and what it is told of a kernel; the machines themselves are in ``tests/boot``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from toolchain import accel, elf_read, rewind
from toolchain.errors import ToolError
from toolchain.rewind import Rewinder
from toolchain.types import BootConfig


class Base:
    """Notes what it is asked for."""

    made: list[Base]

    def __init__(self, config: BootConfig, image: Any, key: Any, parent: Path | None) -> None:
        self.key, self.turns, self.lives = key, 0, True
        self.closed = False
        self.made.append(self)

    def turn(self, config: BootConfig, image: Any, folder: Path) -> str:
        self.turns += 1
        if not self.lives:
            raise ToolError("it has gone", stage="test")
        return f"turn {self.turns}"

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def bases(monkeypatch: pytest.MonkeyPatch) -> list[Base]:
    Base.made = []
    monkeypatch.setattr(rewind, "_Base", Base)
    return Base.made


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    path = tmp_path / "kernel.elf"
    path.write_bytes(accel.pvh_elf(b"\xf4" * 64))
    return path


def asked(rewinder: Rewinder, kernel: Path, **more: Any) -> Any:
    return rewinder.machine(BootConfig(kernel, **more), kernel.parent)


def test_a_machine_is_made_for_the_second_of_two_alike(bases: list[Base], kernel: Path) -> None:
    with Rewinder() as rewinder:
        assert [asked(rewinder, kernel) for _ in range(4)] == [None, "turn 1", "turn 2", "turn 3"]
        assert asked(rewinder, kernel, cmdline="test") is None
        assert asked(rewinder, kernel) == "turn 4", "one of another kind does not end it"
        assert [asked(rewinder, kernel, cmdline="test") for _ in range(2)] == [None, "turn 1"]
    assert [base.closed for base in bases] == [True, True]


def test_other_code_of_the_same_size_shares_it(bases: list[Base], kernel: Path) -> None:
    other, longer, entered = (kernel.with_name(name) for name in ("other.elf", "longer.elf", "entered.elf"))
    other.write_bytes(accel.pvh_elf(b"\x90" * 64))
    longer.write_bytes(accel.pvh_elf(b"\xf4" * 65))
    entered.write_bytes(kernel.read_bytes().replace(b"Xen\0\0\0\x10", b"Xen\0\2\0\x10"))
    with Rewinder() as rewinder:
        assert [asked(rewinder, path) for path in (kernel, other, kernel)] == [None, "turn 1", "turn 2"]
        assert [asked(rewinder, path) for path in (longer, entered, other)] == [None, None, "turn 3"]


@pytest.mark.parametrize(("turns", "again"), [(1, False), (2, True)])
def test_another_is_made_where_the_last_was_of_use(
    bases: list[Base], kernel: Path, turns: int, again: bool
) -> None:
    """A kernel that ends QEMU would have one made for every boot."""
    with Rewinder() as rewinder:
        for _ in range(1 + turns):
            asked(rewinder, kernel)
        bases[0].lives = False
        assert (asked(rewinder, kernel) is not None) == again
        assert len(bases) == (2 if again else 1)


def test_what_has_more_than_memory_and_one_processor_is_booted_by_itself(
    bases: list[Base], kernel: Path
) -> None:
    damaged = kernel.with_name("damaged.elf")
    damaged.write_bytes(kernel.read_bytes()[:90])
    high = kernel.with_name("high.elf")
    high.write_bytes(kernel.read_bytes().replace(b"\0\0\x10\0\0\0\0\0" * 2, b"\0\0\x10\0\1\0\0\0" * 2))
    assert elf_read.read(high).segments[0].physical > 1 << 32
    other: list[dict[str, Any]] = [
        {"smp": 2}, {"path": "iso"}, {"accel": "kvm"}, {"memory": "4G"}, {"modules": kernel}, {"extra_args": ("-s",)},
    ]  # fmt: skip
    with Rewinder() as rewinder:
        for more in other:
            assert [asked(rewinder, kernel, **more) for _ in range(3)] == [None] * 3
        for path in (damaged, high, kernel.with_name("missing.elf")):
            assert [asked(rewinder, path) for _ in range(3)] == [None] * 3
    assert bases == []


def test_the_machine_is_made_without_the_kernels_code(kernel: Path) -> None:
    image = rewind._Image(kernel)
    assert [data for _, data in image.segments] == [b"\xf4" * 64]
    assert b"\xf4" not in image.blank and b"Xen\0" in image.blank
    blank = elf_read.parse(image.blank, "blank")
    assert [(s.physical, s.memory_size) for s in blank.segments] == [(1 << 20, 64)]
