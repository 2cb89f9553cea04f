"""What a candidate is asked by and what it is built as: images of one tree with some lines exchanged.

Owns the original that candidates are compared with, the variants made of it, and the contracts that the unpatched
kernel broke, asked before anything is built whole: of the code that an include file changes only what runs is made for
them. It boots nothing and knows no other gate.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial

from architect import contracts
from architect.diagnosis import Demands
from architect.protocols import GateResult
from architect.tried import content
from architect.verify import broken
from toolchain.blanks import Strayed
from toolchain.build import Session
from toolchain.changes import Changes, Original
from toolchain.exact import Patched
from toolchain.headers import Routine
from toolchain.relink import Linked
from toolchain.types import Image
from toolchain.variants import Variants

OFTEN = 4  # candidates that run code of a unit for which it is made before others ask for it


class Images:
    """The images of a tree's candidates.

    Args:
        session: the warm build of the tree.
        headers: what its routines promise.
    """

    def __init__(self, session: Session, headers: Mapping[str, Routine]) -> None:
        self.session = session
        self.headers = headers
        self.asked = contracts.Asked()
        self.original: Original | None = None
        self.variants: Variants | None = None
        self._run: set[str] = set()  # units whose code contracts run
        self._strayed: Counter[str] = Counter()  # candidates that ran others besides

    def begin(self, demands: Demands) -> tuple[Image, Image]:
        """Make what candidates are compared with: the whole image, and the one that they are asked by.

        Raises:
            InputError: the tree does not assemble.
        """
        whole = self.session.build(lines=False)  # what candidates are held to byte by byte: no sketch of it
        self.variants = Variants(self.session)
        self.original = Original(self.session.objects(), self.headers)
        contracts.rehearse(self.variants.original, self.headers, demands.contracts, self.asked)
        return whole, self.variants.original

    def judged(
        self, changed: Mapping[str, str], demands: Demands, known: Collection[int]
    ) -> tuple[int, GateResult | None]:
        """What names the code and data of a candidate, and which contract it breaks; those ``known`` are not asked.

        Where code runs that was not made, it is made, and the questions are asked again. A candidate that keeps its
        contracts is built as a whole.

        Raises:
            InputError: it does not assemble.
        """
        met: set[str] = set()
        while True:
            image = self._sketch(changed, self._run | met)
            name = content(image)
            try:
                suspected = None if name in known else self._suspected(image, demands)
                break
            except Strayed as strayed:
                met |= strayed.units
        self._strayed.update(met)
        # Of the first all, for it runs what every candidate does; of others what is met often: some go far astray.
        self._run |= {unit for unit in met if not self._run or self._strayed[unit] >= OFTEN}
        return name, suspected

    def whole(self, changed: Mapping[str, str]) -> tuple[Image, Callable[[], Changes | None]]:
        """What a build makes of a candidate, and what asks where it differs from the tree (None: anywhere)."""
        original, variants = self.original, self.variants
        if original is None or variants is None:
            return self.session.build(changed, lines=False), lambda: None
        made = variants.whole(changed)
        if isinstance(made, Patched):
            return made.image, partial(original.at, made.spots)
        if isinstance(made, Linked):
            return made.image, partial(original.changes, made.objects)
        return made, lambda: original.changes(self.session.objects())

    def _sketch(self, changed: Mapping[str, str], run: Collection[str]) -> Image:
        """What a candidate is asked by: where it can be, with only the changed made anew."""
        image = self.variants.image(changed, run) if self.variants is not None else None
        return self.session.build(changed, lines=False) if image is None else image

    def _suspected(self, image: Image, demands: Demands) -> GateResult | None:
        """The contracts that the unpatched kernel broke, the likeliest and cheapest first; None when they are kept."""
        names = demands.contracts
        if not names:
            return None
        began = time.perf_counter()
        gate = broken(image, self.headers, names, (), self.asked, every=demands.several)
        return None if gate.passed else replace(gate, gate="contract", seconds=time.perf_counter() - began)
