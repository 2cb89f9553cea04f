"""WGSL sources: where they lie, the constants that are put into them, and what the validator says about them.

Owns: composing a module from files of ``shaders/`` and constants, and turning a validation error into diagnostics with
file, line and column. Never touches a device.

A shader file may open with comments of this form, which the loader reads:

    // Parts: activate.wgsl              files that are put behind this one
    // Constants:
    //   ROWS: u32 = 4                   rows of C per invocation
    //   Element: type = f32             an alias

Every constant has a default, so each file compiles by itself; ``compose`` overrides them by name. They are declarations
at module scope (``const ROWS: u32 = 4;``), because WGSL's ``override`` cannot size an array of a function. They are
put behind the source, where the order of declarations does not matter, so that its lines keep their numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from toolchain.errors import InputError
from toolchain.files import read_bounded
from toolchain.types import Diagnostic, Place

STAGE = "shader"
FOLDER = Path(__file__).resolve().parents[3] / "shaders"
BYTES_MAX = 1 << 20
Constant = bool | int | float | str

_IN_PLACE: ContextVar[Mapping[str, str] | None] = ContextVar(
    "shaders in place of those of the folder", default=None
)

_HEADER = re.compile(r"^//(.*)$")
_PARTS = re.compile(r"^ Parts: (.+)$")
_CONSTANTS = re.compile(r"^ Constants:\s*$")
_CONSTANT = re.compile(r"^   ([A-Za-z]\w*): (type|bool|u32|i32|f32) = (\S+)")
_COMMENT = re.compile(r"//.*$", re.MULTILINE)
_BINDING = re.compile(
    r"@(?:group\(0\)\s*@binding\((?P<n>\d+)u?\)|binding\((?P<m>\d+)u?\)\s*@group\(0\))"
    r"\s*var\s*<\s*(?P<space>uniform|storage)\s*(?:,\s*(?P<access>read_write|read)\s*,?\s*)?>"
)
_KINDS = {
    ("uniform", ""): "uniform",
    ("storage", ""): "read-only-storage",
    ("storage", "read"): "read-only-storage",
    ("storage", "read_write"): "storage",
}
_AT = re.compile(r"┌─ \S*?:(\d+):(\d+)")
_HEADLINE = re.compile(r"(?:parsing error: |Shader validation error: )(.+)")
_DETAIL = re.compile(r"^\s*= (.+)$", re.MULTILINE)
_CARET = re.compile(r"\^+ ([^^\n]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Module:
    """One WGSL module.

    Attributes:
        name: of the first file, for messages and labels.
        code: what the compiler gets.
        segments: (first line in ``code``, file) of each file in it, ascending.
    """

    name: str
    code: str
    segments: tuple[tuple[int, str], ...]


@contextmanager
def in_place(texts: Mapping[str, str]) -> Iterator[None]:
    """``texts`` (file name -> WGSL) in place of the folder's files while the block runs.

    They are a stranger's: whatever the host has proved of the folder's own does not hold, and ``Device.kernel``
    compiles them with every check.
    """
    token = _IN_PLACE.set(texts)
    try:
        yield
    finally:
        _IN_PLACE.reset(token)


def strangers() -> bool:
    """Whether a stranger's texts are in place."""
    return _IN_PLACE.get() is not None


def files(folder: Path = FOLDER) -> list[Path]:
    """Every shader of the folder."""
    return sorted(folder.glob("*.wgsl"))


def load(name: str, constants: Mapping[str, Constant] | None = None, *, folder: Path = FOLDER) -> Module:
    """The shader ``name`` of ``shaders/``; see ``compose``.

    Raises:
        InputError: there is no such file, it is too large or no text, or a constant is unknown.
    """
    return compose(_text(folder / name), _shown(folder / name), constants, folder=folder)


