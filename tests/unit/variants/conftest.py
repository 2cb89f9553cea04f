"""A session over the kernel, and the variants that are asked of it; one of each for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.variants.edited import KERNEL
from toolchain.build import Session
from toolchain.changes import Original
from toolchain.variants import Variants


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with Session(KERNEL, still=True) as made:
        yield made


@pytest.fixture(scope="module")
def variants(session: Session) -> Variants:
    return Variants(session)


@pytest.fixture(scope="module")
def other() -> Iterator[Session]:
    """A session that patches nothing, after its first build."""
    with Session(KERNEL, still=True) as made:
        made.build(lines=False)
        yield made


@pytest.fixture(scope="module")
def original(other: Session) -> Original:
    """What the variants differ from; every named routine of the image counts as one."""
    routines = {s.name for s in other.build(lines=False).symbols if s.kind == "func"}
    return Original(other.objects(), routines)
