"""AT&T and nasm in the words of the search, and back: the same bytes, the same lines, the same lessons."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from architect.foreign import att, nasm, places
from architect.foreign.tongue import Translation
from architect.foreign.words import Untold
from architect.generalise import generalise
from architect.protocols import Case, Edit, Patch
from toolchain.foreign import config, names

KERNELS = Path(__file__).resolve().parents[1] / "fixtures/kernels"
ATT = """\
movw %ax, %fs:8(%ebx,%ecx,4)
movzbl (%esi), %eax
movswl %cx, %edx
call *%eax
call *table(,%eax,4)
ljmp $8, $there
cmpb $0x20, (%edi)
imull $5, %eax, %ebx
leal 4(%esp,%ebp), %eax
rep stosl
lock incl counter
shll %cl, %eax
movl $-1, %ecx
movl -4(%ebp), %eax
movl %eax, counter+4(%ebx)
movl $counter, %edi
movl $NUMBER, %edi
testb $1, counter
int $0x80
pushl 8(%ebp)
outb %al, %dx
inb $0x60, %al
movb %cl, counter(%eax)
btsl $5, (%eax)
movl %cr0, %eax
movw %ax, %ds
pushal
popfl
cltd
lgdt counter
jne there
jmp *8(%eax)
xchgl %eax, (%ebx)
setne %al
cmovel %eax, %ebx
shldl $4, %eax, %edx
"""
FRAME = """\
.set NUMBER, 7
there:
{body}
.data
counter: .skip 8
table: .long there
"""


def assembled(folder: Path, text: str, mode: str = "--32") -> bytes:
    (folder / "a.s").write_text(text)
    subprocess.run(["as", mode, "-o", "a.o", "a.s"], cwd=folder, check=True, capture_output=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", "a.o", "a.bin"], cwd=folder, check=True)
    return (folder / "a.bin").read_bytes()


@pytest.mark.parametrize("line", ATT.splitlines())
def test_att_means_the_same_in_our_words_and_back(tmp_path: Path, line: str) -> None:
    """Three times the same bytes: as it was, as the search reads it, and as a repair would be written."""
    ours = att.to_intel(line, {"NUMBER"}.__contains__)
    back = att.from_intel(ours, {"NUMBER"}.__contains__)
    wanted = assembled(tmp_path, FRAME.format(body=line))
    assert assembled(tmp_path, ".intel_syntax noprefix\n" + FRAME.format(body=ours)) == wanted, ours
    assert assembled(tmp_path, FRAME.format(body=back)) == wanted, back


@pytest.mark.parametrize("kernel", ["att-multiboot", "c-multiboot"])
def test_a_whole_file_of_gnu_as_means_the_same(tmp_path: Path, kernel: str) -> None:
    made = translation(kernel)
    for name, text in made.texts.items():
        if "stub" in text:
            continue  # .altmacro expands % itself
        ours = made.sources[name]
        plain = re.sub(r"\.intel_syntax.*", "", ours)
        there = assembled(tmp_path, text)
        assert assembled(tmp_path, ".intel_syntax noprefix\n" + plain) == there, name


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("mov ax, [es:di+2]", "mov ax, es:[di+2]"),
        ("mov dword [rel x], 5", "mov dword ptr [rip + x], 5"),
        ("mov rax, msg", "mov rax, offset msg"),
        ("mov rax, NUMBER", "mov rax, NUMBER"),
        ("mov rax, [msg]", "mov rax, [msg]"),
        ("jmp short .next", "jmp short .Lhome.next"),
        ("lgdt [gdt.pointer]", "lgdt [.Lgdt.pointer]"),
        ("call [rax*8+table]", "call [rax*8+table]"),
        ("movzx eax, byte [rsi]", "movzx eax, byte ptr [rsi]"),
        ("rep movsb", "rep movsb"),
        ("dd 1, $ - home", ".long 1, . - home"),
        ('db "text", 0', '.ascii "text", 0'),
        ("COUNT equ ($ - home) / 4", ".set COUNT, (. - home) / 4"),
        ("bits 32", ".code32"),
        ("resd 4", ".skip (4) * 4"),
        ("align 16", ".balign 16"),
    ],
)
def test_nasm_in_our_words_and_back(theirs: str, ours: str) -> None:
    assert nasm.to_intel(theirs, "home", {"NUMBER"}.__contains__) == ours
    assert nasm.from_intel(ours, "home") == theirs


@pytest.mark.parametrize(
    "line", ["times 510 - ($ - $$) db 0", "org 0x7c00", "%macro x 1", "push word 5", "incbin 'x'"]
)
def test_what_has_no_counterpart_is_not_touched(line: str) -> None:
    with pytest.raises(Untold):
        nasm.to_intel(line, "", bool)


@pytest.mark.parametrize("kernel", ["nasm-flat", "att-multiboot", "c-multiboot"])
def test_every_line_comes_back_as_it_was(kernel: str) -> None:
    """A line that is written anew differs from the original in spaces at most, and lines keep their numbers."""
    made = translation(kernel)
    for name, rows in made.ours.items():
        lines = made.texts[name].split("\n")
        assert len(rows) == len(lines)
        for number, row in enumerate(rows):
            if not row.strip() or not made._lines[name][number].told:
                continue
            written = made._written(
                name, row + " ", number, number
            )  # another text, so that it is not just looked up
            assert bare(written) in (bare(lines[number]), bare(lines[number]).replace("pushl", "push"))


def test_a_repair_keeps_the_form_of_its_line() -> None:
    made = translation("att-multiboot")
    line = (
        made.texts["src/traps.s"]
        .split("\n")
        .index("        addl    $8, %esp                        # vector, error code")
    )
    old = made.ours["src/traps.s"][line]
    patch = Patch((Edit("src/traps.s", line + 1, (old,), (old.replace("8", "12"),)),), "search", "x", "")
    back = made.back(patch)
    assert back is not None
    assert back.edits[0].new == ("        addl    $12, %esp                       # vector, error code",)
    forward = made.forward(back)
    assert forward is not None and forward.edits == patch.edits


def test_labels_that_only_jumps_name_are_local() -> None:
    made = translation("att-multiboot")
    assert ".Lputc_wait:" in made.ours["src/console.s"] and "putc:" in made.ours["src/console.s"]
    assert "trap:" in made.ours["src/traps.s"]  # a macro jumps there, from elsewhere
    assert ".Lsum_squares.next:" in translation("nasm-flat").ours["main.asm"]


def test_a_lesson_of_one_syntax_is_that_of_another() -> None:
    """The same repair, made in AT&T syntax and in nasm, teaches the same edit."""
    att_text = ".globl f\nf:\n        pushl   %ebx\n        addl    $4, %esp\n        ret\n"
    nasm_text = "global f\nf:\n        push ebx\n        add esp, 4\n        ret\n"
    taught = []
    for syntax, name, text, old, new in (
        ("gas-att", "a.s", att_text, "        addl    $4, %esp", "        addl    $8, %esp"),
        ("nasm", "a.asm", nasm_text, "        add esp, 4", "        add esp, 8"),
    ):
        made = Translation(syntax, {name: text})
        forward = made.forward(Patch((Edit(name, 4, (old,), (new,)),), "search", "number-near", ""))
        assert forward is not None
        case = made.case(Case(Path(), {name: text}, None, None, None), Path())
        edit = generalise(forward, case)
        taught.append([{k: v for k, v in step.items() if k != "file"} for step in edit["steps"]])
    assert taught[0] == taught[1]


def translation(kernel: str) -> Translation:
    tree = KERNELS / kernel
    foreign = config.load(tree)
    names = [p.relative_to(tree).as_posix() for p in tree.rglob("*") if p.is_file()]
    return Translation(foreign.syntax, {n: (tree / n).read_text() for n in names if foreign.may_edit(n)})


def bare(line: str) -> str:
    return re.sub(r"\s+", "", re.split(r"[;#]", line)[0])


def test_places_without_debug_information_are_counted_out(tmp_path: Path) -> None:
    """The image names a symbol, the source has the label: the instruction is found by counting."""
    text = "start:  cli\n        mov eax, 1\nagain:  add eax, 2\n        jmp again\n        hlt\n"
    (tmp_path / "a.asm").write_text("bits 32\nglobal start\n" + text)
    subprocess.run(["nasm", "-f", "elf32", "-o", "a.o", "a.asm"], cwd=tmp_path, check=True)
    link = ["ld", "-m", "elf_i386", "-e", "start", "-Ttext=0x100000", "-o", "k.elf", "a.o"]
    subprocess.run(link, cwd=tmp_path, check=True)
    found = names.find(tmp_path, tmp_path / "k.elf")
    assert found is not None and not found.image.lines
    table, made = found.table(), Translation("nasm", {"a.asm": "bits 32\nglobal start\n" + text})
    for address, line in ((0x100000, 3), (0x100001, 4), (0x100006, 5), (0x100009, 6), (0x10000B, 7)):
        place = table.place(address)
        assert place.line is None
        assert places._located(place, table, made, 32).line == line
