"""Many variants of one kernel tree, each for a few questions: only what an edit can have changed is made anew.

Joins ``reach`` (which units may see an edit) with ``sketch`` (a link in which they take their places). What it makes is
asked, never booted: for that ``build.Session.build`` makes the real image.
"""

from __future__ import annotations

from collections.abc import Mapping

from toolchain.build import GENERATED, Session
from toolchain.reach import Reach
from toolchain.sketch import Sketch
from toolchain.types import Image

_WHOLE = ("image.toml", "boot.toml")  # what concerns the kernel as a whole


class Variants:
    """Variants of the tree of a session, which builds it as it is first.

    Raises:
        InputError: the tree has errors.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        session.build(lines=False)
        units = session.units()
        self._places = {made.file: number for number, made in enumerate(session.objects())}
        texts = {name: unit.sources[0].text for name, unit in units.items()}
        included = {s.name: s.text for unit in units.values() for s in unit.sources[1:]}
        self._reach = Reach(included, texts)
        self._sketch = Sketch(session.objects(), session.layout())

    @property
    def original(self) -> Image:
        """Of the tree as it is."""
        return self._sketch.image

    def image(self, overrides: Mapping[str, str]) -> Image | None:
        """Of a variant; None when it has to be built as a whole.

        Raises:
            InputError: every error of the units that were assembled, or of their link.
        """
        seen = self.seen(overrides)
        if seen is None:
            return None
        made = self._session.some(sorted(seen), overrides)
        return self._sketch.variant({self._places[name]: unit for name, unit in made.items()})

    def seen(self, overrides: Mapping[str, str]) -> frozenset[str] | None:
        """The units that a variant may change; None when it may be any, or others than there are."""
        own = frozenset(name for name in overrides if name in self._places)
        others = {name: text for name, text in overrides.items() if name not in own}
        if any(name in _WHOLE or name.startswith(f"{GENERATED}/") for name in others):
            return None
        seeing = self._reach.units(others) if others else frozenset[str]()
        return None if seeing is None else own | seeing
