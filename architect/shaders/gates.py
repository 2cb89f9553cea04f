"""The gates of shaders: they compile, their loops end, they compute what NumPy computes.

Owns one device and what is asked of texts on it. The texts are a stranger's: compiled with every check, never written
over those of the checkout. The probes, the sizes and the tolerances are ours (``probes``): a candidate supplies nothing
but WGSL.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from architect.protocols import GateResult
from architect.shaders import probes, source
from architect.shaders.probes import Probe
from toolchain.errors import InputError, ToolError
from toolchain.gpu import wgsl
from toolchain.gpu.device import Device, DeviceLost
from toolchain.gpu.kernels import Kernel
from toolchain.gpu.nn import Nn, Variant
from toolchain.types import Diagnostic

STATIC = ("compiles", "loops")
RUNS = ("reference",)
REST = ("sizes",)
THOROUGH = (*STATIC, *RUNS, *REST)
HELD_OUT = "held-out"  # the judge of the corpus alone asks this one
# Gate -> sizes and seed of its inputs.
INPUTS = {
    "reference": (probes.SIZES, 1),
    "sizes": (probes.OTHER_SIZES, 2),
    HELD_OUT: (probes.HELD_OUT_SIZES, 3),
}
_ENTRY = re.compile(r"@compute\b[^{;]*?\bfn\s+(\w+)")
_STUB = "\n@compute @workgroup_size(1) fn nothing_else() {}\n"


@dataclass
class Asked:
    """What a gate found on some texts.

    Attributes:
        gate: its result.
        diagnostics: the compiler's errors.
        kept: (probe, variant) that hold.
        broken: those that do not.
        ran: probe, variant, the (file, entry point) that it ran, seconds.
    """

    gate: GateResult
    diagnostics: tuple[Diagnostic, ...] = ()
    kept: list[tuple[str, Variant]] = field(default_factory=list)
    broken: list[tuple[str, Variant]] = field(default_factory=list)
    ran: list[tuple[str, Variant, list[tuple[str, str]], float]] = field(default_factory=list)


class _Recorder(Device):
    """A device that remembers which entry points were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[tuple[str, str], None] = {}

    def kernel(self, module: wgsl.Module, entry: str = "main", *, checked: bool = True) -> Kernel:
        self.asked[Path(module.name).name, entry] = None
        return super().kernel(module, entry, checked=checked)


