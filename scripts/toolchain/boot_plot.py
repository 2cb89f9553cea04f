"""The boot chart: when each boot unit ran, drawn as an SVG picture, as ``systemd-analyze plot`` does.

Owns the drawing, from the units that a boot told and nothing else. Everything in them was said by a guest and may be
false: texts are escaped, times that cannot be are drawn where they can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from toolchain.printable import printable
from toolchain.types import Unit

_WIDTH = 1000  # pixels of the whole picture
_LEFT, _RIGHT, _TOP = 20, 20, 64  # margins; the axis lies in the upper one
_ROW, _BAR = 24, 16  # height of a row, and of the bar in it
_BAR_LEAST = 1.5  # pixels: a unit that took no time is seen all the same
_CHARACTER = 7.2  # pixels, of the widest that monospace 12 px has
_TICKS = 10  # lines across, at most
_TEXT_MAX = 96  # characters of a guest's text that are drawn
_COLOURS = {"ok": "#3b82c4", "skip": "#9aa5b1", "fail": "#c43b3b", "start": "#e0a030"}
_UNITS = ((10**9, "G"), (10**6, "M"), (10**3, "k"))


class _Span(NamedTuple):
    """A unit's time, in ticks since the first unit began."""

    unit: Unit
    begin: int
    end: int


def svg(units: Sequence[Unit], ready: int | None, title: str) -> str:
    """The picture of one boot.

    Args:
        units: in the order in which they began. One that never ended is drawn to the end of the chart.
        ready: TSC at PXREADY; None when it was not reached.
        title: stands above; says which boot this was.

    Returns:
        An SVG 1.1 document. Times are ticks of the TSC from the first unit's begin; under ``--icount`` a tick is an
        instruction.
    """
    spans, total = _spans(units, ready)
    scale = (_WIDTH - _LEFT - _RIGHT) / max(total, 1)
    height = _TOP + _ROW * (len(spans) + 1)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="monospace" font-size="12">',
        f"<title>{_text(title)}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="22" font-size="14">{_text(title)}</text>',
    ]
    out += _axis(total, scale, height)
    for row, span in enumerate(spans):
        out += _bar(span, total, scale, _TOP + row * _ROW)
    if ready is not None:
        x = _LEFT + total * scale
        out.append(f'<line x1="{x:.1f}" y1="{_TOP - 8}" x2="{x:.1f}" y2="{height - 20}" stroke="#2a8f4a"/>')
        out.append(
            f'<text x="{x:.1f}" y="{height - 6}" text-anchor="end" fill="#2a8f4a">PXREADY {total:,}</text>'
        )
    return "\n".join([*out, "</svg>", ""])


def _spans(units: Sequence[Unit], ready: int | None) -> tuple[list[_Span], int]:
    """The units' times from zero, and the length of the chart."""
    if not units:
        return [], 0
    origin = min(unit.tsc_start for unit in units)
    last = max(max(unit.tsc, unit.tsc_start) for unit in units)
    total = max(last, ready or 0) - origin
    return [
        _Span(
            unit,
            unit.tsc_start - origin,
            total if unit.state == "start" else max(unit.tsc, unit.tsc_start) - origin,
        )
        for unit in units
    ], total


def _axis(total: int, scale: float, height: int) -> list[str]:
    """Lines across at round times, each with its time."""
    step = _step(total)
    out = []
    for tick in range(0, total + 1, step):
        x = _LEFT + tick * scale
        out.append(f'<line x1="{x:.1f}" y1="{_TOP - 8}" x2="{x:.1f}" y2="{height - 20}" stroke="#e4e7eb"/>')
        out.append(
            f'<text x="{x:.1f}" y="{_TOP - 14}" text-anchor="middle" fill="#616e7c">{_ticks(tick)}</text>'
        )
    return out


def _step(total: int) -> int:
    """A round number of ticks (1, 2 or 5 times a power of ten) of which ``total`` holds at most ``_TICKS``."""
    power = 1
    while True:
        for digit in (1, 2, 5):
            if total <= digit * power * _TICKS:
                return digit * power
        power *= 10


def _bar(span: _Span, total: int, scale: float, y: int) -> list[str]:
    """One unit: its bar, and beside it, on the side with room, its name and time."""
    unit = span.unit
    x, width = _LEFT + span.begin * scale, max((span.end - span.begin) * scale, _BAR_LEAST)
    took = "never ended" if unit.state == "start" else f"{span.end - span.begin:,}"
    label = f"{unit.name[:_TEXT_MAX]} {took}" + ("" if unit.state in ("ok", "start") else f" ({unit.state})")
    notes = " ".join(f"{key}={value}" for key, value in unit.values.items())
    after = x + width + 6
    fits = after + len(label) * _CHARACTER < _WIDTH - _RIGHT
    place, anchor = (after, "start") if fits else (x - 6, "end")
    if not fits and x - 6 - len(label) * _CHARACTER < _LEFT:  # neither side: on the bar
        place, anchor = x + 6, "start"
    return [
        f"<g><title>{_text(f'{unit.name} {unit.state}: {span.begin:,} to {span.end:,} {notes}', 4 * _TEXT_MAX)}</title>"
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{_COLOURS[unit.state]}"/>'
        f'<text x="{place:.1f}" y="{y + _BAR - 4}" text-anchor="{anchor}">{_text(label)}</text></g>'
    ]


def _ticks(value: int) -> str:
    for size, letter in _UNITS:
        if value >= size:
            return f"{value / size:g} {letter}"
    return str(value)


def _text(text: str, most: int = _TEXT_MAX) -> str:
    """As the text of an element; what XML 1.0 has no character for becomes a question mark."""
    shown = printable(text, "", "?")
    return escape(shown if len(shown) <= most else shown[: most - 1] + "…")
