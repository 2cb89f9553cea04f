"""One dispatch between words that go in and words that come out, with as few calls of wgpu as that can be done.

Owns: the two buffers at bindings 0 (in) and 1 (out), and three ways of going through them. The direct way calls
wgpu-native's functions without wgpu-py's objects around each; where processor and device share their memory, the
buffers are mapped in turn and nothing is copied on the device. Any other wgpu is asked through ``Device`` alone.
All three give the same; the dispatch of a few hundred words is so short that the calls around it are what takes time.
Never says what the words mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from toolchain.errors import InputError
from toolchain.gpu.device import ALIGNMENT, STAGE, Bound, Buffer, Device
from toolchain.gpu.kernels import Kernel
from toolchain.gpu.readback import Ask, Mapper

if TYPE_CHECKING:
    import numpy as np

    Words = np.ndarray[Any, np.dtype[np.uint32]]

_CALLS = "exchange"  # what wgpu-py's capture of errors calls ours


class Exchange:
    """The way through ``Device``: works with every wgpu.

    Args:
        device: where it runs.
        words_in: most words that go in.
        words_out: most words that come out.
        others: buffers at bindings 2 and up.

    Attributes:
        inbox: (words_in,) what the next dispatch reads; the caller fills it.
    """

    def __init__(self, device: Device, words_in: int, words_out: int, others: Sequence[Buffer] = ()) -> None:
        import numpy as np

        self.device = device
        self.inbox: Words = np.zeros(words_in, np.uint32)
        self._most = words_out
        self._others = tuple(others)
        self._bound: dict[Kernel, Bound] = {}
        self._make(words_in * ALIGNMENT, words_out * ALIGNMENT)

    def _make(self, size_in: int, size_out: int) -> None:
        """The buffers."""
        self._in = self.device.buffer(size_in, "words in")
        self._out = self.device.buffer(size_out, "words out")

    def run(self, kernel: Kernel, used: int, groups: int, wanted: int, *, iterations: int) -> Words:
        """Dispatch ``kernel`` on the first ``used`` words of the inbox.

        Args:
            kernel: binding 0 is what goes in, 1 what comes out.
            used: words.
            groups: workgroups.
            wanted: words that are wanted of what comes out.
            iterations: the most that all loops of one invocation do together.

        Returns:
            (wanted,) a copy.

        Raises:
            InputError: too many iterations, workgroups or words.
            DeviceLost: the device is gone.
        """
        import numpy as np

        self._fits(used, wanted)
        self.device.write(self._in, self.inbox[:used])
        self.device.dispatch(kernel, self._group(kernel), (groups,), iterations=iterations)
        return np.frombuffer(self.device.download(self._out, wanted * ALIGNMENT), np.uint32)

    def _fits(self, used: int, wanted: int) -> None:
        if not (0 < used <= len(self.inbox) and 0 < wanted <= self._most):
            raise InputError(
                f"{used} words in and {wanted} out, of {len(self.inbox)} and {self._most}", stage=STAGE
            )

    def _group(self, kernel: Kernel) -> Bound:
        if kernel not in self._bound:
            self._bound[kernel] = self.device.bound(kernel, (self._in, self._out, *self._others))
        return self._bound[kernel]


class Direct(Exchange):
    """wgpu-native's own functions; words are copied to the device and back by it."""

    def __init__(self, device: Device, words_in: int, words_out: int, others: Sequence[Buffer] = ()) -> None:
        from wgpu.backends.wgpu_native import _api as api

        super().__init__(device, words_in, words_out, others)
        self._lib, self._ffi = api.lib, api.ffi
        self._errors = api.error_handler
        self._mapper = Mapper(api, api.lib, device.handle)
        self._commands = api.ffi.new("WGPUCommandBuffer[1]")
        self._words = api.ffi.from_buffer(self.inbox)
        self._handle = device.handle._internal
        self._queue = device.handle.queue._internal

    def _make(self, size_in: int, size_out: int) -> None:
        super()._make(size_in, size_out)
        self._read = self.device.create(size_out, "words out, to be read", "MAP_READ", "COPY_DST")

    def run(self, kernel: Kernel, used: int, groups: int, wanted: int, *, iterations: int) -> Words:
        """As ``Exchange.run``."""
        what = self.device.bounded(kernel, (groups,), iterations)
        self._fits(used, wanted)
        self.device.flush()
        group = self._group(kernel).group._internal
        with self.device.guard(what):
            with self._reported():  # submitting what could not be recorded would end the process
                self._give(used * ALIGNMENT)
                self._record(kernel.pipeline._internal, group, groups, wanted * ALIGNMENT)
            with self._reported():
                self._lib.wgpuQueueSubmit(self._queue, 1, self._commands)
                self._lib.wgpuCommandBufferRelease(self._commands[0])
                return self._take(wanted * ALIGNMENT)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """What wgpu reports of the calls inside; where the device is gone, that is what is said."""
        self._errors.capture(_CALLS)
        failure: Exception | None = None
        try:
            yield
        except RuntimeError as error:
            failure = error
        finally:
            said = self._errors.release(_CALLS)
        if failure or said:
            self.device.handle.create_command_encoder()  # raises that the device is lost
            raise failure or RuntimeError(said[1])

    def _record(self, pipeline: Any, group: Any, groups: int, size: int) -> None:
        lib, null = self._lib, self._ffi.NULL
        encoder = lib.wgpuDeviceCreateCommandEncoder(self._handle, null)
        recording = lib.wgpuCommandEncoderBeginComputePass(encoder, null)
        lib.wgpuComputePassEncoderSetPipeline(recording, pipeline)
        lib.wgpuComputePassEncoderSetBindGroup(recording, 0, group, 0, null)
        lib.wgpuComputePassEncoderDispatchWorkgroups(recording, groups, 1, 1)
        lib.wgpuComputePassEncoderEnd(recording)
        lib.wgpuComputePassEncoderRelease(recording)
        self._copy_out(encoder, size)
        self._commands[0] = lib.wgpuCommandEncoderFinish(encoder, null)
        lib.wgpuCommandEncoderRelease(encoder)

    def _give(self, size: int) -> None:
        """The inbox to the device."""
        self._lib.wgpuQueueWriteBuffer(self._queue, self._in.handle._internal, 0, self._words, size)

    def _copy_out(self, encoder: Any, size: int) -> None:
        source, target = self._out.handle._internal, self._read.handle._internal
        self._lib.wgpuCommandEncoderCopyBufferToBuffer(encoder, source, 0, target, 0, size)

    def _take(self, size: int) -> Words:
        buffer = self._read.handle._internal
        [start] = self._mapper.map(Ask(buffer, False, size))
        return self._copied(start, size, buffer)

    def _copied(self, start: Any, size: int, buffer: Any) -> Words:
        """A copy of mapped words; unmaps their buffer."""
        import numpy as np

        words = np.frombuffer(self._ffi.buffer(start, size), np.uint32).copy()
        self._mapper.unmap(buffer)
        return words


