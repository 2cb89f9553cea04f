"""Which tools there are: their names, and where each lives.

Owns the table. A tool's module is imported when it is first asked for, so that the table costs nothing at start.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from architect.tools.base import STAGE, Answer, Tool, run
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.tools.desk import Desk

# name -> module of architect.tools, class
_HOMES = {
    "read_source": ("reading", "ReadSource"),
    "search": ("reading", "Search"),
    "symbols": ("reading", "Symbols"),
    "disassemble": ("reading", "Disassemble"),
    "explain": ("reading", "Explain"),
    "recall_lessons": ("reading", "RecallLessons"),
    "boot": ("machines", "Boot"),
    "read_serial": ("machines", "ReadSerial"),
    "fault_report": ("machines", "FaultReportTool"),
    "ask_kernel": ("machines", "AskKernel"),
    "walk_page_tables": ("machines", "WalkPageTables"),
    "gdb": ("debugger", "Gdb"),
    "run_routine": ("routines", "RunRoutine"),
    "check_contracts": ("routines", "CheckContracts"),
    "measure": ("measuring", "Measure"),
    "propose_edit": ("proposing", "ProposeEdit"),
    "show_proposal": ("proposing", "ShowProposal"),
    "run_gates": ("proposing", "RunGates"),
    "compile_shader": ("shaders", "CompileShader"),
    "run_shader": ("shaders", "RunShader"),
    "bench_shader": ("shaders", "BenchShader"),
}


class _Table(Mapping[str, Tool]):
    """Name -> tool, made when it is asked for."""

    def __init__(self) -> None:
        self._made: dict[str, Tool] = {}

    def __getitem__(self, name: str) -> Tool:
        if name not in self._made:
            module, kind = _HOMES[name]
            self._made[name] = getattr(importlib.import_module(f"architect.tools.{module}"), kind)()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_HOMES)

    def __len__(self) -> int:
        return len(_HOMES)


TOOLS: Mapping[str, Tool] = _Table()


def call(name: str, desk: Desk, text: str) -> Answer:
    """Call a tool by its name with arguments as a model wrote them; never raises but for Ctrl-C and faults of ours."""
    if name not in TOOLS:
        near = get_close_matches(name[:64], TOOLS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(TOOLS)}"
        error = InputError(f"no tool {name[:64]!r}; {hint}", stage=STAGE)
        return Answer(error.message, {"stage": STAGE}, ok=False)
    return run(TOOLS[name], desk, text)


def described() -> list[dict[str, Any]]:
    """Every tool as the Chat Completions interface wants them (``tools`` of a request)."""
    return [
        {
            "type": "function",
            "function": {"name": t.name, "description": t.summary, "parameters": dict(t.parameters)},
        }
        for t in (TOOLS[name] for name in TOOLS)
    ]
