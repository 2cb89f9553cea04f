"""GNU as in AT&T syntax, in the words of the search (Intel syntax), and back.

Owns the two translations of one statement. Directives are the same in both. A statement whose translation is not
certain stays untold: a repair that cannot be written is better than one that means something else. Both ways are held
to GNU as by tests: the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from architect.foreign.words import (
    LETTERS,
    PREFIXES,
    REGISTERS,
    SEGMENTS,
    SIZE_BYTES,
    SIZE_WORDS,
    SIZES,
    SUFFIXES,
    Untold,
    head,
    names,
    split,
)

COMMENTS = ("#", "//", "/*")
LABEL = re.compile(r"\s*(?:[A-Za-z_.$\\][\w.$\\()]*|\d+):(?!:)")

_SIZED_TEXT = """
adc add and bsf bsr bt btc btr bts cmp cmpxchg dec div idiv imul in inc lea mov mul neg not or out
pop push rcl rcr rol ror sal sar sbb shl shld shr shrd sub test xadd xchg xor lgdt lidt sgdt sidt
call jmp ret
"""
_SIZED = frozenset(_SIZED_TEXT.split())
_SHIFTS = frozenset(["rcl", "rcr", "rol", "ror", "sal", "sar", "shl", "shr", "shld", "shrd"])
_CONDITIONS_TEXT = """
a ae b be c e g ge l le na nae nb nbe nc ne ng nge nl nle no np ns nz o p pe po s z cxz ecxz rcxz
"""
_CONDITIONS = frozenset(_CONDITIONS_TEXT.split())
_JUMPS = frozenset(
    {f"j{c}" for c in _CONDITIONS} | {"jmp", "call", "loop", "loope", "loopne", "loopz", "loopnz"}
)
_PLAIN_TEXT = """
aaa cbw cdq cdqe clc cld cli clts cmc cpuid cqo cwd cwde hlt int3 invd iret iretd iretq lahf leave
mfence lfence sfence nop pause popf popfd popfq pushf pushfd pushfq pusha popa pushad popad rdmsr
rdtsc rdtscp retf sahf stc std sti swapgs syscall sysret sysretq sysexit sysenter ud2 wbinvd wrmsr
xlatb int invlpg lldt ltr lmsw smsw sldt str fninit fxsave fxrstor bswap xgetbv xsetbv emms monitor
mwait vmcall ltr verr verw lar lsl
"""
_PLAIN = frozenset(
    [*_PLAIN_TEXT.split(), *(f"set{c}" for c in _CONDITIONS), *(f"cmov{c}" for c in _CONDITIONS)]
)
_SAME = {  # AT&T -> Intel, where the names differ
    "cltq": "cdqe", "cwtl": "cwde", "cltd": "cdq", "cqto": "cqo", "cwtd": "cwd", "cbtw": "cbw", "pushal": "pushad",
    "popal": "popad", "pushaw": "pusha", "popaw": "popa", "pushfl": "pushfd", "popfl": "popfd", "iretl": "iretd",
    "iretw": "iret", "lret": "retf", "lretl": "retf", "lretq": "retfq", "lretw": "retf", "movabsq": "movabs",
    "movslq": "movsxd", "sysretl": "sysret",
}  # fmt: skip
_STRINGS = {f"{name}{letter}": f"{name}{word}" for name in ("lods", "stos", "movs", "cmps", "scas", "ins", "outs")
            for letter, word in (("b", "b"), ("w", "w"), ("l", "d"), ("q", "q"))}  # fmt: skip
_BACK = {
    "cdqe": "cltq", "cwde": "cwtl", "cdq": "cltd", "cqo": "cqto", "cwd": "cwtd", "cbw": "cbtw", "pushad": "pushal",
    "popad": "popal", "pushfd": "pushfl", "popfd": "popfl", "iretd": "iretl", "retf": "lret", "retfq": "lretq",
    "movabs": "movabsq",
}  # fmt: skip
_STRINGS_BACK = {intel: att for att, intel in _STRINGS.items()}
_EXTENDED = re.compile(r"mov([sz])([bw])([wlq])")
_MEMORY = re.compile(
    r"(?:%(\w\w):)?(.*?)\(\s*(?:%(\w+))?\s*(?:,\s*%(\w+)\s*(?:,\s*([1248])\s*)?)?\)", re.DOTALL
)
_SIZE_PTR = re.compile(r"(byte|word|dword|qword|fword|tbyte)\s+ptr\s+(.*)", re.IGNORECASE | re.DOTALL)
_FAR = re.compile(r"(.+?)\s*:\s*(.+)")

IsConstant = Callable[[str], bool]


def to_intel(code: str, is_constant: IsConstant) -> str:
    """One statement in Intel syntax.

    Args:
        code: without labels and comment.
        is_constant: whether a symbol is a number (``.set``) rather than an address.

    Raises:
        Untold: it is not known what it is in Intel syntax.
    """
    prefix, name, rest = head(code)
    if name.startswith(".") or "=" in code.split("#")[0].split("(")[0].split(",")[0]:
        return code
    low = name.lower()
    if low in PREFIXES:
        return code
    operands = split(rest)
    base, size, widths = _mnemonic(low, operands)
    if low in ("ljmp", "lcall") and len(operands) == 2:
        selector, offset = (o.removeprefix("$") for o in operands)
        return f"{'jmp' if low == 'ljmp' else 'call'} {selector}:{offset}"
    if low in ("ljmp", "lcall"):
        operands = [o.removeprefix("*").strip() for o in operands]
    branch = base in _JUMPS
    found = [_operand(o, is_constant, branch) for o in operands]
    found.reverse()
    if low in ("ljmp", "lcall"):
        base, found = low[1:], [f"fword ptr {o.removeprefix('dword ptr ')}" for o in found]
    if widths is not None:
        found[1] = f"{SIZE_WORDS[widths]} ptr {found[1]}" if found[1].endswith("]") else found[1]
    elif base not in ("lea", "lgdt", "lidt", "sgdt", "sidt", "invlpg") and not branch:
        _size(found, size)
    elif branch and size and found and found[0].endswith("]"):
        found[0] = f"{SIZE_WORDS[size]} ptr {found[0]}"
    said = f"{base} {', '.join(found)}".rstrip()
    return f"{prefix} {said}" if prefix else said


def _mnemonic(low: str, operands: list[str]) -> tuple[str, int, int | None]:
    """(Intel mnemonic, size that the suffix tells or 0, source size of an extending move)."""
    if low in _SAME:
        return _SAME[low], 0, None
    if low in _STRINGS and not operands:
        return _STRINGS[low], 0, None
    extended = _EXTENDED.fullmatch(low)
    if extended and len(operands) == 2:
        return f"mov{extended[1]}x", 0, LETTERS[extended[2]]
    if low in _SIZED or low in _PLAIN or low in _JUMPS or low in ("ljmp", "lcall"):
        return low, 0, None
    if low[:-1] in _SIZED and low[-1] in LETTERS:
        return low[:-1], LETTERS[low[-1]], None
    if low[:-1] in _PLAIN and low[-1] in LETTERS:
        return low[:-1], 0, None
    raise Untold(low)


def _size(operands: list[str], size: int) -> None:
    """A size word on the memory operand when no register tells its size."""
    for n, text in enumerate(operands):
        if text.endswith("]") and size and not any(o.lower() in SIZES for o in operands[: 2 if n else None]):
            operands[n] = f"{SIZE_WORDS[size]} ptr {text}"


def _operand(text: str, is_constant: IsConstant, branch: bool) -> str:
    if text.startswith("%"):
        word = text[1:]
        if ":" in word:
            return _address(text, is_constant)
        if word.startswith("st("):
            raise Untold(text)
        return word
    if text.startswith("$"):
        return _immediate(text[1:].strip(), is_constant)
    if branch:
        if text.startswith("*"):
            return _operand(text[1:].strip(), is_constant, False)
        return text
    return _address(text, is_constant)


def _immediate(text: str, is_constant: IsConstant) -> str:
    addresses = [word for word in names(text) if not is_constant(word)]
    return f"offset {text}" if addresses else text


def _address(text: str, is_constant: IsConstant) -> str:
    found = _MEMORY.fullmatch(text)
    if found is None:
        segment, _, rest = text.rpartition(":")
        if "%" in rest or ("(" in rest.replace("(", "", 0) and "%" in rest):
            raise Untold(text)
        lead = f"{segment.removeprefix('%')}:" if segment else ""
        return f"{lead}[{rest.strip()}]"
    segment, displacement, base, index, scale = found.groups()
    parts = [base] if base else []
    if index:
        parts.append(f"{index}*{scale}" if scale else index)
    displacement = displacement.strip()
    address = " + ".join(parts)
    if displacement:
        negative = re.fullmatch(r"-\s*(\w+)", displacement)
        address = f"{address} - {negative[1]}" if negative and parts else _joined(address, displacement)
    return f"{segment + ':' if segment else ''}[{address}]"


def _joined(address: str, displacement: str) -> str:
    return f"{address} + {displacement}" if address else displacement


# --- back ------------------------------------------------------------------------------------------------------


def from_intel(code: str, is_constant: IsConstant) -> str:
    """One statement of the search in AT&T syntax; see ``to_intel``.

    Raises:
        Untold: it is not known how AT&T syntax says it.
    """
    prefix, name, rest = head(code)
    low = name.lower()
    if low.startswith(".") or re.match(r"[\w.$]+\s*=", code) or low in PREFIXES:
        return code
    operands = split(rest)
    if low in _STRINGS_BACK and not operands:
        return _with(prefix, _STRINGS_BACK[low])
    if low in _BACK and (not operands or low == "movabs"):
        return _with(prefix, _spaced(_BACK[low], [_from_operand(o, False) for o in reversed(operands)]))
    if (
        low in ("jmp", "call")
        and operands
        and (far := _FAR.fullmatch(operands[0]))
        and "[" not in operands[0]
    ):
        return _with(prefix, f"l{low} ${far[1]}, ${far[2].removeprefix('offset ')}")
    branch = low in _JUMPS
    if not (branch or low in _SIZED or low in _PLAIN or low in ("movzx", "movsx", "movsxd", *_SAME.values())):
        raise Untold(low)
    sizes = [_size_of(o) for o in operands]
    if low in ("movzx", "movsx", "movsxd") and len(operands) == 2:
        source = sizes[1] or 0
        if not source or not sizes[0]:
            raise Untold(code)
        name = f"mov{'z' if low == 'movzx' else 's'}{SUFFIXES[source]}{SUFFIXES[sizes[0]]}"
    elif branch and operands and "fword" in operands[0].lower():
        name = f"l{low}"
    elif low in _SIZED and low not in ("lgdt", "lidt", "sgdt", "sidt", "in", "out", "call", "jmp", "ret"):
        counted = sizes[:-1] if low in _SHIFTS and len(sizes) > 1 else sizes
        size = next((size for size in counted if size), 0)
        if not size and any("[" in o for o in operands):
            raise Untold(f"{code}: no size")
        name = low + (SUFFIXES[size] if size else "")
    elif low in ("in", "out"):
        size = next((SIZES[o.lower()] for o in operands if o.lower() in ("al", "ax", "eax")), 0)
        name = low + (SUFFIXES[size] if size else "")
    else:
        name = low
    return _with(prefix, _spaced(name, [_from_operand(o, branch) for o in reversed(operands)]))


def _with(prefix: str, said: str) -> str:
    return f"{prefix} {said}" if prefix else said


def _spaced(name: str, operands: list[str]) -> str:
    return f"{name} {', '.join(operands)}".rstrip()


def _size_of(text: str) -> int:
    low = text.lower()
    if low in SIZES:
        return SIZES[low]
    found = _SIZE_PTR.match(text)
    return SIZE_BYTES.get(found[1].lower(), 0) if found else 0


def _from_operand(text: str, branch: bool) -> str:
    sized = _SIZE_PTR.match(text)
    text = sized[2] if sized else text
    if text.lower() in REGISTERS:
        return f"*%{text.lower()}" if branch else f"%{text.lower()}"
    if "[" in text:
        return ("*" if branch else "") + _from_address(text)
    if branch:
        return re.sub(r"^(?:short|near|offset)\s+", "", text)
    return f"${text.removeprefix('offset ').strip()}"


def _from_address(text: str) -> str:
    segment, _, rest = (
        text.rpartition(":") if text.partition("[")[0].rstrip().endswith(":") else ("", "", text)
    )
    found = re.fullmatch(r"\s*\[(.*)\]\s*", rest, re.DOTALL)
    if found is None:
        raise Untold(text)
    base = index = scale = ""
    rest_parts: list[str] = []
    for sign, term in re.findall(r"([+-]?)\s*((?:\([^()]*\)|[^+\-()])+)", found[1]):
        word = term.strip()
        low = word.lower()
        product = re.fullmatch(r"(\w+)\s*\*\s*([1248])", word) or re.fullmatch(r"([1248])\s*\*\s*(\w+)", word)
        register = product and (product[1] if product[1].lower() in REGISTERS else product[2])
        if product and register and register.lower() in REGISTERS and sign != "-":
            if index:
                raise Untold(text)
            index, scale = register.lower(), product[2] if register == product[1] else product[1]
        elif low in REGISTERS and sign != "-":
            if not base:
                base = low
            elif not index:
                index, scale = low, "1"
            else:
                raise Untold(text)
        elif low in REGISTERS:
            raise Untold(text)
        else:
            rest_parts.append(f"{sign if sign == '-' or rest_parts else ''}{word}")
    lead = f"%{segment.strip().lower()}:" if segment.strip().lower() in SEGMENTS else ""
    displacement = "".join(rest_parts)
    if not base and not index:
        return f"{lead}{displacement}"
    inner = f"%{base}" if base else ""
    if index:
        inner += f",%{index}" + (f",{scale}" if scale != "1" or not base else "")
    return f"{lead}{displacement}({inner})"
