"""The watch over one boot of a foreign kernel: serial line, debug port, screen, monitor, process, up to an outcome.

Owns the loop, and when enough has been seen: the judge is content and stays so, words are forbidden, the machine ended,
died or stands still, the deadline came. Never builds an argument vector, and never explains a death.
"""

from __future__ import annotations

import select
import time
from contextlib import suppress
from pathlib import Path

from toolchain import hopeless, qemulog, snapshot
from toolchain.errors import ToolError
from toolchain.foreign import machine as allowed
from toolchain.foreign.command import DEBUG_NAME
from toolchain.foreign.config import Foreign
from toolchain.foreign.judge import DEBUG, SERIAL, VGA_BYTES, VGA_TEXT, Judge
from toolchain.foreign.stillness import Look, Stillness
from toolchain.machine import Machine
from toolchain.qmp import QmpClosed
from toolchain.types import BootResult, OutcomeName
from toolchain.vigil import CHUNK, GRACE_SECONDS, PAUSE_SECONDS, SERIAL_LIMIT, TICK, Vigil

SETTLE_SECONDS = 0.3  # a kernel that says it is up must not die in this time
DEBUG_LIMIT = 16 << 20

_LOOK_SECONDS = 0.05  # between two looks at the screen, the debug port's file and the log
_ANSWER_SECONDS = 3.0  # for QEMU's monitor while the guest runs
_LINE_SECONDS = 0.2  # between forbidden words and the end of their line
_BUSY_MAX = 3.0  # times the deadline that it makes up for at most, when the host has no core for the machine
_POWER_OFF = "guest-shutdown"


