"""The kernel's sources, one of them with a line exchanged, and how its variant is held against a build of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from toolchain.build import Session
from toolchain.errors import InputError
from toolchain.exact import Patched
from toolchain.relink import Linked
from toolchain.types import Image
from toolchain.variants import Variants

Made = TypeVar("Made")
KERNEL = Path(__file__).resolve().parents[3] / "kernel"


def edited(file: str, start: str, new: list[str]) -> dict[str, str]:
    lines = (KERNEL / file).read_text(encoding="utf-8").split("\n")
    at = next(number for number, line in enumerate(lines) if line.startswith(start))
    return {file: exchanged(lines, at, new)}


def kernel_texts() -> dict[str, str]:
    return {
        path.relative_to(KERNEL).as_posix(): path.read_text(encoding="utf-8")
        for path in KERNEL.rglob("*")
        if path.suffix in (".s", ".inc") and "test" not in path.parts
    }


def exchanged(lines: Sequence[str], at: int, new: Sequence[str]) -> str:
    """A text with other lines in the place of one."""
    return "\n".join([*lines[:at], *new, *lines[at + 1 :]])


def unbuilt(session: Session, variants: Variants, overrides: Mapping[str, str]) -> Image | Patched | Linked:
    """The whole variant, of a session that must not build all for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "build", lambda *_, **__: pytest.fail("all was built"))
        return variants.whole(overrides)


def answered(make: Callable[[], Made], build: Callable[[], object]) -> tuple[Made] | None:
    """What ``make`` gives; None where it refuses, as ``build`` must then in the same words."""
    try:
        return (make(),)
    except InputError as error:
        with pytest.raises(InputError) as theirs:
            build()
        assert error.diagnostics
        assert [str(d) for d in error.diagnostics] == [str(d) for d in theirs.value.diagnostics]
        return None
