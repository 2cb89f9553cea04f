"""The desk: one kernel tree with everything that was found out about it, for tools and for the person who asks.

Owns: the sources with the proposed changes on top, the image of both, the last boot and its report, the live kernel,
the folder where all of it lies. Nothing here writes into the tree: a proposal stays on the desk until
``architect.chat.changes`` takes it to a branch. ``close`` ends every process that was started.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from toolchain.errors import InputError
from toolchain.files import make_folder, write_atomic
from toolchain.scratch import folder as scratch_folder

if TYPE_CHECKING:
    from architect.lessons import SqliteLessons
    from architect.tools.live import LiveKernel
    from architect.workspace import TreeCopy
    from toolchain.build import Session
    from toolchain.headers import Routine
    from toolchain.symbols import SymbolTable
    from toolchain.types import BootResult, FaultReport, Image

STAGE = "desk"
SHADERS = "shaders/"  # files so named lie beside the kernel tree, in the checkout
SHADER_SUFFIX = ".wgsl"
BOOT_SECONDS = 20.0
ISO_FACTOR = 4.0  # GRUB alone takes seconds
_FILE_MAX = 1 << 20  # characters of a proposed file

Say = Callable[[str], None]
_T = TypeVar("_T")


class Desk:
    """One kernel at hand.

    Args:
        tree: the kernel tree; never written to.
        out: where images, logs and copies go.
        lessons: the folder of the lesson store; None for the person's own.
        root: the checkout with manual and shaders; None for the one that this program runs from.
        say: told of each step of long work.

    Attributes:
        native: it is a pxOS kernel: it has headers, contracts, a shell, and boots as we boot it.
        changes: proposed texts, by file: of the tree, or ``shaders/NAME.wgsl`` of the checkout.
        bases: SHA-256 of the text that each of them was proposed for.
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
        self.tree = tree.resolve()
        self.out = out.absolute()
        self.root = root or Path(__file__).resolve().parents[2]
        self.say = say
        self.changes: dict[str, str] = {}
        self.bases: dict[str, str] = {}
        self.boot_result: BootResult | None = None
        self.report: FaultReport | None = None
        self.report_note = ""
        self._lessons = lessons
        self._copy: tuple[str, TreeCopy] | None = None
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

    # --- sources -------------------------------------------------------------------------------------------

    def copy(self) -> TreeCopy:
        """The tree as it lies on disk now.

        Raises:
            InputError: it is no kernel tree.
        """
        from architect.workspace import TreeCopy

        stamp = _stamp(self.tree)
        if self._copy is None or self._copy[0] != stamp:
            self._copy = (stamp, TreeCopy(self.tree))
        return self._copy[1]

    def originals(self) -> dict[str, str]:
        """File -> text of what may be changed, as it lies on disk: the tree's sources and the shaders."""
        shaders = sorted((self.root / "shaders").glob(f"*{SHADER_SUFFIX}"))
        texts = {f"{SHADERS}{path.name}": path.read_text(errors="replace") for path in shaders}
        return {**self.copy().sources(), **texts}

    def sources(self) -> dict[str, str]:
        """As ``originals``, with the proposed changes."""
        return {**self.originals(), **self.changes}

    def texts(self) -> dict[str, str]:
        """File -> text of every source of the kernel, tests and tables among them, with the proposed changes."""
        found = {
            name: data.decode("utf-8", "replace")
            for name, data in self.copy().files.items()
            if name.endswith((".s", ".inc", ".toml", ".md"))
        }
        return {**found, **{n: t for n, t in self.changes.items() if not n.startswith(SHADERS)}}

    def headers(self) -> dict[str, Routine]:
        """Name -> header of every routine, tests' routines left out."""
        from architect.contracts import routines

        return routines({**self.copy().sources(), **self.kernel_changes()})

    def kernel_changes(self) -> dict[str, str]:
        """The proposed changes to the tree, without the shaders."""
        return {name: text for name, text in self.changes.items() if not name.startswith(SHADERS)}

    def propose(self, changed: Mapping[str, str]) -> None:
        """Lay new texts for some files on the desk, over what was proposed before.

        Raises:
            InputError: a file that no repair may touch, or a text that is none; then nothing is taken.
        """
        originals = self.originals()
        for name, text in changed.items():
            self._check_proposal(name, text, originals)
        for name, text in changed.items():
            if originals.get(name) == text:
                self.changes.pop(name, None)
                self.bases.pop(name, None)
            else:
                self.changes[name] = text
                self.bases[name] = digest(originals.get(name, ""))

    def _check_proposal(self, name: str, text: str, originals: Mapping[str, str]) -> None:
        stem = name.removeprefix(SHADERS)
        new_shader = name.startswith(SHADERS) and name.endswith(SHADER_SUFFIX) and _plain(stem)
        if name not in originals and not new_shader:
            raise InputError(
                f"{name}: may not be changed; what may be: *.s and *.inc of the tree (not its tests) and"
                " shaders/NAME.wgsl",
                stage=STAGE,
            )
        if len(text) > _FILE_MAX or "\0" in text:
            raise InputError(f"{name}: a new text of {len(text)} characters is none", stage=STAGE)
        if not name.startswith(SHADERS):
            from architect.workspace import check_text

            check_text(name, originals[name], text)

    def need_native(self, what: str) -> None:
        """Hold a tool to pxOS kernels.

        Raises:
            InputError: this is another's.
        """
        if not self.native:
            raise InputError(
                f"{what}: for pxOS kernels alone; this tree is built and booted by its pxos.toml", stage=STAGE
            )

    def drop(self) -> list[str]:
        """Take the proposal off the desk; the files it was about."""
        names = sorted(self.changes)
        self.changes.clear()
        self.bases.clear()
        return names

    def check_bases(self) -> None:
        """Hold the proposal to the files that it was made for.

        Raises:
            InputError: one of them has another text by now.
        """
        originals = self.originals()
        for name, base in self.bases.items():
            if digest(originals.get(name, "")) != base:
                raise InputError(
                    f"{name}: was changed since this was proposed; /undo drops the proposal, ask again then",
                    stage=STAGE,
                )

    def diff(self) -> str:
        """The proposal as a unified diff; file names are relative to the tree, shaders' to the checkout."""
        from architect.report import unified

        originals = self.originals()
        return "".join(
            unified(name, originals.get(name, ""), text) for name, text in sorted(self.changes.items())
        )

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

    # --- the image -----------------------------------------------------------------------------------------

    def key(self) -> str:
        """Names the sources with the proposal: equal keys, equal images."""
        self.copy()
        assert self._copy is not None
        parts = [self._copy[0], *(f"{n}\0{t}" for n, t in sorted(self.kernel_changes().items()))]
        return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()

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


def digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _stamp(tree: Path) -> str:
    """Changes when a file of the tree does: names, sizes, times."""
    from architect.workspace import walk

    total = hashlib.sha256(str(tree).encode("utf-8", "surrogateescape"))
    for path in walk(tree):
        seen = path.lstat()
        total.update(f"{path}\0{seen.st_size}\0{seen.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def _plain(name: str) -> bool:
    """True for a file name that leads nowhere."""
    return name.replace("_", "").removesuffix(SHADER_SUFFIX).isalnum() and name.isascii()
