from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit import gnu_as
from toolchain import encode_libraries
from toolchain.encode import Encoder
from toolchain.encode_check import agrees
from toolchain.encode_guard import Guard
from toolchain.encode_shape import Shape
from toolchain.insn import Insn, parse
from toolchain.types import Diagnostic, Encoding, Fixup, Mode, Place

HERE = Place("mm/page.s", 3, "    mov eax, ebx", 4)


def read(text: str, mode: Mode = 64) -> tuple[Mode, Insn]:
    return mode, parse(text, HERE, mode, {"K": 8}.get)


def code(encoder: Encoder, text: str, mode: Mode = 64) -> str:
    (result,) = encoder.encode([read(text, mode)])
    assert isinstance(result, Encoding), result
    return result.data.hex()


def error(encoder: Encoder, text: str, mode: Mode = 64) -> str:
    (result,) = encoder.encode([read(text, mode)])
    assert isinstance(result, Diagnostic), result
    assert result.place is HERE
    assert result.expected
    return result.message


def test_a_batch_keeps_its_order_and_its_errors_apart(encoder: Encoder) -> None:
    texts = ["mov rax, rbx", "frobnicate rax", "ret", "mov eax, xmm0", "mov rax, rbx"]
    results = encoder.encode([read(text) for text in texts])
    assert [type(result) for result in results] == [Encoding, Diagnostic, Encoding, Diagnostic, Encoding]
    assert results[0] == results[4] == Encoding(bytes.fromhex("4889d8"))
    assert "no such instruction: `frobnicate'" in str(results[1])


def test_statements_that_differ_in_numbers_differ_in_bytes(encoder: Encoder) -> None:
    assert code(encoder, "mov dword ptr [rdi+8], 5") == "c7470805000000"
    assert code(encoder, "mov dword ptr [rdi-8], 0xfee00000") == "c747f80000e0fe"
    assert code(encoder, "mov dword ptr [rdi+0x1000], -1") == "c78700100000ffffffff"
    assert code(encoder, "add rax, 127") == "4883c07f"
    assert code(encoder, "add rax, 128") == "480580000000"
    assert code(encoder, "and eax, ~(1<<31)") == "25ffffff7f"
    assert code(encoder, "and byte ptr [rdi], ~0x80") == "80277f"


@pytest.mark.parametrize(
    ("text", "fixups"),
    [
        ("mov rax, [rip+sym]", [(3, 4, "pcrel", "sym")]),
        ("mov dword ptr [rip+sym], 5", [(2, 4, "pcrel", "sym")]),
        ("mov rax, [sym+rcx*8]", [(4, 4, "signed", "sym")]),
        ("mov eax, [ebx+sym]", [(3, 4, "unsigned", "sym")]),
        ("mov rax, offset sym", [(3, 4, "signed", "sym")]),
        ("mov eax, offset sym", [(1, 4, "unsigned", "sym")]),
        ("mov ax, offset sym", [(2, 2, "either", "sym")]),
        ("movabs rax, offset sym + 4", [(2, 8, "either", "(sym + 4)")]),
        ("push offset sym", [(1, 4, "signed", "sym")]),
        ("mov dword ptr [sym], offset other", [(3, 4, "signed", "sym"), (7, 4, "unsigned", "other")]),
        ("mov qword ptr gs:[K], offset sym", [(9, 4, "signed", "sym")]),
        ("cmp byte ptr [rip+sym], '/'", [(2, 4, "pcrel", "sym")]),
    ],
)
def test_fields_for_the_linker(encoder: Encoder, text: str, fixups: list[tuple[int, int, str, str]]) -> None:
    (result,) = encoder.encode([read(text)])
    assert isinstance(result, Encoding)
    assert [(item.offset, item.size, item.kind, str(item.operand)) for item in result.fixups] == fixups
    for item in result.fixups:
        assert not any(result.data[item.offset : item.offset + item.size])