class Gates:
    """A device and the gates on it; ``with Gates() as gates`` closes it. It is opened when first needed."""

    def __init__(self) -> None:
        self._device: _Recorder | None = None
        self.probes = tuple(probes.probes())
        self.seconds: dict[tuple[str, Variant], float] = {}  # of each probe when it was last run

    def __enter__(self) -> Gates:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the device back."""
        if self._device is not None:
            self._device.close()
            self._device = None

    def ask(
        self,
        name: str,
        texts: Mapping[str, str],
        files: Collection[str] | None = None,
        *,
        first: Collection[tuple[str, Variant]] = (),
        stop: bool = False,
        whole: bool = True,
    ) -> Asked:
        """One gate on a folder's texts; probes are asked in the order of their cost.

        Args:
            name: of ``THOROUGH``.
            texts: file name -> WGSL, of the whole folder.
            files: ask only what runs these files, and ``first``; None for all.
            first: probes to run before the others.
            stop: at the first probe that fails.
            whole: False leaves it to what runs the entry points to make kernels of them.
        """
        began = time.perf_counter()
        try:
            if name == "compiles":
                asked = self._compiles(texts, files, whole=whole)
            elif name == "loops":
                asked = _loops(texts, files)
            else:
                asked = self._probed(texts, files, *INPUTS[name], first, stop)
        except DeviceLost as error:  # by what ran on it; the next text gets another one
            self._device = None
            asked = Asked(GateResult(name, False, 0.0, f"the device was lost: {error.message}"))
        return replace(asked, gate=replace(asked.gate, gate=name, seconds=time.perf_counter() - began))

    @property
    def device(self) -> _Recorder:
        """The device."""
        if self._device is None:
            self._device = _Recorder()
        return self._device

    def _compiles(self, texts: Mapping[str, str], files: Collection[str] | None, *, whole: bool) -> Asked:
        errors: list[InputError] = []
        with wgsl.in_place(texts):
            for name in sorted(texts):
                if files is None or _concerns(name, texts, files):
                    try:
                        self._compile(name, texts[name], whole=whole)
                    except InputError as error:
                        errors.append(error)
        if not errors:
            return Asked(GateResult("compiles", True, 0.0))
        found = tuple(d for error in errors for d in error.diagnostics if isinstance(d, Diagnostic))
        own = tuple(d._replace(place=d.place._replace(file=d.place.file.rpartition("/")[2])) for d in found)
        rows = [_finding("compiles", d.message, d.place.file, d.place.line) for d in own]
        evidence = {"findings": rows, "errors": len(errors)}
        return Asked(GateResult("compiles", False, 0.0, errors[0].message.splitlines()[0], evidence), own)

    def _compile(self, name: str, text: str, *, whole: bool) -> None:
        module = wgsl.compose(text, name)
        entries = _ENTRY.findall(source.blanked(module.code))
        if not entries:  # a part: valid by itself
            module, entries = wgsl.compose(text + _STUB, name), ["nothing_else"]
        if not whole:
            self.device.validate(module)
            return
        for entry in entries:
            self.device.kernel(module, entry)

    def _probed(
        self,
        texts: Mapping[str, str],
        files: Collection[str] | None,
        sizes: Sequence[probes.Size],
        seed: int,
        first: Collection[tuple[str, Variant]],
        stop: bool,
    ) -> Asked:
        asked = Asked(GateResult("reference", True, 0.0))
        messages: list[str] = []
        rows = []
        with wgsl.in_place(texts):
            networks: dict[Variant, Nn] = {}
            for probe, variant in self._order(files, first):
                key = (probe.name, variant)
                began = time.perf_counter()
                nn = networks.setdefault(variant, Nn(self.device, variant))
                self.device.asked.clear()
                said = _first_problem(probe, nn, sizes, seed)
                self.seconds[key] = time.perf_counter() - began
                asked.ran.append((probe.name, variant, list(self.device.asked), self.seconds[key]))
                (asked.kept if said is None else asked.broken).append(key)
                if said is not None:
                    messages.append(said)
                    rows.append(_finding(f"reference:{probe.name}", said, None, None))
                    if stop:
                        break
        if messages:
            asked.gate = GateResult("reference", False, 0.0, messages[0], {"findings": rows})
        return asked

    def _order(
        self, files: Collection[str] | None, first: Collection[tuple[str, Variant]]
    ) -> list[tuple[Probe, Variant]]:
        rows = [(probe, variant) for probe in self.probes for variant in probe.variants]
        if files is not None:
            rows = [row for row in rows if set(row[0].files) & set(files) or (row[0].name, row[1]) in first]
        return sorted(
            rows, key=lambda r: ((r[0].name, r[1]) not in first, self.seconds.get((r[0].name, r[1]), 0.0))
        )


def _first_problem(probe: Probe, nn: Nn, sizes: Sequence[probes.Size], seed: int) -> str | None:
    try:
        return next(
            (said for size in sizes if (said := probes.problem(probe, nn, size, seed)) is not None), None
        )
    except DeviceLost:
        raise
    except (
        InputError,
        ToolError,
    ) as error:  # another compile of the same file with other constants, or out of memory
        return f"{probe.name}: {error.message.splitlines()[0]}"


def _loops(texts: Mapping[str, str], files: Collection[str] | None) -> Asked:
    found = [
        _finding("endless-loop", loop.why, name, loop.line)
        for name, text in sorted(texts.items())
        if files is None or name in files
        for loop in source.endless(text)
    ]
    if not found:
        return Asked(GateResult("loops", True, 0.0))
    message = f"{found[0]['file']}:{found[0]['line']}: {found[0]['message']}"
    return Asked(GateResult("loops", False, 0.0, message, {"findings": found}))


def _finding(rule: str, message: str, file: str | None, line: int | None) -> dict[str, Any]:
    return {"rule": rule, "message": message, "routine": None, "file": file, "line": line}


def _concerns(name: str, texts: Mapping[str, str], files: Collection[str]) -> bool:
    """Whether a module has one of the files in it."""
    return name in files or any(part in files for part in source.parts(texts[name]))
