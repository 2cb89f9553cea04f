"""Whole programs against as + ld: the same bytes at the same addresses, or an error from both."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit import gnu_link
from toolchain import generate, layout, nops
from toolchain.encode import Encoder
from toolchain.errors import InputError
from toolchain.types import Diagnostic

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
KERNEL = ROOT / "kernel"
PROLOGUE = ".intel_syntax noprefix\n.globl _start\n_start:\n"
LAYOUT = gnu_link.small_layout()


def programs(name: str) -> list[tuple[str, str]]:
    """(name, source) of every program in a fixture file."""
    _, *blocks = (FIXTURES / name).read_text(encoding="utf-8").split("\n=== ")
    return [(title, body + "\n") for title, _, body in (block.partition("\n") for block in blocks)]


def named(name: str) -> list[object]:
    return [pytest.param(body, id=title) for title, body in programs(name)]


# What gas takes though it means nothing: it warns and cuts off, or settles a circle one way or another.
STRICTER = re.compile(r"depends on the size of this gap|negative count|gap of -|does not fit|never settle")


def check(source: str, encoder: Encoder) -> None:
    """Both make the same image of ``source``, or both refuse it, or we are stricter on purpose."""
    oracle = gnu_link.gnu({"p.s": source}, LAYOUT)
    try:
        image = gnu_link.ours({"p.s": source}, LAYOUT, encoder)
    except InputError as error:
        told = [str(diagnostic) for diagnostic in error.diagnostics]
        assert oracle.complaint or all(STRICTER.search(line) for line in told), (
            "as + ld take what we refuse:\n" + "\n".join(error.lines())
        )
    else:
        assert not oracle.complaint, f"we take what as + ld refuse: {oracle.complaint}"
        assert gnu_link.differences(image, oracle) == []


@pytest.mark.parametrize("source", named("language.txt"))
def test_language(source: str, encoder: Encoder) -> None:
    oracle = gnu_link.gnu({"p.s": PROLOGUE + source}, LAYOUT)
    assert not oracle.complaint
    image = gnu_link.ours({"p.s": PROLOGUE + source}, LAYOUT, encoder)
    assert gnu_link.differences(image, oracle) == []


def error_lines(source: str, encoder: Encoder) -> list[int]:
    """The lines (outermost expansion) at which we find errors."""
    with pytest.raises(InputError) as caught:
        gnu_link.ours({"p.s": source}, LAYOUT, encoder)
    places = [d.place for d in caught.value.diagnostics if isinstance(d, Diagnostic)]
    assert places
    return sorted({(place.trail[-1] if place.trail else place).line for place in places})


def marked(source: str) -> list[int]:
    return [number for number, line in enumerate(source.splitlines(), 1) if line.endswith("# !")]


@pytest.mark.parametrize("source", named("language_errors.txt"))
def test_language_errors(source: str, encoder: Encoder) -> None:
    source = PROLOGUE + source
    assert gnu_link.gnu({"p.s": source}, LAYOUT).complaint
    assert error_lines(source, encoder) == marked(source)


@pytest.mark.parametrize("source", named("language_strict.txt"))
def test_stricter_than_gas(source: str, encoder: Encoder) -> None:
    assert error_lines(PROLOGUE + source, encoder) == marked(PROLOGUE + source)


def test_difference_behind_a_register(encoder: Encoder) -> None:
    """The value that gas 2.40 loses, and the same operand as gas gets it right.

    gas takes ``[rax + y - x]`` for ``[rax]`` where both labels lie in one fragment (on one line of data, say), in
    whatever section; with parentheses, or the labels first, it has the distance. Ours has it always.
    """
    data = ".section .rodata\nx: .byte 1, 2\ny: .byte 3\n.text\n"
    oracle = gnu_link.gnu({"p.s": PROLOGUE + data + "lea rdx, [rax + (y - x) + 1]\n"}, LAYOUT)
    for operand in ("rax + (y - x) + 1", "rax + y - x + 1", "y - x + 1 + rax", "rax + 1 + y - x"):
        image = gnu_link.ours({"p.s": f"{PROLOGUE}{data}lea rdx, [{operand}]\n"}, LAYOUT, encoder)
        assert gnu_link.differences(image, oracle) == [], operand


# --- generated programs ------------------------------------------------------------------------------------

LABELS = [f"l{n}" for n in range(6)]
BRANCHES = ["jmp", "je", "jne", "ja", "jl", "call", "jc", "jns"]
label = st.sampled_from(LABELS)
small = st.integers(0, 200)
statement = st.one_of(
    st.builds("{} {}".format, st.sampled_from(BRANCHES), label),
    st.builds("{} {}".format, st.sampled_from(BRANCHES), st.sampled_from(["1f", "1b", "2f", "2b", "out", "glob"])),
    st.builds(".skip {}".format, st.sampled_from([1, 3, 60, 100, 110, 118, 120, 122, 124, 125, 126, 127, 128, 130])),
    st.builds(".p2align {}".format, st.integers(0, 6)),
    st.builds(".balign {}, {}".format, st.sampled_from([2, 4, 8, 16]), st.sampled_from(["0xcc", "0x90", "0"])),
    st.builds(".p2align {},,{}".format, st.integers(0, 5), st.integers(1, 20)),
    st.builds(".long {} - {}, {}".format, label, label, small),
    st.builds(".quad {}, . - {}".format, label, label),
    st.builds(".byte {}, -{}".format, small, st.integers(0, 128)),
    st.builds("mov rax, [rip + {}]".format, label),
    st.builds("mov rax, offset {}".format, label),
    st.builds("mov ecx, {} - {}".format, label, label),
    st.builds("add rdx, {} - {}".format, label, label),
    st.builds("lea rdi, [rip + {} + {}]".format, label, small),
    st.builds("push {}".format, st.sampled_from(["rax", "r12", "5", "0x80", "K"])),
    st.builds("mov dword ptr [rdi + {}], {}".format, small, st.sampled_from(["K", "K * 3", "7", "0x11223344"])),
    st.builds(".set K, {}".format, st.sampled_from(["1", "K + 1", "0x80", "K * 2 - 1"])),
    st.sampled_from(["nop", "ret", "1:", "2:", "1: 2: nop", "K = 9", "nop; nop", "/* x */ cli # y", "m K, 3", "m 1",
                     "r", "n", ".if K > 4\nsti\n.else\ncld\n.endif", ".rept 3\n.byte K\n.endr"]),
    st.sampled_from([".text", ".data", ".section .rodata", ".code32\npush eax\n.code64", ".pushsection .data\n"
                     ".quad 5\n.popsection", ".previous"]),
    st.builds(".skip 64 - ({} - {})".format, label, label),
    st.builds(".irp q, {}, {}, 5\n.byte \\q\n.endr".format, small, small),
)  # fmt: skip
MACROS = """
.set K, 2
.macro m a, b=7
.byte \\a, \\b
.Lm\\@: jmp .Lm\\@
.endm
.macro r
.irp z, rax, rbx
push \\z
.endr
.endm
.macro n
r
m b=1, a=K
.endm
.globl glob
"""


def program(statements: list[str], seed: int) -> str:
    """A program of ``statements`` with every label somewhere in it."""
    chance = random.Random(seed)
    lines = list(statements)
    for name in LABELS:
        lines.insert(chance.randrange(len(lines) + 1), f"{name}:")
    lines.insert(chance.randrange(len(lines) + 1), "glob: nop")
    return (
        PROLOGUE
        + MACROS
        + "1: 2: nop\n"
        + "\n".join(lines)
        + '\n1: 2: nop\n.section .text.out, "ax"\nout: ret\n'
    )


SETTINGS = settings(
    deadline=None,
    max_examples=60,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@SETTINGS
@given(statements=st.lists(statement, min_size=1, max_size=60), seed=st.integers(0, 99))
def test_generated_programs(encoder: Encoder, statements: list[str], seed: int) -> None:
    check(program(statements, seed), encoder)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(SETTINGS, max_examples=1000)
@given(statements=st.lists(statement, min_size=20, max_size=120), seed=st.integers(0, 99))
def test_many_generated_programs(encoder: Encoder, statements: list[str], seed: int) -> None:
    check(program(statements, seed), encoder)


argument = st.text(alphabet='a1b_ .$+-*/()[]{}<>&|^!~,  ="', min_size=0, max_size=12)
ECHO = """
.macro echo a, b="2 3", c:vararg
.ascii "<\\a|\\b|\\c>"
.endm
.macro twice p, q:vararg
echo \\p \\q
echo \\q, \\p
.irp z, \\q
.ascii "{\\z}"
.endr
.endm
"""


@SETTINGS
@given(calls=st.lists(st.tuples(st.sampled_from(["echo", "twice"]), argument), min_size=1, max_size=3))
def test_macro_arguments(encoder: Encoder, calls: list[tuple[str, str]]) -> None:
    lines = [f"{name} {text}" for name, text in calls if not re.match(r"\s*[=:]|.*/\*", text)]
    source = PROLOGUE + ECHO + "\n".join(lines) + "\n"
    oracle = gnu_link.gnu({"p.s": source}, LAYOUT)
    try:
        image = gnu_link.ours({"p.s": source}, LAYOUT, encoder)
    except InputError:
        return  # gas only warns of some malformed calls; what it takes without a word is tested above
    assert not oracle.complaint
    assert gnu_link.differences(image, oracle) == []


def test_gaps_of_every_size(encoder: Encoder) -> None:
    """The nops of gaps are those of gas 2.40; another gas is asked for its own, all else must agree."""
    for mode in (16, 32, 64):
        counts = [*range(1, 60), 127, 129, 130, 300]
        lines = [f".code{mode}", *(f".skip {512 - count}\n.balign 512" for count in counts)]
        check(PROLOGUE + "\n".join(lines) + "\n", encoder)


def test_another_gas_may_fill_gaps_otherwise(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nops, "_LONG", tuple(bytes([0x90]) * (n + 1) for n in range(9)))
    nops.fill.cache_clear()
    gnu_link.fills_gaps_otherwise.cache_clear()
    try:
        assert gnu_link.fills_gaps_otherwise()
        check(PROLOGUE + "nop\n.balign 64\nret\n", encoder)
    finally:
        monkeypatch.undo()
        nops.fill.cache_clear()
        gnu_link.fills_gaps_otherwise.cache_clear()


# --- the kernel --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kernel_includes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    out = tmp_path_factory.mktemp("kernel")
    generate.generate(KERNEL, out)
    return [out / "gen", *(KERNEL / folder for folder in layout.load(KERNEL / "image.toml").include)]


KERNEL_LAYOUT = layout.load(KERNEL / "image.toml")
KERNEL_UNITS = [path.relative_to(KERNEL).as_posix() for path in KERNEL_LAYOUT.units(KERNEL)]


@pytest.mark.parametrize("unit", KERNEL_UNITS)
def test_kernel_unit(unit: str, encoder: Encoder, kernel_includes: list[Path]) -> None:
    """Each unit alone: sections, relocations and symbols as as has them, seen through a link with what it lacks."""
    source = KERNEL / unit
    text = gnu_link.missing_symbols(source, kernel_includes, KERNEL_LAYOUT)
    sources: dict[str, str | Path] = {unit: source, "stubs.s": text}
    oracle = gnu_link.gnu(sources, KERNEL_LAYOUT, kernel_includes)
    assert not oracle.complaint
    image = gnu_link.ours(sources, KERNEL_LAYOUT, encoder, kernel_includes)
    assert gnu_link.differences(image, oracle) == []


def test_kernel(encoder: Encoder, kernel_includes: list[Path]) -> None:
    sources: dict[str, str | Path] = {unit: KERNEL / unit for unit in KERNEL_UNITS}
    oracle = gnu_link.gnu(sources, KERNEL_LAYOUT, kernel_includes)
    assert not oracle.complaint
    image = gnu_link.ours(sources, KERNEL_LAYOUT, encoder, kernel_includes)
    assert gnu_link.differences(image, oracle) == []
    assert image.entry == oracle.symbols[KERNEL_LAYOUT.entry]
