"""Configurations that cannot be booted give one clear line; the others become QEMU's arguments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from toolchain import accel, qemu_args
from toolchain.errors import InputError, ToolError
from toolchain.types import BootConfig


@pytest.fixture
def config(tmp_path: Path) -> BootConfig:
    image = tmp_path / "a, b.elf"
    image.write_bytes(accel.empty_kernel())
    return BootConfig(image)


@pytest.mark.parametrize(
    ("text", "size"),
    [("64M", 64 << 20), ("8G", 8 << 30), ("128", 128 << 20), ("131072k", 128 << 20), ("1T", 1 << 40)],
)
def test_sizes(text: str, size: int) -> None:
    assert qemu_args.memory_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "lots", "12X", "-1", "0", "1M", "99T", "1.5G", "1G,slots=2", "9" * 30, "６４M"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InputError, match="--memory"):
        qemu_args.memory_bytes(text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"smp": 0}, "--smp"),
        ({"smp": 1000}, "--smp"),
        ({"timeout": 0.0}, "--timeout"),
        ({"timeout": float("nan")}, "--timeout"),
        ({"timeout": float("inf")}, "--timeout"),
        ({"cpu": "max,foo=1 -monitor stdio"}, "--cpu"),
        ({"cpu": ""}, "--cpu"),
        ({"machine": "isapc"}, "--machine"),
        ({"display": "gtk"}, "--display"),
        ({"accel": "hvf"}, "--accel"),
        ({"cmdline": "a\nb"}, "--cmdline"),
        ({"cmdline": "a\0b"}, "--cmdline"),
        ({"cmdline": "x" * 5000}, "--cmdline"),
        ({"firmware": "uefi"}, "--iso"),
        ({"accel": "kvm", "icount": True}, "--icount"),
        ({"image": Path("/nowhere/kernel.elf")}, "No such file"),
        ({"image": Path("/")}, "directory"),
    ],
)
def test_bad_configurations(config: BootConfig, change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        qemu_args.check(replace(config, **change))
    assert "\n" not in error.value.message


def test_images_that_are_none(config: BootConfig, tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.elf", tmp_path / "text.elf"
    empty.write_bytes(b"")
    text.write_text("hello")
    with pytest.raises(InputError, match="empty"):
        qemu_args.check(replace(config, image=empty))
    with pytest.raises(InputError, match="not an ELF"):
        qemu_args.check(replace(config, image=text))
    with pytest.raises(InputError, match="nor an ISO"):
        qemu_args.check(replace(config, image=text, path="iso"))
    qemu_args.check(config)


def test_a_missing_qemu_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    qemu_args.qemu_path.cache_clear()
    monkeypatch.setenv("PATH", "/nonexistent")
    try:
        with pytest.raises(ToolError, match="qemu-system-x86"):
            qemu_args.qemu_path()
    finally:
        qemu_args.qemu_path.cache_clear()


def test_commas_are_doubled_where_qemu_splits_at_them(config: BootConfig) -> None:
    arguments = qemu_args.machine_arguments(replace(config, path="iso", cmdline="a,b"), "tcg")
    assert any(a.endswith("a,, b.elf") for a in arguments)
    assert "name=opt/px/cmdline,string=a,,b" in arguments
    direct = qemu_args.machine_arguments(replace(config, cmdline="a,b"), "tcg")
    assert direct[direct.index("-kernel") + 1].endswith("a, b.elf")
    assert direct[direct.index("-append") + 1] == "a,b"


def test_every_boot_pauses_on_death_and_never_reboots() -> None:
    text = " ".join(qemu_args.watch_arguments())
    assert "reboot=shutdown" in text and "shutdown=pause" in text and "panic=pause" in text
    assert "pvpanic" in text and "int,cpu_reset,guest_errors" in text


def test_auto_is_decided_by_a_run_and_not_by_a_file(
    config: BootConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accel, "kvm_works", lambda cpu: False)
    assert accel.resolve(replace(config, accel="auto")) == "tcg"
    monkeypatch.setattr(accel, "kvm_works", lambda cpu: True)
    assert accel.resolve(replace(config, accel="auto")) == "kvm"
    assert accel.resolve(replace(config, accel="auto", icount=True)) == "tcg"
    assert accel.resolve(config) == "tcg"
