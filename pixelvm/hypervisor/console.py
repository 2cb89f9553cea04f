"""The debugger as a person types at it: a line is a command, an answer a few lines, nothing ends it but `quit`.

Owns the commands, their short names, their help, and what is shown after each. The movements are debugger.py's, the
panes panes.py's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TextIO

from pixelvm import png
from pixelvm.hypervisor.debugger import Debugger
from pixelvm.hypervisor.panes import Panes, printable
from toolchain.errors import InputError, PxError
from toolchain.files import write_atomic

STAGE = "vm"
PROMPT = "(pixel) "
REPEAT_MAX = 1_000_000
_LINE_MAX = 4096  # characters of a command
_WORD = 4  # bytes that a watch on memory looks at


class Command(NamedTuple):
    """One command."""

    names: tuple[str, ...]
    form: str
    what: str
    example: str
    do: Callable[[Console, list[str]], str | None]


class Console:
    """One session.

    Args:
        debugger: what it drives.
        output: where answers go.
    """

    def __init__(self, debugger: Debugger, output: TextIO) -> None:
        self.debugger = debugger
        self.panes = Panes(debugger)
        self.output = output
        self.all_panes = False
        self.last = ""
        self.over = False

    def say(self, *lines: str) -> None:
        """Lines for the person."""
        self.output.write("".join(f"{line}\n" for line in lines))
        self.output.flush()

    def loop(self, read: Callable[[str], str]) -> None:
        """Read and obey until `quit` or the end of the input.

        Args:
            read: shows a prompt, gives a line, raises ``EOFError`` at the end.
        """
        self.say("The Pixel VM's debugger; help lists the commands.", *self.standing())
        while not self.over:
            try:
                line = read(PROMPT)
            except EOFError:
                self.say("")
                return
            except KeyboardInterrupt:
                self.say("", "quit leaves")
                continue
            try:
                self.obey(line)
            except KeyboardInterrupt:
                self.say("", "interrupted", *self.standing())

    def obey(self, line: str) -> None:
        """One command; an empty line is the last movement again."""
        words = line[:_LINE_MAX].split()
        if not words:
            words = self.last.split()
            if not words:
                return
        command = BY_NAME.get(words[0].lower())
        if command is None:
            self.say(f"no command '{printable(words[0])}'; help lists them")
            return
        self.last = " ".join(words) if command.names[0] in REPEATED else ""
        try:
            said = command.do(self, words[1:])
        except PxError as error:
            self.say(*(printable(text) for text in error.lines()))
            return
        if said is not None:
            self.say(*([said] if said else []), *self.standing())

    def standing(self) -> list[str]:
        """What is shown after a movement."""
        if self.all_panes:
            return self.panes.everything()
        return [*self.panes.source(1), self.panes.here()]

    # --- the commands ----------------------------------------------------------------------------------------

    def times(self, words: list[str], one: Callable[[], str]) -> str:
        """A movement, as often as is asked or until something happens."""
        said = ""
        for _ in range(number(words, 1, REPEAT_MAX)):
            said = one()
            if said:
                break
        return said

    def long(self, one: Callable[[], str]) -> str:
        """A movement that may take its time."""
        self.say("running; Ctrl-C interrupts")
        return one()

    def brk(self, words: list[str]) -> None:
        """Set a breakpoint, or list them."""
        if not words:
            self.say(*self.panes.stops())
            return
        made = self.debugger.add_break(words[0])
        self.say(f"break {made.number}: {self.debugger.loaded.place(made.pc)}  @{made.pc}")

    def watch(self, words: list[str]) -> None:
        """Set a watch."""
        variables = self.panes.variables
        if not words:
            raise InputError("watch: a variable, an address, or: local N (see help watch)", stage=STAGE)
        if words[0] == "local" and len(words) > 1:
            made = self.debugger.watch_local(number(words[1:], None))
        elif len(words) == 1 and variables.has(words[0]):
            made = self.debugger.watch_value(*variables.watch(words[0]))
        else:
            made = self.debugger.watch_memory(words[0], number(words[1:], _WORD))
        self.say(f"watch {made.number}: {made.text}")

    def delete(self, words: list[str]) -> None:
        """Remove a breakpoint or a watch."""
        self.debugger.delete(number(words, None))
        self.say(*self.panes.stops())

    def show_list(self, words: list[str]) -> None:
        """Source around a place."""
        pc = self.debugger.code_place(words[0]) if words else None
        self.say(*self.panes.source(pc=pc))

    def show_words(self, words: list[str]) -> None:
        """Disassembly around a place."""
        pc = self.debugger.code_place(words[0]) if words else None
        self.say(*self.panes.words(pc=pc))

    def show_memory(self, words: list[str]) -> None:
        """Bytes of memory."""
        at = self.debugger.address(words[0]) if words else 0
        self.say(*self.panes.memory(at, number(words[1:], 64)))

    def show_locals(self, words: list[str]) -> None:
        """Locals of a frame."""
        self.say(*self.panes.locals(number(words, None) if words else None))

    def show_slots(self, words: list[str]) -> None:
        """Locals of a frame by number."""
        self.say(*self.panes.slots(number(words, None) if words else None))

    def show_value(self, words: list[str]) -> None:
        """One variable."""
        if len(words) != 1:
            raise InputError("print: a variable, or an element of an array (see help print)", stage=STAGE)
        self.say(self.panes.value(words[0]))

    def picture(self, words: list[str]) -> None:
        """Write the program's picture."""
        host = self.debugger.host
        if len(words) != 1:
            raise InputError("picture: name a file, like picture now.png", stage=STAGE)
        if not host.width * host.height:
            raise InputError("picture: this program has no screen", stage=STAGE)
        data = png.write(png.Picture(host.width, host.height, bytes(host.pixels)))
        write_atomic(Path(words[0]), data, stage=STAGE)
        self.say(f"{words[0]}: {host.width}x{host.height} pixels")

    def view(self, words: list[str]) -> str:
        """What is shown after each movement."""
        if words not in (["all"], ["short"]):
            raise InputError("view: all or short", stage=STAGE)
        self.all_panes = words == ["all"]
        return ""

    def restart(self) -> str:
        """To the beginning."""
        self.debugger.restart()
        return ""

    def help(self, words: list[str]) -> None:
        """All commands, or one."""
        if words and words[0].lower() in BY_NAME:
            command = BY_NAME[words[0].lower()]
            self.say(f"{', '.join(command.names)} {command.form}".rstrip(), f"  {command.what}",
                     f"  example: {command.example}")  # fmt: skip
            return
        rows = [(f"{', '.join(c.names)} {c.form}".rstrip(), c.what) for c in COMMANDS]
        width = max(len(left) for left, _ in rows)
        self.say(*(f"  {left:<{width}}  {what}" for left, what in rows))
        self.say(
            "PLACE: a label, a line, file:line, @word. ADDRESS: a number, a label of data, either with +N."
        )
        self.say("NAME: a local that is known here, a global, `array[index]' (programs from .pxl source).")
        self.say("An empty line repeats a movement. Ctrl-C interrupts one. help COMMAND shows an example.")

    def quit(self) -> None:
        """Leave."""
        self.over = True


