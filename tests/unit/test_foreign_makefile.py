"""What is read out of makefiles of kernels: products, rules, the machine; recipes where there are none."""

from __future__ import annotations

from pathlib import Path

from tests.unit.pxos import pxos
from toolchain.foreign import config, guess
from toolchain.foreign.makefile import Makefile

TEACHING = """\
OBJS = main.o trap.o
ifndef QEMU
QEMU = $(shell if which qemu > /dev/null; \\
\tthen echo qemu; exit; \\
\telse echo "qemu was not found" 1>&2; exit 1; fi)
endif
CPUS := 2
QEMUGDB = $(shell if $(QEMU) -help | grep -q '^-gdb'; then echo "-gdb tcp::1"; fi)
QEMUOPTS = -drive file=fs.img,index=1,media=disk,format=raw -drive \\
\tfile=os.img,index=0,media=disk,format=raw -smp $(CPUS) -m 512 $(QEMUEXTRA)

os.img: bootblock kernel
\tdd if=/dev/zero of=os.img count=10000
fs.img: mkfs README
\t./mkfs fs.img README
kernel: $(OBJS)
\t$(LD) -o kernel $(OBJS)
qemu: fs.img os.img
\t$(QEMU) -serial mon:stdio $(QEMUOPTS) 2>&1 | tee log
"""


def test_variables_and_the_machine_are_read() -> None:
    made = Makefile(TEACHING)
    assert made.rules == ("os.img", "fs.img", "kernel", "qemu")
    assert made.machine.boots == "os.img" and made.machine.disks == ("fs.img",)
    assert made.machine.options == (("-serial", "mon:stdio"), ("-smp", "2"), ("-m", "512"))


def test_the_place_of_an_image_says_what_it_is() -> None:
    def machine(line: str) -> tuple[str | None, tuple[str, ...]]:
        made = Makefile(f"run:\n\tqemu-system-i386 {line}\n").machine
        return made.boots, made.disks

    assert machine("-cdrom os.iso -hda disk.img") == ("os.iso", ("disk.img",))
    assert machine("-hdb b.img -hda a.img -m 64") == ("a.img", ("b.img",))
    assert machine("-kernel k.elf -drive file=d.img,format=raw") == ("k.elf", ("d.img",))
    assert machine("-fda floppy.img & sleep 1") == ("floppy.img", ())
    assert machine("os.bin -m 64M > log") == ("os.bin", ())
    assert machine("-drive file=/etc/shadow -drive file=../x.img -drive if=pflash,file=OVMF.fd") == (None, ())
    assert machine("-drive file=a.img,index=99999999999999999999") == ("a.img", ())


def test_a_makefile_that_names_itself_ends() -> None:
    made = Makefile("A = $(A) $(B)\nB = $(A)$(A)\nall:\n\tqemu-system-x86_64 $(A) -m 64M\n")
    assert made.machine.options == (("-m", "64M"),)


def test_disks_are_built_and_given(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(TEACHING)
    (tmp_path / "main.c").write_text('void main(void) { cprintf("cpu%d: starting\\n", 0); panic("main"); }\n')
    (tmp_path / "usertests.c").write_text('char *s = "all tests ok, everything done\\n", *t = "fatal";\n')
    rows = {row.key: row.value for row in guess.Look(tmp_path).guesses()}
    assert rows["build"] == '"make os.img fs.img"' and rows["artifact"] == '"os.img"'
    assert rows["disks"] == '["fs.img"]' and rows["qemu"] == '["-smp", "2", "-m", "512"]'
    assert rows["ready"] == '": starting"'  # of what boots, not of a user's test
    assert "forbid" not in rows
    assert config.parse(guess.toml(guess.Look(tmp_path).guesses()), tmp_path).disks == ("fs.img",)


def test_folders_that_are_left_out_are_in_no_glob(tmp_path: Path) -> None:
    for name in ("kernel/main.c", "kernel/mm/page.c", "user/shell.c", "user/test/all.c", "tests/x.c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('char *s = "kernel up";\n')
    answer = pxos("init", str(tmp_path), "--json")
    assert answer.status == 0, answer.errors
    made = config.load(tmp_path)
    assert made.may_edit("kernel/mm/page.c") and made.may_edit("user/shell.c")
    assert not made.may_edit("user/test/all.c") and not made.may_edit("tests/x.c")
    assert any("tests, user/test left out" in row["why"] for row in answer.data["guesses"])


def test_a_linker_script_is_recipe_enough(tmp_path: Path) -> None:
    (tmp_path / "link.ld").write_text(
        "ENTRY(start)\nSECTIONS { . = 0x100000; .text : { *(.text) } .data : { *(.data) } }\n"
    )
    (tmp_path / "boot it.asm").write_text(
        "bits 32\nglobal start\nextern kmain\nsection .text\nalign 4\ndd 0x1BADB002, 0, -0x1BADB002\n"
        "start: mov esp, 0x90000\ncall kmain\nhlt\n"
    )
    (tmp_path / "kernel.c").write_text(
        '#include "k.h"\nvoid kmain(void) { *(volatile char *)0xb8000 = K; }\n'
    )
    (tmp_path / "k.h").write_text("#define K 'k'\nextern char *up; // \"kernel up\"\n")
    assert pxos("init", str(tmp_path)).status == 0
    built = pxos("build", "--kernel", str(tmp_path), "--out", str(tmp_path / "build"), "--json")
    assert built.status == 0, built.errors
    assert built.data["artifact"].endswith("kernel.elf") and built.data["kind"] == "elf"


def test_a_makefile_in_the_only_folder_that_has_one_is_called_there(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/Makefile").write_text("os.img: boot.asm\n\tnasm -o os.img boot.asm\n")
    (tmp_path / "src/boot.asm").write_text("hlt ; it's \"up and running\", isn't it\ndb 'bootOS'\n")
    rows = {row.key: row.value for row in guess.Look(tmp_path).guesses()}
    assert (rows["build"], rows["artifact"]) == ('"make -C src"', '"src/os.img"')
    assert rows["ready"] == '"bootOS"'  # not what a comment says
