"""nasm, in the words of the search (GNU as, Intel syntax), and back.

Owns the two translations of one statement: size words, immediates that are addresses (``offset``), memory that is
relative to RIP, data directives, ``equ`` and ``%define``, and local labels, which nasm names after the label before
them. What has no counterpart (``times``, macros, ``org``) stays untold.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from architect.foreign.words import (
    PREFIXES,
    REGISTERS,
    TOKEN,
    Untold,
    head,
    is_name,
    split,
)

COMMENTS = (";",)
LABEL = re.compile(
    r"\s*[A-Za-z_.?@][\w.$?@#~]*:(?!:)|\s*[A-Za-z_.?@][\w.$?@#~]*(?=\s+(?:d[bwdq]|res[bwdq])\s)"
)
LOCAL = ".L"  # of the search; ``.LPARENT.name`` stands for nasm's ``.name`` behind ``PARENT``

_DATA = {"db": ".byte", "dw": ".word", "dd": ".long", "dq": ".quad"}
_SPACE = {"resb": 1, "resw": 2, "resd": 4, "resq": 8}
_DATA_BACK = {gas: word for word, gas in _DATA.items()} | {".ascii": "db", ".short": "dw", ".int": "dd"}
_UNTOLD_TEXT = """
times org incbin struc endstruc istruc at iend absolute common cpu default strict o16 o32 a16 a32
a64
"""
_UNTOLD = frozenset(_UNTOLD_TEXT.split())
_SIZED = re.compile(r"(byte|word|dword|qword|tword|oword)\s+(?=\[)", re.IGNORECASE)
_SIZED_BACK = re.compile(r"\b(byte|word|dword|qword|tbyte|oword)\s+ptr\s+", re.IGNORECASE)
_SIZE_ONLY = re.compile(r"(?:strict\s+)?(?:byte|word|dword|qword)\s+(?!\[)", re.IGNORECASE)
_SEGMENTED = re.compile(r"\[\s*(cs|ds|es|fs|gs|ss)\s*:", re.IGNORECASE)
_SEGMENTED_BACK = re.compile(r"\b(cs|ds|es|fs|gs|ss)\s*:\s*\[", re.IGNORECASE)
_EQU = re.compile(r"([A-Za-z_.?@][\w.$?@#~]*):?\s+equ\s+(.*)", re.IGNORECASE)
_DEFINE = re.compile(r"%(?:i?define|i?assign)\s+([A-Za-z_.?@][\w.$?@#~]*)\s+(.+)", re.IGNORECASE)
_BRANCHES = re.compile(r"(?:j[a-z]+|call|loop[a-z]*)$", re.IGNORECASE)
_INDIRECT_BASES = frozenset(("lea", "lgdt", "lidt", "sgdt", "sidt", "invlpg"))

IsConstant = Callable[[str], bool]


def spread(name: str, parent: str) -> str:
    """A label as the search names it: local ones carry their parent."""
    if name.startswith(".") and not name.startswith(".."):
        return f"{LOCAL}{parent}{name}"
    if "." in name.strip(".") and not name.startswith("."):
        return f"{LOCAL}{name}"
    return name


def gather(name: str, parent: str) -> str:
    """A label of the search as nasm names it behind ``parent``."""
    if not name.startswith(LOCAL):
        return name
    whole = name[len(LOCAL) :]
    home, dot, local = whole.partition(".")
    if not dot:
        return whole
    return f".{local}" if home == parent else whole


def to_intel(code: str, parent: str, is_constant: IsConstant) -> str:
    """One statement in the words of the search.

    Args:
        code: without label and comment.
        parent: the last label that is not local.
        is_constant: whether a symbol (as the search names it) is a number rather than an address.

    Raises:
        Untold: it has no counterpart.
    """
    defined = _EQU.fullmatch(code) or _DEFINE.fullmatch(code)
    if defined:
        return f".set {spread(defined[1], parent)}, {_expression(defined[2], parent)}"
    bare = code.strip("[]").strip() if code.startswith("[") else code
    prefix, name, rest = head(bare)
    low = name.lower()
    if low in _UNTOLD or low.startswith("%") or (prefix and not name):
        if low == "%include":
            return f".include {rest}"
        raise Untold(code)
    if low in ("bits", "use16", "use32", "use64"):
        return f".code{rest.strip() if low == 'bits' else low[3:]}"
    if low in ("section", "segment"):
        return f".section {rest.split()[0] if rest else ''}"
    if low in ("global", "extern"):
        return f".{'globl' if low == 'global' else 'extern'} {rest}"
    if low in ("align", "alignb"):
        return f".balign {rest}"
    if low in _DATA:
        items = [_expression(item, parent) for item in split(rest)]
        text = low == "db" and items and items[0][0] in "\"'" and len(items[0]) > 3
        return f"{'.ascii' if text else _DATA[low]} {', '.join(items)}"
    if low in _SPACE:
        count = _expression(rest, parent)
        return f".skip {count}" if _SPACE[low] == 1 else f".skip ({count}) * {_SPACE[low]}"
    if low in PREFIXES:
        return bare
    operands = [_operand(low, item, parent, is_constant) for item in split(rest)]
    said = f"{low} {', '.join(operands)}".rstrip()
    return f"{prefix} {said}" if prefix else said


def _operand(name: str, text: str, parent: str, is_constant: IsConstant) -> str:
    if "[" in text:
        text = _SEGMENTED.sub(lambda m: f"{m[1].lower()}:[", text)
        sized = _SIZED.match(text)
        if sized:
            text = f"{sized[1].lower()} ptr {text[sized.end() :]}"
        relative = re.search(r"\[\s*rel\s+", text)
        if relative:
            text = text.replace(relative[0], "[rip + ", 1)
        return _expression(re.sub(r"\[\s*abs\s+", "[", text), parent)
    low = text.lower()
    if low in REGISTERS:
        return low
    if _SIZE_ONLY.match(text):
        raise Untold(text)
    said = _expression(text, parent)
    if _BRANCHES.match(name):
        return said
    addresses = [w for w in TOKEN.findall(said) if is_name(w) and w != "." and not is_constant(w)]
    return f"offset {said}" if addresses and not text.startswith(("'", '"')) else said


def _expression(text: str, parent: str) -> str:
    """Numbers, symbols and the place counter as GNU as writes them."""
    out = []
    for word in TOKEN.findall(text):
        low = word.lower()
        if word == "$":
            out.append(".")
        elif word.startswith("$$"):
            raise Untold(text)
        elif (
            word[0] in "\"'"
            or low in REGISTERS
            or low in ("ptr", "byte", "word", "dword", "qword", "short", "near", "far")
        ):
            out.append(word)
        elif re.fullmatch(r"[0-9][0-9a-fA-F]*[hH]", word):
            out.append(f"0x{word[:-1].lstrip('0').lower() or '0'}")
        elif re.fullmatch(r"[01]+[bB]", word):
            out.append(f"0b{word[:-1]}")
        elif is_name(word):
            out.append(spread(word, parent))
        else:
            out.append(word)
    return "".join(out).strip()


def from_intel(code: str, parent: str, defining: str = "equ") -> str:
    """One statement of the search as nasm writes it behind ``parent``; ``defining`` is ``equ`` or ``%define``.

    Raises:
        Untold: nasm has no counterpart, or it is not known.
    """
    prefix, name, rest = head(code)
    low = name.lower()
    if low == ".set":
        symbol, *value = split(rest)
        if len(value) != 1:
            raise Untold(code)
        word, said = gather(symbol, parent), _back(value[0], parent)
        return f"{word} equ {said}" if defining == "equ" else f"{defining} {word} {said}"
    if low in _DATA_BACK:
        return f"{_DATA_BACK[low]} {', '.join(_back(item, parent) for item in split(rest))}"
    if low == ".asciz":
        return f"db {_back(rest, parent)}, 0"
    if low in (".skip", ".zero", ".space"):
        many = re.fullmatch(r"\((.*)\) \* ([248])", rest)
        if many:
            return f"{ {2: 'resw', 4: 'resd', 8: 'resq'}[int(many[2])] } {_back(many[1], parent)}"
        return f"resb {_back(rest, parent)}"
    simple = {
        ".balign": "align",
        ".align": "align",
        ".globl": "global",
        ".global": "global",
        ".extern": "extern",
    }
    if low in simple:
        return f"{simple[low]} {rest}"
    if low in (".code16", ".code32", ".code64"):
        return f"bits {low[5:]}"
    if low == ".section":
        return f"section {rest}"
    if low == ".include":
        return f"%include {rest}"
    if low.startswith("."):
        raise Untold(code)
    operands = [_back_operand(low, item, parent) for item in split(rest)]
    said = f"{low} {', '.join(operands)}".rstrip()
    return f"{prefix} {said}" if prefix else said


def _back_operand(name: str, text: str, parent: str) -> str:
    if "[" in text:
        sized = _SIZED_BACK.match(text)
        word = "" if sized is None else "tword " if sized[1].lower() == "tbyte" else f"{sized[1].lower()} "
        text = _SIZED_BACK.sub("", text) if name in _INDIRECT_BASES else _SIZED_BACK.sub(word, text)
        text = _SEGMENTED_BACK.sub(lambda m: f"[{m[1].lower()}:", text)
        text = re.sub(r"\[\s*rip\s*\+\s*", "[rel ", text)
    return _back(re.sub(r"\boffset\s+", "", text), parent)


def _back(text: str, parent: str) -> str:
    out = []
    for word in TOKEN.findall(text):
        if word == ".":
            out.append("$")
        elif word.startswith(LOCAL):
            out.append(gather(word, parent))
        else:
            out.append(word)
    return "".join(out).strip()
