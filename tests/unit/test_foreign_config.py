"""``pxos.toml``: its keys, errors by key and line, and what a foreign tree may not tell QEMU."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from tests.unit import schemas
from toolchain.errors import InputError
from toolchain.foreign import config, machine

GOOD = """\
[kernel]
name = "tiny"
sources = ["src/**/*.asm", "boot.s"]
syntax = "nasm"
build = "make -j2"
artifact = "build/os.img"

[boot]
qemu = "-m 64M -device isa-debug-exit,iobase=0xf4,iosize=4"
timeout = 3

[judge]
ready = "^kernel up"
forbid = ["PANIC", "assert"]
expect_exit = 33
"""

HOSTILE = """\
-drive file=/etc/shadow,format=raw
-kernel /boot/vmlinuz
-hda /dev/sda
-cdrom x.iso
-bios x
-netdev user,id=n
-nic user
-net user
-chardev file,id=c,path=/tmp/x
-monitor stdio
-fsdev local,id=f,path=/
-virtfs local,path=/
-object memory-backend-file,id=m,mem-path=/dev/shm/x
-readconfig /etc/passwd
-plugin /tmp/x.so
-serial file:/tmp/x
-debugcon file:/tmp/x
-s
-gdb tcp::1
-qmp unix:/tmp/x
-vnc :1
-D /tmp/x
-pidfile /tmp/x
-global VGA.romfile=/x
-enable-kvm
-device VGA,romfile=/etc/passwd
-device vfio-pci,host=00:02.0
-device usb-host
-device virtio-net-pci,netdev=n
-machine q35,kernel=/x
-machine q35,memory-backend=m
-m 64M,maxmem=1T
-m 900G
-smp 4000
-cpu max,/etc
-fw_cfg name=opt/x,file=/etc/shadow
-initrd /x
-accel kvm
-icount shift=1,rr=record,rrfile=/tmp/x
-smbios file=/etc/shadow
-acpitable file=/etc/shadow
-incoming exec:sh
-display gtk
-m
disk.img
@x
--drive file=/etc/shadow
"""


def complaints(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        config.parse(text, Path("tree"))
    assert caught.value.status == 2
    return caught.value.lines()


def test_every_key_is_read() -> None:
    made = config.parse(GOOD, Path("tree"))
    assert (made.name, made.syntax, made.build, made.artifact) == ("tiny", "nasm", "make -j2", "build/os.img")
    assert made.qemu == ("-m", "64M", "-device", "isa-debug-exit,iobase=0xf4,iosize=4")
    assert (made.timeout, made.ready, made.forbid, made.expect_exit) == (
        3.0,
        "^kernel up",
        ("PANIC", "assert"),
        33,
    )


def test_sources_are_globs_of_sources_only() -> None:
    made = config.parse(GOOD, Path("tree"))
    assert made.may_edit("src/a.asm") and made.may_edit("src/x/y/a.asm") and made.may_edit("boot.s")
    assert not made.may_edit("a.asm") and not made.may_edit("x/boot.s") and not made.may_edit("src/a.c")
    wide = config.parse(GOOD.replace('["src/**/*.asm", "boot.s"]', '"**"'), Path("tree"))
    assert wide.may_edit("any/where.c") and not wide.may_edit("pxos.toml") and not wide.may_edit("Makefile")


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        (
            'syntax = "nasm"',
            'syntax = "fasm"',
            4,
            "[kernel] syntax: 'fasm': choose one of gas-intel, gas-att, nasm",
        ),
        ('build = "make -j2"', "build = 3", 5, "[kernel] build: expected a text"),
        ('"build/os.img"', '"../os.img"', 6, "[kernel] artifact: '../os.img' leads out of the tree"),
        ('"build/os.img"', '"/dev/sda"', 6, "[kernel] artifact: '/dev/sda' leads out of the tree"),
        ('"boot.s"', '"/etc/*.s"', 3, "[kernel] sources: '/etc/*.s' leads out"),
        ("timeout = 3", "timeout = -1", 10, "[boot] timeout: -1: give seconds above 0"),
        ("timeout = 3", "timeout = nan", 10, "[boot] timeout: nan"),
        ("timeout = 3", "speed = 3", 10, "[boot] speed: no such key; there are qemu, disks, timeout"),
        ('ready = "^kernel up"', 'ready = "("', 13, "[judge] ready: '(' is no regular expression"),
        ('ready = "^kernel up"', 'ready = ".*"', 13, "[judge] ready: '.*' matches nothing at all"),
        ('ready = "^kernel up"', 'ready = "(a+)+b"', 13, "[judge] ready: '(a+)+b' repeats a repetition"),
        ("expect_exit = 33", "expect_exit = 333", 15, "[judge] expect_exit: 333: give QEMU's exit status"),
        (
            "timeout = 3",
            "disks = []",
            10,
            "[boot] disks: expected 1 to 3 raw disk images that the build makes",
        ),
        ("timeout = 3", 'disks = ["a", "b", "c", "d"]', 10, "[boot] disks: expected 1 to 3"),
        ("timeout = 3", 'disks = ["../a.img"]', 10, "[boot] disks: '../a.img' leads out of the tree"),
        ("timeout = 3", 'disks = ["/etc/shadow"]', 10, "[boot] disks: '/etc/shadow' leads out of the tree"),
        ("[judge]", "[judges]", 12, "[judges]: no such table"),
    ],
)
def test_errors_name_key_and_line(old: str, new: str, line: int, said: str) -> None:
    assert old in GOOD
    assert complaints(GOOD.replace(old, new))[-1 if "judges" not in new else 1].startswith(
        f"pxos.toml:{line}: {said}"
    )


def test_every_error_is_told_at_once() -> None:
    lines = complaints('[kernel]\nsyntax = "x"\nfoo = 1\n')
    assert len(lines) == 6  # syntax, foo, three missing keys, no judge
    assert "pxos.toml:1: [kernel]: write it as a table: [kernel]" in complaints("kernel = 3\n")
    assert complaints("not toml")[0].startswith("pxos.toml: not valid TOML")


@pytest.mark.parametrize("words", HOSTILE.splitlines())
def test_what_names_the_host_is_refused(words: str) -> None:
    with pytest.raises(machine.Refused):
        machine.checked(words.split())
    text = GOOD.replace("-m 64M -device isa-debug-exit,iobase=0xf4,iosize=4", words)
    assert complaints(text)[0].startswith("pxos.toml:9: [boot] qemu: ")


def test_the_machine_alone_is_allowed() -> None:
    said = "-M q35,acpi=off -cpu qemu64,+sse4.1 -smp 2 -m 1G -vga std -nographic -no-reboot -boot order=c"
    words = machine.checked([*said.split(), "-append", "root=1", "-device", "virtio-vga,xres=800,id=v"])
    assert " ".join(words) == (
        "-machine q35,acpi=off -cpu qemu64,+sse4.1 -smp 2 -m 1G -vga std -boot order=c -append root=1"
        " -device virtio-vga,xres=800,id=v"
    )
    assert machine.memory_of(words) == 1 << 30


def test_the_schema_agrees() -> None:
    schema = json.loads((schemas.FOLDER / "files" / "pxos-toml.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(tomllib.loads(GOOD), schema)
    for old, new in (('"nasm"', '"fasm"'), ("timeout = 3", "timeout = -1"), ("[judge]", "[judges]")):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(tomllib.loads(GOOD.replace(old, new)), schema)
    for table, keys in config._TABLES.items():
        properties = schema["properties"][table]["properties"]
        assert set(properties) == set(keys)
        assert all(row.get("description") for row in properties.values())
