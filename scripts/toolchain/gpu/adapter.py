"""Which GPU is used: the adapters that wgpu sees, in order of preference, and the one that is asked for.

Owns: listing, ranking and naming adapters. A real GPU is preferred to a software rasteriser; lavapipe ("llvmpipe",
Mesa) is the fallback that every machine can have. Never opens a device.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from toolchain.errors import InputError, ToolError

STAGE = "gpu"
VARIABLE = "PXOS_GPU_ADAPTER"  # a part of an adapter's name; an argument wins over it
MEND = "install a Vulkan driver; lavapipe needs no GPU: apt-get install mesa-vulkan-drivers libvulkan1"
_BACKENDS = ("Vulkan", "Metal", "DX12")  # OpenGL has no storage buffers worth the name
_ORDER = ("DiscreteGPU", "IntegratedGPU", "VirtualGPU", "Unknown", "CPU")
_SOFTWARE = "CPU"


@dataclass(frozen=True)
class Adapter:
    """One adapter.

    Attributes:
        name: the device's name, e.g. ``"llvmpipe (LLVM 15.0.6, 256 bits)"``.
        driver: the driver's description.
        backend: ``"Vulkan"``, ``"Metal"`` or ``"D3D12"``.
        kind: WebGPU's adapter type: DiscreteGPU, IntegratedGPU, VirtualGPU, CPU or Unknown.
        features: WebGPU's feature names.
        limits: WebGPU's limits by name (``"max-buffer-size"``).
        handle: wgpu's object.
    """

    name: str
    driver: str
    backend: str
    kind: str
    features: frozenset[str]
    limits: dict[str, int]
    handle: Any

    @property
    def software(self) -> bool:
        """True for a rasteriser on the CPU: correct, not quick."""
        return self.kind == _SOFTWARE

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}) via {self.backend}"


def adapters() -> list[Adapter]:
    """All adapters, the preferred one first.

    Raises:
        ToolError: wgpu is not installed, or it cannot be loaded.
    """
    try:
        import wgpu
        from wgpu.backends.wgpu_native import extras
    except (ImportError, OSError) as error:
        raise ToolError(f"wgpu cannot be loaded ({error}): run make setup", stage=STAGE) from error
    with quiet_loader():
        if not _configured:
            extras.set_instance_extras(backends=_BACKENDS)
            _configured.append(True)
        found = [_adapter(handle) for handle in wgpu.gpu.enumerate_adapters_sync()]
    return sorted(found, key=lambda a: _ORDER.index(a.kind) if a.kind in _ORDER else len(_ORDER))


_configured: list[bool] = []  # wgpu's instance is one for the process and takes its backends once


def choose(wanted: str | None = None) -> Adapter:
    """The adapter to use.

    Args:
        wanted: a part of its name, driver, kind or backend, any case; None asks the environment variable
            ``PXOS_GPU_ADAPTER``, and takes the preferred one where that is unset or empty.

    Raises:
        InputError: none is called so.
        ToolError: there is none at all, or wgpu cannot be loaded.
    """
    there = adapters()
    if not there:
        raise ToolError(f"wgpu finds no adapter: {MEND}", stage=STAGE)
    source = "--adapter" if wanted is not None else VARIABLE
    wanted = os.environ.get(VARIABLE, "") if wanted is None else wanted
    for adapter in there:
        if wanted.casefold() in f"{adapter} {adapter.driver}".casefold():
            return adapter
    names = "; ".join(str(a) for a in there)
    raise InputError(f"{source}: no adapter is called '{wanted}' (there are: {names})", stage=STAGE)


def _adapter(handle: Any) -> Adapter:
    info = handle.info
    return Adapter(
        name=info["device"],
        driver=info["description"],
        backend=info["backend_type"],
        kind=info["adapter_type"],
        features=frozenset(handle.features),
        limits=dict(handle.limits),
        handle=handle,
    )


@contextmanager
def quiet_loader() -> Iterator[None]:
    """Mesa looks for a Wayland display as it starts, and complains on stderr where there is no session for one."""
    if os.environ.get("XDG_RUNTIME_DIR"):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="pxos-gpu-") as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        try:
            yield
        finally:
            del os.environ["XDG_RUNTIME_DIR"]
