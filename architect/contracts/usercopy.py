"""Copies from and to ring 3, and stacks: each routine with stand-ins below it.

A copy is made in pieces of at most a page, each caught, with interrupts off; nothing beyond ring 3's range is touched.
"""

from __future__ import annotations

import random
import struct

from architect.contracts import contract
from architect.contracts.model import EXISTS, FULL, INVALID, NO_MEMORY, NOT_FOUND, NOT_MAPPED, TIMEOUT
from architect.contracts.steps import BUFFER, Step
from toolchain.harness import Harness

_PAGE = 0x1000
_FIRST, _END = 1 << 39, (1 << 47) - _PAGE
_AREA, _SLOT, _SLOTS = 0xFFFF_C000_0000_0000, 1 << 16, 4096
_QUIET = 0
_USER = _FIRST + 0x123


@contract("user_range_check")
def user_range_alone(harness: Harness) -> None:
    """From 512 GB to the last page of the lower half, whatever the length."""
    step = Step(harness, "user_range_check")
    for va, length in (
        (_FIRST, 0), (_FIRST, 1), (_FIRST - 1, 1), (0, 1), (_END - 1, 1), (_END - 1, 2), (_END, 0), (_END, 1),
        (_FIRST, _END - _FIRST), (_FIRST, _END - _FIRST + 1), (_FIRST, (1 << 64) - 1), (_FIRST, (1 << 64) - _FIRST),
        (1 << 63, 8), ((1 << 64) - 8, 8), (_END + 1, 0), (1 << 47, 1),
    ):  # fmt: skip
        right = va >= _FIRST and va + length <= _END
        promise = "refuses what ring 3 may have" if right else "accepts what is not ring 3's"
        step.run(promise, cf=not right, want={"rax": 0 if right else INVALID}, rdi=va, rsi=length)


@contract(
    "copy_from_user",
    "copy_to_user",
    "user_copy",
    needs=("fault_catch", "user_range_check", "user_copy_bytes"),
)
def user_copies(harness: Harness) -> None:
    """The right bytes in the right direction, and a fault in any piece is the answer."""
    for routine in ("copy_from_user", "copy_to_user"):
        harness.renew()
        step = Step(harness, routine)
        fails_at = [-1]
        pieces: list[tuple[int, int, int]] = []

        def catch(called: int, argument: int, flags: int) -> dict[str, int]:
            whole = called == step.at("user_copy_bytes") and flags == _QUIET  # noqa: B023
            step.expect(whole, "user_copy", "copies in another way than caught and quiet")  # noqa: B023
            to, origin, length = struct.unpack("<3Q", step.read(argument, 24, "user_copy"))  # noqa: B023
            pieces.append((to, origin, length))  # noqa: B023
            return {"rax": 14, "rdx": 0, "cf": int(len(pieces) == fails_at[0])}  # noqa: B023

        step.stand("fault_catch", "rdi", "rsi", "rdx", answer=catch)
        for length, fails in (
            (0, -1),
            (1, -1),
            (_PAGE, -1),
            (_PAGE + 1, -1),
            (3 * _PAGE, -1),
            (3 * _PAGE, 2),
            (9, 1),
        ):
            fails_at[0] = fails
            pieces.clear()
            user, kernel = ("rsi", "rdi") if routine == "copy_from_user" else ("rdi", "rsi")
            given = {user: _USER, kernel: BUFFER, "rdx": length}
            want = {"rax": 0 if fails < 0 else NOT_MAPPED}
            step.run("is wrong about whether it was copied", cf=fails >= 0, want=want, **given)
            done = 0
            for to, origin, count in pieces:
                here = (given["rdi"] + done, given["rsi"] + done)
                step.same((to, origin), here, "copies other bytes", **given)
                step.expect(0 < count <= _PAGE, "user_copy", "copies too much in one piece", **given)
                done += count
            full = fails < 0
            step.expect(done == length or not full, "user_copy", "copies another number of bytes", **given)
        for va, length in ((0x1000, 8), (_END - 4, 8), (_FIRST, (1 << 64) - 1), (harness.direct_base, 8)):
            pieces.clear()
            given = {user: va, kernel: BUFFER, "rdx": length}
            step.run("copies what is not ring 3's", cf=True, want={"rax": INVALID}, **given)
            step.same(pieces, [], "touches what is not ring 3's", **given)


