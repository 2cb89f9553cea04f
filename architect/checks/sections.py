"""Sections and their rights: nothing writable and executable, code where code may run, stores where stores may go.

What is only mapped until the kernel's own tables stand (sections at their physical address) may be both.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from architect.checks import Finding, Subject
from architect.checks.places import directives
from toolchain.types import Section


def check(subject: Subject) -> Iterator[Finding]:
    """Sections in the order of the image, then routines, then stores."""
    sections = [s for s in subject.image.sections if s.size]
    for section in sections:
        if "w" in section.flags and "x" in section.flags and not _early(section):
            message = f"section {section.name} is writable and executable"
            yield Finding("section-rights", message).about(directives(subject, section.name, "wx"))
    ordered = sorted(sections, key=lambda s: s.address)
    for one, other in pairwise(ordered):
        if one.address + one.size > other.address:
            found = Finding("section-overlap", f"sections {one.name} and {other.name} overlap")
            yield found.about((*directives(subject, one.name, ""), *directives(subject, other.name, "")))
    code = {section.name for section in subject.image.sections if "x" in section.flags}
    for symbol in subject.image.symbols:
        if symbol.kind != "func" or symbol.section in code:
            continue
        home = subject.section(symbol.address)
        if home is not None and "x" not in home.flags:
            message = f"routine {symbol.name} lies in {home.name}, which is not executable"
            yield Finding("section-rights", message, symbol.name, symbol.file, symbol.line)
    yield from _stores(subject)


def _early(section: Section) -> bool:
    return section.address == section.physical


def _stores(subject: Subject) -> Iterator[Finding]:
    """Stores to a fixed address in a section that cannot be written: a page fault once CR0.WP is on."""
    fixed = [(s.address, s.address + s.size, s.name) for s in subject.image.sections if "w" not in s.flags]
    for flow in subject.flows:
        for instruction, place in flow.stores():
            name = next((name for first, end, name in fixed if first <= place < end), None)
            if name is not None:
                message = f"stores into {name}, which is read-only"
                yield subject.finding("store-read-only", message, instruction, flow.symbol.name)
