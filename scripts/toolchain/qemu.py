"""Boot a kernel and say how it ended: ``boot(config) -> BootResult``.

Owns: the watch over serial line, monitor and process up to the outcome, the deadline, the snapshot at the moment of
death, the logs. An outcome is earned: success is read from PXREADY or from test results, never from silence or from
an exit status alone. Never explains a death: ``fault.analyse`` does.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

from toolchain import accel, boot_log, contract, files, hopeless, qemu_args, scratch, snapshot
from toolchain.ear import Console, Ear, Progress
from toolchain.machine import Machine
from toolchain.qmp import Event, QmpClosed
from toolchain.rewind import Rewinder
from toolchain.serial import SerialLog
from toolchain.types import BootConfig, BootResult, OutcomeName
from toolchain.vigil import GRACE_SECONDS, LOG_TEXT, PAUSE_SECONDS, TICK, Vigil

__all__ = ["LOG_TEXT", "Console", "Enough", "Machine", "Progress", "boot"]

# How a boot has ended for who asks, as soon as that can be told.
Enough = Callable[[SerialLog], OutcomeName | None]
# Whether the machine is looked at as it stands, by what its kernel had said when it died.
Inspect = Callable[[str], bool]

_LOOK_SECONDS = 0.25  # how often the log's size is looked at
_SILENT_SECONDS = 0.1  # of silence between two looks at the registers, where silence ends a boot; 1 ms each
# PM1a control registers, where ACPI's S5 is asked for: q35, pc; Bochs and old QEMU
_POWER_OFF_PORTS = (0x604, 0xB004, 0x4004)


def boot(
    config: BootConfig,
    progress: Progress | None = None,
    console: Console | None = None,
    enough: Enough | None = None,
    inspect: Inspect | None = None,
    rewinder: Rewinder | None = None,
) -> BootResult:
    """Boot once, to an outcome or the deadline.

    Args:
        config: what and how; checked here.
        progress: called with every happening on the serial line as it arrives.
        console: joins a person to the serial line.
        enough: asked whenever something arrived; an outcome ends the boot there, without a look at the machine.
        inspect: told what the kernel had said when it died; the machine is looked at unless it says no.
        rewinder: of whoever boots many kernels: lends its machine to those that nobody talks with.

    Returns:
        What the boot left behind. The machine is gone by then, or stands still.

    Raises:
        InputError: the configuration cannot be booted, or ``log_dir`` cannot be written.
        ToolError: QEMU or a firmware is not installed.
    """
    qemu_args.check(config)
    arguments = qemu_args.machine_arguments(config, accel.resolve(config)) + qemu_args.watch_arguments()
    arguments += config.extra_args
    with ExitStack() as stack:
        folder = config.log_dir
        if folder is None:
            folder = stack.enter_context(scratch.folder("pxos-boot-"))
        else:
            files.make_folder(folder, stage=qemu_args.STAGE)
        began = time.monotonic()
        lent = rewinder.machine(config, folder) if rewinder is not None and console is None else None
        with (
            lent or Machine(arguments, folder) as machine,
            _Watch(machine, config, began, Ear(machine, began, progress, console), enough, inspect) as watch,
        ):
            watch.run()
            result = watch.result()
        if result.outcome == "qemu-died":
            qemu_args.check_firmware(result.stderr_tail)
        if config.log_dir is not None:
            boot_log.save(result, config.log_dir)
        return result


class _Watch(Vigil):
    """The loop over the three things that QEMU can say, and what has been concluded so far."""

    def __init__(
        self,
        machine: Machine,
        config: BootConfig,
        began: float,
        ear: Ear,
        enough: Enough | None,
        inspect: Inspect | None,
    ) -> None:
        super().__init__(machine, began)
        self.config = config
        self.ear = ear
        self.log = ear.log
        self.enough = enough
        self.inspect = inspect
        self._look = _LOOK_SECONDS if config.stall is None else _SILENT_SECONDS
        self.looked = began  # when the registers of a silent machine were last read
        words = config.cmdline.split()
        ends = any(word in ("test", "exit") or word.startswith("test=") for word in words)
        self.exits = ear.attended or ends  # PXREADY is not the end
        self.reported: float | None = None  # when the kernel finished its report of a fault or panic

    def open(self, stack: ExitStack) -> None:
        """The serial log."""
        self.ear.open(stack)

    def run(self) -> None:
        """Watch until there is an outcome."""
        poller = select.poll()
        line = self.machine.serial_handle
        keyboard = self.ear.handles()
        for number in (line, self.machine.qmp.fileno(), self.handle, *keyboard):
            poller.register(number, select.POLLIN)
        while self.outcome is None:
            until = min(self._deadline(), time.monotonic() + self._look)
            if self.reported is not None:
                until = min(until, self.reported + GRACE_SECONDS)
            ready = poller.poll(max(0.0, until - time.monotonic()) * TICK)
            if any(number == line for number, _ in ready):
                self.ear.listen()
                if not self.ear.is_open:
                    poller.unregister(line)
            for handle in (number for number, _ in ready if number in keyboard):
                self.ear.type(handle, poller)
            with suppress(QmpClosed):
                self._step(ready)
            if self.outcome is None:
                time.sleep(PAUSE_SECONDS)

    def result(self) -> BootResult:
        """Everything the boot left; the machine is killed first if it still runs."""
        assert self.outcome is not None
        if self.status is None:
            self.status = self.machine.kill()
        self.ear.drain()
        self.log.finish()
        block = self.log.kernel_fault
        panic = self.log.panic
        return BootResult(
            outcome=self.outcome,
            seconds=self.ended - self.began,
            qemu_status=self.status,
            serial=self.log.text,
            units=tuple(self.log.units.values()),
            tests=self.log.tap.tests,
            kernel_fault=block.values if block else None,
            panic=(panic.code, panic.text) if panic else None,
            qemu_log=self.log_tail().decode("latin-1"),
            snapshot=self.snapshot,
            command=self.machine.command,
            log_dir=self.config.log_dir,
            stderr_tail=self.machine.stderr_tail(),
            ready_tsc=self.log.ready,
        )

    # --- one turn ------------------------------------------------------------------------------------------

    def _step(self, ready: list[tuple[int, int]]) -> None:
        now = time.monotonic()
        if self.log.ready is not None and not self.exits:
            return self._finish("ready")
        if self.enough is not None and (said := self.enough(self.log)) is not None:
            return self._finish(said)
        self.machine.qmp.pump()
        while self.machine.qmp.events and self.outcome is None:
            self._event(self.machine.qmp.events.popleft())
        if self.outcome is not None:
            return None
        if any(number == self.handle for number, _ in ready):
            return self._exited()
        if self.reported is None and (
            self.log.panic or (self.log.kernel_fault and self.log.kernel_fault.complete)
        ):
            self.reported = now
        if self.reported is not None and now >= self.reported + GRACE_SECONDS:
            return self._died("panic")
        if now >= self._deadline():
            self.ear.moved += self.newly_starved()
            if now < self._deadline():
                return None
            return self._hung()
        if self._hopeless(now):
            return self._hung()
        self.ear.send()
        self.limit_log()
        return None

    def _hung(self) -> None:
        self.ear.drain()
        self._died("timeout" if self._spoke() else "silent")

    def _hopeless(self, now: float) -> bool:
        """Whether the silence of a kernel can never end: looked at again and again while it lasts."""
        if self.config.stall is None or self.config.smp > 1 or self.reported is not None:
            return False
        if now < max(self.ear.moved, self.looked) + _SILENT_SECONDS:
            return False
        self.looked = now
        dump = self.machine.qmp.monitor("info registers")
        if hopeless.reason(dump, spoken=bool(self.log.units)) is None:
            return False
        # What it did last comes behind its registers: a reset or power-off that it asked for, and its last words.
        self.machine.qmp.execute("query-status")
        heard = self.log.received
        self.ear.drain()
        return not self.machine.qmp.events and self.log.received == heard

    def _deadline(self) -> float:
        """When the boot counts as hung, by the monotonic clock."""
        whole = self.began + self.config.timeout
        return whole if self.config.stall is None else min(whole, self.ear.moved + self.config.stall)

    def _event(self, event: Event) -> None:
        if event.name in ("GUEST_PANICKED", "SHUTDOWN"):
            # The event comes before the processors stand still. To go on earlier would be to be stopped later.
            self.machine.qmp.wait_event("STOP", GRACE_SECONDS)
        if event.name == "GUEST_PANICKED":
            self._died("panic")
            with suppress(QmpClosed):  # it may go through its debug exit before it answers
                self.machine.resume()
            self.await_exit(GRACE_SECONDS)
        elif event.name == "SHUTDOWN":
            self._shut_down(str(event.data.get("reason", "")))

    def _shut_down(self, reason: str) -> None:
        """The guest asked for a reset or a power-off; the machine stands still (``-action shutdown=pause``).

        A guest that was quicker than the negotiation leaves no reason; the port of its last OUT tells a power-off then.
        """
        if not reason:
            with suppress(QmpClosed):
                if self.machine.registers().get("rdx", 0) & 0xFFFF in _POWER_OFF_PORTS:
                    reason = "guest-shutdown"
        if reason in ("guest-reset", ""):
            self._died("fault" if self.parsed_log().triple_fault else "reset")
        elif self.log.ready is not None and not self.log.faults and not self.log.panic:
            self._finish("ready")
        else:
            self._died("shutdown")

    def _exited(self) -> None:
        """QEMU ended by itself: through isa-debug-exit, or because it died."""
        self.status = self.machine.process.wait()
        self.ear.drain()
        self.log.finish()
        self._finish(self._exit_outcome())

    def _exit_outcome(self) -> OutcomeName:
        said = {
            contract.constant(name) << 1 | 1: name
            for name in ("DEBUG_EXIT_SUCCESS", "DEBUG_EXIT_TESTS_FAILED", "DEBUG_EXIT_FAULT")
        }.get(self.status if self.status is not None else -1)
        if said is None:
            return "qemu-died"
        if self.log.kernel_fault:
            return "fault"
        if self.log.panic:
            return "panic"
        if said == "DEBUG_EXIT_FAULT":
            return "fault"
        if self.log.tap.started:
            return "tests-passed" if said == "DEBUG_EXIT_SUCCESS" and self.log.tap.passed else "tests-failed"
        if said == "DEBUG_EXIT_TESTS_FAILED":
            return "tests-failed"
        return "ready" if self.log.ready is not None else "shutdown"

    def _spoke(self) -> bool:
        """Whether the kernel said anything. OVMF and GRUB write to COM1 too: there only the contract's lines count."""
        if self.config.path == "iso":
            return bool(
                self.log.units or self.log.tap.started or self.log.faults or self.log.ready is not None
            )
        return self.log.received > 0

    # --- ends ----------------------------------------------------------------------------------------------

    def _finish(self, outcome: OutcomeName) -> None:
        self.ended = time.monotonic()
        self.outcome = outcome
        if outcome == "ready" and self.config.inspect_ready and self.status is None:
            self.machine.stop()
            self.snapshot = snapshot.at_ready(self.machine, self._ram(), self.config.inspect_addresses)

    def _died(self, outcome: OutcomeName) -> None:
        """The end of a kernel: read the machine as it stands. The kernel's own report goes before ``outcome``."""
        self.ended = time.monotonic()
        self.ear.drain()
        self.log.finish()
        self.outcome = "fault" if self.log.kernel_fault else "panic" if self.log.panic else outcome
        try:
            self.machine.stop()
            self.ear.drain()
            if self.inspect is None or self.inspect(self.log.text):
                self.snapshot = snapshot.at_death(self.machine, self._ram(), self._first_registers())
        except QmpClosed:
            self.await_exit(GRACE_SECONDS)  # it went through its debug exit without waiting for us

    def _first_registers(self) -> dict[str, int]:
        """Registers at the first exception, as far as the kernel or the log told them."""
        block = self.log.kernel_fault
        if block is not None:
            return boot_log.numbers(block.values)
        if self.outcome in ("timeout", "silent", "reset", "shutdown", "panic"):
            return {}
        chain = self.parsed_log().final_chain()
        return dict(chain[0].registers) if chain else {}

    def _ram(self) -> int:
        return qemu_args.memory_bytes(self.config.memory)
