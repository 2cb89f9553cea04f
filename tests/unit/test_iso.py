"""The ISO without booting it: what is in it, that it never differs, and what can go wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Literal

import pytest

from tests.unit.images import program
from toolchain import elf, iso
from toolchain.errors import InputError, ToolError

MFORMAT = shutil.which("mformat")


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    path = tmp_path / "kernel.elf"
    path.write_bytes(elf.write(program()))
    return path


def listing(path: Path, *command: str) -> str:
    result = subprocess.run(
        ["xorriso", "-indev", str(path), *command], capture_output=True, text=True, timeout=30, check=True
    )
    return result.stdout


def test_hybrid_for_bios_and_uefi_on_cd_and_stick(tmp_path: Path, kernel: Path) -> None:
    iso.make(kernel, tmp_path / "a.iso")
    images = listing(tmp_path / "a.iso", "-report_el_torito", "plain")
    assert "1  BIOS  y" in images
    assert "2  UEFI  y" in images
    area = listing(tmp_path / "a.iso", "-report_system_area", "plain")
    assert "GPT" in area
    assert "EFI boot partition" in area
    subprocess.run(
        [
            "xorriso",
            "-osirrox",
            "on",
            "-indev",
            tmp_path / "a.iso",
            "-extract",
            iso.KERNEL_PATH,
            tmp_path / "b.elf",
        ],
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert (tmp_path / "b.elf").read_bytes() == kernel.read_bytes()


def another_time(folder: Path, monkeypatch: pytest.MonkeyPatch, serial: str) -> None:
    """Let ``mformat`` draw the serial number of the EFI part as it would by another clock."""
    folder.mkdir(exist_ok=True)
    (folder / "mformat").write_text(f'#!/bin/sh\nexec {MFORMAT} -N {serial} "$@"\n')
    (folder / "mformat").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize("firmware", ["hybrid", "bios"])
def test_two_builds_elsewhere_and_later_are_the_same_bytes(
    tmp_path: Path, kernel: Path, firmware: Literal["hybrid", "bios"], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path / "one/a.iso"
    another_time(tmp_path / "bin", monkeypatch, "11111111")
    iso.make(kernel, first, cmdline="exit", firmware=firmware)
    os.utime(kernel, (1, 1))
    another_time(tmp_path / "bin", monkeypatch, "22222222")
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    second = tmp_path / "a much longer name of a folder/b.iso"
    iso.make(kernel, second, cmdline="exit", firmware=firmware)
    assert first.read_bytes() == second.read_bytes()
    assert [p.name for p in second.parent.iterdir()] == ["b.iso"]


@pytest.mark.long
def test_without_the_fixed_serial_images_differ_in_just_those_bytes(
    tmp_path: Path, kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(iso, "_set_fat_serial", lambda image: None)
    images = []
    for serial in ("11111111", "22222222"):
        another_time(tmp_path / "bin", monkeypatch, serial)
        iso.make(kernel, tmp_path / "a.iso")
        images.append((tmp_path / "a.iso").read_bytes())
    different = [i for i, (a, b) in enumerate(zip(*images, strict=True)) if a != b]
    assert len(different) == 4
    assert different[-1] - different[0] == 3


def test_config_quotes_every_word() -> None:
    text = iso.grub_config("test  it's $x; halt")
    assert "multiboot2 /boot/pxos.elf 'test' 'it'\\''s' '$x;' 'halt'\n" in text
    assert "multiboot2 /boot/pxos.elf\n" in iso.grub_config("")
    for bad in ("a\nhalt", "ä", "\x1b"):
        with pytest.raises(InputError, match="printable ASCII"):
            iso.grub_config(bad)


def test_missing_tool_leaves_nothing(tmp_path: Path, kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError, match="grub-mkrescue: not found; install the Debian package grub-common"):
        iso.make(kernel, tmp_path / "out/a.iso")
    assert not (tmp_path / "out").exists()


def test_failing_tool_leaves_nothing(tmp_path: Path, kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("grub-mkrescue", "xorriso", "mformat"):
        (tools / name).write_text("#!/bin/sh\necho 'libburn : FATAL : no burn'\nexit 5\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    with pytest.raises(ToolError, match="exit status 5: libburn : FATAL : no burn"):
        iso.make(kernel, tmp_path / "out/a.iso")
    assert list((tmp_path / "out").iterdir()) == []


def test_missing_kernel_and_folder_that_is_a_file(tmp_path: Path, kernel: Path) -> None:
    with pytest.raises(InputError, match=r"none\.elf: cannot read"):
        iso.make(tmp_path / "none.elf", tmp_path / "a.iso")
    with pytest.raises(InputError, match="cannot write"):
        iso.make(kernel, kernel / "a.iso")
