"""A trajectory for a person: a line for each step, what it holds, and keys to walk through it on a terminal.

Owns the words and colours. What a step holds comes from guests, models and files: it is shown with everything taken
out that could drive a terminal. Changes nothing and runs nothing (``architect.learn.rerun`` does).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from architect.learn.recorded import totals
from architect.learn.trajectory import Reading, Step
from toolchain.command import paint
from toolchain.printable import printable

LIST_LINES = 6  # of a step's body in the listing
TITLE_MAX = 110
_KEYS = "space, n: next   p: back   g: first   G: last   q: quit"
_STYLES = {
    "run": "bold",
    "diagnosis": "yellow",
    "proposal": "blue",
    "request": "magenta",
    "reply": "magenta",
    "tool": "cyan",
    "note": "dim",
    "end": "bold",
}


def title(step: Step) -> str:
    """A step in one line."""
    data = step.data
    text = _TITLES[step.kind](data)
    return printable(text).replace("\n", " ")[:TITLE_MAX]


def _run(data: Mapping[str, Any]) -> str:
    terms = [f"{key} {data[key]}" for key in ("engine", "seconds", "max_boots") if data.get(key) is not None]
    return f"{data['what']} of {data.get('tree', '?')} ({', '.join(terms)})"


def _diagnosis(data: Mapping[str, Any]) -> str:
    failures = data["failures"]
    if not failures:
        return "nothing is wrong"
    return f"{len(failures)} gate{'s' * (len(failures) > 1)} failed; first {failures[0]['gate']}: " + str(
        failures[0]["message"]
    )


def _proposal(data: Mapping[str, Any]) -> str:
    patch = data["patch"]
    places = ", ".join(f"{e['file']}:{e['line']}" for e in patch["edits"])
    return f"#{data['id']} {patch['engine']}, {patch['operator']}: {places}"


def _gate(data: Mapping[str, Any]) -> str:
    whose = f"#{data['of']}" if data["of"] else "the finalist" if data.get("final") else "no proposal"
    failed = next((gate for gate in data["gates"] if not gate["passed"]), None)
    if failed is None:
        return f"{whose} passes {', '.join(str(g['gate']) for g in data['gates'])}"
    return f"{whose} fails at {failed['gate']}: {failed['message']}"


def _request(data: Mapping[str, Any]) -> str:
    new, old = len(data["messages"]), data["same"]
    many = f"{new + old} messages, {new} new, {data['max_output']} tokens at most"
    return f"#{data['id']} to {data.get('model', '?')}: {many}"


def _reply(data: Mapping[str, Any]) -> str:
    error = data.get("error")
    if isinstance(error, Mapping):
        return f"to #{data['to']}: failed ({error.get('kind')}): {error.get('message')}"
    usage = data.get("usage")
    tokens = usage if isinstance(usage, Mapping) else {}
    money = f", {data['money']}" if data.get("money") else ""
    cost = f"{tokens.get('prompt', '?')} + {tokens.get('completion', '?')} tokens{money}"
    return f"to #{data['to']}: {cost}, {data.get('finish', '?')}"


def _tool(data: Mapping[str, Any]) -> str:
    return f"{data['name']}({data.get('arguments', '')}){'' if data['ok'] else ' failed'}"


_TITLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "run": _run,
    "diagnosis": _diagnosis,
    "proposal": _proposal,
    "gate": _gate,
    "request": _request,
    "reply": _reply,
    "tool": _tool,
    "note": lambda data: str(data["text"]),
    "end": lambda data: f"{data['outcome']}: {data['reason']}",
}


def body(step: Step) -> Iterator[tuple[str, str]]:
    """What a step holds beyond its title: style and text of each line."""
    for style, text in _body(step):
        for line in printable(text).split("\n"):
            yield style, line


def _body(step: Step) -> Iterator[tuple[str, str]]:
    data = step.data
    if step.kind == "proposal":
        yield "dim", str(data["patch"]["reason"])
        for edit in data["patch"]["edits"]:
            yield "cyan", f"@@ {edit['file']}:{edit['line']}"
            yield from (("red", f"-{line}") for line in edit["old"])
            yield from (("green", f"+{line}") for line in edit["new"])
    elif step.kind == "diagnosis":
        yield from (("", f"{gate['gate']}: {gate['message']}") for gate in data["failures"][1:])
        if data.get("cause"):
            yield "", str(data["cause"])
    elif step.kind == "gate":
        for gate in data["gates"]:
            word = "pass" if gate["passed"] else "FAIL"
            style = "green" if gate["passed"] else "red"
            yield style, f"{gate['gate']:<14} {word}  {gate['seconds']:.3f} s  {gate['message']}"
    elif step.kind == "request":
        for row in data["messages"]:
            yield "cyan", f"{row['role']}:"
            yield "", row["content"]
    elif step.kind == "reply":
        yield "", str(data.get("text", ""))
        for call in data.get("tool_calls") or ():
            yield "cyan", f"calls {call['name']}({call['arguments']})"
    elif step.kind == "tool":
        yield "", data["text"]


def shown(step: Step, colour: bool, most: int | None = None) -> str:
    """A step for a terminal; of its body at most so many lines."""
    style = _STYLES.get(step.kind)
    if step.kind == "gate":
        style = "green" if step.data["passed"] else "red"
    head = f"{step.n:>4} {step.at:>8.2f}s  {paint(f'{step.kind:<9}', style or 'dim', colour)} {title(step)}"
    lines = [paint(text, tone, colour) if tone and text else text for tone, text in body(step)]
    left = 0 if most is None else max(0, len(lines) - most)
    kept = lines[: len(lines) - left]
    rest = [paint(f"({left} more lines: --step {step.n})", "dim", colour)] if left else []
    return "\n".join([head, *(f"{'':16}{line}".rstrip() for line in (*kept, *rest))])


def listing(reading: Reading, colour: bool) -> str:
    """Every step, and a last line of totals."""
    parts = [shown(step, colour, LIST_LINES) for step in reading.steps]
    return "\n".join([*parts, *tail(reading, colour)])


def tail(reading: Reading, colour: bool) -> list[str]:
    """The lines behind the last step: what is missing, and what it cost."""
    lines = []
    if reading.cut:
        lines.append(paint("the last line of the file is cut and is left out", "yellow", colour))
    if not any(step.kind == "end" for step in reading.steps):
        lines.append(paint("the run did not come to its end", "yellow", colour))
    spent = totals(reading.steps)
    proposals = sum(step.kind == "proposal" for step in reading.steps)
    text = f"{len(reading.steps)} steps, {proposals} proposals"
    if spent["requests"]:
        money = f", {spent['money']}" if spent["money"] else ""
        text += f", {spent['requests']} requests, {spent['tokens']} tokens{money}"
    return [*lines, text]


# --- walking -----------------------------------------------------------------------------------------------


def walk(reading: Reading, out: TextIO, *, colour: bool, start: int = 0) -> None:
    """Show a step at a time on a terminal until the person quits; standard input gives the keys."""
    import termios
    import tty

    steps, at = reading.steps, start
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        while True:
            out.write("\x1b[2J\x1b[H" + _page(steps, at, colour) + "\n")
            out.flush()
            key = _key(fd)
            if key in ("q", "\x04", ""):
                return
            at = _moved(key, at, len(steps))
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _page(steps: Sequence[Step], at: int, colour: bool) -> str:
    """One step, as much of it as the terminal has room for, and the keys."""
    try:
        rows = os.get_terminal_size().lines
    except OSError:
        rows = 24
    foot = paint(f"step {at + 1} of {len(steps)}   {_KEYS}", "dim", colour)
    return f"{shown(steps[at], colour, max(4, rows - 5))}\n\n{foot}"


def _key(fd: int) -> str:
    """One key; arrows are told as the letters that do the same."""
    data = os.read(fd, 8).decode("utf-8", "replace")
    arrows = {"\x1b[C": "n", "\x1b[B": "n", "\x1b[D": "p", "\x1b[A": "p", "\x1b[H": "g", "\x1b[F": "G"}
    return arrows.get(data, data[:1])


def _moved(key: str, at: int, count: int) -> int:
    if key in (" ", "n", "\n", "\r", "j"):
        return min(count - 1, at + 1)
    if key in ("p", "k", "\x7f", "\b"):
        return max(0, at - 1)
    return {"g": 0, "G": count - 1}.get(key, at)
