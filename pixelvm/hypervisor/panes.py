"""What the debugger shows: source with the current line, pixels, stack, variables, frames, memory, console.

Owns the text of each pane. Reads a debugger, never moves it; nothing that a program wrote reaches a terminal unseen.
"""

from __future__ import annotations

from pathlib import Path

from pixelvm.disassembler import instruction
from pixelvm.hypervisor.debugger import Debugger
from pixelvm.hypervisor.variables import Variables, listed, signed
from toolchain import printable as plain
from toolchain.errors import InputError

AROUND = 4  # lines above and below the current one
STACK_SHOWN = 24  # values, from the top
ROW = 16  # bytes of memory in a row
CONSOLE_SHOWN = 10  # lines
_SOURCE_MAX = 4 << 20


class Panes:
    """The panes of one debugger, with the sources it has read."""

    def __init__(self, debugger: Debugger) -> None:
        self.debugger = debugger
        self.variables = Variables(debugger)
        self._sources: dict[str, list[str]] = {}

    def _source(self, file: str) -> list[str]:
        """The lines of a source; none where it cannot be read any more."""
        if file not in self._sources:
            from toolchain.files import read_bounded

            try:
                data = read_bounded(Path(file), _SOURCE_MAX, stage="vm")
                self._sources[file] = data.decode("utf-8-sig", "replace").splitlines()
            except InputError:
                self._sources[file] = []
        return self._sources[file]

    # --- where it stands -----------------------------------------------------------------------------------

    def here(self) -> str:
        """One line: place, instruction, top of the stack."""
        debugger, state = self.debugger, self.debugger.state
        pc, code = state.pc, debugger.program.code
        what = instruction(code[pc], debugger.program) if pc < len(code) else "behind the last word"
        top = " ".join(map(str, state.stack[-6:]))
        more = "… " if len(state.stack) > 6 else ""
        return f"{debugger.loaded.place(pc)}  @{pc}  {what}   [{more}{top}]"

    def source(self, around: int = AROUND, pc: int | None = None) -> list[str]:
        """Lines around the current word, or another; the disassembly where there is no source."""
        pc = self.debugger.state.pc if pc is None else pc
        file, line = self.debugger.line(pc)
        text = self._source(file) if file else []
        if not text or pc >= len(self.debugger.loaded.places):
            return self.words(around, pc)
        breaks = {self.debugger.line(point.pc) for point in self.debugger.breaks.values()}
        current = self.debugger.line(self.debugger.state.pc)
        shown = []
        for number in range(max(1, line - around), min(len(text), line + around) + 1):
            mark = "*" if (file, number) in breaks else " "
            arrow = ">" if (file, number) == current else " "
            shown.append(f"{mark}{arrow}{number:5}  {printable(text[number - 1])}")
        return shown

    def words(self, around: int = AROUND, pc: int | None = None) -> list[str]:
        """The disassembly around the current word, or another."""
        debugger = self.debugger
        pc = debugger.state.pc if pc is None else pc
        labels = {at: name for name, at in debugger.loaded.code_labels.items()}
        breaks = {point.pc for point in debugger.breaks.values()}
        shown = []
        for at in range(max(0, pc - around), min(len(debugger.program.code), pc + around + 1)):
            if at in labels:
                shown.append(f"         {labels[at]}:")
            mark = "*" if at in breaks else " "
            arrow = ">" if at == debugger.state.pc else " "
            word = debugger.program.code[at]
            shown.append(f"{mark}{arrow}@{at:<6} {word:08x}  {instruction(word, debugger.program, labels)}")
        if debugger.state.pc >= len(debugger.program.code):
            shown.append(f" >@{debugger.state.pc:<6} behind the last word")
        return shown

    # --- what it holds -------------------------------------------------------------------------------------

    def stack(self) -> list[str]:
        """Values, the top first."""
        values = self.debugger.state.stack
        lines = [
            f"{'top' if depth == 0 else depth:>5}  {value:#010x}  {signed(value)}"
            for depth, value in enumerate(reversed(values[-STACK_SHOWN:]))
        ]
        if len(values) > STACK_SHOWN:
            lines.append(f"       and {len(values) - STACK_SHOWN} more")
        return lines or ["       empty"]

    def locals(self, frame: int | None = None) -> list[str]:
        """The locals of the frame that runs, or of another (0 is the entry's): by name where the source is known."""
        frame = self._frame(frame)
        if not self.variables.known(frame):
            return self.slots(frame)
        known = self.variables.locals(frame)
        return [f"  {self.variables.shown(one, frame)}" for one in known] or ["  none are known here"]

    def _frame(self, frame: int | None) -> int:
        count = len(self.debugger.state.locals)
        frame = count - 1 if frame is None else frame
        if not 0 <= frame < count:
            raise InputError(f"locals: frame {frame}; there are 0 to {count - 1}", stage="vm")
        return frame

    def slots(self, frame: int | None = None) -> list[str]:
        """The sixteen locals of the machine's frame, by number."""
        values = [
            f"{at:2}: {signed(value)}"
            for at, value in enumerate(self.debugger.state.locals[self._frame(frame)])
        ]
        return ["   ".join(f"{text:<15}" for text in values[row : row + 4]).rstrip() for row in (0, 4, 8, 12)]

    def globals(self) -> list[str]:
        """The variables that are no function's, with their types."""
        known = self.debugger.loaded.names.globals
        state = self.debugger.state
        shown = [f"  {one.name}: {one.kind} = {listed(one.kind, one.values(state))}" for one in known]
        return shown or ["  none; labels of data work with memory and watch"]

    def value(self, text: str) -> str:
        """One variable, or one element."""
        found = self.variables.find(text)
        return f"{found.text}: {found.kind} = {listed(found.kind, found.read(self.debugger.state) or [])}"

    def frames(self) -> list[str]:
        """Where each frame stands, the innermost first."""
        debugger, state = self.debugger, self.debugger.state
        calls = [state.pc, *(address - 1 for address in reversed(state.returns))]
        count = len(calls)
        return [
            f"{count - 1 - at:5}  {debugger.loaded.place(max(pc, 0))}  @{max(pc, 0)}{self._function(pc)}"
            for at, pc in enumerate(calls)
        ]

    def _function(self, pc: int) -> str:
        """The label that a word lies behind."""
        before = [(at, name) for name, at in self.debugger.loaded.code_labels.items() if at <= pc]
        return f"  in {max(before)[1]}" if before else ""

    def memory(self, at: int, size: int) -> list[str]:
        """Bytes in rows, as numbers and as characters."""
        memory = self.debugger.state.memory
        lines = []
        for row in range(at, min(at + size, len(memory)), ROW):
            data = bytes(memory[row : min(row + ROW, at + size)])
            text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)
            lines.append(f"{row:#08x}  {data.hex(' '):<{3 * ROW - 1}}  {text}")
        return lines or ["no memory there"]

    def console(self) -> list[str]:
        """The last lines that the program wrote."""
        lines = self.debugger.host.output.decode("utf-8", "replace").split("\n")[-CONSOLE_SHOWN:]
        return [printable(line) for line in lines] if any(lines) else ["nothing written"]

    def stops(self) -> list[str]:
        """Breakpoints and watches."""
        debugger = self.debugger
        lines = [
            f"{point.number:5}  break {point.text}  {debugger.loaded.place(point.pc)}  @{point.pc}"
            for point in debugger.breaks.values()
        ]
        lines += [f"{watch.number:5}  watch {watch.text}" for watch in debugger.watches.values()]
        return lines or ["no breakpoints, no watches"]

    def everything(self) -> list[str]:
        """All panes, one below the other."""
        state, past = self.debugger.state, self.debugger.past
        at = f"{past.at} instructions, fuel {state.fuel}, stop {state.stop.name.lower()}"
        return [
            f"--- source --- {at}", *self.source(), "--- pixels ---", *self.words(2), "--- stack ---", *self.stack(),
            "--- locals ---", *self.locals(), "--- frames ---", *self.frames(), "--- console ---", *self.console(),
        ]  # fmt: skip


def printable(text: str) -> str:
    """One line, with nothing that a terminal obeys."""
    return plain.printable(text, "\t")