def test_branches_have_two_forms_when_the_linker_may_choose(encoder: Encoder) -> None:
    forms: dict[str, tuple[str, str | None]] = {
        "jmp sym": ("e900000000", "eb00"),
        "jnz 1f": ("0f8500000000", "7500"),
        "call sym": ("e800000000", None),
        "jmp 0x1000": ("e900000000", None),
        "loop 1b": ("e200", None),
        "jrcxz 1f": ("e300", None),
        "xbegin sym": ("c7f800000000", None),
    }
    for text, (long, short) in forms.items():
        (result,) = encoder.encode([read(text)])
        assert isinstance(result, Encoding)
        assert result.data.hex() == long
        assert (result.short.data.hex() if result.short else None) == short
        assert [item.kind for item in result.fixups] == ["pcrel"]


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        ("mov al, 256", 64, "value 0x100 does not fit 8 bits"),
        ("out 0x3f8, al", 64, "does not fit 8 bits"),
        ("add rax, 0x80000000", 64, "does not fit 32 bits"),
        ("mov rax, [rax+0x80000000]", 64, "displacement 0x80000000 does not fit"),
        ("mov ebx, [0xfee00000]", 64, "does not fit"),
        ("int 256", 64, "does not fit 8 bits"),
        ("mov [rdi], 5", 64, "unsized memory"),
        ("inc [rdi]", 64, "unsized memory"),
        ("mov dword [rdi], 5", 64, "unsized memory"),
        ("lgdt fword ptr [rax]", 64, "fword memory"),
        ("sysret", 64, "in 64-bit code"),
        ("pusha", 64, "in 64-bit code"),
        ("lock mov [rdi], eax", 64, "prefix `lock'"),
        ("lock add eax, [rdi]", 64, "memory destination"),
        ("rep add eax, ebx", 64, "prefix `rep'"),
        ("salc", 32, "no such instruction"),
        ("loop 0x1000", 64, "absolute address"),
        ("jrcxz 1f", 32, "no direct target"),
        ("enqcmd rax, [edi]", 64, "as wide as"),
        ("addps xmm0, [bx]", 16, "does not take"),
        ("mov spl, ah", 64, ""),
        ("vaddps xmm16, xmm1, xmm2", 64, "512-bit"),
    ],
)
def test_what_cannot_be_encoded_is_an_error_with_a_reason(
    encoder: Encoder, text: str, mode: Mode, message: str
) -> None:
    assert message in error(encoder, text, mode)


def test_prefixes_alone_are_bytes(encoder: Encoder) -> None:
    assert code(encoder, "lock") == "f0"
    assert code(encoder, "repne") == "f2"
    assert "stands alone" in error(encoder, "data16")


def test_prefixes_stand_in_the_order_of_gnu_as(encoder: Encoder) -> None:
    assert code(encoder, "lock add word ptr gs:[edi], 1") == "656766f0830701"
    assert code(encoder, "rep gs movsw") == "6566f3a5"
    assert code(encoder, "rex.w ljmp [rax]") == "48ff28"
    assert code(encoder, "data32 lgdt [0x7c00]", 16) == "660f0116007c"


# --- the worker --------------------------------------------------------------------------------------------


@pytest.fixture
def guard() -> Iterator[Guard]:
    with Guard() as made:
        yield made


DEADLY = "64 - mov ah, r8b"  # ends Keystone's process
ENDLESS = "64 - .reloc ., R_X86_64_NONE"  # never returns


@pytest.mark.parametrize("culprit", [DEADLY, pytest.param(ENDLESS, marks=pytest.mark.slow)])
def test_a_statement_that_kills_or_hangs_keystone_costs_only_itself(guard: Guard, culprit: str) -> None:
    lines = [f"64 - mov eax, {number}" for number in range(60)]
    lines[33] = culprit
    guard.submit(lines)
    replies = guard.collect()
    assert replies[33] == "!Keystone died or hung on this statement"
    for number in (*range(33), *range(34, 60)):
        assert replies[number].startswith(f"b8{number:02x}000000\t")
    assert guard.restarts == 2  # once with the chunk, once alone
    guard.submit(["64 - nop"])
    assert guard.collect() == ["90\tnop"]


@pytest.mark.long
def test_a_statement_that_hangs_keystone_costs_only_itself(guard: Guard) -> None:
    guard.submit(["64 - nop", f"!{ENDLESS}", "64 - hlt"])
    assert guard.collect() == ["90\tnop", "!Keystone died or hung on this statement", "f4\thlt"]
    assert guard.restarts == 1


def test_a_worker_that_is_killed_is_replaced(guard: Guard) -> None:
    guard.submit(["64 - nop"])
    guard.collect()
    os.kill(guard.pid, signal.SIGKILL)
    guard.submit(["64 - hlt", "64 - cli"])
    assert guard.collect() == ["f4\thlt", "fa\tcli"]


def test_a_worker_that_is_dismissed_leaves_nothing(guard: Guard) -> None:
    guard.start()
    first = guard.pid
    guard.dismiss()
    guard.submit(["64 - nop"])
    assert guard.collect() == ["90\tnop"]
    assert guard.pid != first
    assert first not in map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_the_worker_ends_with_its_guard(guard: Guard) -> None:
    guard.submit(["64 - nop"])
    guard.collect()
    pid = guard.pid
    guard.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_beside_other_threads_the_worker_is_a_fresh_process(guard: Guard) -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        guard.submit(["64 - nop", DEADLY])
        assert guard.collect() == ["90\tnop", "!Keystone died or hung on this statement"]
    finally:
        done.set()
        thread.join()


