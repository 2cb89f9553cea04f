from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolchain.errors import InputError
from toolchain.expr import Expr, parse_cached
from toolchain.insn import Far, Imm, Insn, Masked, Mem, Reg, Target, parse, register, split_operands
from toolchain.types import Mode, Place

HERE = Place("cpu/idt.s", 12, "    mov eax, sym", 4)
CONSTANTS = {"K": 8, "BIG": 0xB8000, "ONE": 1, "NEGATIVE": -4}


def read(text: str, mode: Mode = 64) -> Insn:
    return parse(text, HERE, mode, CONSTANTS.get)


def memory(text: str, mode: Mode = 64) -> tuple[object, ...]:
    (operand,) = (item for item in read(text, mode).operands if isinstance(item, Mem))
    base = operand.base.name if operand.base else None
    index = operand.index.name if operand.index else None
    disp = str(operand.disp) if isinstance(operand.disp, Expr) else operand.disp
    return operand.size, operand.segment, base, index, operand.scale, disp


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mov rax, [rdi]", (None, None, "rdi", None, 1, 0)),
        ("MOV Rax, Qword Ptr [Rdi]", (8, None, "rdi", None, 1, 0)),
        ("mov rax, [rax + 0x10 - 0x20]", (None, None, "rax", None, 1, -16)),
        ("mov rax, [rax - (4+4)]", (None, None, "rax", None, 1, -8)),
        ("mov rax, [rax - -8]", (None, None, "rax", None, 1, 8)),
        ("mov rax, [8*rbx+rax]", (None, None, "rax", "rbx", 8, 0)),
        ("mov rax, [rbx * K + rax]", (None, None, "rax", "rbx", 8, 0)),
        ("mov rax, [rax][rbx*8]", (None, None, "rax", "rbx", 8, 0)),
        ("mov rax, 8[rax]", (None, None, "rax", None, 1, 8)),
        ("mov rax, -8[rax]", (None, None, "rax", None, 1, -8)),
        ("mov rax, [rcx*8]", (None, None, None, "rcx", 8, 0)),
        ("mov rax, [2*rax*4]", (None, None, None, "rax", 8, 0)),
        ("mov rax, [rax+rsp]", (None, None, "rsp", "rax", 1, 0)),
        ("mov rax, [rip+sym]", (None, None, "rip", None, 1, "sym")),
        ("mov rax, [rip + sym + K]", (None, None, "rip", None, 1, "(sym + 8)")),
        ("mov rax, sym[rip]", (None, None, "rip", None, 1, "sym")),
        ("mov rax, [sym+rcx*8]", (None, None, None, "rcx", 8, "sym")),
        ("mov rax, [rdi+K*2]", (None, None, "rdi", None, 1, 16)),
        ("mov rax, [rdi+NEGATIVE]", (None, None, "rdi", None, 1, -4)),
        ("mov rax, gs:[0x10]", (None, "gs", None, None, 1, 16)),
        ("mov rax, qword ptr gs:[K]", (8, "gs", None, None, 1, 8)),
        ("mov rax, gs:K", (None, "gs", None, None, 1, 8)),
        ("mov byte ptr [BIG], 1", (1, None, None, None, 1, 0xB8000)),
        ("mov eax, sym", (None, None, None, None, 1, "sym")),
        ("mov eax, sym+4", (None, None, None, None, 1, "(sym + 4)")),
        ("mov eax, [sym]", (None, None, None, None, 1, "sym")),
        ("mov qword [rdi], rax", (None, None, "rdi", None, 1, 8)),  # `qword` alone is the number 8, as in gas
        ("mov eax, [0xffffffff80000000]", (None, None, None, None, 1, -0x80000000)),
        ("jmp qword ptr sym", (8, None, None, None, 1, "sym")),
        ("call [sym]", (None, None, None, None, 1, "sym")),
        ("mov rax, [%rdi+%rcx]", (None, None, "rdi", "rcx", 1, 0)),
    ],
)
def test_memory(text: str, expected: tuple[object, ...]) -> None:
    assert memory(text) == expected


def test_short_addresses() -> None:
    assert memory("mov ax, [si+bx]", 16)[2:4] == ("bx", "si")
    assert memory("mov ax, [bp+4]", 16)[2:] == ("bp", None, 1, 4)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("mov eax, K", 8),
        ("mov eax, (2+3)*4", 20),
        ("cmp al, ','", 44),
        ("cmp al, ' '", 32),
        ("cmp al, '\\''", 39),
        ("mov eax, K | ONE", 9),
        ("mov rax, 0xffffffffffffffff", -1),
        ("mov eax, byte", 1),
        ("mov eax, offset sym + 4", "(sym + 4)"),
        ("mov ecx, (end - start) / 8", "((end - start) / 8)"),
        ("mov ecx, end - start", "(end - start)"),
    ],
)
def test_immediates(text: str, value: object) -> None:
    operand = read(text).operands[1]
    assert isinstance(operand, Imm)
    assert (str(operand.value) if isinstance(operand.value, Expr) else operand.value) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("jmp .", "."),
        ("jmp $", "."),
        ("jmp $+2", "(. + 2)"),
        ("je 1f", "1f"),
        ("call sym", "sym"),
        ("jmp 0x10", 16),
    ],
)
def test_targets(text: str, value: object) -> None:
    (operand,) = read(text).operands
    assert isinstance(operand, Target)
    assert (str(operand.value) if isinstance(operand.value, Expr) else operand.value) == value


