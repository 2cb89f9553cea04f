"""The emulated machine for one routine: registers, memory, ports, substitutes, and every way a run can end."""

from __future__ import annotations

import random
from functools import partial
from typing import get_args

import pytest

from toolchain.errors import InputError
from toolchain.harness import BUFFER_BASE, DIRECT_BASE, HALT, STACK_TOP, End, Harness
from toolchain.headers import GENERAL
from toolchain.steps import stepping
from toolchain.types import Image, Section, Symbol

TEXT = 0xFFFFFFFF80100000
DATA = 0xFFFFFFFF80101000
ENDS = set(get_args(End))


def machine(code: str, **more: str) -> Harness:
    """A harness whose routine ``f`` is the given hex; further routines by name."""
    text, symbols = b"", []
    for name, body in {"f": code, **more}.items():
        symbols.append(Symbol(name, TEXT + len(text), 0, "func", ".text", "x.s", 1, True))
        text += bytes.fromhex(body)
    sections = (
        Section(".text", TEXT, 0x100000, len(text), text, "ax", 4096),
        Section(".data", DATA, 0x101000, 16, b"\x11" * 8, "aw", 4096),
    )
    return Harness(Image(TEXT, sections, tuple(symbols), (), ("x.s",)))


def test_returns_with_its_result() -> None:
    result = machine("488d4701 c3").call("f", {"rdi": 41})  # lea rax, [rdi+1]; ret
    assert (result.end, result.registers["rax"], result.value("al")) == ("returned", 42, 42)
    assert result.registers["rbx"] == result.before["rbx"]


def test_same_seed_same_noise() -> None:
    harness = machine("c3")
    assert harness.call("f", seed=7).before == harness.call("f", seed=7).before
    assert harness.call("f", seed=7).before != harness.call("f", seed=8).before


def test_steps_hold_only_what_the_routine_did() -> None:
    """Reading the registers back after the return is no store of the return."""
    with stepping() as stepper:
        harness = machine("48897c24f8 48c7c003000000 c3")  # mov [rsp - 8], rdi; mov rax, 3; ret
        harness.call("f", {"rdi": 41})
    first, second, last = stepper.steps
    assert [value for *_, value in first.stores] == [41]
    assert (second.stores, last.stores, len(last.loads)) == ([], [], 1)


def test_flags() -> None:
    assert machine("f9 c3").call("f").flag("cf")
    assert not machine("f8 c3").call("f").flag("cf")


def test_unmapped_store_names_its_address() -> None:
    result = machine("48890425000000fd".replace("fd", "7d") + "c3").call("f")  # mov [0x7d000000], rax
    assert (result.end, result.address) == ("fault", 0x7D000000)


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("ebfe", "limit"),
        ("f4", "halt"),
        ("cd20", "interrupt"),
        ("0f0b", "fault"),
        ("31c9f7f1c3", "interrupt"),
    ],
)
def test_ways_to_end(code: str, end: str) -> None:
    assert machine(code).call("f", limit=1000).end == end


def test_ports() -> None:
    result = machine("ba f8030000 b0 41 ee ba fd030000 ec c3").call("f")
    assert result.ports == ((0x3F8, 1, 0x41),)
    assert result.value("al") == 0x60


def test_substitute_runs_instead() -> None:
    harness = machine("e803000000 4889c3 c3".replace("e803000000", "e804000000"), g="0f0b")

    def answer(h: Harness) -> None:
        h.set("rax", 0x1234)
        h.set_flag("cf", True)

    harness.substitute("g", answer)
    result = harness.call("f")
    assert (result.end, result.registers["rbx"], result.calls) == ("returned", 0x1234, ("g",))
    assert result.flag("cf")


def test_reset_restores_memory() -> None:
    harness = machine("c3")
    harness.write_u64(DATA, 0)
    harness.write_u64(DIRECT_BASE, 5)
    harness.write(BUFFER_BASE, b"x")
    harness.reset()
    assert harness.read_u64(DATA) == 0x1111111111111111
    assert harness.read_u64(DIRECT_BASE) == 0
    assert harness.read(BUFFER_BASE, 1) == b"\0"


def test_errors_are_named() -> None:
    harness = machine("c3")
    with pytest.raises(InputError, match="no symbol 'g'"):
        harness.call("g")
    with pytest.raises(InputError, match="nothing is mapped"):
        harness.read(0x1000, 4)


