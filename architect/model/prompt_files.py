"""The prompts as files with versions: which there are, which one is used, and a hash that names what was used.

Owns the folder ``prompts/``: ``NAME.VERSION.md`` and ``current.toml``, which says the version of each that is in use. A
new version is a new file; the way back is a number in that file. Placeholders are ``$NAME``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from toolchain import tomlfile
from toolchain.errors import InputError

STAGE = "prompts"
FOLDER = Path(__file__).parent / "prompts"
CURRENT = "current.toml"
# Who is told what: the engine of a repair, a conversation.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "fix": ("system", "case", "failed", "malformed", "schema"),
    "chat": ("chat", "chat_tools"),
}
NAMES = tuple(name for names in GROUPS.values() for name in names)
# The placeholders that each may use; one that is missing would lose evidence.
NEEDS: Mapping[str, frozenset[str]] = {
    "system": frozenset(),
    "case": frozenset(("evidence", "tried", "lessons", "files", "tools", "sources")),
    "failed": frozenset(("gate", "evidence")),
    "malformed": frozenset(("problem",)),
    "schema": frozenset(),
    "chat": frozenset(),
    "chat_tools": frozenset(("tools",)),
}
_FILE = re.compile(r"^([a-z_]+)\.(\d{1,6})\.md$")


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt: its name, version and text."""

    name: str
    version: int
    text: str

    @property
    def sha256(self) -> str:
        """Names the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def filled(self, **values: str) -> str:
        """The text with its placeholders replaced; a ``$`` within a value stays what it is."""
        return Template(self.text).substitute(values)


@dataclass(frozen=True, slots=True)
class PromptSet:
    """The prompts that one engine works with."""

    prompts: Mapping[str, Prompt] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Prompt:
        return self.prompts[name]

    @property
    def sha256(self) -> str:
        """Names all of them together."""
        rows = "\n".join(f"{name} {self.prompts[name].sha256}" for name in sorted(self.prompts))
        return hashlib.sha256(rows.encode()).hexdigest()

    def replaced(self, name: str, text: str, version: int = 0) -> PromptSet:
        """The same with another text for one prompt.

        Raises:
            InputError: the text does not have the placeholders that it needs.
        """
        return PromptSet(
            {**self.prompts, name: checked(Prompt(name, version, text), f"{name}: the new text")}
        )


def versions(name: str, folder: Path = FOLDER) -> list[int]:
    """The versions of a prompt, oldest first."""
    found = (_FILE.match(path.name) for path in folder.glob(f"{name}.*.md"))
    return sorted(int(match[2]) for match in found if match and match[1] == name)


def current(folder: Path = FOLDER) -> dict[str, int]:
    """Name -> the version in use.

    Raises:
        InputError: the file that says so cannot be read, or names no version.
    """
    path = folder / CURRENT
    table = tomlfile.load(path, stage=STAGE)
    for name in NAMES:
        if not isinstance(table.get(name), int):
            raise InputError(f"{path}: says no version of '{name}'", stage=STAGE)
    return {name: table[name] for name in NAMES}


def load(name: str, version: int | None = None, folder: Path = FOLDER) -> Prompt:
    """One prompt; the version in use unless another is named.

    Raises:
        InputError: there is no such file, or a placeholder of it is missing or unknown.
    """
    number = current(folder)[name] if version is None else version
    path = folder / f"{name}.{number}.md"
    known = ", ".join(map(str, versions(name, folder))) or "none"
    text = tomlfile.text(path, stage=STAGE, missing=f"there are versions {known} of '{name}'")
    return checked(Prompt(name, number, text), str(path))


def load_set(folder: Path = FOLDER) -> PromptSet:
    """The prompts in use."""
    return PromptSet({name: load(name, folder=folder) for name in NAMES})


def checked(prompt: Prompt, where: str) -> Prompt:
    """The prompt, when its placeholders are those that it must have.

    Raises:
        InputError: they are not; ``where`` stands before the complaint.
    """
    template = Template(prompt.text)
    if not template.is_valid():
        raise InputError(f"{where}: a '$' that is no placeholder; write '$$'", stage=STAGE)
    found, needed = set(template.get_identifiers()), NEEDS[prompt.name]
    for name in sorted(needed - found):
        raise InputError(f"{where}: the placeholder ${name} is missing", stage=STAGE)
    for name in sorted(found - needed):
        raise InputError(f"{where}: no placeholder is called ${name}", stage=STAGE)
    return prompt
