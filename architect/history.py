"""The sources of an earlier revision of a kernel tree that lies in a git checkout.

Owns the one question to git: which text had each file at the last good commit. Never changes the checkout, never
guesses a revision: the person names it.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from toolchain.errors import InputError, ToolError

STAGE = "history"
ARCHIVE_BYTES_MAX = 64 << 20
FILE_BYTES_MAX = 4 << 20
GIT_SECONDS = 30


def texts(tree: Path, revision: str) -> dict[str, str]:
    """The texts of ``tree`` at ``revision``, path relative to the tree -> text.

    Raises:
        InputError: the tree is in no git checkout, or git knows no such revision of it.
        ToolError: git is not installed, or hangs.
    """
    if revision.startswith("-"):
        raise InputError(f"--good {revision!r}: not a revision", stage=STAGE)
    command = ["git", "-C", str(tree), "archive", "--format=tar", revision, "."]
    try:
        done = subprocess.run(command, capture_output=True, timeout=GIT_SECONDS, check=False)
    except FileNotFoundError as error:
        raise ToolError(
            "git is not installed; install the package git", stage=STAGE, command=command
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(
            f"git archive took more than {GIT_SECONDS} s", stage=STAGE, command=command
        ) from error
    if done.returncode:
        why = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["git failed"])[-1]
        raise InputError(f"--good {revision}: {why}", stage=STAGE)
    if len(done.stdout) > ARCHIVE_BYTES_MAX:
        raise InputError(f"{tree} at {revision}: more than {ARCHIVE_BYTES_MAX >> 20} MB", stage=STAGE)
    found: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() and member.size <= FILE_BYTES_MAX else None
            if file is None or not member.name.endswith((".s", ".inc")):
                continue
            found[member.name.removeprefix("./")] = file.read().decode("utf-8", "replace")
    return found
