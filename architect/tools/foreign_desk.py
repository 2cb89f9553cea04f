"""The desk for somebody else's kernel: a tree that a ``pxos.toml`` describes, built and booted in the sandbox.

Owns what is different there: which files may be changed is what the tree declares, the names are those that its build
leaves, the machine and the judge stand in ``pxos.toml``. There is no shell to ask, and no header to hold code to.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from architect.tools.desk import Desk, Say
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.protocols import GateResult
    from architect.tools.live import LiveKernel
    from toolchain.foreign.build import Built
    from toolchain.foreign.config import Foreign
    from toolchain.foreign.sandbox import Sandbox
    from toolchain.foreign.tree import File
    from toolchain.headers import Routine
    from toolchain.types import BootResult, Image

STAGE = "desk"
TEXT_SUFFIXES = (
    ".s", ".S", ".asm", ".nasm", ".inc", ".c", ".h", ".ld", ".lds", ".toml", ".md", ".txt", ".mk", "Makefile",
)  # fmt: skip
_TEXT_MAX = 1 << 20


@dataclass(frozen=True)
class ForeignFiles:
    """A foreign tree in memory, in the form of a ``TreeCopy``."""

    tree: Path
    files: Mapping[str, bytes]
    editable: Mapping[str, str]

    def sources(self) -> Mapping[str, str]:
        """File -> text of what may be changed."""
        return self.editable


class ForeignDesk(Desk):
    """A desk with a foreign tree on it.

    Args:
        tree: the folder with its ``pxos.toml``.
        out: as for ``Desk``.
        lessons: as for ``Desk``.
        unsafe: build and boot without a sandbox.
        say: as for ``Desk``.
    """

    native = False

    def __init__(
        self,
        tree: Path,
        out: Path,
        *,
        lessons: Path | None = None,
        unsafe: bool = False,
        say: Say = lambda text: None,
    ) -> None:
        super().__init__(tree, out, lessons=lessons, root=tree.resolve(), say=say)
        self.unsafe = unsafe
        self.verdict = ""
        self._built: tuple[str, Built] | None = None
        self._read: tuple[str, ForeignFiles, Mapping[str, File]] | None = None

    @property
    def foreign(self) -> Foreign:
        """What the tree says of itself.

        Raises:
            InputError: its ``pxos.toml`` is wrong.
        """
        from toolchain.foreign import config

        return config.load(self.tree)

    # --- sources -------------------------------------------------------------------------------------------

    def copy(self) -> Any:
        """The tree as it lies on disk now."""
        return self._files()[1]

    def _files(self) -> tuple[str, ForeignFiles, Mapping[str, File]]:
        from toolchain.foreign import tree

        found = tree.read(self.tree)
        total = hashlib.sha256()
        for name, file in found.items():
            total.update(f"{name}\0{file.mtime}\0{len(file.data)}\n".encode("utf-8", "surrogateescape"))
        stamp = total.hexdigest()
        if self._read is None or self._read[0] != stamp:
            foreign = self.foreign
            data = {name: file.data for name, file in found.items() if file.target is None}
            editable = {n: t for n, d in data.items() if foreign.may_edit(n) and (t := _text(d)) is not None}
            self._read = (stamp, ForeignFiles(self.tree, data, editable), found)
        return self._read

    def originals(self) -> dict[str, str]:
        """File -> text of what the tree declares as its sources."""
        return dict(self._files()[1].editable)

    def texts(self) -> dict[str, str]:
        """File -> text of everything that is text, with the proposed changes."""
        files = self._files()[1].files
        found = {n: t for n, d in files.items() if n.endswith(TEXT_SUFFIXES) and (t := _text(d)) is not None}
        return {**found, **self.changes}

    def headers(self) -> dict[str, Routine]:
        """None: a foreign tree's routines have no headers of ours (those that have are taken)."""
        from architect.contracts import routines

        return routines(self.texts())

    def key(self) -> str:
        """Names the sources with the proposal."""
        parts = [self._files()[0], *(f"{n}\0{t}" for n, t in sorted(self.changes.items()))]
        return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()

    def on_disk(self) -> Path:
        """A folder that holds the tree with the proposal: the tree itself where there is none."""
        from toolchain.foreign import tree

        if not self.changes:
            return self.tree
        copy = tree.Copy(self._files()[2], self.out / "tree")
        copy.put(self.changes)
        return copy.folder

    # --- building and booting ------------------------------------------------------------------------------

    def built(self) -> Built:
        """The kernel with the proposal, built in the sandbox.

        Raises:
            InputError: it does not build; with the compiler's errors.
            ToolError: no sandbox can be had.
        """
        from toolchain.foreign import build, tree

        key = self.key()
        if self._built is None or self._built[0] != key:
            foreign = self.foreign
            self.say(f"{foreign.name}: {foreign.build}")
            copy = tree.Copy(self._files()[2], self.out / "foreign")
            copy.put(self.changes)
            self._built = (key, build.build(foreign, copy, self._sandbox()))
        return self._built[1]

    def _sandbox(self) -> Sandbox:
        from toolchain.foreign.sandbox import Sandbox

        return Sandbox(unsafe=self.unsafe)

    def image(self) -> Image:
        """The names and code that the build leaves.

        Raises:
            InputError: it does not build, or leaves no ELF, listing or map.
        """
        names = self.built().names
        if names is None:
            raise InputError("the build leaves no ELF, listing or map, so nothing has a name", stage=STAGE)
        return names.image

    def elf(self) -> Path:
        """The artifact, where it is an ELF file.

        Raises:
            InputError: it is none.
        """
        from toolchain.files import make_folder, write_atomic

        built = self.built()
        if built.kind != "elf":
            raise InputError(f"the artifact is no ELF file but {built.kind}", stage=STAGE)
        make_folder(self.out, stage=STAGE)
        path = self.out / "kernel.elf"
        write_atomic(path, built.data, stage=STAGE)
        return path

    def boot(self, *, iso: bool = False, timeout: float | None = None, **options: Any) -> BootResult:
        """Boot once, judged as the tree's ``pxos.toml`` says.

        Raises:
            InputError: options of a machine, which stand in ``pxos.toml``; it does not build.
            ToolError: QEMU or the sandbox is missing.
        """
        import shutil

        from toolchain.foreign import boot, report

        given = [*options, *(["iso"] if iso else [])]
        if given:
            raise InputError(
                f"{given[0]}: a foreign tree's machine stands in its pxos.toml ([boot] qemu)", stage=STAGE
            )
        built = self.built()
        folder = self.out / "boot"
        shutil.rmtree(folder, ignore_errors=True)
        self.say(f"booting {self.foreign.name} in the sandbox")
        self.boot_result = None
        done = boot.boot(self.foreign, built, folder, self._sandbox(), timeout)
        self.boot_result, self.verdict = done.result, done.message
        self.report = report.explain(done, built.names, self.on_disk())
        self.report_note = f"the boot that ended as {done.result.outcome} ({done.message})"
        return done.result

    def gates(self) -> list[GateResult]:
        """What can be asked of a foreign kernel: it builds, and boots as it should, twice."""
        from architect.protocols import GateResult

        began = time.perf_counter()
        try:
            self.built()
        except InputError as error:
            lines = [str(line) for line in error.lines()]
            return [GateResult("builds", False, time.perf_counter() - began, lines[0].splitlines()[0])]
        rows = [GateResult("builds", True, time.perf_counter() - began)]
        for name in ("boot", "boot again"):
            began = time.perf_counter()
            result = self.boot()
            good = result.outcome == "ready"
            cause = self.report.cause if self.report is not None else self.verdict
            rows.append(GateResult(name, good, time.perf_counter() - began, "" if good else cause))
            self.say(f"{'pass' if good else 'FAIL'}  {name}")
            if not good:
                break
        return rows

    def live(self) -> LiveKernel:
        """None: nothing is known of a foreign kernel's shell.

        Raises:
            InputError: always.
        """
        raise InputError(
            "only a pxOS kernel has the shell that is asked here; boot and read_serial tell", stage=STAGE
        )


def _text(data: bytes) -> str | None:
    if len(data) > _TEXT_MAX:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
