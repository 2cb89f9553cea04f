"""Shader modules without the checks that wgpu adds: clamped indices and counted loops.

Owns: the one call of wgpu-native that wgpu-py does not wrap, ``wgpuDeviceCreateShaderModuleTrusted``. Without
the checks an index beyond its buffer is what the driver makes of it, so only shaders are compiled so whose indices the
host has proved. Where this wgpu has no such call, modules are checked.
"""

from __future__ import annotations

from typing import Any

CHECKS_NONE = 0  # WGPUShaderRuntimeChecks_None (wgpu.h)


def available() -> bool:
    """True where this wgpu has the call."""
    try:
        from wgpu.backends.wgpu_native._api import libf
    except ImportError:
        return False
    return hasattr(libf, "wgpuDeviceCreateShaderModuleTrusted")


def creator(device: Any) -> Any:
    """A function with the interface of ``device.create_shader_module``."""
    if not available():
        return device.create_shader_module
    from wgpu.backends.wgpu_native import _api as api

    def create(*, label: str, code: str) -> Any:
        source = api.new_struct_p("WGPUShaderSourceWGSL *", code=api.to_c_string_view(code))
        source[0].chain.next = api.ffi.NULL
        source[0].chain.sType = api.lib.WGPUSType_ShaderSourceWGSL
        chain = api.ffi.cast("WGPUChainedStruct *", source)
        descriptor = api.new_struct_p(
            "WGPUShaderModuleDescriptor *", nextInChain=chain, label=api.to_c_string_view(label)
        )
        made = api.libf.wgpuDeviceCreateShaderModuleTrusted(device._internal, descriptor, CHECKS_NONE)
        return api.GPUShaderModule(label, made, device)

    return create
