"""Machines for the tests of the hypervisor: programs that count, loop and talk, and how they end alone."""

from __future__ import annotations

from typing import Any

from pixelvm import assembler, reference, state
from pixelvm.host import PlainHost
from pixelvm.hypervisor.guest import Guest, GuestHost, Quota, admit
from pixelvm.hypervisor.scheduler import Hypervisor
from pixelvm.program import Program
from pixelvm.state import State

COUNT = """
main: push 0
next: dup
 push '0'
 add
 sys putc
 sys random
 drop
 sys show
 push 1
 add
 dup
 push 9
 ltu
 jnz next
 halt 3
"""


def made(source: str, memory: int = 256) -> Program:
    return assembler.assemble(f".memory {memory}\n{source}", "test.pxa").program


LOOP = made("main: jump main")
COUNTING = made(COUNT)


def guest(program: Program, *, engine: str = "python", host: Any = None, **quota: int) -> Guest:
    return admit("test", program, State(program), host or GuestHost(), Quota(**quota), engine)


def finished(hypervisor: Hypervisor, turns: int = 10_000) -> Hypervisor:
    while hypervisor.turns < turns and hypervisor.turn():
        pass
    return hypervisor


def end(of: Guest) -> tuple[bytes, bytes]:
    host: Any = of.guard.inner
    at = state.restore(state.save(of.state, of.program), of.program)
    at.fuel = 0
    return state.save(at, of.program), bytes(host.output)


def alone(program: Program) -> tuple[bytes, bytes]:
    at, host = State(program, fuel=100_000), PlainHost()
    reference.run(program, at, host)
    at.fuel = 0
    return state.save(at, program), bytes(host.output)


ECHO = "again: sys receive\n jnz got\n drop\n jump again\n got: push 1\n add\n sys send\n halt 2"
PING = made("push 5\n sys send\n drop\n again: sys receive\n jnz got\n drop\n jump again\n got: halt 1")
PONG = made(ECHO)


def connected() -> list[Guest]:
    guests = [guest(PING), guest(PONG), guest(COUNTING, fuel=5000), guest(made("halt", 512), memory=256)]
    hosts: list[Any] = [one.guard.inner for one in guests]
    hosts[0].connect(hosts[1])
    hosts[2].connect(None)
    hosts[2].inbox.extend([1, 2])
    return guests
