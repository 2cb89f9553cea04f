"""What the tests of the mailbox's protocol share: each runs with the rings in Python and in machine code."""

from __future__ import annotations

import pytest

from tests.unit import mailbox_bench
from toolchain.mailbox import native


@pytest.fixture(autouse=True, params=["python", "machine code"])
def rings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test of the protocol with both."""
    if request.param == "machine code":
        if not native.available():
            pytest.skip("the machine code is for x86-64 Linux")
        monkeypatch.setattr(mailbox_bench, "RINGS", [native.NativeRings])
