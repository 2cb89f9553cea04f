"""A name that the kernel defines and nothing in it uses, although its relatives are used.

Relatives of a constant are those of its file that begin with the same word. The sort says how many of them are used
(where a kernel keeps whole tables of hardware constants most stand unused, and one more says nothing), what for
(offsets of a structure are often listed in full), and what the constant is: composed of others, an extent, a bit,
zero, one of an enumeration.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from architect.effects import is_memory
from architect.learn.rules.view import Suspicion, View
from architect.source import Constant

NAME = "name-never-used"
_FEW = 3
_EXTENTS = ("_SIZE", "_COUNT", "_END", "_MAX", "_LENGTH", "_FREE")
_COMPOSED = re.compile(r"[A-Za-z_]\w{2,}")


def rule(view: View) -> Iterator[Suspicion]:
    """Constants and labels that nothing uses."""
    yield from _constants(view)
    for file, label in sorted(view.names.loose):
        at = view.tree.local_labels[file, label]
        sort = "local label" if label.startswith(".L") else "label"
        yield Suspicion(NAME, sort, f"nothing names {label}", file, at.line, at.routine)


def _constants(view: View) -> Iterator[Suspicion]:
    families: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, constant in view.tree.constants.items():
        if constant.file in view.tree.editable and "\\" not in name:
            families[constant.file, name.split("_")[0]].append(name)
    orphans = view.names.orphans
    for (file, _), members in families.items():
        unused = [name for name in members if name in orphans]
        if not unused:
            continue
        share, use = _share(len(members), len(unused)), _use(view, members)
        for name in unused:
            constant = view.tree.constants[name]
            form = _form(view, constant, members)
            message = f"nothing uses {name}, though {share} of its relatives in {file} are used"
            yield Suspicion(NAME, f"{form}, {share} used, {use}", message, file, constant.line)


def _form(view: View, constant: Constant, members: list[str]) -> str:
    """What a constant is."""
    value = view.values().get(constant.name)
    if constant.name.endswith(_EXTENTS):
        return "extent"
    if _COMPOSED.search(constant.expression):
        return "composed"
    if not value:
        return "zero"
    if "<<" in constant.expression:
        return "bit"
    near = {view.values().get(name) for name in members if name != constant.name}
    return "enumerated" if {value - 1, value + 1} & near else "number"


def _use(view: View, members: list[str]) -> str:
    """What most uses of a family are: an offset in an address, or a value."""
    users = [(name, s) for name in members for s in view.tree.references.get(name, ())]
    offsets = sum(any(is_memory(o.text) and name in o.text for o in s.operands) for name, s in users)
    return "as offsets" if offsets * 2 > len(users) else "as values"


def _share(members: int, unused: int) -> str:
    """How many of a family besides one unused member are used, in words."""
    others, used = members - 1, members - unused
    if others < _FEW:
        return "none" if not used else "some of few"
    if used == others:
        return "all"
    return "most" if used * 4 >= others * 3 else "half" if used * 2 >= others else "few"