@pytest.mark.parametrize("text", ["ljmp 8, 0x1234", "ljmp 8:0x1234", "jmp K:0x1234", "jmp far ptr 8:0x1234"])
def test_far_pointers(text: str) -> None:
    (operand,) = read(text, 32).operands
    assert isinstance(operand, Far)
    assert (operand.selector, operand.offset) == (8, 0x1234)


def test_prefixes_and_case() -> None:
    insn = read("LOCK Cmpxchg [rdi], RCX")
    assert (insn.prefixes, insn.mnemonic) == (("lock",), "cmpxchg")
    assert insn.operands[1] is register("rcx", 64)
    assert read("rep").mnemonic == ""
    assert read("rep movsb").prefixes == ("rep",)


def test_registers() -> None:
    operands = read("fadd st, st(3)").operands
    assert [item.name for item in operands if isinstance(item, Reg)] == ["st(0)", "st(3)"]
    (masked, _) = read("vmovdqu64 zmm0 {k1}{z}, [rdi]").operands
    assert isinstance(masked, Masked)
    assert masked.mask == "{k1}{z}"
    assert register("%RAX", 64) is register("rax", 64)
    assert register("rax", 32) is None


def test_equal_statements_share_their_core_and_a_constant_parts_them() -> None:
    assert read("mov eax, K").core is read("mov  eax , K").core
    assert read("mov eax, K").core is not parse("mov eax, K", HERE, 64, {"K": 9}.get).core
    other = parse("mov eax, K", HERE, 64, lambda _: None).operands[1]
    assert isinstance(other, Mem)


def test_a_fixed_distance_is_a_number() -> None:
    def distance(left: str, right: str) -> int | None:
        return {("end", "start"): 24}.get((left, right))

    (_, operand) = parse("add rax, end - start", HERE, 64, lambda _: None, distance).operands
    assert isinstance(operand, Imm)
    assert operand.value == 24


def test_operands_are_cut_at_the_right_commas() -> None:
    assert split_operands("al, ','") == ["al", "','"]
    assert split_operands("st(1), (1,2)") == ["st(1)", "(1,2)"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mov eax,", "operand is missing"),
        ("mov eax, , ebx", "operand is missing"),
        ("mov eax, [rdi", "missing `]'"),
        ("mov eax, [rdi]]", "junk"),
        ("mov eax, [rdi+rsi+rbx]", "too many registers"),
        ("mov eax, [rsp*2]", "not a base and index"),
        ("mov eax, [eax+rbx]", "not a base and index"),
        ("mov eax, [rax*3]", "scale"),
        ("mov eax, rdi+4", "invalid use of register"),
        ("mov eax, offset rdi", "invalid use of register"),
        ("mov eax, 10h", "junk"),
        ("mov eax, 3==3", "invalid character"),
        ("mov eax, \xe9", "bad expression"),
        ("mov eax, [\xe9]", "invalid character"),
        ("mov eax, dword ptr 5", "brackets"),
        ("mov eax, -sym", "no address and no number"),
        ("mov eax, 1/0", "division by zero"),
        ("mov rax, 0x1ffffffffffffffff", "wider than 64 bits"),
        ("mov eax, ax:[rdi]", "segment register"),
        ("m-v eax, ebx", "not an instruction"),
        ("jmp far ptr sym", "needs a segment"),
        ("mov eax, ((((", "missing operand"),
    ],
)
def test_what_is_no_statement_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(text)
    (diagnostic,) = caught.value.diagnostics
    assert message in str(diagnostic)
    assert "cpu/idt.s:12: error:" in str(diagnostic)


def test_a_register_of_another_mode_is_named_as_such() -> None:
    with pytest.raises(InputError, match="no register `rax' in 32-bit mode"):
        read("mov eax, rax", 32)


@given(
    st.text(alphabet="abrsxeiptqwdmovjl0189[]()+-*/%:,.'\"$_<>|&~!{}@#;\\ \téK", max_size=40),
    st.sampled_from([16, 32, 64]),
)
@settings(max_examples=400, deadline=None)
def test_any_text_is_a_statement_or_an_input_error(text: str, mode: Mode) -> None:
    for statement in (text, f"mov eax, {text}", f"jmp {text}"):
        try:
            assert isinstance(parse(statement, HERE, mode, CONSTANTS.get), Insn)
        except InputError as error:
            assert error.diagnostics


@given(st.sampled_from(["rax", "rdi", "r9", "rsp", "rip", "eax", "sym", "K", "8", "-4", "0x10"]), st.data())
@settings(max_examples=150, deadline=None)
def test_the_short_way_reads_what_the_grammar_reads(first: str, data: st.DataObject) -> None:
    """``[a + b]`` goes term by term; a pair of parentheses sends the same address through the grammar."""
    terms = [
        first,
        *data.draw(st.lists(st.sampled_from(["rbx", "rcx*8", "r9*1", "K", "sym", "1", "-8"]), max_size=3)),
    ]
    inner = " + ".join(terms)

    def outcome(text: str) -> object:
        try:
            size, segment, base, index, scale, disp = memory(f"lea rax, [{text}]")
        except InputError:
            return "refused"
        named = parse_cached(disp).symbol_offset() if isinstance(disp, str) else disp
        return size, segment, base, index, scale, named

    assert outcome(inner) == outcome(f"({inner})")
