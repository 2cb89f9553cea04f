"""What is known of an image: its name, and the verdict on it, kept where every worker finds it.

Owns the folder of an image in a run: who comes second waits for the first, so that no image is booted twice.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from architect.journal import evaluation_from_json, evaluation_to_json
from architect.protocols import Evaluation
from toolchain.files import write_atomic
from toolchain.types import Image

STAGE = "verify"
CANDIDATES = "candidates"  # in a run's folder: a folder for each image
VERDICT_NAME = "evaluation.json"


@contextmanager
def claim(folder: Path) -> Iterator[Evaluation | None]:
    """The image's folder to ourselves; the verdict on it when it was tried before, here or in another worker.

    Whoever comes second waits for the first. The lock goes with its process, so a worker that died leaves a folder
    without a verdict, and the image is tried again.
    """
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            known = evaluation_from_json(json.loads((folder / VERDICT_NAME).read_bytes()))
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            known = None  # no verdict, or none that can be read: it is tried
        yield known
    finally:
        os.close(fd)


def under_way(folder: Path) -> list[Path]:
    """The images' folders, of those in a run's folder, that some worker has to itself at the moment."""
    found = []
    for lock in (folder / CANDIDATES).glob("*/lock"):
        with lock.open("r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(lock.parent)
    return found


def keep(folder: Path, evaluation: Evaluation) -> None:
    """Write the verdict on an image into its folder."""
    text = json.dumps(evaluation_to_json(evaluation), indent=1, default=str)
    write_atomic(folder / VERDICT_NAME, text, stage=STAGE)


def content(image: Image) -> int:
    """The same for images of equal code and data, whatever they are named."""
    return hash((image.entry, *((section.size, section.data) for section in image.sections)))


def linked(image: Image) -> tuple[bytes, str]:
    """The ELF that is booted, and what names it: without symbols and line numbers, so that equal code is one image."""
    from toolchain import elf

    data = elf.write(image, debug=False, symbols=False)
    return data, hashlib.sha256(data).hexdigest()
