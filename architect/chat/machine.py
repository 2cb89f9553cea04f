"""The commands about machines: /boot /fault /walk /kernel."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from architect.chat.talk import words_of
from architect.chat.view import JSON
from toolchain.errors import InputError
from toolchain.files import make_folder, write_atomic

if TYPE_CHECKING:
    from architect.chat.talk import Talk

STAGE = "chat"
PASTED = "pasted.log"
_SWITCHES = ("iso", "icount")
_NUMBERS = {"smp": int, "timeout": float}
_OPTIONS = ("cmdline", "machine", "display", "memory", "smp", "cpu", "timeout")


def boot(talk: Talk, rest: str) -> None:
    """``/boot [test] [iso] [icount] [NAME=VALUE ...]``."""
    talk.show(talk.tool("boot", **boot_options(words_of(rest))), f"boot {rest}".strip())
    if talk.desk.report is not None:
        talk.note("/fix looks for a repair, /walk ADDR shows a page walk of the machine as it died")


def boot_options(words: list[str]) -> dict[str, Any]:
    """The words of ``/boot`` as arguments of the tool.

    Raises:
        InputError: a word that means nothing, a number that is none.
    """
    options: dict[str, Any] = {}
    lines = []
    for word in words:
        name, mark, value = word.partition("=")
        if word in _SWITCHES:
            options[word] = True
        elif mark and name in _NUMBERS:
            try:
                options[name] = _NUMBERS[name](value)
            except ValueError:
                raise InputError(f"{word}: {name} is a number", stage=STAGE) from None
        elif mark and name in _OPTIONS:
            options[name] = value
        elif word.isidentifier() and not difflib.get_close_matches(word, (*_OPTIONS, *_SWITCHES), cutoff=0.8):
            lines.append(word)  # for the kernel's command line: test, exit, sched-test
        else:
            raise InputError(
                f"{word}: no option; there are: {', '.join(_SWITCHES)}, {'=, '.join(_OPTIONS)}=", stage=STAGE
            )
    if lines:
        options["cmdline"] = " ".join([*lines, options.get("cmdline", "")]).strip()
    return options


def fault(talk: Talk, rest: str) -> None:
    """``/fault [LOG ...]``."""
    words = words_of(rest)
    if words:
        _logs(talk, [Path(word).expanduser() for word in words])
    elif talk.desk.boot_result is None:
        talk.note("nothing was booted yet, so it is booted now")
        boot(talk, "")
        return
    talk.show(talk.tool("fault_report"), "fault_report")


def pasted(talk: Talk, text: str) -> None:
    """The fault report of a log that somebody put into a message; the log is kept beside the others."""
    path = talk.desk.out / PASTED
    make_folder(path.parent, stage=STAGE)
    write_atomic(path, text + "\n", stage=STAGE)
    _logs(talk, [path])
    talk.show(talk.tool("fault_report"), "fault_report")


def _logs(talk: Talk, paths: list[Path]) -> None:
    from toolchain import fault as faults
    from toolchain import saved_logs

    result = saved_logs.read(paths)
    table = talk.desk.table() if _assembles(talk) else None
    report = faults.analyse(result, table, talk.desk.tree)
    talk.desk.boot_result = result
    talk.desk.report = report if report is not None else saved_logs.nothing_found(result)
    told = " ".join(str(path) for path in paths)
    talk.desk.report_note = f"the logs {told} (names and lines are of the tree as it is now)"


def _assembles(talk: Talk) -> bool:
    try:
        talk.desk.table()
    except InputError:
        return False
    return True


def walk(talk: Talk, rest: str) -> None:
    """``/walk ADDR|SYMBOL [live|last] [read|write|fetch]``."""
    words = words_of(rest)
    where = next((word for word in words if word in ("live", "last")), None)
    access = next((word for word in words if word in ("read", "write", "fetch")), None)
    names = [word for word in words if word not in (where, access)]
    if len(names) != 1:
        raise InputError("/walk ADDR|SYMBOL [live|last] [read|write|fetch]: give one address", stage=STAGE)
    address = names[0]
    if talk.desk.table().find(address) is None and not address.startswith("0x") and _hexadecimal(address):
        address = f"0x{address}"
    talk.show(talk.tool("walk_page_tables", address=address, where=where, access=access), f"walk {rest}")


def _hexadecimal(text: str) -> bool:
    return text != "" and all(c in "0123456789abcdefABCDEF" for c in text) and not text.isdecimal()


def kernel(talk: Talk, rest: str) -> None:
    """``/kernel COMMAND``."""
    if not rest:
        rest = "help"
    answer = talk.tool("ask_kernel", command=rest)
    talk.show(answer, f"ask_kernel {rest}", language=JSON if answer.ok and answer.data is not None else "")
