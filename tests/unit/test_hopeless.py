"""Which registers of a silent machine say that it will never speak again."""

from __future__ import annotations

import pytest

from toolchain import hopeless

LONG, COMPATIBLE = "EFER=0000000000000d01", "EFER=0000000000000900"
OFF, ON = "RFL=00000046", "RFL=00000246"


def dump(flags: str, efer: str, halted: int) -> str:
    """As QEMU writes it; one register in each line is enough."""
    return (
        f"CPU#0\r\nRIP=0000000080113016 {flags} [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT={halted}\r\n{efer}\r\n"
    )


@pytest.mark.parametrize(
    ("text", "spoken", "said"),
    [
        (dump(OFF, LONG, 1), True, "halted with interrupts off"),
        (dump(OFF, LONG, 1), False, "halted with interrupts off"),
        (dump(ON, LONG, 1), True, None),
        (dump(OFF, LONG, 0), True, None),
        (dump(ON, COMPATIBLE, 0), True, "has left long mode"),
        (dump(ON, COMPATIBLE, 0), False, None),
        ("", True, None),
        ("unknown command: 'info registers'", True, None),
    ],
)
def test_what_can_never_be_left(text: str, spoken: bool, said: str | None) -> None:
    assert hopeless.reason(text, spoken=spoken) == said
