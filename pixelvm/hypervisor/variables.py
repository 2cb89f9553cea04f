"""Variables by their names in the debugger: what is known where a frame stands, what it holds, and how it is watched.

Owns the meaning of a name that a person types: a local that is known there hides a global, `name[index]` is one
element. Reads a debugger, never moves it. Where the program came from no `.pxl` source nothing has a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from pixelvm import isa, names
from pixelvm.hypervisor.debugger import Debugger, Value
from pixelvm.names import Global, Local
from pixelvm.state import State
from toolchain.errors import InputError
from toolchain.source import nearest

STAGE = "vm"
_ELEMENT = re.compile(r"(\w+)\[(\w+)\]")
ELEMENTS_SHOWN = 16
TEXT_SHOWN = 64
NOT_KEPT = "not kept: its value is only ever on the stack, or nobody reads it"


class Found(NamedTuple):
    """A variable that a person means: how it is called, its type, and how its values are read (None: gone)."""

    text: str
    kind: str
    read: Callable[[State], list[int] | None]


class Variables:
    """The variables of one debugger's program."""

    def __init__(self, debugger: Debugger) -> None:
        self.debugger = debugger
        self.names = debugger.loaded.names

    def frame_pc(self, frame: int) -> int:
        """The word at which a frame (0 is the entry's) stands: of a caller its call."""
        state = self.debugger.state
        return state.pc if frame == len(state.locals) - 1 else max(state.returns[frame] - 1, 0)

    def known(self, frame: int) -> bool:
        """Whether the source of what runs in a frame is known."""
        return self.names.routine(self.frame_pc(frame)) is not None

    def locals(self, frame: int) -> list[Local]:
        """The locals that are known where a frame stands; of a name that is given again the last one."""
        found = self.names.visible(self.frame_pc(frame), self.debugger.loaded.places)
        return list({local.name: local for local in found}.values())

    def shown(self, local: Local, frame: int) -> str:
        """A local as ``name: type = value``."""
        if local.where is None:
            return f"{local.name}: {local.kind}  ({NOT_KEPT})"
        held = names.value(local.where, self.debugger.state, frame)
        return f"{local.name}: {local.kind} = {signed(held)}  ({place(local.where)})"

    def find(self, text: str) -> Found:
        """The variable that a person means, as it is where the innermost frame stands.

        Raises:
            InputError: there is none of this name, it is kept nowhere, or the element is none.
        """
        element = _ELEMENT.fullmatch(text)
        name = element[1] if element else text
        frame = len(self.debugger.state.locals) - 1
        local = next((one for one in self.locals(frame) if one.name == name), None)
        if local is not None and element is None:
            return self._local(local, frame)
        found = next((one for one in self.names.globals if one.name == name), None)
        if local is not None or found is None:
            raise InputError(self._none(text, name, local), stage=STAGE)
        if element is None:
            return Found(text, found.kind, found.values)
        return self._element(text, found, element[2])

    def has(self, text: str) -> bool:
        """Whether a name or an element is meant, and not an address: a label of data without a type is one."""
        element = _ELEMENT.fullmatch(text)
        name = element[1] if element else text
        frame = len(self.debugger.state.locals) - 1
        return element is not None or name in self._known(frame)

    def _known(self, frame: int) -> list[str]:
        return [one.name for one in self.locals(frame)] + [one.name for one in self.names.globals]

    def watch(self, text: str) -> tuple[str, Callable[[State], Value]]:
        """How a variable is called, and its value at any time as the debugger's watches want it."""
        found = self.find(text)

        def read(state: State) -> Value:
            values = found.read(state)
            if values is None:
                return None
            return values[0] if len(values) == 1 else b"".join(v.to_bytes(4, "little") for v in values)

        return f"{found.text}: {found.kind}", read

    def _local(self, local: Local, frame: int) -> Found:
        where = local.where
        if where is None:
            raise InputError(f"'{local.name}' is {NOT_KEPT}", stage=STAGE)
        held = names.value(where, self.debugger.state, frame)

        def read(state: State) -> list[int] | None:
            """Where it is not known, another local may lie in its place: then it is what it last was."""
            nonlocal held
            if frame >= len(state.locals):
                return None
            now = names.value(where, state, frame)
            if now != held and local in self.names.visible(self.frame_pc(frame), self.debugger.loaded.places):
                held = now
            return [held]

        return Found(f"{local.name} of frame {frame}", local.kind, read)

    def _element(self, text: str, array: Global, index: str) -> Found:
        at = self._index(index)
        if array.length is None or at is None or not 0 <= at < array.length:
            length = f"elements 0 to {array.length - 1}" if array.length else "no elements: it is one word"
            raise InputError(f"'{text}': '{array.name}' has {length}", stage=STAGE)
        kind = "byte" if array.size == 1 else "word"
        return Found(text, kind, lambda state: array.values(state, at, 1))

    def _index(self, text: str) -> int | None:
        try:
            return int(text, 0)
        except ValueError:
            pass
        values = self.find(text).read(self.debugger.state)
        return values[0] if values and len(values) == 1 else None

    def _none(self, text: str, name: str, local: Local | None) -> str:
        if local is not None:
            return f"'{text}': '{name}' is a local, one word"
        if not self.names.routines:
            return f"'{text}': variables have names where a program is debugged from its .pxl source"
        frame = len(self.debugger.state.locals) - 1
        near = nearest(name, self._known(frame), "see locals and globals")
        return f"no variable '{name}' is known here; {near}"


def place(where: names.Where) -> str:
    """Where a local lies, for a person."""
    if where.offset is None:
        return f"slot {where.slot}"
    return f"memory {where.offset:#x}" if where.fixed else f"memory, slot {where.slot} + {where.offset}"


def listed(kind: str, values: list[int]) -> str:
    """Values as a person reads them; a byte array also as text."""
    shown = ", ".join(map(signed, values[:ELEMENTS_SHOWN]))
    more = f", and {len(values) - ELEMENTS_SHOWN} more" if len(values) > ELEMENTS_SHOWN else ""
    if "[" not in kind:
        return shown
    text = bytes(values).split(b"\0")[0][:TEXT_SHOWN].decode("latin-1") if kind.startswith("byte") else ""
    readable = text.isascii() and text.isprintable() and text
    return f'[{shown}{more}]  "{text}"' if readable else f"[{shown}{more}]"


def signed(value: int) -> str:
    """A value as a person reads it: a negative one as such, with what it is unsigned."""
    return f"{value - isa.MASK - 1} ({value})" if value >> 31 else str(value)