def test_a_fork_has_a_worker_of_its_own(guard: Guard) -> None:
    guard.submit(["64 - nop"])
    assert guard.collect() == ["90\tnop"]
    pid = os.fork()
    if pid == 0:
        guard.submit(["64 - hlt"])
        fine = guard.collect() == ["f4\thlt"]
        guard.close()
        os._exit(0 if fine else 1)
    assert os.waitpid(pid, 0)[1] == 0
    guard.submit(["64 - cli"])
    assert guard.collect() == ["fa\tcli"]


def test_thousands_of_statements_at_once(guard: Guard) -> None:
    count = 5000
    guard.submit([f"64 - mov rax, {number:#x}" for number in range(count)])
    guard.submit(
        ["32 - bogus", "64 +f0 add dword ptr [rdi], eax", "16 =8b07", "64 * mov eax, [rdi*2 + 0x11223344]"]
    )
    replies = guard.collect()
    assert replies[count - 1].startswith("48c7c087130000\t")
    assert replies[count][0] == "!"
    assert replies[count + 1 :] == [
        "f00107\tlock add dword ptr [rdi], eax",
        "8b07\tmov ax, word ptr [bx]",
        "8b043d44332211\tmov eax, dword ptr [rdi + 0x11223344]",
    ]


def test_both_ways_to_the_libraries_say_the_same() -> None:
    direct, bindings = encode_libraries.load(), encode_libraries.load(direct=False)
    assert type(direct) is not type(bindings)
    for mode, text in ((64, "mov rax, rbx;nop"), (32, "lock inc dword ptr [eax]"), (64, "addps xmm1, xmm2")):
        data, count = direct.assemble(mode, text)
        assert (data, count) == bindings.assemble(mode, text)
        assert direct.decode(mode, data) == bindings.decode(mode, data) != []
    for libraries in (direct, bindings):
        with pytest.raises(encode_libraries.NoEncoding):
            libraries.assemble(64, "frobnicate")


# --- the comparison ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "read_back", "same"),
    [
        ("mov eax, [rdi]", "mov eax, dword ptr [rdi]", True),
        ("test eax, [rdi]", "test dword ptr [rdi], eax", True),
        ("sal eax, 0x22", "shl eax, 0x22", True),
        ("setz cl", "sete cl", True),
        ("stosb", "stosb byte ptr [rdi], al", True),
        ("fadd st(0), st(1)", "fadd st(1)", True),
        ("finit", "wait; fninit", True),
        ("mov spl, ah", "mov spl, spl", False),
        ("mov rax, [rax + rbx]", "mov rax, qword ptr [rax]", False),
        ("mov word ptr [rdi], ax", "mov dword ptr [rdi], ax", False),
        ("add eax, 0x22", "sub eax, 0x22", False),
        ("lock add [rdi], eax", "add dword ptr [rdi], eax", False),
        ("jmp qword ptr [rax]", "jmp ptr [rax]", False),
        ("mov eax, 0x22", "", False),
    ],
)
def test_what_is_decoded_must_say_what_was_said(said: str, read_back: str, same: bool) -> None:
    assert agrees(said, read_back) is same


def test_an_answer_that_says_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    learn = Shape.learn

    def wrong(shape: Shape, reply: str) -> None:
        learn(shape, reply.replace("add", "sub"))

    monkeypatch.setattr(Shape, "learn", wrong)
    core = read("add r13, r14")[1].core
    core.plan = None  # what another test has learnt of it
    with Encoder() as fresh:
        assert "would be encoded as `sub r13, r14'" in error(fresh, "add r13, r14")
    core.plan = None  # none shall learn from this one


# --- between runs ------------------------------------------------------------------------------------------


def test_answers_are_kept_and_no_worker_is_needed(tmp_path: Path) -> None:
    texts = ["mov rax, [rdi+8]", "add eax, 5", "mov rax, qword ptr gs:[K]"]
    with Encoder(tmp_path) as first:
        fresh = first.encode([read(text) for text in texts])
    with Encoder(tmp_path) as second:
        second._guard.start = second._guard.submit = None  # type: ignore[method-assign, assignment]
        kept = second.encode([(64, _unplanned(text)) for text in texts])
    assert kept == fresh


def _unplanned(text: str) -> Insn:
    insn = read(text)[1]
    insn.core.plan = None
    return insn


@pytest.mark.parametrize("damage", [b"", b"junk", "é".encode(), None])
def test_a_damaged_file_is_not_believed(tmp_path: Path, damage: bytes | None) -> None:
    with Encoder(tmp_path) as first:
        first.encode([(64, _unplanned("add r11, 5"))])
    path = tmp_path / "encodings"
    path.write_bytes(damage if damage is not None else path.read_bytes().replace(b"4983c3", b"4983eb"))
    with Encoder(tmp_path) as second:
        (result,) = second.encode([(64, _unplanned("add r11, 5"))])
    assert isinstance(result, Encoding)
    assert result.data.hex() == "4983c305"


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with Encoder(tmp_path / "file") as encoder:
        assert code(encoder, "hlt") == "f4"


