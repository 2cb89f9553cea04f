"""Mapping buffers in the thread that asks: the calls that wgpu-py makes from another one.

Owns: map, wait, copy, unmap by wgpu-native's own functions. wgpu-py hands the waiting to a thread of its own, and
submits an empty command buffer before each map, which takes longer than the dispatch of a small command. Where this
wgpu is laid out otherwise, its own ``map_sync`` is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Read = Callable[[Any, int], memoryview]
_NEEDED = ("wgpuBufferMapAsync", "wgpuDevicePoll", "wgpuBufferGetMappedRange", "wgpuBufferUnmap")
_POLLS = 1000  # looks, each of which waits until the queue is empty


class Ask(NamedTuple):
    """One buffer to map.

    Attributes:
        buffer: wgpu-native's.
        writes: for writing, else for reading.
        size: bytes from its start.
    """

    buffer: Any
    writes: bool
    size: int


class Mapper:
    """Maps buffers of one device.

    Args:
        api: wgpu-py's module around wgpu-native.
        functions: where its functions are taken from: ``api.libf``, which raises what each reports, or ``api.lib``.
        device: wgpu's device.

    Raises:
        AttributeError, TypeError, ValueError: this wgpu is laid out otherwise.
    """

    def __init__(self, api: Any, functions: Any, device: Any) -> None:
        answers: list[tuple[int, str]] = []

        @api.ffi.callback("void(WGPUMapAsyncStatus, WGPUStringView, void *, void *)")  # type: ignore[untyped-decorator]
        def done(status: int, message: Any, _first: Any, _second: Any) -> None:
            said = "" if status == success else api.from_c_string_view(message)
            answers.append((status, said))

        self._lib = functions
        self._null = api.ffi.NULL
        self._device = device._internal
        self._kinds = (api.lib.WGPUMapMode_Read, api.lib.WGPUMapMode_Write)
        self._success = success = api.lib.WGPUMapAsyncStatus_Success
        self._asks = api.new_struct(
            "WGPUBufferMapCallbackInfo", mode=api.lib.WGPUCallbackMode_AllowProcessEvents, callback=done
        )
        self._answers = answers
        self._kept = done  # as long as it may be called
        for name in _NEEDED:
            getattr(functions, name)

    def map(self, *asked: Ask) -> list[Any]:
        """Map buffers once all that is submitted has run; where each begins.

        Raises:
            RuntimeError: one cannot be mapped.
        """
        answers = self._answers
        answers.clear()
        for buffer, writes, size in asked:
            self._lib.wgpuBufferMapAsync(buffer, self._kinds[writes], 0, size, self._asks)
        for _ in range(_POLLS):
            if len(answers) >= len(asked):
                break
            self._lib.wgpuDevicePoll(self._device, True, self._null)
        status, said = _worst(answers, len(asked), self._success)
        if status != self._success:
            raise RuntimeError(f"Could not map buffer ({status} : {said}).")
        return [self._lib.wgpuBufferGetMappedRange(ask.buffer, 0, ask.size) for ask in asked]

    def unmap(self, buffer: Any) -> None:
        """Give a mapped buffer back to the device."""
        self._lib.wgpuBufferUnmap(buffer)


def _worst(answers: Sequence[tuple[int, str]], count: int, success: int) -> tuple[int, str]:
    """The answer that stands for all."""
    if len(answers) < count:
        return 0, "no answer"
    return next((answer for answer in answers if answer[0] != success), (success, ""))


def reader(device: Any) -> Read:
    """A function that reads the first bytes of a MAP_READ buffer, once all that is submitted has run."""
    try:
        from wgpu.backends.wgpu_native import _api as api

        mapper = Mapper(api, api.libf, device)
    except (ImportError, AttributeError, TypeError, ValueError):
        return _mapped

    def read(buffer: Any, size: int) -> memoryview:
        handle = buffer._internal
        [start] = mapper.map(Ask(handle, False, size))
        try:
            data = bytearray(api.ffi.buffer(start, size))
        finally:
            mapper.unmap(handle)
        return memoryview(data)

    return read


def _mapped(buffer: Any, size: int) -> memoryview:
    """As wgpu-py does it."""
    from wgpu import MapMode

    buffer.map_sync(MapMode.READ, 0, size)
    try:
        data: memoryview = buffer.read_mapped(0, size)
    finally:
        buffer.unmap()
    return data
