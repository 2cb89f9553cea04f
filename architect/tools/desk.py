"""The desk: one kernel tree with everything that was found out about it, for tools and for the person who asks.

Owns: the image of the sources with the proposal on top (``sheet``), the last boot and its report, the live kernel, the
folder where all of it lies. Nothing here writes into the tree: a proposal stays on the desk until
``architect.chat.changes`` takes it to a branch. ``close`` ends every process that was started.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from architect.tools.sheet import STAGE, Sheet
from toolchain.errors import InputError
from toolchain.files import make_folder, write_atomic
from toolchain.scratch import folder as scratch_folder

if TYPE_CHECKING:
    from architect.lessons import SqliteLessons
    from architect.tools.live import LiveKernel
    from toolchain.build import Session
    from toolchain.symbols import SymbolTable
    from toolchain.types import BootResult, FaultReport, Image

BOOT_SECONDS = 20.0
ISO_FACTOR = 4.0  # GRUB alone takes seconds

Say = Callable[[str], None]
_T = TypeVar("_T")


class Desk(Sheet):
    """One kernel at hand.

    Args:
        tree: the kernel tree; never written to.
        out: where images, logs and copies go.
        lessons: the folder of the lesson store; None for the person's own.
        root: the checkout with manual and shaders; None for the one that this program runs from.
        say: told of each step of long work.

    Attributes:
        native: it is a pxOS kernel: it has headers, contracts, a shell, and boots as we boot it.
        boot_result: the last boot, or None.
        report: the fault report of that boot, or None.
        report_note: where ``report`` came from, for people.
    """

    native = True

    def __init__(
        self,
        tree: Path,
        out: Path,
        *,
        lessons: Path | None = None,
        root: Path | None = None,
        say: Say = lambda text: None,
    ) -> None:
        super().__init__(tree, root)
        self.out = out.absolute()
        self.say = say
        self.boot_result: BootResult | None = None
        self.report: FaultReport | None = None
        self.report_note = ""
        self._lessons = lessons
        self._image: tuple[str, Image] | None = None
        self._table: tuple[str, SymbolTable] | None = None
        self._derived: dict[str, Any] = {}
        self._session: Session | None = None
        self._live: tuple[str, LiveKernel] | None = None
        self._ends = ExitStack()

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def need_native(self, what: str) -> None:
        """Hold a tool to pxOS kernels.

        Raises:
            InputError: this is another's.
        """
        if not self.native:
            raise InputError(
                f"{what}: for pxOS kernels alone; this tree is built and booted by its pxos.toml", stage=STAGE
            )

    def close(self) -> None:
        """End the live kernel and the encoder; the desk can be used again afterwards."""
        self.end_live()
        if self._session is not None:
            self._session.close()
            self._session = None
        self._ends.close()

    def move(self, tree: Path) -> None:
        """Work on another tree from here on; proposals and reports belonged to the one before."""
        self.close()
        self.tree = tree.resolve()
        self.drop()
        self._copy = self._image = self._table = None
        self.boot_result = self.report = None
        self.report_note = ""

    # --- the image -----------------------------------------------------------------------------------------

    def on_disk(self) -> Path:
        """A folder that holds the tree with the proposal: the tree itself where there is none."""
        changes = self.kernel_changes()
        if not changes:
            return self.tree
        folder = self.out / "tree"
        import shutil

        shutil.rmtree(folder, ignore_errors=True)
        for name, data in self.copy().files.items():
            make_folder((folder / name).parent, stage=STAGE)
            write_atomic(folder / name, changes.get(name, data), stage=STAGE)
        return folder

    def image(self) -> Image:
        """The linked kernel, proposal included; built when something changed.

        Raises:
            InputError: it does not assemble or link, with every error.
        """
        key = self.key()
        if self._image is None or self._image[0] != key:
            from toolchain import build

            if self._session is None:
                self.say("building the kernel")
                self._session = build.Session(self.tree, self.out / "cache")
            self._image = (key, self._session.build(self.kernel_changes()))
        return self._image[1]

    def table(self) -> SymbolTable:
        """Names for the addresses of ``image``."""
        from toolchain.symbols import SymbolTable

        image, key = self.image(), self.key()
        if self._table is None or self._table[0] != key:
            self._table = (key, SymbolTable(image))
        return self._table[1]

    def remember(self, what: str, make: Callable[[], _T]) -> _T:
        """Something derived from ``image``: made once for each image."""
        key = self.key()
        if self._derived.get("") != key:
            self._derived = {"": key}
        if what not in self._derived:
            self._derived[what] = make()
        found: _T = self._derived[what]
        return found

    def elf(self) -> Path:
        """``image`` as an ELF file with symbols and lines."""
        from toolchain import elf

        path = self.out / "kernel.elf"
        make_folder(self.out, stage=STAGE)
        write_atomic(path, elf.write(self.image()), stage=STAGE)
        return path

    # --- machines ------------------------------------------------------------------------------------------

    def boot(self, *, iso: bool = False, timeout: float | None = None, **options: Any) -> BootResult:
        """Boot once and keep what it left.

        Args:
            iso: by GRUB from an ISO rather than directly.
            timeout: deadline in seconds.
            options: fields of ``BootConfig``; checked by ``qemu_args.check``.

        Raises:
            InputError: it does not assemble, or an option is out of range.
            ToolError: QEMU is missing, or what makes an ISO is.
        """
        from toolchain import fault, qemu
        from toolchain.types import BootConfig

        image = self.elf()
        seconds = timeout if timeout is not None else BOOT_SECONDS
        if iso:
            from toolchain import iso as iso_module

            iso_module.make(image, image.with_suffix(".iso"))
            image = image.with_suffix(".iso")
            seconds = timeout if timeout is not None else BOOT_SECONDS * ISO_FACTOR
        config = BootConfig(image, path="iso" if iso else "direct", timeout=seconds)
        config = replace(config, log_dir=self.out / "boot", **options)
        self.say(f"booting {image.name}, at most {seconds:g} s")
        self.boot_result = None
        result = qemu.boot(config)
        self.boot_result = result
        self.report = fault.analyse(result, self.table(), self.on_disk())
        self.report_note = f"the boot that ended as {result.outcome}"
        return result

    def live(self) -> LiveKernel:
        """A booted kernel that waits at its shell; started at the first question, and anew after a change.

        Raises:
            InputError: it does not assemble.
            ToolError: QEMU is missing, or the kernel does not reach its shell.
        """
        from architect.tools.live import LiveKernel

        key = self.key()
        if self._live is not None and (self._live[0] != key or not self._live[1].alive()):
            self.end_live()
        if self._live is None:
            elf = self.elf()
            self.say("booting the kernel that answers questions")
            folder = self._ends.enter_context(scratch_folder("pxos-live-"))
            self._live = (key, LiveKernel(elf, folder))
            self._live[1].start()
        return self._live[1]

    def end_live(self) -> None:
        """End the live kernel, if there is one."""
        if self._live is not None:
            self._live[1].close()
            self._live = None

    def lessons(self) -> SqliteLessons:
        """The lesson store."""
        from architect.lessons import SqliteLessons, default_folder

        return SqliteLessons(self._lessons or default_folder())

    def lessons_folder(self) -> Path:
        """Where the lessons lie."""
        from architect.lessons import default_folder

        return self._lessons or default_folder()
