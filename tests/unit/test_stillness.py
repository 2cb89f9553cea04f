"""When a machine counts as standing still."""

from __future__ import annotations

from dataclasses import replace

from toolchain.foreign.stillness import Look, Stillness

SPINS = Look({"rax": 1, "rip": 0x100}, False, 10, 0.0, 0.0, 0.0)
WAITS = replace(SPINS, halted=True)


def test_a_loop_that_changes_no_register_stands_still_by_the_time_that_it_ran() -> None:
    still = Stillness()
    still.look(SPINS)
    assert still.look(replace(SPINS, registers={"rax": 1, "rip": 0x104}, at=5.0, ran=0.4)) == 0.4
    assert still.look(replace(SPINS, registers={"rax": 2, "rip": 0x104}, at=6.0, ran=1.4)) == 0.0
    assert still.longest == 0.4


def test_a_halted_processor_stands_still_while_no_interrupt_comes() -> None:
    still = Stillness()
    still.look(WAITS)
    assert still.look(replace(WAITS, at=2.0, starved=0.5)) == 1.5, "the host had no core for it"
    assert still.look(replace(WAITS, at=3.0, said=11)) == 0.0, "an interrupt was logged, or a word was said"
    assert still.look(replace(WAITS, at=4.0, said=11, registers={"rax": 1, "rip": 0x200})) == 0.0
    assert still.longest == 1.5


def test_nothing_is_concluded_from_registers_that_could_not_be_read() -> None:
    still = Stillness()
    unread = replace(SPINS, registers={})
    still.look(unread)
    assert still.look(replace(unread, at=9.0, ran=9.0)) == 0.0
