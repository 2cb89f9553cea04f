"""Makes ``toolchain/encode_forms.tsv``: every operand form that GNU as takes and that is encoded the same here.

Run from the repository's root: ``python -m tests.unit.make_forms``. It offers GNU as some forty million statements,
which takes about ten minutes, then encodes those that it took and keeps the forms with equal bytes.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable
from pathlib import Path

import capstone
import iced_x86

from tests.unit import gnu_as
from tests.unit.statements import SIZES, standard
from toolchain import encode_branch, encode_check, encode_forms, encode_table, insn
from toolchain.encode import Encoder
from toolchain.errors import InputError
from toolchain.types import Encoding, Mode, Place

Form = tuple[str, ...]
Table = dict[str, dict[Mode, list[Form]]]

MODES: tuple[Mode, ...] = (64, 32, 16)
_CONDITIONS = (
    "eq",
    "lt",
    "le",
    "unord",
    "neq",
    "nlt",
    "nle",
    "ord",
    "nge",
    "ngt",
    "false",
    "ge",
    "gt",
    "true",
)
_COMPARISONS = ("lt", "le", "gt", "ge", "eq", "neq", "nlt", "nle", "false", "true")
# Registers with forms of their own, and the class whose form covers them where there is one.
SPECIAL = {
    "al": "b", "cl": "b", "ax": "w", "dx": "w", "eax": "d", "ecx": "d", "edx": "d", "rax": "q", "rcx": "q",
    "rdx": "q", "st0": "t", "xmm0": "x", "1": "i",
}  # fmt: skip
# Forms that the search below does not reach.
MORE: Table = {
    "movabs": {64: [(*pair,) for name in ("al", "ax", "eax", "rax") for pair in (("a", name), (name, "a"))]},
    "monitor": {64: [("rax", "ecx", "edx"), ("rax", "rcx", "rdx")], 32: [("eax", "ecx", "edx")]},
    "mov": {32: [("cr8", "d")]},
    **{name: {32: [("f",)], 16: [("f",)]} for name in ("jmp", "call", "ljmp", "lcall")},
}
NAMELESS = frozenset(("word", "adword", "ht", "hnt", "clr"))


def mnemonics() -> list[str]:
    """Every name that may be an instruction."""
    engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    names = {engine.insn_name(number) for number in range(1, 2000)} | set(dir(iced_x86.Mnemonic))
    names |= set(encode_check.synonyms()) | set(encode_branch.mnemonics())
    names |= {line.split()[0] for line in encode_table.lines(sixteen=True)}
    for lead, words, tails in (
        ("cmp", _CONDITIONS, "ps pd ss sd"),
        ("vcmp", _CONDITIONS, "ps pd ss sd"),
        ("vpcmp", _COMPARISONS, "b w d q ub uw ud uq"),
        ("vpcom", _COMPARISONS, "b w d q ub uw ud uq"),
    ):
        names |= {lead + word + tail for word in words for tail in tails.split()}
    known = {name.lower() for name in names if name}
    known -= NAMELESS | insn.PREFIXES
    return sorted(name for name in known if name.isalnum() and not name.startswith("bnd"))


def accepted(names: list[str], mode: Mode) -> dict[str, list[Form]]:
    """The forms that as takes, each in its most general wording."""
    classes = [name for name in "bwdqsCGtMxyzk" if mode == 64 or name != "q"]
    special = [name for name in SPECIAL if mode == 64 or not name.startswith("r")]
    any_operand = [*classes, *special, "i", "m", "vx", "vy", "vz"]
    many = [name for name in any_operand if name in {*"bwdqMxyzkim", "vx", "vy", "vz"}]
    third = [*many, "cl", "ecx", "edx", "xmm0"]
    vectors = ["x", "y", "z", "k", "M"], ["x", "y", "z"], ["x", "y", "z", "m", "d"], ["x", "y", "z", "i", "m"]
    probes = [(name, count) for name in names for count in range(6)]
    errors = gnu_as.refusals([(mode, f"{name} {', '.join(['ebx'] * count)}") for name, count in probes])
    space: dict[int, list[Form]] = {
        0: [()],
        1: [(name,) for name in any_operand],
        2: list(itertools.product(any_operand, any_operand)),
        3: list(itertools.product(many, many, third)),
        4: list(itertools.product(*vectors)),
        5: list(itertools.product("xy", "xy", "xym", "xym", "i")),
    }
    found: dict[str, dict[Form, None]] = {}
    for (name, count), error in zip(probes, errors, strict=True):
        if "number of operands mismatch" not in error and "no such instruction" not in error:
            forms = space[count]
            taken = gnu_as.refusals([(mode, standard(name, form, mode)) for form in forms])
            found.setdefault(name, {}).update(
                (form, None) for form, refusal in zip(forms, taken, strict=True) if not refusal
            )
    sized = list(
        dict.fromkeys(
            (name, (*form[:at], f"m{size}", *form[at + 1 :]))
            for name, forms in found.items()
            for form in itertools.chain(forms, (form for form in space[1] + space[2] if "m" in form))
            for at, word in enumerate(form)
            if word == "m" or (len(form) >= 3 and word in ("b", "w", "d", "q", "x", "y", "z", "M"))
            for size in SIZES
        )
    )
    taken = gnu_as.refusals([(mode, standard(name, form, mode)) for name, form in sized])
    for (name, form), refusal in zip(sized, taken, strict=True):
        if not refusal:
            found[name][form] = None
    return {name: _general(forms) for name, forms in found.items()}


def _general(forms: Iterable[Form]) -> list[Form]:
    known = set(forms)
    return sorted(
        form
        for form in known
        if not any(
            other != form and other in known
            for other in itertools.product(
                *((word, SPECIAL[word]) if word in SPECIAL else (word,) for word in form)
            )
        )
    )


def decorated(form: Form) -> list[Form]:
    """A vector form with masks, broadcasts and rounding."""
    if not form or not {"z", "k", "m64", "vz"} & set(form):
        return []
    more: list[Form] = []
    if form[0] in ("z", "k", "m", "m64", "x", "y"):
        more.append((form[0] + "{k}", *form[1:]))
    if form[0] in ("x", "y", "z"):
        more.append((form[0] + "{k}{z}", *form[1:]))
    if "m" in form[1:]:
        at = form.index("m", 1)
        more += [(*form[:at], f"m{word}", *form[at + 1 :]) for word in ("{1to8}", "{1to16}")]
    if not any(word.startswith("m") for word in form):
        more += [(*form, word) for word in ("{sae}", "{rn-sae}", "{rz-sae}", "{ru-sae}", "{rd-sae}")]
    return more


def proven(table: Table) -> Table:
    """The forms of ``table`` for which the bytes are GNU as's."""
    kept: Table = {}
    for mode in MODES:
        items = [(name, form) for name, modes in table.items() for form in modes.get(mode, [])]
        texts = [(mode, standard(name, form, mode)) for name, form in items]
        verdicts = gnu_as.assemble(texts)
        with Encoder() as encoder:
            for (name, form), (_, text), verdict in zip(items, texts, verdicts, strict=True):
                try:
                    parsed = insn.parse(text, Place("form", 1), mode, lambda _: None)
                except InputError:
                    continue
                (encoding,) = encoder.encode([(mode, parsed)])
                if verdict.data is None or not isinstance(encoding, Encoding):
                    continue
                reason = gnu_as.difference(encoding, verdict)
                if not reason:
                    kept.setdefault(name, {}).setdefault(mode, []).append(form)
                else:
                    print(f"{mode} {text}: {reason}")
    return kept