def test_a_call_is_cheap_to_repeat_and_always_the_same() -> None:
    harness = machine("488d4701 c3")
    for number in range(50):
        assert harness.call("f", {"rdi": number}).registers["rax"] == number + 1


def test_every_register_goes_in_and_comes_out() -> None:
    given = {name: 0x1234_0000_0000_0000 | number for number, name in enumerate(GENERAL) if name != "rsp"}
    result = machine("c3").call("f", given)
    assert {name: result.registers[name] for name in given} == given
    assert result.registers["rsp"] == result.before["rsp"] + 8
    assert result.before["rsp"] % 16 == 8


def test_a_hook_is_seen_in_code_that_has_run() -> None:
    harness = machine("e804000000 4889c3 c3", g="31c0 c3")
    assert harness.call("f").registers["rbx"] == 0
    harness.substitute("g", lambda h: h.set("rax", 7))
    assert harness.call("f").registers["rbx"] == 7
    harness.renew()
    assert harness.call("f").registers["rbx"] == 0


def test_a_routine_is_substituted_once() -> None:
    harness = machine("c3")
    harness.substitute("f", lambda h: None)
    with pytest.raises(InputError, match="already"):
        harness.substitute("f", lambda h: None)


def test_device_windows() -> None:
    harness = machine("8b07 83c001 894708 c3")  # mov eax, [rdi]; add eax, 1; mov [rdi+8], eax
    seen: list[tuple[int, int, int]] = []
    harness.window(0xFD00_0000, 0x1000, lambda o, s: 0x40 + o, lambda o, s, v: seen.append((o, s, v)))
    assert harness.call("f", {"rdi": 0xFD00_0010}).end == "returned"
    assert seen == [(0x18, 4, 0x51)]
    with pytest.raises(InputError, match="no device can be mapped"):
        harness.window(0xFD00_0000, 0x1000, lambda o, s: 0, lambda o, s, v: None)
    harness.renew()
    assert harness.call("f", {"rdi": 0xFD00_0010}).end == "fault"


def test_ports_are_told_and_answered() -> None:
    harness = machine("ba f80c0000 b8 01000080 ef ba fc0c0000 ed c3")
    seen: list[tuple[int, int, int]] = []
    harness.port_out = lambda port, size, value: seen.append((port, size, value))
    harness.port_in = lambda port, size: port + size
    assert harness.call("f").value("eax") == 0xCFC + 4
    assert seen == [(0xCF8, 4, 0x8000_0001)]


def test_cpuid_is_answered() -> None:
    harness = machine("b807000000 31c9 0fa2 c3")
    harness.cpuid = lambda leaf, subleaf: (leaf, subleaf, 3, 4)
    result = harness.call("f")
    assert [result.registers[name] for name in ("rax", "rbx", "rcx", "rdx")] == [7, 0, 3, 4]


def test_code_entered_with_all_registers_given() -> None:
    harness = machine("50 4801d8 5b c3")  # push rax; add rax, rbx; pop rbx; ret
    stack = STACK_TOP - 0x100
    harness.write_u64(stack, HALT)
    registers = {name: number for number, name in enumerate(GENERAL)} | {"rsp": stack, "rflags": 0x2}
    result = harness.enter(harness.address("f"), registers)
    assert result.end == "returned"
    assert result.registers["rax"] == registers["rax"] + registers["rbx"]
    assert result.registers["rbx"] == registers["rax"]


def test_a_probe_may_stop_a_run() -> None:
    harness = machine("31c0 ffc0 ffc0 c3")
    harness.probe(TEXT + 4, lambda h: h.stop())
    result = harness.enter(TEXT, dict.fromkeys(GENERAL, 0) | {"rsp": STACK_TOP - 0x100})
    assert (result.end, result.registers["rax"], result.rip) == ("returned", 1, TEXT + 4)


def test_the_cpu_is_as_before_after_a_reset() -> None:
    harness = machine("0f20e0 0c80 0f22e0 c3")  # sets CR4.PGE
    before = harness.get("cr4")
    harness.call("f")
    assert harness.get("cr4") == before | 0x80
    harness.reset()
    assert harness.get("cr4") == before


def test_an_image_that_cannot_be_mapped_is_refused() -> None:
    section = Section(".text", STACK_TOP - 0x1000, 0x100000, 1, b"\xc3", "ax", 4096)
    with pytest.raises(InputError, match="cannot be mapped"):
        Harness(Image(0, (section,), (), (), ()))


