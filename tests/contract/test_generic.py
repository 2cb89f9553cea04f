"""Header-driven contract checks: each promise broken once in a small image, and kept once."""

from __future__ import annotations

import pytest

from architect import contracts
from toolchain.types import Image, Section, Symbol

TEXT = 0xFFFFFFFF80100000
HEADER = """\
# f -- a routine
# In:       rdi = a:u64, esi = b:u32[1..9]
# Out:      rax = sum:u64, cf = failed
# Clobbers: rdx
# Context:  {context}
f:
"""


def image_of(code: str) -> Image:
    text = bytes.fromhex(code)
    sections = (Section(".text", TEXT, 0x100000, len(text), text, "ax", 4096),)
    return Image(
        TEXT, sections, (Symbol("f", TEXT, len(text), "func", ".text", "x.s", 1, True),), (), ("x.s",)
    )


def judge(code: str, context: str = "any") -> list[str]:
    (gate,) = contracts.run(image_of(code), None, {"x.s": HEADER.format(context=context)})
    promises = [v["promise"] for v in gate.evidence["violations"]]
    assert gate.passed == (not promises)
    return promises


@pytest.mark.parametrize(
    "code", ["488d0437 c3", "31d2 f9 c3", "53 31db 5b c3", "ebfe", "f4", "8b0425000000 40 c3"]
)
def test_kept_or_not_to_be_judged(code: str) -> None:
    assert judge(code) == []


@pytest.mark.parametrize(
    ("code", "promise"),
    [
        ("31db c3", "changes rbx, which its header does not list"),
        ("53 31c0 c3", "returns to an address that nobody called from: pushes and pops do not match"),
        ("fd c3", "leaves DF set"),
        ("fb c3", "changes IF"),
        ("c20800", "leaves the stack pointer off by 8"),
        ("4531ff c3", "changes r15, which its header does not list"),
    ],
)
def test_broken(code: str, promise: str) -> None:
    assert promise in judge(code)


def test_other_modes_are_not_judged() -> None:
    assert judge("31db c3", context="32-bit protected mode, paging off") == []


def test_only_the_routines_asked_for() -> None:
    image, sources = image_of("31db c3"), {"x.s": HEADER.format(context="any")}
    assert contracts.run(image, ["other"], sources)[0].passed
    assert not contracts.run(image, ["f"], sources)[0].passed


def test_inputs_obey_type_and_range() -> None:
    from architect.contracts.generic import inputs
    from toolchain.harness import Harness

    harness = Harness(image_of("c3"))
    (routine,) = contracts.routines({"x.s": HEADER.format(context="any")}).values()
    seen = {inputs(harness, routine, seed)["rsi"] for seed in range(200)}
    assert seen <= set(range(1, 10))
    assert {1, 9} <= seen


def test_the_first_violation_is_one_of_all() -> None:
    image, headers = image_of("31db fd c3"), contracts.routines({"x.s": HEADER.format(context="any")})
    asked = contracts.Asked()
    before = asked.order("f()")
    found = contracts.first(image, headers, None, (), asked)
    assert found in contracts.violations(image, headers)
    assert asked.order("f()") < before, "what broke is asked sooner"
    assert contracts.first(image_of("c3"), headers, ["f"], (), asked) is None
    assert contracts.first(image, headers, ["other"]) is None