def test_prime_only_hastens(encoder: Encoder) -> None:
    requests = [
        (64, _unplanned(text)) for text in ("sub r12, 77", "jmp sym", "mov r15, [rip+sym]", "nonsense")
    ]
    with Encoder() as fresh:
        fresh.prime(requests[:2])  # type: ignore[arg-type]
        fresh.prime(requests)  # type: ignore[arg-type]
        primed = fresh.encode(requests)  # type: ignore[arg-type]
    for _, insn in requests:
        insn.core.plan = None
    assert primed == encoder.encode(requests)  # type: ignore[arg-type]


# --- against GNU as ----------------------------------------------------------------------------------------


def test_fields_and_forms_against_gnu_as(encoder: Encoder) -> None:
    texts = """mov rax, [rip+sym]; mov rax, sym; lea rdi, [sym+rcx*8-4]; call sym; jmp sym; je sym; loop sym; jrcxz sym
    mov eax, [ebx+sym]; cmp byte ptr [rip+sym+1], 5; add word ptr [rip+sym], 0x1234; imul rax, [rip+sym], 1000
    mov rax, offset sym; mov eax, offset sym; mov al, offset sym; mov ax, offset sym; movabs rax, offset sym
    movabs rax, sym; push offset sym; add rax, offset sym; add ecx, offset sym; shl eax, offset sym; xbegin sym
    jmp qword ptr sym; call [rip+sym]; jmp [sym+rax*8]; mov gs:[sym], rax; lgdt [rip+sym]; jmp .; jmp .+2; jmp $-2
    lea eax, [sym]; lea eax, [rax+sym]; lea ax, [sym+rcx*8]; lea rax, [ebx+sym]; lea ecx, [rip+sym]; push sym - sym
    lea eax, [rax+0xffffffff]; lea eax, [0xfee00000]; lea eax, [rip+0x80000000]
    movaps xmm0, [rip+sym]; pshufd xmm0, [rip+sym], 0x1b; mov qword ptr [rip+sym], offset other; jmp 0x1000; je 0x1000
    call 0x1000; test dword ptr [rip+sym], 0x80000000; vmovups ymm0, [rip+sym]; vaddps zmm0, zmm1, [rip+sym]"""
    statements: list[tuple[Mode, str]] = [(64, text.strip()) for text in texts.replace("\n", ";").split(";")]
    thirty_two = """mov eax, [sym]; push offset sym; jmp 8:sym; ljmp 8, offset sym; call sym; add [sym+ebx*4], ecx
    jecxz sym; jcxz sym; mov ax, [sym]; lgdt [sym]; je sym; mov ecx, offset sym; mov dword ptr [sym], offset other"""
    sixteen = """mov ax, [sym]; mov eax, [bx+sym]; jmp sym; je sym; call sym; lgdt [sym]; ljmp 8, sym; jecxz sym
    data32 ljmp 8, sym; mov ax, offset sym; mov eax, offset sym; push offset sym; mov eax, [ebx+sym]; loop sym
    mov cs:[sym], ax; lidt [bp+sym]; cmp byte ptr [sym], 5"""
    statements += [(32, text.strip()) for text in thirty_two.replace("\n", ";").split(";")]
    statements += [(16, text.strip()) for text in sixteen.replace("\n", ";").split(";")]
    results = encoder.encode([(mode, parse(text, HERE, mode, lambda _: None)) for mode, text in statements])
    for (mode, text), result, verdict in zip(statements, results, gnu_as.assemble(statements), strict=True):
        assert verdict.data is not None, (mode, text, verdict.error)
        assert isinstance(result, Encoding), (mode, text, result)
        assert not gnu_as.difference(result, verdict), (mode, text)


def test_the_comparison_with_gnu_as_can_fail() -> None:
    (verdict,) = gnu_as.assemble([(64, "mov rax, [rip+sym]")])
    operand = read("mov rax, [rip+sym]")[1].operands[1]
    right = Encoding(bytes.fromhex("488b0500000000"), (Fixup(3, 4, "pcrel", operand.disp),))  # type: ignore[union-attr]
    assert not gnu_as.difference(right, verdict)
    assert gnu_as.difference(Encoding(bytes.fromhex("488b0d00000000"), right.fixups), verdict)
    assert gnu_as.difference(Encoding(right.data), verdict)
    assert gnu_as.difference(Encoding(right.data, (Fixup(3, 4, "signed", operand.disp),)), verdict)  # type: ignore[union-attr]
