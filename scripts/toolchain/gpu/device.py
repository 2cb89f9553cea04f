"""One open GPU: buffers that stay on it, compute kernels, dispatches, and what happens when it is lost.

Owns: the device, its pipelines, the recording and submitting of dispatches, the bounds that are asserted before each.
Knows nothing of what a shader computes. One device belongs to one thread. Compiling is ``kernels``'s.

Dispatches are recorded and submitted together: at the next ``write``, ``download``, ``flush`` or ``finish``. They run
in the order in which they were recorded, and each sees what those before it wrote.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

from toolchain.errors import InputError, ToolError
from toolchain.gpu import adapter as adapters
from toolchain.gpu import readback, wgsl
from toolchain.gpu.kernels import LOST, Compiler, Kernel

if TYPE_CHECKING:
    import numpy as np
    from _typeshed import ReadableBuffer

    Data = ReadableBuffer | np.ndarray[Any, Any]

STAGE = "gpu"
# lavapipe ends loops silently after about 65,535 iterations of an invocation, all its loops together; drivers with a
# bound of 30,000 are known. What a kernel may ask for stays well below.
LOOP_MAX = 16_384
RECORDED_MAX = 128  # dispatches in one submission
WORK_MAX = 1 << 37  # operations in one submission: 0.1 s at 1.4 TFLOP/s; watchdogs bite after 2 s and more
ALIGNMENT = 4  # of sizes and offsets of copies (WebGPU, section 5.1)
UNIFORM_ALIGNMENT = 16
UNIFORMS_KEPT = 256
MAPPABLE = "mappable-primary-buffers"  # of wgpu: what shaders use can be mapped as well
_FEATURES = (MAPPABLE, "shader-f16", "shader-int64", "subgroup", "timestamp-query")
_SHARED = ("CPU", "IntegratedGPU")  # kinds whose memory is the processor's own


class DeviceLost(ToolError):
    """The device is gone (reset, removed, closed): what it held is lost; open another one."""


class Buffer:
    """Memory on the device.

    Attributes:
        size: bytes, a multiple of 4.
        handle: wgpu's buffer; None once freed.
    """

    __slots__ = ("handle", "label", "size")

    def __init__(self, handle: Any, size: int, label: str) -> None:
        self.handle = handle
        self.size = size
        self.label = label

    def free(self) -> None:
        """Give the memory back. Dispatches that are recorded keep it until they have run."""
        self.handle = None


class Bound(NamedTuple):
    """Buffers bound for a kernel."""

    group: Any
    buffers: tuple[Buffer, ...]


class Device:
    """An open device; ``with Device() as device`` closes it.

    Args:
        wanted: which adapter, see ``adapter.choose``.

    Raises:
        InputError: no adapter is called so.
        ToolError: there is no adapter, or it gives no device.
    """

    def __init__(self, wanted: str | None = None) -> None:
        self.adapter = adapters.choose(wanted)
        self.features = frozenset(f for f in _FEATURES if f in self.adapter.features)
        self.limits = self.adapter.limits
        self.lost = False
        logging.getLogger("wgpu").addHandler(logging.NullHandler())  # what it logs is raised here as well
        with adapters.quiet_loader(), self.guard("opening"):
            self.handle = self.adapter.handle.request_device_sync(
                required_features=sorted(self.features), required_limits=self.limits
            )
        self._queue = self.handle.queue
        self._read = readback.reader(self.handle)
        self._compiler = Compiler(self.handle, self.guard)
        self._uniforms: dict[bytes, Buffer] = {}
        self._staging: Buffer | None = None
        self._marker: Buffer | None = None
        self._encoder: Any = None
        self._pass: Any = None
        self._recorded = self._work = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the device back; what is recorded and not submitted is dropped. A second call does nothing."""
        self._encoder = self._pass = self._staging = self._marker = None
        self._compiler.clear()
        self._uniforms.clear()
        self.lost = True
        self.handle.destroy()

    # --- memory ------------------------------------------------------------------------------------------

    def buffer(self, size: int, label: str = "") -> Buffer:
        """Memory of at least ``size`` bytes, zeroed.

        Raises:
            InputError: it is larger than the adapter binds.
            ToolError: the device has no memory left, or is lost.
        """
        size = max(-(-size // ALIGNMENT) * ALIGNMENT, ALIGNMENT)
        most = min(self.limits["max-buffer-size"], self.limits["max-storage-buffer-binding-size"])
        if size > most:
            raise InputError(
                f"{label or 'buffer'}: {size} bytes; {self.adapter.name} binds {most} at most: split it",
                stage=STAGE,
            )
        return self.create(size, label, "STORAGE", "COPY_SRC", "COPY_DST")

    def upload(self, data: Data, label: str = "") -> Buffer:
        """A buffer that holds ``data`` (C-contiguous), padded with zeros to a multiple of 4 bytes."""
        view = _bytes(data)
        buffer = self.buffer(len(view), label)
        self.write(buffer, view)
        return buffer

    def write(self, buffer: Buffer, data: Data, offset: int = 0) -> None:
        """Write ``data`` at ``offset``, after the dispatches recorded so far.

        Raises:
            InputError: it does not fit, or the offset is no multiple of 4.
        """
        view = _bytes(data)
        if offset % ALIGNMENT or offset < 0 or offset + len(view) > buffer.size:
            raise InputError(
                f"{buffer.label or 'buffer'}: {len(view)} bytes at {offset} of {buffer.size}", stage=STAGE
            )
        self.flush()
        if len(view) % ALIGNMENT:
            view = memoryview(bytes(view) + bytes(-len(view) % ALIGNMENT))
        with self.guard("writing"):
            if len(view):
                self._queue.write_buffer(buffer.handle, offset, view)

    def download(self, buffer: Buffer, size: int | None = None, offset: int = 0) -> memoryview:
        """What the buffer holds once all that is recorded has run: ``size`` bytes (None: the rest) at ``offset``."""
        size = buffer.size - offset if size is None else size
        if offset % ALIGNMENT or min(offset, size) < 0 or offset + size > buffer.size:
            raise InputError(
                f"{buffer.label or 'buffer'}: {size} bytes at {offset} of {buffer.size}", stage=STAGE
            )
        whole = -(-size // ALIGNMENT) * ALIGNMENT
        if not whole:
            return memoryview(b"")
        with self.guard("reading", recording=True):
            if self._staging is None or self._staging.size < whole:
                room = 1 << max(whole - 1, 1).bit_length()
                self._staging = self.create(room, "staging", "MAP_READ", "COPY_DST")
            staging = self._staging.handle
            self._begin()
            self._end_pass()
            self._encoder.copy_buffer_to_buffer(buffer.handle, offset, staging, 0, whole)
            self.flush()
            return self._read(staging, whole)[:size]

    def uniform(self, data: bytes) -> Buffer:
        """A small read-only buffer for a kernel's parameters; the same bytes give the same buffer."""
        found = self._uniforms.get(data)
        if found is None:
            if len(self._uniforms) >= UNIFORMS_KEPT:
                del self._uniforms[next(iter(self._uniforms))]
            size = -(-len(data) // UNIFORM_ALIGNMENT) * UNIFORM_ALIGNMENT
            found = self._uniforms[data] = self.create(size, "parameters", "UNIFORM", "COPY_DST")
            with self.guard("writing"):
                self._queue.write_buffer(found.handle, 0, data + bytes(size - len(data)))
        return found

    def create(self, size: int, label: str, *usage: str) -> Buffer:
        """A buffer of WebGPU's usages, by their names; ``buffer`` makes the usual one."""
        from wgpu import BufferUsage

        flags = 0
        for name in usage:
            flags |= getattr(BufferUsage, name)
        with self.guard(f"{size} bytes for {label or 'a buffer'}"):
            return Buffer(self.handle.create_buffer(label=label, size=size, usage=flags), size, label)

    # --- kernels -----------------------------------------------------------------------------------------

    def kernel(self, module: wgsl.Module, entry: str = "main", *, checked: bool = True) -> Kernel:
        """Compile an entry point of a module; the same code gives the same kernel. See ``kernels.Compiler.kernel``."""
        return self._compiler.kernel(module, entry, checked=checked)

    def validate(self, module: wgsl.Module) -> Any:
        """Everything that can be said of a module without the driver's compiler. See ``kernels.Compiler.validate``."""
        return self._compiler.validate(module)

    def bound(self, kernel: Kernel, buffers: Sequence[Buffer]) -> Bound:
        """Buffers bound for a kernel once, for many dispatches; they are kept as long as this is."""
        with self.guard(f"{kernel.name}, {kernel.entry}"):
            entries = [{"binding": n, "resource": {"buffer": b.handle}} for n, b in enumerate(buffers)]
            group = self.handle.create_bind_group(layout=kernel.layout, entries=entries)
        return Bound(group, tuple(buffers))

    def bounded(self, kernel: Kernel, groups: Sequence[int], iterations: int) -> str:
        """What is asserted before a dispatch; the name by which errors call it.

        Raises:
            InputError: too many iterations or workgroups.
        """
        what = f"{kernel.name}, {kernel.entry}"
        if iterations > LOOP_MAX:
            raise InputError(
                f"{what}: {iterations} iterations of one invocation, {LOOP_MAX} at most: split it",
                stage=STAGE,
            )
        most = self.limits["max-compute-workgroups-per-dimension"]
        if not all(0 <= n <= most for n in groups):
            raise InputError(
                f"{what}: {tuple(groups)} workgroups, {most} at most in each direction", stage=STAGE
            )
        return what

    def dispatch(
        self,
        kernel: Kernel,
        buffers: Sequence[Buffer] | Bound,
        groups: Sequence[int],
        *,
        iterations: int,
        work: int = 0,
    ) -> None:
        """Record one dispatch.

        Args:
            kernel: what to run.
            buffers: for ``@group(0)``, the first at ``@binding(0)``; bound before, where they are often the same.
            groups: workgroups in x, y, z (missing ones are 1).
            iterations: the most that all loops of one invocation do together; asserted against ``LOOP_MAX``.
            work: arithmetic operations of the dispatch, where they are many; what is recorded is submitted before it
                exceeds ``WORK_MAX``, because drivers time a submission as a whole.

        Raises:
            InputError: too many iterations or workgroups, or the buffers do not fit the kernel's bindings.
        """
        what = self.bounded(kernel, groups, iterations)
        if not all(groups):
            return
        group = buffers.group if isinstance(buffers, Bound) else self.bound(kernel, buffers).group
        if self._work + work > WORK_MAX:
            self.flush()
        with self.guard(what, recording=True):
            self._begin()
            if self._pass is None:
                self._pass = self._encoder.begin_compute_pass()
            self._pass.set_pipeline(kernel.pipeline)
            self._pass.set_bind_group(0, group)
            self._pass.dispatch_workgroups(*groups)
        self._recorded += 1
        self._work += work
        if self._recorded >= RECORDED_MAX:
            self.flush()

    def copy(
        self, source: Buffer, target: Buffer, size: int, source_offset: int = 0, offset: int = 0
    ) -> None:
        """Record a copy on the device; sizes and offsets are multiples of 4."""
        with self.guard("copying", recording=True):
            self._begin()
            self._end_pass()
            self._encoder.copy_buffer_to_buffer(source.handle, source_offset, target.handle, offset, size)

    def flush(self) -> None:
        """Submit what is recorded, without waiting for it."""
        if self._encoder is None:
            return
        with self.guard("submitting", recording=True):
            self._end_pass()
            encoder, self._encoder = self._encoder, None
            self._recorded = self._work = 0
            self._queue.submit([encoder.finish()])

    def finish(self) -> None:
        """Submit what is recorded and wait until the device has done all."""
        if self._marker is None:
            self._marker = self.buffer(ALIGNMENT, "marker")
        self.download(self._marker)

    def _begin(self) -> None:
        if self._encoder is None:
            self._encoder = self.handle.create_command_encoder()

    def _end_pass(self) -> None:
        if self._pass is not None:
            running, self._pass = self._pass, None
            running.end()

    # --- errors ------------------------------------------------------------------------------------------

    @property
    def shares_memory(self) -> bool:
        """Whether a shader's buffers can be mapped, and lie in memory where the processor is as quick."""
        return MAPPABLE in self.features and self.adapter.kind in _SHARED

    @contextmanager
    def guard(self, doing: str, *, recording: bool = False) -> Iterator[None]:
        """What wgpu raises, as an error of ours; a recording that has failed is dropped, any other is kept."""
        import wgpu

        if self.lost:
            raise self._gone(doing)
        try:
            yield
        except (wgpu.GPUError, RuntimeError) as error:
            if recording:
                self._encoder = self._pass = None
                self._recorded = self._work = 0
            said = str(error).strip().splitlines()[-1].strip() if str(error).strip() else type(error).__name__
            if LOST in str(error):
                self.lost = True
                raise self._gone(doing) from error
            if isinstance(error, wgpu.GPUOutOfMemoryError):
                raise ToolError(
                    f"{self.adapter.name} has no memory left ({doing}): use smaller batches", stage=STAGE
                ) from error
            if isinstance(error, wgpu.GPUValidationError):
                raise InputError(f"{doing}: {said}", stage=STAGE) from error
            raise ToolError(f"{self.adapter.name}, {doing}: {said}", stage=STAGE) from error

    def _gone(self, doing: str) -> DeviceLost:
        return DeviceLost(f"the device {self.adapter.name} is lost ({doing}): open it again", stage=STAGE)


def _bytes(data: Data) -> memoryview:
    view = memoryview(cast("ReadableBuffer", data))
    return view.cast("B") if view.nbytes else memoryview(b"")
