"""Generated sources: what the assembler shares with Python, and the table of the boot units.

Owns: ``gen/contract.inc`` (constants of ``contract.toml``), ``gen/contract_strings.inc`` (its strings, for the
one unit that holds them), ``gen/mailbox.inc`` (``toolchain.mailbox.layout``) and ``gen/boot_table.inc`` (rows from
the kernel tree's ``boot.toml``), and the checks of ``boot.toml``. Never touches a file whose content is already
right, so that nothing is rebuilt for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from toolchain import contract, tomlfile
from toolchain.errors import InputError
from toolchain.files import make_folder, write_atomic
from toolchain.mailbox import layout as mailbox

STAGE = "generate"
UNITS_MAX = 64  # a row holds what it needs as one 64-bit mask of rows

_UNIT_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_SYMBOL = re.compile(r"[A-Za-z_.$][A-Za-z0-9_.$]*")
_KEYS = ("name", "entry", "needs", "after", "provides", "optional")


class BootUnit(NamedTuple):
    """One ``[[unit]]`` of ``boot.toml``. It provides its own name besides ``provides``.

    ``needs`` must have succeeded before it, else it is skipped; ``after`` must have had its turn, however that went.
    """

    name: str
    entry: str
    needs: tuple[str, ...]
    provides: tuple[str, ...]
    optional: bool
    after: tuple[str, ...] = ()


def _refuse(path: Path, key: str, message: str) -> InputError:
    return InputError(f"{path}: {key}: {message}" if key else f"{path}: {message}", stage=STAGE)


def generate(tree: Path, out: Path) -> list[Path]:
    """Write the generated sources of kernel ``tree`` under ``out/gen``.

    Args:
        tree: the kernel tree; ``tree/boot.toml`` names its boot units.
        out: the build folder.

    Returns:
        The generated files; put ``out/gen`` first in the include path.

    Raises:
        InputError: ``boot.toml`` is missing or wrong, or ``out`` cannot be written.
    """
    return write(texts(tree), out)


def write(found: Mapping[str, str], out: Path) -> list[Path]:
    """Write what ``texts`` has found under ``out/gen``; returns and raises as ``generate``."""
    folder = out / "gen"
    make_folder(folder, stage=STAGE)
    written = []
    for name, text in found.items():
        write_atomic(folder / name, text, stage=STAGE)
        written.append(folder / name)
    return written


def texts(tree: Path, boot_toml: str | None = None) -> dict[str, str]:
    """The generated sources of ``tree`` as file name -> text, for builds that stay in memory.

    Args:
        tree: the kernel tree.
        boot_toml: the text of ``boot.toml``, if it is not the one in the tree.
    """
    path = tree / "boot.toml"
    units = load_boot_units(path) if boot_toml is None else parse_boot_units(path, boot_toml)
    return {
        "contract.inc": contract_text(),
        "contract_strings.inc": strings_text(),
        "mailbox.inc": mailbox.assembly(),
        "boot_table.inc": boot_table_text(units),
    }


# --- contract.toml -----------------------------------------------------------------------------------------


def contract_text() -> str:
    """``contract.inc``: only ``.set``, so that any number of units may include it."""
    found = contract.load()
    out = _heading("Constants that the kernel and the host share", "scripts/toolchain/contract.toml")
    out += [f".set {name}, {value:#x}" for name, value in found.constants.items()]
    out += ["", "# Lengths in bytes, without a final zero, of the strings in contract_strings.inc"]
    out += [f".set {name}_LENGTH, {len(text)}" for name, text in found.strings.items()]
    out += ["", "# Positions of the keys of a PXFAULT block: rows of contract_fault_keys"]
    out += [f".set FAULT_KEY_{key.upper()}, {i}" for i, key in enumerate(found.fault_keys)]
    out += [f".set FAULT_KEY_COUNT, {len(found.fault_keys)}", ""]
    return "\n".join(out)


def strings_text() -> str:
    """``contract_strings.inc``: strings ``contract_<name>``, zero-ended; table ``contract_fault_keys``."""
    found = contract.load()
    out = _heading("Strings of the contract; one unit includes this", "scripts/toolchain/contract.toml")
    out += ['.section .rodata, "a"', ""]
    for name, text in found.strings.items():
        label = f"contract_{name.lower()}"
        out += [f".global {label}", f"{label}:", f'    .asciz "{_escaped(text)}"']
    for i, key in enumerate(found.fault_keys):
        out += [f".Lcontract_fault_key_{i}:", f'    .asciz "{_escaped(key)}"']
    out += ["", "    .balign 8", ".global contract_fault_keys", "contract_fault_keys:"]
    out += [f"    .quad .Lcontract_fault_key_{i}" for i in range(len(found.fault_keys))]
    return "\n".join([*out, ""])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _heading(what: str, source: str) -> list[str]:
    return [f"# {what}. Generated from {source}: edit that, not this.", ""]


# --- boot.toml ---------------------------------------------------------------------------------------------


def boot_table_text(units: tuple[BootUnit, ...]) -> str:
    """``boot_table.inc``: the rows of ``boot_unit_table`` in boot order, laid out by ``BOOT_ROW_*``."""
    out = _heading("The boot units in the order they run; exactly one unit includes this", "boot.toml")
    out += ['.include "contract.inc"', f".set BOOT_UNIT_COUNT, {len(units)}"]
    out += [f".set BOOT_UNIT_{_constant(unit.name)}, {i}" for i, unit in enumerate(units)]
    out += [
        "",
        "# offset           field",
        "# BOOT_ROW_NAME    address of the name, zero-ended",
        "# BOOT_ROW_ENTRY   address of the entry routine",
        "# BOOT_ROW_FLAGS   BOOT_FLAG_*",
        "# BOOT_ROW_NEEDS   mask of the rows whose success this one needs: bit n = row n",
        '.section .rodata, "a"',
        "    .balign 8",
        ".global boot_unit_table",
        "boot_unit_table:",
    ]
    provider = {what: i for i, unit in enumerate(units) for what in (unit.name, *unit.provides)}
    flag = contract.constant("BOOT_FLAG_OPTIONAL")
    for i, unit in enumerate(units):
        needs = sum(1 << row for row in {provider[what] for what in unit.needs})
        flags = flag if unit.optional else 0
        out.append(f"    .quad .Lboot_unit_name_{i}, {unit.entry}, {flags:#x}, {needs:#x}")
    for i, unit in enumerate(units):
        out += [f".Lboot_unit_name_{i}:", f'    .asciz "{unit.name}"']
    return "\n".join([*out, ""])


def _constant(name: str) -> str:
    return name.upper().replace("-", "_")


def load_boot_units(path: Path) -> tuple[BootUnit, ...]:
    """Read and check ``boot.toml``.

    Returns:
        The units in the order of the file, which satisfies every ``needs`` and ``after``.

    Raises:
        InputError: file, key and mend of the first thing that is wrong.
    """
    mend = "a kernel tree declares its boot units there"
    return parse_boot_units(path, tomlfile.text(path, stage=STAGE, missing=mend))


def parse_boot_units(path: Path, text: str) -> tuple[BootUnit, ...]:
    """Check the text of a ``boot.toml``; ``path`` is for messages. Otherwise as ``load_boot_units``."""
    data = tomlfile.parse(text, path, stage=STAGE)
    _reject_unknown(path, "", data, ("unit",))
    rows = data.get("unit", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _refuse(path, "unit", "expected [[unit]] tables")
    if len(rows) > UNITS_MAX:
        raise _refuse(path, "unit", f"{len(rows)} units; at most {UNITS_MAX} fit the table")
    units = tuple(_unit(path, i, row) for i, row in enumerate(rows))
    _check_order(path, units, _providers(path, units))
    return units


def _reject_unknown(path: Path, where: str, data: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in data:
        if key not in known:
            raise _refuse(path, where + key, f"no such key; there are {', '.join(known)}")


def _unit(path: Path, index: int, row: Mapping[str, Any]) -> BootUnit:
    where = f"unit[{index}]."
    _reject_unknown(path, where, row, _KEYS)

    def wrong(key: str, expected: str) -> InputError:
        found = f"{row[key]!r}" if key in row else "missing"
        return _refuse(path, where + key, f"{found}; expected {expected}")

    def names(key: str) -> tuple[str, ...]:
        value = row.get(key, [])
        good = isinstance(value, list) and all(isinstance(v, str) and _UNIT_NAME.fullmatch(v) for v in value)
        if not good:
            raise wrong(key, 'a list of names such as ["frames"]')
        if len(set(value)) != len(value):
            raise wrong(key, "each name once")
        return tuple(value)

    name, entry, optional = row.get("name"), row.get("entry"), row.get("optional", False)
    if not isinstance(name, str) or not _UNIT_NAME.fullmatch(name):
        raise wrong("name", "a name of lower-case letters, digits, _ and -, at most 32")
    if not isinstance(entry, str) or not _SYMBOL.fullmatch(entry):
        raise wrong("entry", "the symbol of the unit's entry routine")
    if not isinstance(optional, bool):
        raise wrong("optional", "true or false")
    return BootUnit(name, entry, names("needs"), names("provides"), optional, names("after"))


def _providers(path: Path, units: tuple[BootUnit, ...]) -> dict[str, int]:
    """What is provided -> the row that provides it; each name once."""
    provider: dict[str, int] = {}
    constants: dict[str, str] = {}
    for i, unit in enumerate(units):
        other = constants.setdefault(_constant(unit.name), unit.name)
        if other != unit.name:
            raise _refuse(
                path, f"unit[{i}].name", f"'{unit.name}' and '{other}' give one constant; rename one"
            )
        for key, what in [("name", unit.name), *(("provides", p) for p in unit.provides if p != unit.name)]:
            if what in provider:
                first = units[provider[what]].name
                raise _refuse(path, f"unit[{i}].{key}", f"'{what}' is provided by unit '{first}'; rename one")
            provider[what] = i
    return provider


def _check_order(path: Path, units: tuple[BootUnit, ...], provider: Mapping[str, int]) -> None:
    """Refuse what is missing, what goes in a circle, and what comes too late, for ``needs`` and ``after`` alike."""
    asked = [
        (i, key, verb, what)
        for i, unit in enumerate(units)
        for key, verb, names in (("needs", "needs", unit.needs), ("after", "comes after", unit.after))
        for what in names
    ]
    edges: dict[int, list[int]] = {}
    for i, key, verb, what in asked:
        if what not in provider:
            problem = f"'{units[i].name}' {verb} '{what}', which no unit provides"
            mend = f"add it to a unit's provides or drop it from {key}"
            raise _refuse(path, f"unit[{i}].{key}", f"{problem}; {mend}")
        edges.setdefault(i, []).append(provider[what])
    ring = _cycle(edges)
    if ring:
        chain = " -> ".join(units[i].name for i in ring)
        key = next(key for i, key, _, what in asked if (i, provider[what]) == (ring[0], ring[1]))
        raise _refuse(path, f"unit[{ring[0]}].{key}", f"a cycle: {chain}; drop one of these")
    for i, key, verb, what in asked:
        if provider[what] > i:
            name, later = units[i].name, units[provider[what]].name
            problem = f"'{name}' {verb} '{what}' of '{later}', which comes later"
            raise _refuse(path, f"unit[{i}].{key}", f"{problem}; move '{later}' above '{name}'")


def _cycle(edges: Mapping[int, list[int]]) -> list[int]:
    """A closed ring ``[a, b, …, a]`` in the graph, or an empty list."""
    done: set[int] = set()

    def visit(node: int, path: list[int]) -> list[int]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node not in done:
            for target in edges.get(node, ()):
                ring = visit(target, [*path, node])
                if ring:
                    return ring
            done.add(node)
        return []

    for start in edges:
        ring = visit(start, [])
        if ring:
            return ring
    return []
