"""Reading a buffer back in the thread that asks: the calls that wgpu-py makes from another one.

Owns: map, wait, copy, unmap by wgpu-native's own functions. wgpu-py hands the waiting to a thread of its own, and
submits an empty command buffer before each map, which takes longer than the dispatch of a small command. Where this
wgpu is laid out otherwise, its own ``map_sync`` is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Read = Callable[[Any, int], memoryview]
_NEEDED = ("wgpuBufferMapAsync", "wgpuDevicePoll", "wgpuBufferGetMappedRange", "wgpuBufferUnmap")
_POLLS = 1000  # looks, each of which waits until the queue is empty


def reader(device: Any) -> Read:
    """A function that reads the first bytes of a MAP_READ buffer, once all that is submitted has run."""
    try:
        from wgpu.backends.wgpu_native import _api as api

        made = _direct(api, device)
    except (ImportError, AttributeError, TypeError, ValueError):
        return _mapped
    return made if all(hasattr(api.libf, name) for name in _NEEDED) else _mapped


def _mapped(buffer: Any, size: int) -> memoryview:
    """As wgpu-py does it."""
    from wgpu import MapMode

    buffer.map_sync(MapMode.READ, 0, size)
    try:
        data: memoryview = buffer.read_mapped(0, size)
    finally:
        buffer.unmap()
    return data


def _direct(api: Any, device: Any) -> Read:
    answers: list[tuple[int, str]] = []

    @api.ffi.callback("void(WGPUMapAsyncStatus, WGPUStringView, void *, void *)")  # type: ignore[untyped-decorator]
    def done(status: int, message: Any, _first: Any, _second: Any) -> None:
        answers.append((status, api.from_c_string_view(message)))

    asks = api.new_struct(
        "WGPUBufferMapCallbackInfo", mode=api.lib.WGPUCallbackMode_AllowProcessEvents, callback=done
    )

    def read(buffer: Any, size: int) -> memoryview:
        answers.clear()
        api.libf.wgpuBufferMapAsync(buffer._internal, api.lib.WGPUMapMode_Read, 0, size, asks)
        for _ in range(_POLLS):
            api.libf.wgpuDevicePoll(device._internal, True, api.ffi.NULL)
            if answers:
                break
        status, said = answers[0] if answers else (0, "no answer")
        if status != api.lib.WGPUMapAsyncStatus_Success:
            raise RuntimeError(f"Could not map buffer ({status} : {said}).")
        try:
            start = api.libf.wgpuBufferGetMappedRange(buffer._internal, 0, size)
            data = bytearray(api.ffi.buffer(start, size))
        finally:
            api.libf.wgpuBufferUnmap(buffer._internal)
        return memoryview(data)

    return read
