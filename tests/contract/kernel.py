"""The kernel of this checkout, built once for the tests that call its routines under Unicorn."""

from __future__ import annotations

import functools
from pathlib import Path

from toolchain.build import Session
from toolchain.types import Image

TREE = Path(__file__).resolve().parents[2] / "kernel"


@functools.cache
def kernel_image() -> Image:
    """The linked kernel."""
    with Session(TREE) as session:
        return session.build()
