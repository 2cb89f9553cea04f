"""Which source lines of a foreign kernel a boot executed, from QEMU's log of translated blocks.

Owns one boot with ``-d in_asm`` and the reading of its log. Every block is logged when it is first translated, so
each address that ran is there once; a block that was translated and left early counts as a whole.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from toolchain import qemu_args
from toolchain.foreign import boot
from toolchain.foreign.build import Built
from toolchain.foreign.config import Foreign
from toolchain.foreign.sandbox import Sandbox

LOG_MAX = 64 << 20
_ADDRESS = re.compile(rb"^0x([0-9a-f]{8,16}):", re.MULTILINE)


def lines(foreign: Foreign, built: Built, folder: Path, sandbox: Sandbox) -> set[tuple[str, int]]:
    """(file, line) of every line of which an instruction was translated; empty where the image names no lines."""
    if built.names is None or not built.names.image.lines:
        return set()
    shutil.rmtree(folder, ignore_errors=True)
    boot.boot(foreign, built, folder, sandbox, items="in_asm")
    with (folder / qemu_args.LOG_NAME).open("rb") as log:
        data = log.read(LOG_MAX)
    table = built.names.table()
    found = set()
    for text in set(_ADDRESS.findall(data)):
        place = table.place(int(text, 16))
        if place.file is not None and place.line:
            found.add((place.file, place.line))
    return found