class Mapped(Direct):
    """Without copies on the device: the buffers themselves are mapped while no dispatch runs."""

    def _make(self, size_in: int, size_out: int) -> None:
        self._size = size_in
        self._in = self.device.create(size_in, "words in", "STORAGE", "MAP_WRITE")
        self._out = self.device.create(size_out, "words out", "STORAGE", "MAP_READ")
        self._start: Any = None  # where the words that go in are mapped

    def _give(self, size: int) -> None:
        buffer = self._in.handle._internal
        if self._start is None:
            [self._start] = self._mapper.map(Ask(buffer, True, self._size))
        self._ffi.memmove(self._start, self._words, size)
        self._start = None
        self._mapper.unmap(buffer)

    def _copy_out(self, encoder: Any, size: int) -> None:
        """They are read where the shader wrote them."""

    def _take(self, size: int) -> Words:
        buffer = self._out.handle._internal
        [start, self._start] = self._mapper.map(
            Ask(buffer, False, size), Ask(self._in.handle._internal, True, self._size)
        )
        return self._copied(start, size, buffer)


def best(device: Device, words_in: int, words_out: int, others: Sequence[Buffer] = ()) -> Exchange:
    """The quickest way on this device and wgpu."""
    try:
        return (Mapped if device.shares_memory else Direct)(device, words_in, words_out, others)
    except (ImportError, AttributeError, TypeError, ValueError):
        return Exchange(device, words_in, words_out, others)
