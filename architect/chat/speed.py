"""Questions about speed: measured at that moment, held against the bound that the question names, read for the person.

Owns which words name which measurement, and what the rows say about a bound. Never changes anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from architect.tools.measuring import machine_text, row_text

if TYPE_CHECKING:
    from architect.chat.talk import Talk

_SUBJECTS = (
    (("mailbox", "doorbell", "round trip", "ring"), "mailbox"),
    (("shader", "wgsl", "matmul", "attention", "gpu"), "shaders"),
    (("pixel vm", "vm", "translator"), "vm"),
    (("god pixel", "compress"), "pixel"),
    (("build", "assemble", "link"), "build"),
    (("boot", "start", "unit"), "boot-units"),
)
_BOUND = re.compile(
    r"(?:<|below|under|less than|within|at most)\s*([0-9]+(?:\.[0-9]+)?)\s*(ns|us|µs|ms|s)\b", re.IGNORECASE
)
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
_TRIP = "round trip"  # what a bound on a latency is about
_NEAR = 1.25  # times the peer's time: what is left is the machine's own


def subject(question: str) -> str | None:
    """Which measurement a question is about, or None."""
    low = question.lower()
    return next((what for words, what in _SUBJECTS if any(re.search(rf"\b{w}", low) for w in words)), None)


def bound(question: str) -> float | None:
    """The bound that a question names, in seconds."""
    found = _BOUND.search(question)
    return float(found[1]) * _SECONDS[found[2].lower()] if found else None


def measured(talk: Talk, question: str) -> None:
    """Measure, and hold the rows against the bound."""
    what = subject(question)
    assert what is not None
    answer = talk.tool("measure", what=what)
    if not answer.ok or what == "boot-units":
        talk.show(answer, f"measure {what}")
        return
    rows = answer.data["rows"]
    for row in rows:
        talk.view.text(row_text(row))
    talk.view.note(machine_text(answer.data["machine"]))
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores:
        talk.note(
            f"this machine is busy with other work (load {load:.1f} on {cores} cores): the figures are of that"
        )
    talk.session.say("tool", answer.text, f"measure {what}")
    limit = bound(question)
    timed = [row for row in rows if row["unit"] in _SECONDS and (limit is None or _TRIP in row["what"])]
    for row in timed:
        for line in verdict(row, limit):
            talk.note(line)
    _path(talk, what)


def verdict(row: Mapping[str, Any], limit: float | None) -> list[str]:
    """What a row of times says: about a bound, and about what is left to gain."""
    unit = _SECONDS[row["unit"]]
    lines = []
    if limit is not None:
        shown = f"{limit / unit:g} {row['unit']}"
        median = row["ours"]
        met = median * unit < limit
        text = (
            f"{row['what']}: the median of {median:g} {row['unit']} is {'below' if met else 'above'} {shown}"
        )
        if "p99" in row and met:
            below = "below too" if row["p99"] * unit < limit else "above"
            text += f"; the 99th percentile, {row['p99']:g} {row['unit']}, is {below}"
        lines.append(text)
    ratio = row.get("ratio")
    if ratio is not None:
        name, value = row["peer"], f"{row['peer_value']:g} {row['unit']}"
        if ratio <= _NEAR:
            lines.append(
                f"{row['what']}: {name} take {value} here ({1 / ratio:.0%} of ours), so at most"
                f" {max(0.0, row['ours'] - row['peer_value']):.3g} {row['unit']} could be gained by the protocol:"
                " the rest is the machine's"
            )
        else:
            lines.append(
                f"{row['what']}: {ratio:.3g} times {name} ({value}): there is something to gain here"
            )
    return lines


def _path(talk: Talk, what: str) -> None:
    """Where the time goes: the routines of that path, found by search."""
    from architect.chat import ask

    words = {
        "mailbox": "mailbox post command ring doorbell queue",
        "shaders": "shader dispatch workgroup",
    }.get(what)
    if words is None:
        return
    talk.view.heading("the code of that path")
    found = ask.hits(talk, words, 5, ("routine", "shader"))
    for hit in found:
        first = hit.piece.summary.partition("\n")[0]
        talk.note(f"  {hit.piece.file}:{hit.piece.line}  {first or hit.piece.title}"[:120])