@pytest.mark.parametrize("seed", range(6))
def test_no_code_takes_the_machine_down(seed: int) -> None:
    noise = random.Random(seed)
    for _ in range(150):
        harness = machine(noise.randbytes(64).hex())
        for call in range(2):
            assert harness.call("f", {"rdi": BUFFER_BASE}, seed=call, limit=2000).end in ENDS


def test_another_image_in_the_same_machine_behaves_as_in_a_new_one() -> None:
    """Nothing of the first shows: no translated code, no dirt in code, gaps, stub or data, no substitute, no window."""
    codes = [
        "b801000000 c3",  # mov eax, 1; ret
        "b802000000 c3",
        "c705f6ff0f00 90909090 b803000000 c3",  # a store into the gap behind
        "c605f9ffffff 07 b804000000 c3",  # a store into its own code
        "488b0500f00f00 c3",
        "ebfe",
        "f4",
        "0f0b",
        "c20800",
        "48c70500000000 01000000 c3",
        "488b04250010100080 c3",
        "b801000000 c3",
    ]
    reused = machine("c3")
    for number, code in enumerate(codes * 2):
        image, fresh = machine(code).image, machine(code)
        if number % 3 == 0:  # what else makes it translate anew is not always there
            reused.memory(0x7000_0000, 0x1000)
            reused.substitute("f", lambda m: m.set("rax", 99))
            assert reused.call("f").registers["rax"] == 99
        reused.write(TEXT, b"\xcc" * 64)
        reused.write(DATA + 0x800, b"\xee" * 8)
        reused.set("gs_base", 0x1234)
        assert reused.load(image)
        for seed in range(2):
            assert reused.call("f", seed=seed, limit=500) == fresh.call("f", seed=seed, limit=500), number
        for start, size in ((TEXT, 4096), (DATA, 4096)):
            assert reused.read(start, size) == fresh.read(start, size), number
        assert reused.get("gs_base") == fresh.get("gs_base")
        with pytest.raises(InputError, match="nothing is mapped"):
            reused.read(0x7000_0000, 1)


def test_an_image_of_other_pages_needs_a_machine_of_its_own() -> None:
    harness = machine("c3")
    more = Section(".more", DATA + 0x1000, 0x102000, 16, b"", "aw", 4096, True)
    other = harness.image._replace(sections=(*harness.image.sections, more))
    assert not harness.load(other) and harness.call("f").end == "returned"


def test_what_was_to_run_at_a_place_is_forgotten_and_set_anew() -> None:
    harness = machine("e801000000 c3", g="b807000000 c3")  # call g; ret; g: mov eax, 7; ret
    seen: list[str] = []

    def note(name: str, _: Harness) -> None:
        seen.append(name)

    for name in ("one", "two", "three"):
        harness.probe(harness.address("g"), partial(note, name))
        assert harness.call("f").registers["rax"] == 7
        harness.forget()
        assert harness.call("f").registers["rax"] == 7
    assert seen == ["one", "two", "three"]
    harness.substitute("g", lambda m: m.set("rax", 9))
    harness.probe(harness.address("g"), lambda m: seen.append("both"))
    assert harness.call("f").registers["rax"] == 9 and seen[-1] == "both"
    harness.forget()
    assert harness.call("f").registers["rax"] == 7


def test_places_that_nobody_looks_at_any_more_do_not_pile_up() -> None:
    harness = machine("90" * 2000 + "c3")
    count = 0

    def step(_: Harness) -> None:
        nonlocal count
        count += 1

    for _ in range(3):
        for place in range(600):
            harness.probe(TEXT + place, step)
        harness.call("f", limit=5000)
        harness.forget()
    assert count == 1800
    harness.call("f", limit=5000)
    assert count == 1800


def test_memory_is_empty_again_after_a_reset() -> None:
    harness = machine("48891f c3")  # mov [rdi], rbx; ret
    places = (DIRECT_BASE, DIRECT_BASE + 0x5000, BUFFER_BASE + 8)
    for _ in range(2):
        for place in places:
            assert harness.call("f", {"rdi": place, "rbx": 5}).end == "returned"
            assert harness.read_u64(place) == 5
        harness.reset()
        assert all(harness.read_u64(place) == 0 for place in places)


@pytest.mark.parametrize("value", [0, 1, 0x1234, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("name", ["rax", "rsp", "r15", "rip"])
def test_a_register_is_the_word_that_the_emulator_holds(name: str, value: int) -> None:
    cpu = machine("c3")
    cpu.set(name, value)
    assert cpu.get(name) == cpu._uc.reg_read(cpu._number(name)) == value
