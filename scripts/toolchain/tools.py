"""External programs, one wrapper class each: where it is, how it is run, what to install when it is missing.

Owns: finding a program on PATH, running it with a deadline in a process group of its own, and turning a failure
into a ``ToolError`` with the command, the exit status and its last lines. Never interprets what a program made.
QEMU is not here: a machine that runs for a while has a module of its own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from toolchain.errors import ToolError
from toolchain.interrupts import uninterrupted

TAIL_LINES = 8  # how much of a program's output an error quotes


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a program left behind that exited with 0."""

    stdout: str
    stderr: str


# Waits in the background until the other end of a pipe ($0) is closed, which is the end of this tool or of us, and
# ends the process group then; becomes the tool.
_WATCH = '(read -r _ <&"$0"; kill -KILL 0) >/dev/null 2>&1 & exec "$@"'


def _watched(command: Sequence[str], life: int) -> list[str]:
    return ["sh", "-c", _WATCH, str(life), *command]


class Tool:
    """One external program.

    Attributes:
        name: the program's file name.
        package: the Debian package that holds it.
        timeout: deadline in seconds of one run, on a machine that does something else too.
        starts_others: it starts programs itself, which must not outlive us if we are killed.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    timeout: ClassVar[float] = 60.0
    starts_others: ClassVar[bool] = False

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def present(self) -> bool:
        """Whether the program is on PATH."""
        import shutil

        return shutil.which(self.name) is not None

    def find(self) -> Path:
        """Where the program is.

        Raises:
            ToolError: it is not on PATH; the message names the package.
        """
        import shutil

        found = shutil.which(self.name)
        if found is None:
            raise missing(self.name, self.package, self.stage)
        return Path(found)

    def run(
        self,
        arguments: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> ToolResult:
        """Run the program to its end.

        Args:
            arguments: after the program's name.
            cwd: its working folder.
            env: variables to add to ours.
            timeout: seconds, instead of the class's deadline.

        Raises:
            ToolError: missing, could not be started, ended with another status than 0, or ran past its deadline
                (it is then killed with all its children, as it is when we are interrupted).
        """
        import signal
        import subprocess

        command = [str(self.find()), *map(str, arguments)]
        limit = self.timeout if timeout is None else timeout
        process: subprocess.Popen[str] | None = None
        life, ours = os.pipe() if self.starts_others else (-1, -1)
        try:
            with uninterrupted():
                process = subprocess.Popen(
                    _watched(command, life) if self.starts_others else command,
                    pass_fds=(life,) if self.starts_others else (),
                    cwd=cwd,
                    env={**os.environ, "LC_ALL": "C", **(env or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="replace",
                    start_new_session=True,
                )
            stdout, stderr = process.communicate(timeout=limit)
        except OSError as error:
            message = f"{self.name}: cannot be started: {error.strerror}"
            raise ToolError(message, stage=self.stage, command=command) from error
        except BaseException as error:
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                message = f"{self.name}: no end after {limit:g} s; killed"
                raise ToolError(message, stage=self.stage, command=command) from error
            raise
        finally:
            for end in (life, ours):
                if end >= 0:
                    os.close(end)
        if process.returncode:
            raise self._failed(command, process.returncode, stdout + stderr)
        return ToolResult(stdout, stderr)

    def _failed(self, command: Sequence[str], status: int, output: str) -> ToolError:
        lines = [line for line in output.splitlines() if line.strip()]
        said = lines[-1].strip() if lines else "it said nothing"
        full = next((line for line in lines if "No space left on device" in line), None)
        if full is not None:
            said = f"{full.strip()}; free some space or choose another folder"
        return ToolError(
            f"{self.name}: exit status {status}: {said}",
            stage=self.stage,
            command=command,
            returncode=status,
            output_tail="\n".join(lines[-TAIL_LINES:]),
        )


def missing(name: str, package: str, stage: str) -> ToolError:
    """The error for a program (or a file of one) that is not installed."""
    return ToolError(
        f"{name}: not found; install the Debian package {package} (apt-get install {package})", stage=stage
    )


class GrubMkrescue(Tool):
    """Makes a bootable ISO 9660 image from a folder."""

    name = "grub-mkrescue"
    package = "grub-common"
    starts_others = True

    # what grub-mkrescue calls or reads; without them it fails late and says something else
    helpers: ClassVar[tuple[tuple[str, str], ...]] = (("xorriso", "xorriso"), ("mformat", "mtools"))
    platform_packages: ClassVar[dict[str, str]] = {
        "i386-pc": "grub-pc-bin",
        "x86_64-efi": "grub-efi-amd64-bin",
    }
    modules_folder: ClassVar[Path] = Path("/usr/lib/grub")

    def check(self, platforms: Sequence[str]) -> None:
        """Raise ``ToolError`` unless everything for images of ``platforms`` (``"i386-pc"``, …) is installed."""
        import shutil

        self.find()
        for name, package in self.helpers:
            if shutil.which(name) is None:
                raise missing(name, package, self.stage)
        for platform in platforms:
            folder = self.modules_folder / platform
            if not folder.is_dir():
                raise missing(str(folder), self.platform_packages[platform], self.stage)

    def platform(self, name: str) -> Path:
        """The folder of GRUB modules for one platform."""
        return self.modules_folder / name


class GnuAs(Tool):
    """GNU as: the oracle of the encoder, and the peer of the benches."""

    name = "as"
    package = "binutils"

    def assemble(
        self, source: Path, output: Path, include: Sequence[Path] = (), cwd: Path | None = None
    ) -> None:
        """Assemble ``source`` into the object file ``output``."""
        folders = [x for folder in include for x in ("-I", folder)]
        self.run(["--64", *folders, source, "-o", output], cwd=cwd)


class GnuLd(Tool):
    """GNU ld: the oracle of the linker, and the peer of the benches."""

    name = "ld"
    package = "binutils"

    def link(self, objects: Sequence[Path], script: Path, output: Path, cwd: Path | None = None) -> None:
        """Link ``objects`` as ``script`` lays out into ``output``."""
        flags = ["-nostdlib", "-z", "max-page-size=0x1000", "--no-warn-rwx-segments"]
        self.run([*flags, "-T", script, *objects, "-o", output], cwd=cwd)
