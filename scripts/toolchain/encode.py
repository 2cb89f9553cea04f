"""From parsed instructions to bytes, in batches.

Owns the way of a statement through the stages: its shape (``encode_shape``), for a new shape a plan
(``encode_plan``) and the worker's answer (``encode_guard``), then the numbers; and the answers, which it may keep
between runs (``encode_cache``). It never runs Keystone in this process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from toolchain import encode_branch, encode_prefix
from toolchain.encode_guard import Guard
from toolchain.encode_modrm import Refusal
from toolchain.encode_plan import plan
from toolchain.encode_shape import Shape, is_evex, key
from toolchain.insn import Core, Insn
from toolchain.operand_types import Target
from toolchain.types import Diagnostic, Encoding, Mode


class Encoder:
    """Encodes batches of instructions; use as a context manager.

    Args:
        cache_dir: where answers are kept between runs, or None.
        guard: keeps the worker; None for one of its own, which is started now unless answers were kept.
        answers: the worker's, as ``answers`` had them in an earlier run with the same libraries and tables.
    """

    def __init__(
        self,
        cache_dir: Path | None = None,
        guard: Guard | None = None,
        answers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._guard = guard or Guard()
        self._answers: dict[str, str] = dict(answers)
        self._asked: deque[str] = deque()
        self._shapes: dict[tuple[object, ...], Shape | Refusal] = {}
        self._cache = None
        if cache_dir is not None:
            from toolchain.encode_cache import Cache  # only some runs keep answers

            self._cache = Cache(cache_dir)
            self._answers = self._cache.load()
        if guard is None and not self._answers:
            self._guard.start()

    def __enter__(self) -> Encoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def answers(self) -> dict[str, str]:
        """What the worker has said so far, by request."""
        return self._answers

    def prepare(self) -> None:
        """Start the worker, so that it loads its libraries while the caller goes on."""
        self._guard.start()

    def close(self) -> None:
        """Keep the answers, if that is wanted, and end the worker."""
        self._guard.close()
        if self._cache is not None:
            self._cache.store(self._answers)

    def prime(self, requests: Sequence[tuple[Mode, Insn]]) -> None:
        """Begin to encode: the worker goes to work while the caller does something else. ``encode`` is to follow."""
        wanted: dict[str, None] = {}
        for mode, insn in requests:
            core = insn.core
            if core.plan is None and not (core.operands and isinstance(core.operands[0], Target)):
                shape = self._shape(mode, core)
                if isinstance(shape, Shape):
                    core.plan = shape  # ``encode`` goes on from there
                    if not shape.known and shape.plan.request not in self._answers:
                        wanted[shape.plan.request] = None
        self._ask(wanted)

    def encode(self, requests: Sequence[tuple[Mode, Insn]]) -> list[Encoding | Diagnostic]:
        """Encode each instruction.

        Returns:
            At the index of each request its encoding, or what is wrong with it. Equal statements may share one
            ``Encoding``.

        Raises:
            ToolError: when Keystone cannot be run at all.
        """
        results: list[Encoding | Diagnostic | None] = []
        open_shapes: list[tuple[int, Core, Shape]] = []
        wanted: dict[str, None] = {}
        for index, (mode, insn) in enumerate(requests):
            core = insn.core
            done = core.plan
            if done is None:
                done = self._begin(mode, core)
            if isinstance(done, Shape):
                if not done.known and done.plan.request not in self._answers:
                    wanted[done.plan.request] = None
                open_shapes.append((index, core, done))
                results.append(None)
            else:
                results.append(_result(done, insn))
        self._ask(wanted)
        self._collect()
        scaled = {
            shape.plan.literal.request: None
            for _, _, shape in open_shapes
            if shape.plan.literal is not None and is_evex(self._answers[shape.plan.request])
        }
        if scaled:
            self._ask(scaled)
            self._collect()
        for index, core, shape in open_shapes:
            try:
                core.plan = self._finish(shape, core)
            except Refusal as refusal:
                core.plan = refusal
            results[index] = _result(core.plan, requests[index][1])
        return results  # type: ignore[return-value]

    def _begin(self, mode: Mode, core: Core) -> object:
        """An encoding or a refusal where no question is needed, else the shape."""
        operands = core.operands
        if operands and isinstance(operands[0], Target) and len(operands) == 1:
            try:
                core.plan = encode_branch.encode(mode, core.mnemonic, core.prefixes, operands[0])
            except Refusal as refusal:
                core.plan = refusal
            return core.plan
        if not core.mnemonic:
            core.plan = encode_prefix.alone(mode, core.prefixes)
            return core.plan
        return self._shape(mode, core)

    def _shape(self, mode: Mode, core: Core) -> Shape | Refusal:
        name = key(mode, core)
        shape = self._shapes.get(name) if name is not None else None
        if shape is None:
            try:
                shape = Shape(plan(mode, core))
            except Refusal as refusal:
                return refusal
            if name is not None and shape.plan.literal is None:
                self._shapes[name] = shape
        return shape

    def _finish(self, shape: Shape, core: Core) -> Encoding:
        if not shape.known:
            reply = self._answers[shape.plan.request]
            if shape.plan.literal is not None and is_evex(reply):
                shape = Shape(shape.plan.literal)
                reply = self._answers[shape.plan.request]
            shape.learn(reply)
        return shape.encoding or shape.fill(core.operands)

    def _ask(self, requests: dict[str, None]) -> None:
        new = [request for request in requests if request not in self._answers]
        if new:
            for request in new:
                self._answers[request] = ""  # asked: the answer comes with ``_collect``
            self._asked.extend(new)
            self._guard.submit(new)

    def _collect(self) -> None:
        if self._asked:
            asked = list(self._asked)
            self._asked.clear()
            try:
                replies = self._guard.collect()
            except BaseException:
                for request in asked:
                    del self._answers[request]
                raise
            self._answers.update(zip(asked, replies, strict=True))


def _result(done: object, insn: Insn) -> Encoding | Diagnostic:
    if isinstance(done, Encoding):
        return done
    assert isinstance(done, Refusal)
    return Diagnostic(insn.place, done.message, done.expected)
