"""One device for the tests of a file; closed after it, so that no thread of wgpu is left when others fork."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from toolchain.gpu.device import Device


@pytest.fixture(scope="module")
def device() -> Iterator[Device]:
    with Device() as opened:
        yield opened