class Watch(Vigil):
    """The loop over what QEMU and the guest say, up to an outcome."""

    def __init__(
        self, machine: Machine, foreign: Foreign, began: float, seconds: float, still: float
    ) -> None:
        super().__init__(machine, began, _BUSY_MAX * seconds)
        self.foreign = foreign
        self.judge = Judge(foreign)
        self.deadline = began + seconds
        self.message = ""
        self.settled: float | None = None  # when a kernel that is ready has stayed up long enough
        self.forbidden_since: float | None = None
        self.last_sign = 0.0
        self.asleep = False  # halted for good
        self.still = still
        self.stillness = Stillness()
        self.hung = ""  # how, when it stands still for too long
        self.serial = bytearray()
        self.debug_read = 0
        self.serial_open = True

    def run(self) -> None:
        """Watch until there is an outcome."""
        poller = select.poll()
        ear = self.machine.serial_handle
        for number in (ear, self.machine.qmp.fileno(), self.handle):
            poller.register(number, select.POLLIN)
        look = self.began
        while self.outcome is None:
            until = min(self.deadline, self.settled or self.deadline, time.monotonic() + _LOOK_SECONDS)
            ready = poller.poll(max(0.0, until - time.monotonic()) * TICK + 1)
            if any(number == ear for number, _ in ready):
                self._listen()
                if not self.serial_open:
                    poller.unregister(ear)
            try:
                now = time.monotonic()
                if now >= look + _LOOK_SECONDS:
                    look = now
                    self._look()
                self._step(any(number == self.handle for number, _ in ready))
            except QmpClosed:
                pass  # the process handle tells
            except ToolError as error:  # a guest that faults for ever can keep QEMU from answering
                self._finish("timeout" if self.judge.spoke else "silent", f"{error.message}; {self._late()}")
            if self.outcome is None:
                time.sleep(PAUSE_SECONDS)

    def _step(self, exited: bool) -> None:
        if self.judge.changed:
            self.judge.changed, self.last_sign = False, time.monotonic() - self.began
        self.machine.qmp.pump()
        while self.machine.qmp.events and self.outcome is None:
            event = self.machine.qmp.events.popleft()
            if event.name in ("SHUTDOWN", "GUEST_PANICKED"):
                self.machine.qmp.wait_event("STOP", GRACE_SECONDS)
                self._stood_still(event.name, str(event.data.get("reason", "")))
        if self.outcome is not None:
            return
        if exited:
            self._exited()
        elif self._gave_up():
            self._died("panic", self._forbidden())
        elif self._is_up():
            self._finish("ready", self._praise())
        elif self.asleep:
            self._died(
                "timeout" if self.judge.spoke else "silent", f"halted with interrupts off; {self._late()}"
            )
        elif self.hung:
            self._died("timeout" if self.judge.spoke else "silent", f"{self.hung}; {self._late()}")
        elif time.monotonic() >= self.deadline:
            self.deadline += self.newly_starved()
            if time.monotonic() < self.deadline:
                return
            self._look()
            if self.judge.forbidden is not None:
                self._died("panic", self._forbidden())
            elif self._is_up():
                self._finish("ready", self._praise())
            else:
                self._died("timeout" if self.judge.spoke else "silent", self._late())

    def _is_up(self) -> bool:
        """Ready, and still well after a while; a kernel that must end the machine is up when it did."""
        if self.foreign.expect_exit is not None or not self.judge.passed:
            return False
        if self.asleep:
            return True  # nothing can happen any more
        if self.settled is None:
            self.settled = time.monotonic() + SETTLE_SECONDS
            self.deadline = max(self.deadline, self.settled)
        return time.monotonic() >= self.settled

    def _gave_up(self) -> bool:
        """Forbidden words were said, and their line is whole (or does not become it)."""
        if self.judge.forbidden is None:
            return False
        if self.forbidden_since is None:
            self.forbidden_since = time.monotonic()
        whole = self.judge.streams[self.judge.forbidden.stream].endswith("\n")
        if not whole and time.monotonic() < self.forbidden_since + _LINE_SECONDS:
            return False
        self.judge.recall()
        return True

    def _late(self) -> str:
        if self.judge.passed:
            return f"it did not end the machine (expect_exit = {self.foreign.expect_exit})"
        return self.judge.missing()

    def _praise(self) -> str:
        seen = self.judge.ready
        return f"{seen.stream}: {seen.line!r}" if seen else f"ended with status {self.foreign.expect_exit}"

    def _forbidden(self) -> str:
        seen = self.judge.forbidden
        assert seen is not None
        return f"forbidden {seen.pattern!r} on {seen.stream}: {seen.line!r}"

    def _stood_still(self, event: str, reason: str) -> None:
        """The guest panicked, reset, or powered off; the machine stands still."""
        self._look()
        if self.judge.forbidden is not None:
            self._died("panic", self._forbidden())
        elif event == "GUEST_PANICKED":
            self._died("panic", "the kernel told pvpanic")
        elif reason == _POWER_OFF:
            self.status = 0
            self._ended_with(0)
        else:
            triple = self.parsed_log().triple_fault
            self._died(
                "fault" if triple else "reset", "triple fault" if triple else "the kernel reset the machine"
            )

    def _exited(self) -> None:
        self.status = self.machine.process.wait()
        self._listen_all()
        self._debug()
        self._ended_with(self.status)

    def _ended_with(self, status: int) -> None:
        wanted = self.foreign.expect_exit
        if self.judge.forbidden is not None:
            self._died("panic", self._forbidden())
        elif wanted == status and self.judge.passed:
            self._finish("ready", self._praise())
        elif wanted == status:
            self._died("shutdown", self.judge.missing())
        elif status % 2 or status == 0:
            expected = f", not with {wanted}" if wanted is not None else " by itself"
            self._died("shutdown", f"the machine ended with status {status}{expected}")
        else:
            self._died("qemu-died", f"QEMU ended with status {status}")
        if self.outcome == "shutdown" and self.machine.stderr_tail() and status == 1:
            self.outcome, self.message = "qemu-died", self.machine.stderr_tail().splitlines()[-1]

    def _finish(self, outcome: OutcomeName, message: str) -> None:
        self.ended, self.outcome, self.message = time.monotonic(), outcome, message

    def _died(self, outcome: OutcomeName, message: str) -> None:
        """Read the machine as it stands."""
        self._finish(outcome, message)
        try:
            self.machine.stop()
            chain = (
                () if outcome in ("timeout", "silent", "reset", "panic") else self.parsed_log().final_chain()
            )
            first = dict(chain[0].registers) if chain else {}
            memory = allowed.memory_of(self.foreign.qemu)
            self.snapshot = snapshot.at_death(self.machine, memory, first)
        except ToolError:
            self.snapshot = None  # it has gone

    # --- what is said --------------------------------------------------------------------------------------

    def _listen(self) -> None:
        data = self.machine.read_serial(CHUNK)
        if data is None:
            return
        if not data:
            self.serial_open = False
            return
        if len(self.serial) < SERIAL_LIMIT:
            self.serial += data
        self.judge.hear(SERIAL, data.decode("latin-1"))

    def _listen_all(self) -> None:
        while self.serial_open and (data := self.machine.read_serial(CHUNK)):
            self.serial += data
            self.judge.hear(SERIAL, data.decode("latin-1"))

    def _look(self) -> None:
        """The debug port's file, the screen, and how long the log has become."""
        self._debug()
        with suppress(QmpClosed):
            asleep = self._stands()  # before the last look at what it said
            self.judge.see(self.machine.read_physical(VGA_TEXT, VGA_BYTES))
            self._listen()
            self.asleep = asleep
        self.limit_log()

    def _stands(self) -> bool:
        """Look whether the only processor gets anywhere; True when it is halted with interrupts off, and never will."""
        if "-smp" in self.foreign.qemu:
            return False
        text = self.machine.qmp.monitor("info registers", _ANSWER_SECONDS)
        registers, halted = qemulog.parse_registers(text), "HLT=1" in text
        said = self.judge.heard + self.machine.log_size()  # interrupts are logged
        seconds = self.stillness.look(
            Look(registers, halted, said, time.monotonic(), *self.machine.scheduled())
        )
        if seconds >= self.still and not self.judge.passed:
            what = (
                "no interrupt comes to the halted processor"
                if halted
                else "it spins, and no register changes"
            )
            self.hung = what
        return hopeless.reason(text, spoken=False) is not None

    def _debug(self) -> None:
        with suppress(OSError):
            with (self.machine.folder / DEBUG_NAME).open("rb") as file:
                file.seek(self.debug_read)
                data = file.read(CHUNK if self.debug_read < DEBUG_LIMIT else 0)
            self.debug_read += len(data)
            self.judge.hear(DEBUG, data.decode("latin-1"))

    def result(self, folder: Path) -> BootResult:
        """Everything that the boot left; the machine is killed first if it still runs."""
        assert self.outcome is not None
        if self.status is None:
            self.status = self.machine.kill()
        said = "".join(text for _, text in sorted(self.judge.streams.items()))
        forbidden = self.judge.forbidden if self.outcome == "panic" else None
        return BootResult(
            outcome=self.outcome,
            seconds=self.ended - self.began,
            qemu_status=self.status,
            serial=bytes(self.serial).decode("latin-1") or said,
            units=(),
            tests={},
            kernel_fault=None,
            panic=("forbidden", forbidden.line) if forbidden else None,
            qemu_log=self.log_tail().decode("latin-1"),
            snapshot=self.snapshot,
            command=self.machine.command,
            log_dir=folder,
            stderr_tail=self.machine.stderr_tail(),
        )
