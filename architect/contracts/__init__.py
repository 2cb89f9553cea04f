"""Contract tests: routines of the kernel called alone under Unicorn and held to what they promise.

Two sources of promises: every routine's header (``generic``: registers preserved, stack balanced, flags) and a model
in Python for the routines whose effect on memory or devices matters (one module per area of the kernel, listed in
``register``; each registers its checks with ``@contract``). The models know the specifications, not the kernel's
sources. The judge reads both from here, never from the tree under repair.

A check that cannot judge, because the routine ended in hardware that is not there or the tree has no such routine,
says nothing; silence is not success, and the boots that follow decide.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from contextlib import closing

from architect.contracts.asking import SEEDS, Asked, every_question, first, mended, rehearse
from architect.contracts.model import Violation
from architect.contracts.register import Contract, concerned, contract, registry, routines
from architect.protocols import GateResult
from toolchain.harness import Harness
from toolchain.headers import Routine
from toolchain.types import Image

__all__ = [
    "Asked", "Contract", "Violation", "concerned", "contract", "first", "mended", "registry", "rehearse", "routines",
    "run", "violations",
]  # fmt: skip


def violations(
    image: Image,
    headers: Mapping[str, Routine],
    names: Collection[str] | None = None,
    *,
    seeds: int = SEEDS,
    files: Collection[str] = (),
) -> list[Violation]:
    """What the named routines (all when None) break, headers first, then models.

    Args:
        image: the linked kernel.
        headers: the promises: ``routines(sources)``, from the original tree when a candidate is judged.
        names: routines whose code changed.
        seeds: calls per routine and header.
        files: sources whose data changed: the models of all routines in them are asked.

    Raises:
        InputError: the image cannot be put into an emulated machine.
    """
    with closing(Harness(image)) as harness:
        return [
            row
            for question in every_question(harness, headers, names, seeds, files)
            for row in question.ask()
        ]


def run(
    image: Image, names: Collection[str] | None, sources: Mapping[str, str], *, seeds: int = 3
) -> list[GateResult]:
    """The contract gate: one result for all routines asked for.

    The evidence lists each violation as ``routine``, ``promise`` and the ``call`` that shows it.
    """
    began = time.perf_counter()
    found = violations(image, routines(sources), names, seeds=seeds)
    evidence = [{"routine": v.routine, "promise": v.promise, "call": dict(v.call)} for v in found]
    message = f"{found[0].routine}: {found[0].promise}" if found else ""
    return [GateResult("contract", not found, time.perf_counter() - began, message, {"violations": evidence})]
