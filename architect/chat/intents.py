"""What a question asks to be done, and the doing: for questions that tools answer better than a search.

Owns the words by which a request is told from a question, and what is done for each: repair, boot, measure, make a
test suite, show and prove shaders, walk page tables, ask the live kernel. Nothing is answered from memory: every
figure is measured and every name looked up when it is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from architect.chat import names

if TYPE_CHECKING:
    from architect.chat.talk import Talk


class _Both:
    """Some words and, behind them on the same line, others: ``first.*then`` would look from each first to the end."""

    def __init__(self, first: str, then: str) -> None:
        self._first, self._then = re.compile(first, re.IGNORECASE), re.compile(then, re.IGNORECASE)

    def search(self, text: str) -> bool:
        """Whether they stand in a text."""
        begun = ((line, self._first.search(line)) for line in text.split("\n"))
        return any(found and self._then.search(line, found.end()) for line, found in begun)


_REPAIR = re.compile(r"\b(fix|repair|mend|debug|heal|correct)\b", re.IGNORECASE)
_REPAIRABLE = re.compile(
    r"\b(function|routine|kernel|boot|bug|fault|report|crash|it|panic|failure)\b", re.IGNORECASE
)
_SHADER = re.compile(r"\b(wgsl|shaders?)\b", re.IGNORECASE)
_MAKE = re.compile(r"\b(generate|write|create|make|build|give|show|add|design|implement)\b", re.IGNORECASE)
_SUITE = re.compile(
    r"\b(test[- ]?suite|(unit |contract )?tests? for|tests? cases? for|contract tests)\b", re.IGNORECASE
)
_SPEED = re.compile(
    r"\b(optimi[sz]e|latency|faster|speed[- ]?up|benchmark|measure|how (fast|slow|long)|slow(er)?|throughput)\b",
    re.IGNORECASE,
)
_BOOT = re.compile(
    r"\b(does (it|the kernel) boot|boot (it|the kernel)|try to boot|start the kernel)\b", re.IGNORECASE
)
_WALK = re.compile(r"\b(page[- ]?walk|walk|mapped|maps? to|translat\w+)\b", re.IGNORECASE)
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]+\b")
_EXPLAIN = re.compile(
    r"^\s*(what (is|does|are)|explain|where is|who (calls|uses)|show( me)?|describe|how does)\b",
    re.IGNORECASE,
)
# Lines of a boot's logs: our kernel's own on its serial line, QEMU's of exceptions (-d int) and of a dying machine.
_LOG = re.compile(
    r"^(PX(BOOT|FAULT|PANIC|READY) v1 |check_exception old: |Triple fault\b|\s*\d+: v=[0-9a-f]{2} e=[0-9a-f]{4} )",
    re.MULTILINE,
)
_GO = (
    _Both(r"\b(run|do|pass)\b", r"\btests?\b"),
    re.compile(r"\btests? pass", re.IGNORECASE),
)
_SHORT = 9  # words of a question that is about the routine that it names, and nothing else

# Words of a question about the machine's state -> a command of the kernel's shell.
_LIVE = (
    (
        re.compile(r"\bhow much (free |used )?(memory|ram)\b|\bmemory map of the machine\b", re.IGNORECASE),
        "mem",
    ),
    (re.compile(r"\bhow many (free |used )?frames\b", re.IGNORECASE), "frames"),
    (_Both(r"\b(which|what|list)\b", r"\bpci (devices|functions)\b"), "pci"),
    (_Both(r"\b(which|what|how many)\b", r"\b(cpus|processors) (are|is|run|online)\b"), "cpus"),
    (re.compile(r"\b(which|what|how many) threads\b", re.IGNORECASE), "threads"),
    (re.compile(r"\b(which|what) boot units\b", re.IGNORECASE), "units"),
)


@dataclass(frozen=True, slots=True)
class Intent:
    """What is to be done.

    Attributes:
        plan: half a sentence that says so.
        act: does it.
    """

    plan: str
    act: Callable[[Talk], None]


def of(talk: Talk, question: str) -> Intent | None:
    """What a question asks to be done, or None for one that is searched for."""
    if _LOG.search(question):
        from architect.chat import machine

        return Intent("this is what the log in it tells", lambda talk: machine.pasted(talk, question))
    if _SHADER.search(question) and _MAKE.search(question) and talk.desk.native:
        from architect.chat import shader_answers

        plan = "these are the shaders of the tree that do it, proved now"
        return Intent(plan, partial(shader_answers.offer, question=question))
    if _SUITE.search(question) and _MAKE.search(question):
        from architect.chat import suite

        plan = "a suite is made from the headers, the contracts and the in-kernel tests"
        return Intent(plan, partial(suite.asked, question=question))
    if _SPEED.search(question) and talk.desk.native:  # what is measured is ours
        from architect.chat import speed

        if speed.subject(question):
            return Intent("it is measured now", partial(speed.measured, question=question))
    return _about_the_kernel(talk, question)


def _about_the_kernel(talk: Talk, question: str) -> Intent | None:
    from architect.chat import machine, repair

    addresses = _ADDRESS.findall(question)
    if addresses and _WALK.search(question):
        return Intent("this is the page walk", partial(_each, machine.walk, addresses))
    meant = names.meant(talk.desk, question)
    if _REPAIR.search(question) and (meant or _REPAIRABLE.search(question)):
        plan = "the fix loop works on it: diagnosis, lessons, then search"
        return Intent(plan, partial(_repaired, meant=meant))
    if _BOOT.search(question):
        return Intent("it is booted", lambda talk: machine.boot(talk, ""))
    if any(words.search(question) for words in _GO):
        return Intent("the in-kernel tests are run", lambda talk: repair.test(talk, ""))
    for words, command in _LIVE:
        if words.search(question):
            return Intent(f"a live kernel is asked ({command})", partial(_live, command=command))
    if addresses and len(question.split()) <= _SHORT:
        return Intent("this is what lies there", partial(_explained, what=addresses))
    exact = [one.name for one in meant if not one.renamed]
    if exact and _EXPLAIN.search(question) and len(question.split()) <= _SHORT:
        return Intent("this is from the image and the sources", partial(_explained, what=exact))
    return None


def _each(act: Callable[[Talk, str], None], words: list[str], talk: Talk) -> None:
    for word in words:
        act(talk, word)


def _repaired(talk: Talk, meant: list[names.Meant]) -> None:
    from architect.chat import repair

    repair.repair(talk, meant[0] if meant else None)


def _live(talk: Talk, command: str) -> None:
    from architect.chat import machine

    machine.kernel(talk, command)


def _explained(talk: Talk, what: list[str]) -> None:
    from architect.chat import looking

    for name in what:
        looking.explain(talk, name)
