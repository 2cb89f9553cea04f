"""The device of the service on a real adapter: the batch drainer and the registered shaders through wgpu.

Owns: the device's buffers (batch, answers, heap, registers), the bound on loops that is asserted before each dispatch,
the copies of GPU_EXECUTE. Never reads the rings. What the drainer computes is mailbox_runtime.wgsl's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from toolchain.errors import InputError, PxError
from toolchain.gpu import device as devices
from toolchain.gpu import exchange, wgsl
from toolchain.mailbox import allocator, layers, registry
from toolchain.mailbox import layout as m
from toolchain.mailbox.device import Buffer, CommandError, DeviceLost, Execute
from toolchain.mailbox.rings import ROWS_MAX

if TYPE_CHECKING:
    from toolchain.gpu.kernels import Kernel
    from toolchain.gpu.nn import Nn
    from toolchain.mailbox.device import Rows

HEAP_BYTES = 16 << 20
_WORDS = m.SLOT_SIZE // 4
_ANSWER_WORDS = 4
_EACH = 64  # rows of a workgroup that runs them all at once
_WRITES = (m.OP_ALLOC, m.OP_FREE, m.OP_MMIO_WRITE)  # opcodes that change what later rows see
_LIMITS = (
    "max-compute-invocations-per-workgroup",
    "max-compute-workgroup-storage-size",
    "max-storage-buffer-binding-size",
    "max-compute-workgroups-per-dimension",
)


class Gpu:
    """A device behind wgpu.

    Args:
        heap_bytes: size of the heap.
        wanted: which adapter, see ``toolchain.gpu.adapter.choose``.

    Raises:
        InputError: no adapter is called so, or the shaders do not compile.
        ToolError: there is no adapter.
    """

    features = m.FEATURE_EXECUTE | m.FEATURE_GPU
    shaders: Sequence[str] = layers.names()

    def __init__(self, heap_bytes: int = HEAP_BYTES, wanted: str | None = None) -> None:
        import numpy as np

        self.heap_bytes = heap_bytes
        self.dispatches = 0
        self.device = devices.Device(wanted)
        self.name = str(self.device.adapter)
        levels = allocator.levels(heap_bytes)
        self._heap_cost = 2 * levels  # iterations of one ALLOC or FREE
        module = wgsl.load("mailbox_runtime.wgsl", {"HEAP_LEVELS": levels, "EACH": _EACH})
        # its indices are bounded by the rows of a batch, the tree and the window, its loops by ``_dispatch``
        self._in_order = self.device.kernel(module, "main", checked=False)
        self._at_once = self.device.kernel(module, "each", checked=False)
        tree = np.array([*allocator.tree(heap_bytes), heap_bytes], np.uint32)
        self._tree = self.device.upload(tree, "heap's tree")
        self._window = self.device.buffer(m.WINDOW_SIZE, "registers")
        self._exchange = exchange.best(
            self.device, (ROWS_MAX + 1) * _WORDS, ROWS_MAX * _ANSWER_WORDS, (self._tree, self._window)
        )
        self._staged = self._exchange.inbox.reshape(ROWS_MAX + 1, _WORDS)
        self._writes = np.zeros(1 << 8, np.bool_)
        self._writes[list(_WRITES)] = True
        self._heap = self.device.buffer(heap_bytes, "heap")
        self._kernels: dict[str, Kernel] = {}  # of registered shaders, by name
        self._nn: Nn | None = None

    def drain(self, rows: Rows) -> tuple[Any, Any]:
        """Run rows as if in their order: one dispatch, or several where the bound on loops asks for it."""
        opcodes = rows[:, 0] >> m.OPCODE_SHIFT
        try:
            if not self._writes[opcodes].any():
                return self._dispatch(self._at_once, rows, -(-len(rows) // _EACH), 0)
            return self._drain_in_order(rows, opcodes)
        except devices.DeviceLost as lost:
            raise DeviceLost from lost

    def _drain_in_order(self, rows: Rows, opcodes: Any) -> tuple[Any, Any]:
        import numpy as np

        heap = (opcodes == m.OP_ALLOC) | (opcodes == m.OP_FREE)
        cost = np.cumsum(np.where(heap, 1 + self._heap_cost, 1))
        results, errors = np.zeros(len(rows), np.uint64), np.zeros(len(rows), np.uint32)
        first = 0
        while first < len(rows):
            before = int(cost[first - 1]) if first else 0
            last = int(np.searchsorted(cost, before + devices.LOOP_MAX, "right"))
            results[first:last], errors[first:last] = self._dispatch(
                self._in_order, rows[first:last], 1, int(cost[last - 1]) - before
            )
            first = last
        return results, errors

    def _dispatch(self, kernel: Kernel, rows: Rows, groups: int, iterations: int) -> tuple[Any, Any]:
        import numpy as np

        count = len(rows)
        self._staged[0, 0] = count
        self._staged[1 : count + 1] = rows
        words = self._exchange.run(
            kernel, (count + 1) * _WORDS, groups, count * _ANSWER_WORDS, iterations=iterations
        )
        self.dispatches += 1
        answers = words.reshape(count, _ANSWER_WORDS)
        return answers.view(np.uint64)[:, 0], answers[:, 2]

    def execute(self, work: Execute) -> int:
        """Run one dispatch of a registered shader, or a layer."""
        try:
            if work.shader >= len(registry.SHADERS):
                return self._layer(layers.LAYERS[work.shader - len(registry.SHADERS)], work)
            return self._shader(registry.SHADERS[work.shader], work)
        except devices.DeviceLost as lost:
            raise DeviceLost from lost
        except InputError as error:
            raise CommandError(m.ERROR_BAD_DISPATCH) from error
        except PxError as error:
            raise CommandError(m.ERROR_SHADER_FAILED) from error

    def _shader(self, shader: registry.Shader, work: Execute) -> int:
        by_binding = {buffer.binding: buffer for buffer in work.buffers}
        if by_binding.keys() != set(range(shader.bindings)):
            raise CommandError(m.ERROR_BAD_DISPATCH)
        bound = [by_binding[n] for n in range(shader.bindings)]
        if any(not bound[n].writes for n in shader.writes):
            raise CommandError(m.ERROR_BAD_DISPATCH)
        # what bounds the loops is what runs: the private copies
        copies = [b"" if n in shader.writes else bytes(b.view) for n, b in enumerate(bound)]
        iterations = shader.iterations(copies, [buffer.length for buffer in bound])
        if iterations is None or iterations > devices.LOOP_MAX:
            raise CommandError(m.ERROR_BAD_DISPATCH)
        return self._run(shader, work, bound, copies, iterations)

    def _layer(self, layer: layers.Layer, work: Execute) -> int:
        """A layer: arrays in, an array out, through ``nn``."""
        import numpy as np

        from toolchain.gpu.nn import Nn

        bound = sorted(work.buffers, key=lambda buffer: buffer.binding)
        if not bound or bound[0].heap is not None or bound[0].length != layers.SHAPE.size:
            raise CommandError(m.ERROR_BAD_DISPATCH)
        first, *rest = bound
        shape = layers.SHAPE.unpack(bytes(first.view))
        whole = [buffer.binding for buffer in bound] == list(range(len(bound))) and work.groups == (1, 1, 1)
        if not (whole and 0 not in shape[:2] and layer.fits(shape, [buffer.length for buffer in rest])):
            raise CommandError(m.ERROR_BAD_DISPATCH)
        *inputs, out = rest
        if not out.writes:
            raise CommandError(m.ERROR_BAD_DISPATCH)
        if self._nn is None:
            self._nn = Nn(self.device)
        began = time.perf_counter_ns()
        arrays = [
            np.frombuffer(self._bytes(buffer), np.float32).reshape(size)
            for buffer, size in zip(inputs, layer.arrays(shape)[:-1], strict=True)
        ]
        result = np.ascontiguousarray(layer.run(self._nn, arrays), np.float32).tobytes()
        if out.heap is None:
            out.view[:] = result
        else:
            self.device.write(self._heap, result, out.heap)
            self.device.finish()
        return time.perf_counter_ns() - began

    def _bytes(self, buffer: Buffer) -> bytes:
        """A private copy of a buffer."""
        if buffer.heap is None:
            return bytes(buffer.view)
        return bytes(self.device.download(self._heap, buffer.length, buffer.heap))

    def _run(
        self, shader: registry.Shader, work: Execute, bound: list[Any], copies: list[bytes], iterations: int
    ) -> int:
        device = self.device
        kernel = self._kernels.get(shader.name)
        if kernel is None:
            kernel = self._kernels[shader.name] = device.kernel(wgsl.load(shader.file), shader.entry)
        began = time.perf_counter_ns()
        buffers = []
        for buffer, copy in zip(bound, copies, strict=True):
            made = device.buffer(buffer.length, shader.name)
            if buffer.heap is not None:
                device.copy(self._heap, made, buffer.length, buffer.heap)
            elif buffer.reads:
                device.write(made, copy or bytes(buffer.view))
            buffers.append(made)
        device.dispatch(kernel, buffers, work.groups, iterations=iterations)
        written = [(buffer, made) for buffer, made in zip(bound, buffers, strict=True) if buffer.writes]
        for buffer, made in written:
            if buffer.heap is not None:
                device.copy(made, self._heap, buffer.length, 0, buffer.heap)
        given = [(buffer, made) for buffer, made in written if buffer.heap is None]
        for buffer, made in given:
            buffer.view[:] = device.download(made, buffer.length)
        if not given:  # a download has waited for all
            device.finish()
        return time.perf_counter_ns() - began

    def limit(self, number: int) -> int | None:
        """A limit of the adapter."""
        return self.device.limits[_LIMITS[number]] if number < len(_LIMITS) else None

    def close(self) -> None:
        """Give the device back."""
        self.device.close()