def write(table: Table, path: Path) -> None:
    """Write the table: instructions with the same forms on one line."""
    groups: dict[str, list[str]] = {}
    for name, modes in table.items():
        known: dict[str, str] = {}
        for mode, letter in zip(MODES, "631", strict=True):
            for form in modes.get(mode, []):
                text = ",".join(form) or "."
                known[text] = known.get(text, "") + letter
        items = [text if letters == "631" else f"{text}@{letters}" for text, letters in sorted(known.items())]
        if items:
            groups.setdefault(" ".join(items), []).append(name)
    lines = sorted(f"{' '.join(sorted(names))}\t{forms}\n" for forms, names in groups.items())
    path.write_text("".join(lines), encoding="ascii")


def main() -> None:
    """Make the table anew."""
    table: Table = {}
    for mode in MODES:
        for name, forms in accepted(mnemonics(), mode).items():
            more = (
                [extra for form in forms for extra in decorated(form)]
                if name[0] == "v" and mode != 16
                else []
            )
            table.setdefault(name, {})[mode] = [*forms, *more]
    for name, modes in MORE.items():
        for mode, forms in modes.items():
            assert mode in MODES
            table.setdefault(name, {}).setdefault(mode, []).extend(forms)
    with tempfile.TemporaryDirectory() as folder:
        candidates = Path(folder, "forms.tsv")
        write(table, candidates)
        encode_forms.use(candidates)
        kept = proven(table)
    write(kept, encode_forms.PATH)
    print(
        f"{sum(len(forms) for modes in kept.values() for forms in modes.values())} forms of {len(kept)} instructions"
    )


if __name__ == "__main__":
    main()