def number(words: list[str], default: int | None, most: int = 1 << 32) -> int:
    """The number that was typed.

    Raises:
        InputError: it is none, or there is none and no ``default``.
    """
    if not words:
        if default is None:
            raise InputError("a number is missing", stage=STAGE)
        return default
    try:
        value = int(words[0], 0)
    except ValueError:
        value = -1
    if not 0 <= value <= most:
        raise InputError(f"'{words[0]}': expected a number from 0 to {most}", stage=STAGE)
    return value


COMMANDS = (
    Command(("step", "s"), "[N]", "to the next line, into calls", "step 3",
            lambda c, w: c.times(w, c.debugger.step)),
    Command(("next", "n"), "[N]", "to the next line, over calls", "next",
            lambda c, w: c.times(w, c.debugger.next)),
    Command(("stepi", "si"), "[N]", "one instruction, which is one pixel", "stepi",
            lambda c, w: c.times(w, c.debugger.step_word)),
    Command(("finish", "f"), "", "until this function has returned", "finish",
            lambda c, w: c.long(c.debugger.finish)),
    Command(("continue", "c"), "", "until a breakpoint, a watch or the end", "continue",
            lambda c, w: c.long(c.debugger.run)),
    Command(("back", "b-"), "[N]", "to the line before, by running again from a checkpoint", "back",
            lambda c, w: c.times(w, c.debugger.back)),
    Command(("backi", "bi"), "[N]", "one instruction back", "backi 10",
            lambda c, w: c.times(w, c.debugger.back_word)),
    Command(("restart",), "", "to the beginning; breakpoints stay", "restart", lambda c, w: c.restart()),
    Command(("break", "b"), "[PLACE]", "stop there; without a place: list", "break main", lambda c, w: c.brk(w)),
    Command(("watch", "w"), "NAME | ADDRESS [BYTES] | local N", "stop when it changes (4 bytes when not said)",
            "watch cells+4 16", lambda c, w: c.watch(w)),
    Command(("delete", "d"), "N", "remove a breakpoint or a watch", "delete 1", lambda c, w: c.delete(w)),
    Command(("info", "i"), "", "list breakpoints and watches", "info", lambda c, w: c.say(*c.panes.stops())),
    Command(("list", "l"), "[PLACE]", "source around here or there", "list fib", lambda c, w: c.show_list(w)),
    Command(("dis",), "[PLACE]", "pixels around here or there, as instructions", "dis @12",
            lambda c, w: c.show_words(w)),
    Command(("stack",), "", "the values on the stack", "stack", lambda c, w: c.say(*c.panes.stack())),
    Command(("print",), "NAME", "a variable with its type, or an element of an array", "print table[3]",
            lambda c, w: c.show_value(w)),
    Command(("locals",), "[FRAME]", "the locals of this frame or another, with their types", "locals 0",
            lambda c, w: c.show_locals(w)),
    Command(("globals",), "", "the other variables, with their types", "globals",
            lambda c, w: c.say(*c.panes.globals())),
    Command(("slots",), "[FRAME]", "the machine's sixteen locals by number", "slots", lambda c, w: c.show_slots(w)),
    Command(("frames", "bt"), "", "the calls that led here", "frames", lambda c, w: c.say(*c.panes.frames())),
    Command(("memory", "x"), "[ADDRESS] [BYTES]", "bytes of memory", "memory 0x20 64", lambda c, w: c.show_memory(w)),
    Command(("output", "o"), "", "what the program wrote", "output", lambda c, w: c.say(*c.panes.console())),
    Command(("picture",), "FILE", "write the program's picture as a PNG", "picture now.png",
            lambda c, w: c.picture(w)),
    Command(("panes", "p"), "", "everything at once", "panes", lambda c, w: c.say(*c.panes.everything())),
    Command(("view",), "all|short", "what is shown after each movement", "view all", lambda c, w: c.view(w)),
    Command(("help", "h", "?"), "[COMMAND]", "this list, or one command", "help watch", lambda c, w: c.help(w)),
    Command(("quit", "q"), "", "leave; so does the end of the input", "quit", lambda c, w: c.quit()),
)  # fmt: skip
BY_NAME = {name: command for command in COMMANDS for name in command.names}
REPEATED = ("step", "next", "stepi", "finish", "continue", "back", "backi")
