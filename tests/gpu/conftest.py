"""One device for the tests of a file; closed after it, so that no thread of wgpu is left when others fork.

Tests marked ``gpu`` are taken only where the adapter in use is a real GPU.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from toolchain.errors import ToolError
from toolchain.gpu import adapter
from toolchain.gpu.device import Device


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not accelerated():
        config.hook.pytest_deselected(items=marked)
        items[:] = [item for item in items if item not in marked]


def accelerated() -> bool:
    try:
        return not adapter.choose().software
    except ToolError:
        return False


@pytest.fixture(scope="module")
def device() -> Iterator[Device]:
    with Device() as opened:
        yield opened
