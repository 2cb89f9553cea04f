"""Compute kernels of one device: WGSL modules compiled, each once, with what the compiler says as our diagnostics.

Owns: the compiled entry points of a device, the layout of their bindings. Never records or runs anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from toolchain.errors import InputError
from toolchain.gpu import barriers, unchecked, wgsl

STAGE = "gpu"
LOST = "is lost"  # in what wgpu says of a device that is gone
Guard = Callable[[str], AbstractContextManager[None]]


class Kernel:
    """One compute entry point, compiled."""

    __slots__ = ("entry", "layout", "name", "pipeline")

    def __init__(self, name: str, entry: str, pipeline: Any, layout: Any) -> None:
        self.name = name
        self.entry = entry
        self.pipeline = pipeline
        self.layout = layout


class Compiler:
    """The kernels of one device.

    Args:
        handle: wgpu's device.
        guard: turns what wgpu raises into errors of ours.
    """

    def __init__(self, handle: Any, guard: Guard) -> None:
        self._handle = handle
        self._guard = guard
        self._kernels: dict[tuple[str, str, bool], Kernel] = {}

    def clear(self) -> None:
        """Forget all of them."""
        self._kernels.clear()

    def kernel(self, module: wgsl.Module, entry: str = "main", *, checked: bool = True) -> Kernel:
        """Compile an entry point of a module; the same code gives the same kernel.

        Args:
            module: see ``wgsl.load``.
            entry: the function's name.
            checked: False leaves out the clamping of indices and the bounding of loops that the compiler would add.
                Only for shaders whose indices and loops the host has proved; a stranger's (``wgsl.in_place``) are
                checked whatever is asked for.

        Raises:
            InputError: the module is not valid, with file, line and column; or has no such entry; or its bindings are
                not buffers of group 0, numbered from 0; or (where it is checked) a barrier is of the wrong kind.
        """
        checked = checked or wgsl.strangers()
        key = module.code, entry, checked
        if key not in self._kernels:
            compiled = self.validate(module) if checked else None
            with self._compiling(module):
                if compiled is None:
                    compiled = unchecked.creator(self._handle)(label=module.name, code=module.code)
                layout = self._layout(wgsl.bindings(module))
                pipeline = self._handle.create_compute_pipeline(
                    layout=self._handle.create_pipeline_layout(bind_group_layouts=[layout]),
                    compute={"module": compiled, "entry_point": entry},
                )
            self._kernels[key] = Kernel(module.name, entry, pipeline, layout)
        return self._kernels[key]

    def validate(self, module: wgsl.Module) -> Any:
        """Everything that can be said of a module without the driver's compiler: a fiftieth of a kernel's time.

        Returns:
            wgpu's shader module.

        Raises:
            InputError: it is not valid, or a barrier is of the wrong kind.
        """
        with self._compiling(module):
            compiled = self._handle.create_shader_module(label=module.name, code=module.code)
        wrong = barriers.check(module)
        if wrong:
            raise InputError(str(wrong[0]), stage=STAGE, diagnostics=wrong)
        return compiled

    @contextmanager
    def _compiling(self, module: wgsl.Module) -> Iterator[None]:
        import wgpu

        with self._guard("compiling"):
            try:
                yield
            except wgpu.GPUValidationError as error:
                if LOST in str(error):
                    raise
                raise wgsl.error(module, str(error)) from error

    def _layout(self, kinds: Sequence[str]) -> Any:
        """A layout with every binding that the module declares, whether or not this entry uses it."""
        from wgpu import ShaderStage

        return self._handle.create_bind_group_layout(
            entries=[
                {"binding": n, "visibility": ShaderStage.COMPUTE, "buffer": {"type": kind}}
                for n, kind in enumerate(kinds)
            ]
        )
