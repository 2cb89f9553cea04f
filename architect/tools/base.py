"""What a tool is, what it answers, and how the words of a model or a person become its arguments.

Owns: the ``Tool`` protocol, the check of arguments against a tool's JSON schema, the bound on what a tool may say.
A tool is called by a language model and by a person in the chat alike, so its arguments are hostile until checked:
what does not fit the schema never reaches it, and an error of the tree, a program or the guest becomes an answer
that says so, never an exception. Only a wish to end (Ctrl-C) passes through.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from toolchain.errors import InputError, InternalError, PxError

if TYPE_CHECKING:
    from architect.tools.desk import Desk

STAGE = "tools"
TEXT_MAX = 16_000  # characters of one answer: some 4,000 tokens
ARGUMENTS_MAX = 256 << 10  # characters of JSON; a proposed edit is the longest
_DEPTH_MAX = 8
_SHOWN = 80  # characters of a wrong value that are quoted


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool says.

    Attributes:
        text: for a person and a model.
        data: the same as JSON values, for programs; None when the text is all.
        ok: False when it could not be done, or the answer is no; the text says why.
    """

    text: str
    data: Any = None
    ok: bool = True


class Tool(Protocol):
    """One thing that can be done with the kernel at hand.

    Attributes:
        name: lower-case words joined by ``_``; how a model calls it.
        summary: one sentence: what it does and when to use it.
        parameters: JSON schema of its arguments: an object without further properties.
    """

    name: str
    summary: str
    parameters: Mapping[str, Any]

    def call(self, desk: Desk, **arguments: Any) -> Answer:
        """Do it; arguments fit ``parameters``. Errors may be raised as ``PxError``."""


def schema(required: tuple[str, ...] = (), **properties: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object with these properties and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def run(tool: Tool, desk: Desk, text: str) -> Answer:
    """Call a tool with arguments as a model wrote them.

    Args:
        tool: which.
        desk: the kernel at hand.
        text: JSON of an object; empty for no arguments.

    Returns:
        The answer, cut to ``TEXT_MAX``; one with ``ok=False`` where the arguments or the work went wrong.
    """
    try:
        return bounded(tool.call(desk, **arguments(tool, text)))
    except InternalError:
        raise
    except PxError as error:
        return bounded(Answer("\n".join(error.lines()), {"stage": error.stage}, ok=False))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return Answer(f"{place}{error.strerror or error}", ok=False)


def arguments(tool: Tool, text: str) -> dict[str, Any]:
    """The checked arguments of a call.

    Raises:
        InputError: no JSON object, or one that does not fit the tool's schema; says where, and what would.
    """
    if len(text) > ARGUMENTS_MAX:
        raise _refuse(tool, f"{len(text)} characters of arguments; at most {ARGUMENTS_MAX}")
    try:
        value = json.loads(text, parse_constant=_no_constant) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise _refuse(tool, f"the arguments are no JSON: {error}") from error
    problem = misfit(value, tool.parameters, "arguments")
    if problem:
        raise _refuse(tool, problem)
    found: dict[str, Any] = value
    return found


def bounded(answer: Answer, limit: int = TEXT_MAX) -> Answer:
    """An answer whose text is at most ``limit`` long; what was cut is said."""
    if len(answer.text) <= limit:
        return answer
    kept = answer.text[:limit]
    kept = kept[: kept.rfind("\n") + 1] or kept
    rest = len(answer.text) - len(kept)
    return replace(answer, text=f"{kept}… {rest} more characters are left out; ask for a smaller part")


def misfit(value: Any, rule: Mapping[str, Any], where: str, depth: int = 0) -> str | None:
    """Why a value does not fit a JSON schema, or None when it does.

    Knows ``type enum minimum maximum minLength maxLength pattern properties required additionalProperties items
    minItems maxItems`` (JSON Schema 2020-12, Validation, section 6), which is what the tools declare.
    """
    if depth > _DEPTH_MAX:
        return f"{where}: nested more than {_DEPTH_MAX} deep"
    kind = rule.get("type")
    if kind is not None and not _is(value, kind):
        return f"{where}: expected {_article(kind)}, found {_quoted(value)}"
    if "enum" in rule and value not in rule["enum"]:
        return f"{where}: {_quoted(value)} is none of {', '.join(map(str, rule['enum']))}"
    for check in (_number, _string, _array):
        problem = check(value, rule, where, depth)
        if problem:
            return problem
    return _object(value, rule, where, depth)


def _number(value: Any, rule: Mapping[str, Any], where: str, depth: int) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    low, high = rule.get("minimum"), rule.get("maximum")
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        return f"{where}: {value} is out of range: {'' if low is None else low} to {'' if high is None else high}"
    return None


def _string(value: Any, rule: Mapping[str, Any], where: str, depth: int) -> str | None:
    if not isinstance(value, str):
        return None
    if len(value) > rule.get("maxLength", ARGUMENTS_MAX):
        return f"{where}: {len(value)} characters; at most {rule['maxLength']}"
    if len(value) < rule.get("minLength", 0):
        return f"{where}: is empty" if not value else f"{where}: {_quoted(value)} is too short"
    if "pattern" in rule and not re.search(rule["pattern"], value):
        return f"{where}: {_quoted(value)} does not fit {rule['pattern']}"
    return None


def _array(value: Any, rule: Mapping[str, Any], where: str, depth: int) -> str | None:
    if not isinstance(value, list):
        return None
    if not rule.get("minItems", 0) <= len(value) <= rule.get("maxItems", len(value)):
        return (
            f"{where}: {len(value)} items; expected {rule.get('minItems', 0)} to {rule.get('maxItems', '')}"
        )
    for number, item in enumerate(value):
        problem = misfit(item, rule.get("items", {}), f"{where}[{number}]", depth + 1)
        if problem:
            return problem
    return None


def _object(value: Any, rule: Mapping[str, Any], where: str, depth: int) -> str | None:
    if not isinstance(value, dict):
        return None
    known = rule.get("properties", {})
    missing = [name for name in rule.get("required", ()) if name not in value]
    if missing:
        return f"{where}: '{missing[0]}' is missing"
    further = rule.get("additionalProperties", True)
    for name, item in value.items():
        if name not in known and further is False:
            return f"{where}: no argument {_quoted(name)}; there are: {', '.join(known) or 'none'}"
        inner = known.get(name, further if isinstance(further, Mapping) else {})
        problem = misfit(item, inner, f"{where}.{name}" if depth else str(name), depth + 1)
        if problem:
            return problem
    return None


def _is(value: Any, kind: str) -> bool:
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    types = {"string": str, "boolean": bool, "array": list, "object": dict}
    return isinstance(value, types[kind])


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aio" else f"a {kind}"


def _quoted(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON number")


def _refuse(tool: Tool, message: str) -> InputError:
    return InputError(f"{tool.name}: {message}", stage=STAGE)
