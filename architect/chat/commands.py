"""The commands of the chat: their names, what they take, examples, and where each is done.

Owns the table that ``/help`` prints and that Tab completes. A command's module is imported when it is called.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.chat.talk import Talk

STAGE = "chat"


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        name: without the slash.
        usage: what it takes.
        summary: what it does.
        examples: whole lines.
        home: module of ``architect.chat`` and function, ``looking:explain``.
        takes: what Tab offers behind it: ``symbol``, ``file``, ``session``, ``command``, ``lesson``, or words.
    """

    name: str
    usage: str
    summary: str
    examples: tuple[str, ...]
    home: str
    takes: tuple[str, ...] = ()

    def run(self, talk: Talk, rest: str) -> None:
        """Do it."""
        module, _, function = self.home.partition(":")
        getattr(importlib.import_module(f"architect.chat.{module}"), function)(talk, rest)


_ROWS = (
    Command(
        "boot", "[test] [iso] [icount] [NAME=VALUE ...]",
        "boot the kernel, the proposal included; cmdline machine display memory smp cpu timeout",
        ("/boot", "/boot test smp=4", "/boot memory=64M display=none"), "machine:boot",
        ("test", "iso", "icount", "smp=", "memory=", "machine=pc", "display=none", "timeout="),
    ),
    Command(
        "fault", "[LOG ...]", "why the last boot died, or what saved logs tell",
        ("/fault", "/fault build/boot"), "machine:fault", ("path",),
    ),
    Command(
        "fix", "[ROUTINE] [budget=S] [engine=NAME]", "diagnose the kernel and find a repair that every gate passes",
        ("/fix", "/fix mmio_map budget=60"), "repair:fix", ("symbol", "budget=", "engine="),
    ),
    Command("diff", "", "show what is proposed", ("/diff",), "proposal:diff"),
    Command(
        "apply", "[unproved]", "take the proposal to a branch or a worktree (without git: in place, with a copy kept)",
        ("/apply",), "proposal:apply", ("unproved",),
    ),
    Command(
        "undo", "", "take back the last proposal, or the last change that was applied", ("/undo",), "proposal:undo"
    ),
    Command(
        "test", "[kernel|contracts [ROUTINE ...]|gates|thorough]",
        "run the in-kernel tests, the contracts, or every gate", ("/test", "/test contracts page_map", "/test gates"),
        "repair:test", ("kernel", "contracts", "gates", "thorough", "symbol"),
    ),
    Command(
        "explain", "ADDR|SYMBOL", "what lies there: header, source, callers",
        ("/explain page_map", "/explain 0xffffffff80100000"), "looking:explain", ("symbol",),
    ),
    Command(
        "walk", "ADDR|SYMBOL [live|last] [read|write|fetch]",
        "the page walk for an address, level by level", ("/walk 0xfd000000", "/walk page_map live fetch"),
        "machine:walk", ("symbol", "live", "last", "write", "fetch"),
    ),
    Command(
        "lessons", "[NUMBER|WORDS ...]", "what past repairs taught", ("/lessons", "/lessons shift of a page table"),
        "looking:lessons",
    ),
    Command(
        "remember", "[session|project|anywhere] [TEXT|forget NUMBER]", "rules that a model sees in every request",
        ("/remember never touch the boot path", "/remember project page_lock is taken before frame_lock"),
        "remember:command", ("session", "project", "anywhere"),
    ),
    Command(
        "search", "WORDS ...", "find words in sources, shaders, lessons and manual", ("/search page table root",),
        "looking:search",
    ),
    Command(
        "kernel", "COMMAND ...", "type a command at the shell of a live kernel",
        ("/kernel mem", "/kernel map 0x100000"), "machine:kernel",
        ("mem", "frames", "pci", "units", "gpu", "cpus", "irq", "threads", "time", "help"),
    ),
    Command(
        "suite", "[FILE|ROUTINE|WORD ...]", "make a test suite from the headers and contracts of routines, and run it",
        ("/suite mm/page.s", "/suite paging"), "suite:command", ("file", "symbol"),
    ),
    Command(
        "tool", "NAME [JSON]", "call a tool as the model does; without a name, list them",
        ("/tool", '/tool disassemble {"at": "page_map", "count": 8}'), "looking:tool", ("tool",),
    ),
    Command(
        "model", "[off|URL [ID]]", "which model answers; name another, or none",
        ("/model", "/model http://localhost:1234/v1", "/model off"), "models:command", ("off",),
    ),
    Command("cost", "", "tokens, money and how full the context is", ("/cost",), "models:cost"),
    Command("save", "[NAME]", "keep this conversation", ("/save paging",), "keeping:save"),
    Command(
        "load", "[NAME]", "go on with one that was kept; without a name, list them", ("/load paging",),
        "keeping:load", ("session",),
    ),
    Command(
        "help", "[COMMAND]", "this list, or one command with examples", ("/help fix",), "keeping:help", ("command",)
    ),
    Command("quit", "", "leave (Ctrl-D does as well)", ("/quit",), "keeping:quit"),
)  # fmt: skip

COMMANDS = {command.name: command for command in _ROWS}


def find(name: str) -> Command:
    """A command by its name, or by a beginning that only one has.

    Raises:
        InputError: there is none; names near ones.
    """
    name = "quit" if name == "exit" else name.lower()
    if name in COMMANDS:
        return COMMANDS[name]
    begun = [known for known in COMMANDS if name and known.startswith(name)]
    if len(begun) == 1:
        return COMMANDS[begun[0]]
    near = begun or get_close_matches(name, COMMANDS, n=2)
    hint = f"did you mean /{' or /'.join(near)}?" if near else "/help lists them"
    raise InputError(f"no command /{name[:40]}; {hint}", stage=STAGE)
