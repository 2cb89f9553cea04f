"""The instructions of all units that are assembled together, each distinct one encoded once.

Owns the numbering of encoding requests and the batches that go to the encoder. A pool may live as long as its
encoder: what was parsed and encoded for one build is there for the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from toolchain import insn
from toolchain.insn import Insn
from toolchain.types import Diagnostic, Encoding, Mode, Place

_NOWHERE = Place("", 0)
Meaning = tuple[tuple[str, "int | None"], ...]
PRIME_MIN = 300  # instructions


class Encodes(Protocol):
    """What the assembler needs of ``encode.Encoder``."""

    def encode(self, requests: Sequence[tuple[Mode, Insn]]) -> list[Encoding | Diagnostic]:
        """One result per request."""
        ...

    def prime(self, requests: Sequence[tuple[Mode, Insn]]) -> None:
        """Begin to work on requests that ``encode`` will be asked for."""
        ...


class Pool:
    """Numbers instructions and has them encoded.

    Args:
        encoder: turns instructions into bytes.

    Attributes:
        encodings: by number; shorter than the numbers given until ``flush``.
        by_text: what a text has meant: its number if each name in it stands for the value here.
    """

    def __init__(self, encoder: Encodes) -> None:
        self.encoder = encoder
        self.encodings: list[Encoding | Diagnostic] = []
        self._requests: list[tuple[Mode, Insn]] = []
        self._primed = 0
        self._by_core: dict[object, int] = {}
        self.by_text: dict[Mode, dict[str, tuple[int, Meaning]]] = {16: {}, 32: {}, 64: {}}

    def number(
        self,
        text: str,
        mode: Mode,
        constant: Callable[[str], int | None],
        distance: Callable[[str, str], int | None],
    ) -> int:
        """The number of an instruction; its encoding is at that index after the next ``flush``.

        Raises:
            InputError: the text is no instruction.
        """
        names: dict[str, int | None] = {}

        def value(name: str) -> int | None:
            names[name] = found = constant(name)
            return found

        parsed = insn.parse(text, _NOWHERE, mode, value, distance)
        core = parsed.core
        index = self._by_core.get(core)
        if index is None:
            index = self._by_core[core] = len(self._requests)
            self._requests.append((mode, parsed))
        if not names:
            self.by_text[mode][text] = (index, ())
            return index
        unknown = [name for name, found in names.items() if found is None]
        # A difference of labels may be folded where it stands, and a numeric label is another one elsewhere.
        if not (len(unknown) > 1 and "-" in text) and not any(name[0].isdigit() for name in unknown):
            self.by_text[mode][text] = (index, tuple(names.items()))
        return index

    def prime(self) -> None:
        """Let the encoder begin with what is new, if that is worth a message."""
        if len(self._requests) - self._primed >= PRIME_MIN:
            self.encoder.prime(self._requests[self._primed :])
            self._primed = len(self._requests)

    def flush(self) -> None:
        """Encode what is new."""
        waiting = self._requests[len(self.encodings) :]
        if waiting:
            self.encodings += self.encoder.encode(waiting)
            self._primed = len(self._requests)
