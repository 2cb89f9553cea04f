"""One device for the tests of a file; closed after it, so that no thread of wgpu is left when others fork.

All of them are ``long``: the software driver compiles each shader. Tests marked ``gpu`` are taken only where the
adapter in use is a real GPU.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from toolchain.errors import ToolError
from toolchain.gpu import adapter
from toolchain.gpu.device import Device


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, None, None]:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.long)
    yield
    # Asked only where such tests are left: finding the adapters takes a second.
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