@contract(
    "stack_alloc", "stack_free", "stack_find_slot",
    needs=("page_alloc_range", "page_unmap_range", "stack_slots", "stack_count", "stack_double_frees", "mm_lock_enter"),
)  # fmt: skip
def guarded_stacks(harness: Harness) -> None:
    """Each at the end of a slot of its own, at least a page of which is never mapped."""
    step, noise = Step(harness, "stack_alloc"), random.Random(2)
    rights = 1 << 63 | 1 << 8 | 1 << 1
    step.stand("page_alloc_range", "rdi", "rsi", "rdx", answer={"rax": 0, "cf": 0})
    step.stand("page_unmap_range", "rdi", "rsi", answer={"rax": 0, "cf": 0})
    held: dict[int, int] = {}
    for size in (0, _SLOT - _PAGE + 1, _SLOT, 1 << 40, (1 << 64) - 1):
        step.run("accepts a size that there is not", cf=True, want={"rax": INVALID}, rdi=size)
    for _ in range(150):
        if held and noise.random() < 0.4:
            top = noise.choice(sorted(held))
            size = held.pop(top)
            step.asked.clear()
            result = step.call("stack_free", rdi=top)
            step.expect(not result.flag("cf"), "stack_free", "refuses a stack", rdi=top)
            step.were([("page_unmap_range", top - size, size)], "unmaps something else than a stack", rdi=top)
            twice = step.harness.read_u64(step.at("stack_double_frees"))
            result = step.call("stack_free", rdi=top)
            refused = result.flag("cf") and result.registers["rax"] == NOT_FOUND
            step.expect(refused, "stack_free", "takes a stack back twice", rdi=top)
            step.same(step.get64("stack_double_frees"), twice + 1, "does not count a double free")
        else:
            size = noise.choice((1, _PAGE, 0x3FFF, 4 * _PAGE, _SLOT - _PAGE))
            whole = -(-size // _PAGE) * _PAGE
            result = step.run("refuses a stack", cf=False, rdi=size)
            top = result.registers["rax"]
            step.were([("page_alloc_range", top - whole, whole, rights)], "maps something else", rdi=size)
            inside = not (top - _AREA) % _SLOT and _AREA < top <= _AREA + _SLOT * _SLOTS
            step.expect(
                inside and top not in held, "stack_alloc", "puts a stack elsewhere", rdi=size, top=top
            )
            held[top] = whole
        step.same(step.get64("stack_count"), len(held), "counts other stacks")
    some = min(held)
    for wrong in (0, some + 8, some - _PAGE, _AREA, _AREA + _SLOT * (_SLOTS + 1), (1 << 64) - _SLOT, 1 << 63):
        result = step.call("stack_free", rdi=wrong)
        refused = result.flag("cf") and result.registers["rax"] == INVALID
        step.expect(refused, "stack_free", "takes what is no stack", rdi=wrong)
    step.stand_fails("page_unmap_range", TIMEOUT)
    result = step.call("stack_free", rdi=some)
    step.expect(result.flag("cf"), "stack_free", "succeeds though the pages are still seen", rdi=some)
    step.same(step.get64("stack_count"), len(held), "uses a slot again that a CPU may still see")
    for error in (NO_MEMORY, EXISTS):
        step.stand_fails("page_alloc_range", error)
        step.run("hides that there is no memory", cf=True, want={"rax": error}, rdi=_PAGE)
    step.same(step.get64("stack_count"), len(held), "counts a stack that there is not")
    step.put("stack_slots", b"\xff" * (_SLOTS // 8))
    step.run("makes more stacks than there are slots", cf=True, want={"rax": FULL}, rdi=_PAGE)
