"""Every statement here gets the bytes of GNU as, or an error: never other bytes.

Where as takes a statement, an error is allowed for the reasons in ``UNSUPPORTED`` and where as itself warns that it
cut a number short; where as refuses one, so must we.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit import gnu_as
from tests.unit.statements import random_statement, standard
from toolchain import encode_forms
from toolchain.encode import Encoder
from toolchain.errors import InputError
from toolchain.insn import PREFIXES, Insn, parse
from toolchain.types import Diagnostic, Encoding, Mode, Place

pytestmark = pytest.mark.long

HERE = Place("corpus.tsv", 1)
CORPUS = Path(__file__).parents[1] / "fixtures" / "corpus.tsv"

# Why a statement that as takes may be refused here. Each is said in the error.
UNSUPPORTED = re.compile(
    r"does not fit \d+ bits|is not supported|supported with 512-bit operands only|no encoding for"
    r"|does not go with|does not take|no such instruction|would be encoded as|near ptr|wider than 64 bits"
    r"|no field for the number"
)


def outcomes(encoder: Encoder, statements: Sequence[tuple[Mode, str]]) -> list[Encoding | Diagnostic]:
    parsed: list[Insn | Diagnostic] = []
    for mode, text in statements:
        try:
            parsed.append(parse(text, HERE, mode, lambda _: None))
        except InputError as error:
            (diagnostic,) = error.diagnostics
            assert isinstance(diagnostic, Diagnostic)
            parsed.append(diagnostic)
    requests = [
        (mode, item) for (mode, _), item in zip(statements, parsed, strict=True) if isinstance(item, Insn)
    ]
    encoded = iter(encoder.encode(requests))
    return [next(encoded) if isinstance(item, Insn) else item for item in parsed]


def complaints(encoder: Encoder, statements: Sequence[tuple[Mode, str]]) -> Iterator[str]:
    """What is silently different, accepted though as refuses it, or refused for no listed reason."""
    verdicts = gnu_as.assemble(statements)
    for (mode, text), ours, theirs in zip(statements, outcomes(encoder, statements), verdicts, strict=True):
        if isinstance(ours, Encoding):
            if theirs.data is None:
                yield f"{mode} {text}: as says {theirs.error}, we say {ours.data.hex()}"
            elif gnu_as.difference(ours, theirs):
                yield f"{mode} {text}: {gnu_as.difference(ours, theirs)}"
        elif theirs.data is not None and not theirs.warning and not UNSUPPORTED.search(ours.message):
            yield f"{mode} {text}: as says {theirs.data.hex()}, we say {ours.message}"


def read_corpus() -> list[tuple[Mode, str]]:
    modes: dict[str, Mode] = {"16": 16, "32": 32, "64": 64}
    lines = [line.split("\t") for line in CORPUS.read_text().splitlines() if line and line[0] != "#"]
    return [(modes[mode], text) for mode, text in lines]


def test_the_corpus_has_the_bytes_of_gnu_as_or_its_errors(encoder: Encoder) -> None:
    # A reference to an unknown local label is as's error; here it is the linker's.
    statements = [item for item in read_corpus() if item != (32, "mov eax, 1b")]
    assert len(statements) > 600
    verdicts = gnu_as.assemble(statements)
    equal = 0
    for statement, ours, theirs in zip(statements, outcomes(encoder, statements), verdicts, strict=True):
        if isinstance(ours, Diagnostic):
            assert theirs.data is None or theirs.warning, f"{statement}: {ours.message}"
        else:
            assert theirs.data is not None, f"{statement}: as says {theirs.error}"
            assert not gnu_as.difference(ours, theirs), statement
            equal += 1
    assert equal > 600


def words(text: str) -> list[str]:
    return text.split()


GENERAL = ("r8", "r16", "r32", "r64")
_SAMPLES = {
    64: {"r8": ("al", "cl", "ah", "sil", "r9b"), "r16": ("ax", "dx", "r9w"), "r32": ("eax", "ecx", "r12d"),
         "r64": ("rax", "rbx", "r13")},
    32: {"r8": ("al", "ch"), "r16": ("ax", "si"), "r32": ("eax", "ebp"), "r64": ()},
    16: {"r8": ("al", "bh"), "r16": ("ax", "bp"), "r32": ("eax", "edi"), "r64": ()},
}  # fmt: skip
_MEMORY = {
    64: ("[rdi]", "[rbp]", "[rsp]", "[r12]", "[r13+8]", "[rdi+0x1000]", "[rax+r9*4-1]", "[rip+0x10]", "gs:[0x10]",
         "[0xb8000]", "[rcx*8]", "[eax]", "ds:[rbp]", "fs:[rsp+rax]"),
    32: ("[edi]", "[ebp]", "[esp]", "[esp+4]", "[ebx+ecx*8-0x1000]", "[0xb8000]", "fs:[0]", "[ecx*2]", "ss:[esi]"),
    16: ("[bx]", "[bp]", "[bx+si]", "[bp+di-1]", "[0x7c00]", "[si+0x1234]", "es:[di]", "[ebx]", "[esp+eax*2]"),
}  # fmt: skip
_NUMBERS = (
    "0",
    "1",
    "-1",
    "127",
    "128",
    "255",
    "0x1000",
    "0x7fffffff",
    "0x80000000",
    "-0x80000000",
    "~0x80",
    "'A'",
)
_TWO = words(
    """add or adc sbb and sub xor cmp test mov xchg xadd cmpxchg imul bt bts btr btc bsf bsr popcnt lzcnt tzcnt
    cmovz cmovnc movzx movsx lea shld shrd movbe lar lsl crc32"""
)
_ONE = words(
    """inc dec neg not mul imul div idiv shl shr sar rol ror rcl rcr push pop jmp call bswap sete setnz lldt ltr
    lmsw smsw str sldt verr verw invlpg lgdt lidt sgdt sidt fld fstp fild fistp fnstcw fldcw fxsave fxrstor xsave
    xrstor xsaveopt prefetcht0 clflush clflushopt cmpxchg8b cmpxchg16b rdrand rdseed rdgsbase wrgsbase ldmxcsr stmxcsr
    nop"""
)


def wide(mode: Mode) -> list[tuple[Mode, str]]:
    """Integer and system instructions by operand kinds, sizes, addresses and numbers, right and wrong."""
    registers = [name for kind in GENERAL for name in _SAMPLES[mode][kind]]
    sized = [f"{size}{place}" for size in ("", "byte ptr ", "word ptr ", "dword ptr ", "qword ptr ")
             for place in _MEMORY[mode]]  # fmt: skip
    texts = [f"{name} {a}, {b}" for name in _TWO for a in registers for b in registers]
    texts += [f"{name} {a}, {b}" for name in _TWO for a in registers for b in sized]
    texts += [f"{name} {a}, {b}" for name in _TWO for a in sized for b in registers]
    texts += [
        f"{name} {a}, {b}" for name in (*_TWO, *_ONE[7:13]) for a in (*registers, *sized) for b in _NUMBERS
    ]
    texts += [f"{name} {a}" for name in _ONE for a in (*registers, *sized, *_NUMBERS)]
    texts += [f"lock {name} {a}, {b}" for name in _TWO[:14] for a in sized[::5] for b in registers[::2]]
    texts += [f"{prefix} {name}{size}" for prefix in ("rep", "repe", "repne", "lock", "gs", "rep gs")
              for name in ("movs", "stos", "lods", "cmps", "scas", "ins", "outs") for size in "bwdq"]  # fmt: skip
    texts += [f"mov {a}, {b}" for special in ("cr0", "cr3", "cr8", "dr7", "ds", "ss", "cs", "gs")
              for other in (*registers, *sized[:8]) for a, b in ((special, other), (other, special))]  # fmt: skip
    texts += [f"{name} {a}, {b}" for name in ("in", "out") for a in ("al", "ax", "eax", "dx", "0x60", "0x3f8", "rax")
              for b in ("al", "ax", "eax", "dx", "0x60", "0x3f8", "rax")]  # fmt: skip
    texts += [f"{name} {seg}" for name in ("push", "pop") for seg in ("es", "cs", "ss", "ds", "fs", "gs")]
    return [(mode, text) for text in texts]


@pytest.mark.parametrize("mode", [64, 32, 16])
def test_integer_and_system_instructions_by_operand_kinds(encoder: Encoder, mode: Mode) -> None:
    statements = wide(mode)
    step = 5
    assert list(complaints(encoder, statements[::step])) == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", [64, 32, 16])
def test_all_integer_and_system_instructions(encoder: Encoder, mode: Mode) -> None:
    statements = wide(mode)
    for begin in range(0, len(statements), 20000):
        assert list(complaints(encoder, statements[begin : begin + 20000])) == []


def every_form() -> list[tuple[Mode, str, str]]:
    modes: tuple[Mode, ...] = (64, 32, 16)
    return [
        (mode, mnemonic, form)
        for mode in modes
        for mnemonic in encode_forms.mnemonics()
        for form in sorted(encode_forms.forms(mnemonic, mode))
    ]


def test_every_form_has_the_bytes_of_gnu_as(encoder: Encoder) -> None:
    statements = [
        (mode, standard(name, tuple(form.split(",")) if form else (), mode))
        for mode, name, form in every_form()
    ]
    assert len(statements) > 15000
    verdicts = gnu_as.assemble(statements)
    for statement, ours, theirs in zip(statements, outcomes(encoder, statements), verdicts, strict=True):
        assert isinstance(ours, Encoding), (statement, ours)
        assert theirs.data is not None, statement
        assert not gnu_as.difference(ours, theirs), statement


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=6, deadline=None)
def test_random_statements_of_random_forms(encoder: Encoder, seed: int) -> None:
    random = Random(seed)
    statements = [
        (mode, random_statement(name, form, mode, random)) for mode, name, form in random.sample(FORMS, 1500)
    ]
    assert list(complaints(encoder, statements)) == []


FORMS = every_form()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_random_statements_of_every_form(encoder: Encoder, seed: int) -> None:
    random = Random(seed)
    statements = [
        (mode, random_statement(name, form, mode, random)) for mode, name, form in FORMS for _ in range(2)
    ]
    for begin in range(0, len(statements), 10000):
        assert list(complaints(encoder, statements[begin : begin + 10000])) == []


_WORDS = words(
    """mov add cmp lea push pop call jmp test shl in out movzx xchg lock rep int ret imul and or eax rax al ah r8b r9 cl
    dx xmm0 ds gs cr0 [rdi] [rax+rbx*4] [rip] [0x1000] 5 -1 0x80000000 300 dword qword byte ptr offset , , , + - *
    short far 8:5 st(1) st sil [ebx] ds: [ ] mov mov add eax eax rax rcx , ,"""
)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=8, deadline=None)
def test_word_salad_is_never_accepted_when_as_refuses_it(encoder: Encoder, seed: int) -> None:
    random = Random(seed)
    texts = [" ".join(random.choices(_WORDS, k=random.randint(1, 6))) for _ in range(1500)]
    # A prefix alone would join the statement behind it.
    statements: list[tuple[Mode, str]] = [(64, text) for text in texts if text.split()[-1] not in PREFIXES]
    verdicts = gnu_as.assemble(statements)
    for (_, text), ours, theirs in zip(statements, outcomes(encoder, statements), verdicts, strict=True):
        if isinstance(ours, Encoding) and "can't resolve" not in theirs.error:  # the linker says that here
            assert theirs.data is not None, (text, theirs.error)
            assert not gnu_as.difference(ours, theirs), text
