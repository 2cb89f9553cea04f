r"""Macros of the dialect: their definition, the binding of arguments, and the text they expand to.

Owns: ``.macro`` headers (defaults, ``:req``, ``:vararg``), how GNU as cuts a macro call into arguments (as manual,
7.58 .macro), substitution of ``\name``, ``\@``, ``\()``, and the values of ``.irp``/``.irpc``. Never decides when
a macro is expanded; ``expand`` does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from toolchain.source import NAME, Statement
from toolchain.template import SPECIAL, Body
from toolchain.types import Expansion

OPERANDS_MAX = 1 << 16  # characters of one call; one that calls itself with its operands twice doubles them


class MacroFault(ValueError):
    """What is wrong with a definition or a call, without its place."""

    def __init__(self, message: str, expected: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected


class Parameter(NamedTuple):
    """One formal of a macro."""

    name: str
    default: str = ""
    required: bool = False
    vararg: bool = False


class Macro:
    """A macro.

    Attributes:
        name: in lower case.
        body: what it expands to.
        defined: its ``.macro`` directive.
    """

    __slots__ = ("_plain", "_simple", "_tame", "body", "defined", "name", "parameters")

    def __init__(self, name: str, parameters: tuple[Parameter, ...], body: Body, defined: Statement) -> None:
        self.name = name
        self.parameters = parameters
        self.body = body
        self.defined = defined
        self._plain = not parameters and not body.counts
        self._simple = not (parameters and parameters[-1].vararg)
        self._tame = not any(SPECIAL.search(parameter.default) for parameter in parameters)

    def bind(self, args: str) -> list[str]:
        """The actual of every parameter for a call with operands ``args``.

        Raises:
            MacroFault: too many arguments, an unknown keyword, a required one missing.
        """
        return self._complete(self._actuals(args))

    def _complete(self, actuals: dict[str, str]) -> list[str]:
        """The actuals in order, with defaults in place of those that are missing or empty."""
        found = []
        for name, default, required, _ in self.parameters:
            actual = actuals.get(name)
            if not actual:
                if required:
                    raise MacroFault(f"macro {self.name} needs a value for `{name}'", "an argument")
                actual = default
            found.append(actual)
        return found

    def _actuals(self, args: str) -> dict[str, str]:
        actuals: dict[str, str] = {}
        names = [parameter.name for parameter in self.parameters]
        position = 0
        keywords = False
        text = squeeze(args)
        at = 0
        while at < len(text):
            keyword = _KEYWORD.match(text, at)
            if keyword is not None:
                keywords = True
                if not NAME.fullmatch(keyword[1]):
                    what = f"`{keyword[0]}' in the arguments of macro {self.name}"
                    raise MacroFault(what, "name=value, or quotes")
                if keyword[1] not in names:
                    known = ", ".join(names) or "none"
                    raise MacroFault(f"macro {self.name} has no parameter `{keyword[1]}'", f"one of: {known}")
                value, at = argument(text, keyword.end())
                actuals[keyword[1]] = value
            else:
                if keywords:
                    raise MacroFault("positional argument after a keyword argument", "keyword arguments last")
                if position >= len(names):
                    count = f"{len(names)} argument{'s' if len(names) != 1 else ''}"
                    raise MacroFault(f"too many arguments for macro {self.name}", count)
                if self.parameters[position].vararg:
                    value, at = text[at:], len(text)
                else:
                    value, at = argument(text, at)
                actuals[names[position]] = value
                position += 1
            at = skip_comma(text, at)
        return actuals

    def expand(self, args: str, number: int, trail: tuple[Expansion, ...]) -> tuple[list[Statement], bool]:
        r"""The statements of one expansion.

        Args:
            args: the operands of the call.
            number: what ``\@`` stands for.
            trail: the expansions that the result came through, this one first.

        Returns:
            The statements, and whether they have the mnemonics and directives of the body and no others.

        Raises:
            MacroFault: the arguments do not fit the parameters.
        """
        if len(args) > OPERANDS_MAX:
            what = f"macro {self.name} is called with {len(args):,} characters of operands"
            raise MacroFault(what, f"at most {OPERANDS_MAX:,}")
        if not args and self._plain:
            return self.body.substitute((), trail, True)
        count = str(number)
        if self._simple and not _TRICKY.search(args):
            pieces = [piece.strip() for piece in args.split(",")]
            if len(pieces) == len(self.parameters) and all(pieces):
                return self.body.substitute([*pieces, count], trail, True)
            return self.body.substitute([*self.bind(args), count], trail, self._tame)
        if self._simple:
            pieces = _pieces(args)
            if len(pieces) == len(self.parameters) and all(pieces):
                return self.body.substitute([*pieces, count], trail, False)
        return self.body.substitute([*self.bind(args), count], trail, False)


def define(args: str, body: Sequence[Statement], statement: Statement) -> Macro:
    """The macro of a ``.macro`` directive.

    Args:
        args: its operands: the name, then the parameters.
        body: the statements up to its ``.endm``.
        statement: the directive.

    Raises:
        MacroFault: the header is malformed.
    """
    text = squeeze(args)
    name = NAME.match(text)
    if name is None:
        raise MacroFault("missing macro name", ".macro name [parameter[:req|:vararg][=default], …]")
    parameters: list[Parameter] = []
    rest = text[name.end() :].strip()
    if rest.startswith("(") and rest.endswith(")"):
        rest = rest[1:-1]
    at = skip_comma(rest, 0)
    while at < len(rest):
        formal = _FORMAL.match(rest, at)
        if formal is None:
            raise MacroFault(
                f"bad macro parameter at `{rest[at:]}'", "a name, then :req, :vararg or =default"
            )
        at = formal.end()
        kind = formal[2]
        if kind not in (None, "req", "vararg"):
            raise MacroFault(f"`{kind}' is not a parameter qualifier", ":req or :vararg")
        default = ""
        if rest[at : at + 1] == "=":
            default, at = argument(rest, at + 1)
        if any(formal[1] == earlier.name for earlier in parameters):
            raise MacroFault(f"macro {name[0]} has two parameters `{formal[1]}'", "different names")
        parameters.append(Parameter(formal[1], default, kind == "req", kind == "vararg"))
        after = skip_comma(rest, at)
        if kind == "vararg" and after < len(rest):
            raise MacroFault("a parameter after :vararg", ":vararg last")
        at = after
    templates = Body(body, [parameter.name for parameter in parameters])
    return Macro(name[0].lower(), tuple(parameters), templates, statement)


def _pieces(args: str) -> list[str]:
    """The arguments of a call whose commas stand between plain words and plain strings; empty for any other call."""
    found = []
    at = 0
    while at < len(args):
        piece = _PIECE.match(args, at)
        if piece is None:
            return []
        found.append(piece[1] or piece[2] or "")
        at = piece.end()
    return found


def values(args: str) -> tuple[str, list[str]]:
    """The name and the values of an ``.irp``."""
    text = squeeze(args)
    name, at = _model(text)
    found: list[str] = []
    while at < len(text):
        value, at = argument(text, at)
        found.append(value)
        at = skip_comma(text, at)
    return name, found or [""]


def characters(args: str) -> tuple[str, list[str]]:
    """The name and the characters of an ``.irpc``."""
    text = squeeze(args)
    name, at = _model(text)
    rest = text[at:]
    if len(rest) >= 2 and rest[0] == rest[-1] == '"':
        return name, list(rest[1:-1]) or [""]
    return name, list(rest.replace(" ", "")) or [""]


def _model(text: str) -> tuple[str, int]:
    name = NAME.match(text)
    if name is None:
        raise MacroFault("missing parameter name", "a name, then the values")
    return name[0], skip_comma(text, name.end())


# --- how GNU as cuts operands ------------------------------------------------------------------------------

_FORMAL = re.compile(r"([A-Za-z_.$][\w.$]*) ?(?:: ?(\w*))? ?", re.ASCII)
_KEYWORD = re.compile(r"([^ \t,\";()=]*)=")
# What makes arguments more than words with commas between them.
_TRICKY = re.compile(r"[\"';#/:=(\[<]|[^\s,][ \t]+[^\s,]")
_PIECE = re.compile(r"[ \t]*(?:\"([^\"\\]*)\"|([^\s,\"'=(\[<]*))[ \t]*(?:,|\Z)")
_SPACES = re.compile(r"\"(?:[^\"\\]|\\.)*\"|[ \t]+")
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.$\"'*%-([{}")


def squeeze(text: str) -> str:
    """Operands in the spacing that gas's scrubber leaves: a space only between two words.

    So ``dword ptr [rax + 4]`` is ``dword ptr[rax+4]``: two arguments of a macro, not four.
    """
    if " " not in text and "\t" not in text:
        return text

    def space(match: re.Match[str]) -> str:
        if match[0][0] == '"':
            return match[0]
        before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
        return " " if before in _WORD and after in _WORD else ""

    return _SPACES.sub(space, text.strip(" \t"))


def skip_comma(text: str, at: int) -> int:
    """Past spaces and at most one comma."""
    while text[at : at + 1] == " ":
        at += 1
    if text[at : at + 1] == ",":
        at += 1
        while text[at : at + 1] == " ":
            at += 1
    return at


def argument(text: str, at: int) -> tuple[str, int]:
    """One argument of squeezed ``text`` from ``at``, and where it ends.

    A quoted string loses its quotes; otherwise a comma, or a space outside ``()`` and ``[]``, ends it.
    """
    if text[at : at + 1] == '"':
        return _quoted(text, at)
    start = at
    open_brackets: list[str] = []
    while at < len(text):
        char = text[at]
        if char == "," or (char == " " and not open_brackets):
            break
        if char in "\"'":
            end = text.find(char, at + 1)
            if end < 0:
                return text[start:], len(text)
            at = end
        elif char in "([":
            open_brackets.append(")" if char == "(" else "]")
        elif open_brackets and char == open_brackets[-1]:
            open_brackets.pop()
        at += 1
    return text[start:at], at


def _quoted(text: str, at: int) -> tuple[str, int]:
    """A string argument: ``""`` inside it is one quote, a backslash keeps the next quote."""
    out: list[str] = []
    while text[at : at + 1] == '"':
        at += 1
        while at < len(text):
            char = text[at]
            if char == "\\" and text[at + 1 : at + 2] in ('"', "\\"):
                out.append(text[at : at + 2])
                at += 2
                continue
            if char == '"':
                at += 1
                if text[at : at + 1] != '"':
                    break
            out.append(char)
            at += 1
    return "".join(out), at