def compose(
    text: str, name: str, constants: Mapping[str, Constant] | None = None, *, folder: Path = FOLDER
) -> Module:
    """A module from a source, the parts that it names and constants.

    Args:
        text: the source.
        name: its file, for messages.
        constants: values for the constants of its header (and of its parts' headers); types are given as text.
        folder: where the parts lie.

    Raises:
        InputError: a constant that no header declares, a part that is not there.
    """
    sources = [(name, text)]
    for at, (source, content) in enumerate(sources):
        for part in _header(content)[0]:
            path = folder / part
            if all(path.name != Path(known).name for known, _ in sources):
                sources.append((_shown(path), _text(path, f"{source} names it as a part")))
        assert at < len(sources)
    declared: dict[str, tuple[str, str]] = {}
    for _, content in sources:
        declared |= _header(content)[1]
    given = dict(constants or {})
    unknown = sorted(given.keys() - declared.keys())
    if unknown:
        raise InputError(
            f"{name}: no constant is called '{unknown[0]}' (there are: {', '.join(declared)})", stage=STAGE
        )
    lines: list[str] = []
    segments = []
    for source, content in sources:
        segments.append((len(lines) + 1, source))
        lines += content.splitlines()
    segments.append((len(lines) + 1, "constants"))
    lines += [_declaration(key, kind, given.get(key, value)) for key, (kind, value) in declared.items()]
    if any(kind == "type" and given.get(key, value) == "f16" for key, (kind, value) in declared.items()):
        lines[0] = f"enable f16; {lines[0]}"
    return Module(name, "\n".join(lines) + "\n", tuple(segments))


def _text(path: Path, why: str = "") -> str:
    texts = _IN_PLACE.get()
    if texts is not None:
        if path.name not in texts:
            raise InputError(f"{path.name}: no such file" + (f"; {why}" if why else ""), stage=STAGE)
        return texts[path.name]
    data = read_bounded(path, BYTES_MAX, stage=STAGE, missing=why)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: no UTF-8 text (byte {error.start})", stage=STAGE) from error


def _shown(path: Path) -> str:
    """The file for messages: as the checkout has it, elsewhere the whole path."""
    return f"{FOLDER.name}/{path.name}" if path.parent == FOLDER else str(path)


def _header(text: str) -> tuple[list[str], dict[str, tuple[str, str]]]:
    """Parts, and name -> (type, default), from the comments that a file opens with."""
    parts: list[str] = []
    constants: dict[str, tuple[str, str]] = {}
    inside = False
    for line in text.splitlines():
        comment = _HEADER.match(line)
        if comment is None:
            break
        body = comment[1]
        if found := _PARTS.match(body):
            parts += found[1].split()
        elif _CONSTANTS.match(body):
            inside = True
        elif inside and (found := _CONSTANT.match(body)):
            constants[found[1]] = (found[2], found[3])
        elif not body.startswith("   "):
            inside = False
    return parts, constants


def _declaration(name: str, kind: str, value: Constant) -> str:
    if kind == "type":
        return f"alias {name} = {value};"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if kind in ("u32", "i32", "f32") and not isinstance(value, str):
        text = f"{kind}({value!r})"
    return f"const {name}: {kind} = {text};"


def bindings(module: Module) -> list[str]:
    """WebGPU's binding type of each buffer of group 0, by its number.

    Raises:
        InputError: a binding that is no buffer, is in another group, or leaves a number out.
    """
    code = _COMMENT.sub("", module.code)
    found: dict[int, str] = {}
    for match in _BINDING.finditer(code):
        found[int(match["n"] or match["m"])] = _KINDS[match["space"], match["access"] or ""]
    if sorted(found) != list(range(code.count("@binding"))):
        raise InputError(
            f"{module.name}: bindings must be buffers of group 0, numbered from 0 without a gap", stage=STAGE
        )
    return [found[n] for n in sorted(found)]


def error(module: Module, message: str) -> InputError:
    """The validator's message as an error with file, line and column of the source it means."""
    found = _AT.search(message)
    headline = _HEADLINE.search(message)
    said = headline[1].strip() if headline else message.strip().splitlines()[-1].strip()
    for more in (_CARET.search(message), _DETAIL.search(message)):
        if more is not None and more[1].strip() not in said:
            said = f"{said}: {more[1].strip()}"
    if found is None:
        return InputError(f"{module.name}: {said}", stage=STAGE)
    line, column = int(found[1]), int(found[2])
    place = locate(module, line, column)
    diagnostic = Diagnostic(place, f"column {column}: {said}")
    return InputError(str(diagnostic), stage=STAGE, diagnostics=[diagnostic])


def locate(module: Module, line: int, column: int) -> Place:
    """The place in a file that a line and a column (both from 1) of the composed module mean."""
    first, source = max(s for s in module.segments if s[0] <= max(line, 1))
    lines = module.code.splitlines()
    text = lines[line - 1] if 0 < line <= len(lines) else ""
    return Place(source, line - first + 1, text=text, column=max(column - 1, 0))
