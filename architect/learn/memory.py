"""What the architect keeps in mind, in four levels, each within a budget of tokens.

Owns the items, what is dropped when a level is full, and the files of the two levels that outlive a session. Asks no
model and judges nothing.

    case      one repair: what was seen of this failure and tried against it; forgotten with the case
    session   one conversation: what was agreed, what was read; kept with the session by who owns it (``dump``)
    project   one kernel: what holds for it, across sessions; ``project-NAME.jsonl``
    anywhere  what holds for every kernel and person: rules; ``anywhere.jsonl``

The chat (``architect.chat.remember``) and the engine ``llm`` (``architect.model.conversation``) keep one each.

A budget holds at any moment: a note that does not fit pushes out the oldest of its level that is not pinned, and a
``fold`` (a model's summary, say) may put one line in their place. What is pinned is never pushed out; a pinned note
that does not fit beside the pinned ones is refused, so that a rule is never lost in silence. An item changes by
deltas: it is added, pinned, dropped; no item is rewritten.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from toolchain.errors import InputError
from toolchain.files import make_folder, read_bounded, unwritable

STAGE = "memory"
VERSION = 1
Level = Literal["case", "session", "project", "anywhere"]
LEVELS: tuple[Level, ...] = get_args(Level)
BUDGETS: Mapping[Level, int] = {
    "case": 12_000,
    "session": 8_000,
    "project": 3_000,
    "anywhere": 1_000,
}  # tokens
FILE_BYTES_MAX = 4 << 20
TEXT_MAX = 1 << 16
_KEPT: tuple[Level, ...] = ("project", "anywhere")
_NAME_MAX = 64


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to keep in mind.

    Attributes:
        id: its number, counted over all levels, never used twice.
        level: how long it holds.
        text: what is kept in mind.
        pinned: survives every compaction.
        source: what it was read from (``file:lines``), or None.
        digest: of what was read, to know whether it changed.
        tokens: what it costs.
    """

    id: int
    level: Level
    text: str
    pinned: bool = False
    source: str | None = None
    digest: str | None = None
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What ``read`` gives: the text to show, the item that holds it, and whether it stood there already."""

    text: str
    item: Item
    again: bool

    @property
    def shown(self) -> str:
        """What a model is shown: the text under its item's number; later, where it stands."""
        return self.text if self.again or not self.item.id else f"[{self.item.id}]\n{self.text}"


def by_bytes(text: str) -> int:
    """Tokens of a text from above, for no model in particular: a token is rarely less than two bytes."""
    return len(text.encode("utf-8", "surrogatepass")) // 2 + 1


def of(lessons: Path, tree: Path, *, kept: bool = True) -> Memory:
    """The memory that belongs to a store of lessons, of the kernel in ``tree``.

    Raises:
        InputError: a file of it is no memory.
    """
    return Memory.open(lessons.parent / "memory", tree.absolute().name, kept=kept)


class Memory:
    """The four levels.

    Args:
        budgets: tokens of each level.
        count: tokens of a text, never too few; a model's own count where there is one.
        fold: makes one line of the items that are pushed out together, or None to drop them; its line is bounded.
    """

    def __init__(
        self,
        budgets: Mapping[Level, int] = BUDGETS,
        count: Callable[[str], int] = by_bytes,
        fold: Callable[[Sequence[Item]], str | None] | None = None,
    ) -> None:
        self.budgets = dict(budgets)
        self.count = count
        self.fold = fold
        self._items: dict[int, Item] = {}
        self._next = 1
        self._files: dict[Level, Path] = {}

    @classmethod
    def open(
        cls,
        folder: Path,
        project: str,
        *,
        budgets: Mapping[Level, int] = BUDGETS,
        count: Callable[[str], int] = by_bytes,
        fold: Callable[[Sequence[Item]], str | None] | None = None,
        kept: bool = True,
    ) -> Memory:
        """A memory whose project and anywhere levels are read from ``folder`` and, if ``kept``, kept there.

        Raises:
            InputError: a file of it is no memory.
        """
        memory = cls(budgets, count, fold)
        name = "".join(c if c.isalnum() or c in "._-" else "-" for c in project)[:_NAME_MAX] or "project"
        memory._files = {"project": folder / f"project-{name}.jsonl", "anywhere": folder / "anywhere.jsonl"}
        for level, path in list(memory._files.items()):
            if path.exists():
                memory._replay(level, path, kept=kept)
        if not kept:
            memory._files = {}
        return memory

    # --- writing ---

    def note(
        self,
        level: Level,
        text: str,
        *,
        pinned: bool = False,
        source: str | None = None,
        digest: str | None = None,
    ) -> Item:
        """Keep something in mind; an equal text in the same level is kept once.

        Raises:
            InputError: it is longer than the level's budget, or does not fit beside what is pinned.
        """
        text = text[:TEXT_MAX].strip()
        known = next((i for i in self._items.values() if (i.level, i.text) == (level, text)), None)
        if known is not None:
            return self.pin(known.id) if pinned and not known.pinned else known
        item = Item(self._next, level, text, pinned, source, digest, self.count(text))
        fixed = sum(i.tokens for i in self.items(level) if i.pinned)
        if item.tokens + fixed > self.budgets[level]:
            room = max(0, self.budgets[level] - fixed)
            message = f"a note of {item.tokens} tokens does not fit into the {level} memory ({room} are free)"
            raise InputError(message, stage=STAGE)
        self._add(item)
        self._compact(level, spare=item.id)
        return item

    def read(self, source: str, text: str, *, level: Level = "session") -> Seen:
        """Remember that a text was read; where the same still stands in memory, say so instead of reading it again.

        A text that does not fit is shown and not kept.
        """
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        for item in self._items.values():
            if item.source == source and item.digest == digest:
                return Seen(f"({source} is unchanged; it stands above as item {item.id})", item, True)
        for item in [i for i in self._items.values() if i.source == source]:
            self.drop(item.id)  # it has changed: what was read is no longer true
        try:
            item = self.note(level, text, source=source, digest=digest)
        except InputError:
            item = Item(0, level, text, source=source, digest=digest, tokens=self.count(text))
        return Seen(text, item, False)

    def pin(self, number: int) -> Item:
        """Let an item survive every compaction."""
        item = replace(self.get(number), pinned=True)
        self._items[number] = item
        self._log(item.level, {"do": "pin", "id": number})
        return item

    def drop(self, number: int) -> None:
        """Forget one item, pinned or not."""
        item = self.get(number)
        del self._items[number]
        self._log(item.level, {"do": "drop", "id": number})

    def resize(self, budgets: Mapping[Level, int]) -> None:
        """Hold every level to another budget; what is pinned stays, whatever it takes."""
        self.budgets.update(budgets)
        for level in budgets:
            self._compact(level, spare=0)

    def forget(self, level: Level) -> None:
        """Forget a whole level: the case is over, the session ends."""
        for item in self.items(level):
            self.drop(item.id)

    # --- reading ---

    def get(self, number: int) -> Item:
        """One item; ``InputError`` when there is none."""
        if number not in self._items:
            raise InputError(f"memory holds no item {number}", stage=STAGE)
        return self._items[number]

    def items(self, level: Level | None = None) -> list[Item]:
        """The items of a level, or of all, in the order in which they came."""
        return [item for item in self._items.values() if level in (None, item.level)]

    def tokens(self, level: Level | None = None) -> int:
        """What a level costs, or all of them."""
        return sum(item.tokens for item in self.items(level))

    def text(self, levels: Iterable[Level] = ("anywhere", "project", "session", "case")) -> str:
        """The levels as text for a prompt, pinned items first; numbered, so that an answer can name one."""
        parts = []
        for level in levels:
            ordered = sorted(self.items(level), key=lambda item: (not item.pinned, item.id))
            lines = [f"[{i.id}]{' (rule)' if i.pinned else ''} {_titled(i)}" for i in ordered]
            if lines:
                parts.append("\n".join([f"## What holds: {level}", *lines]))
        return "\n\n".join(parts)

    # --- keeping ---

    def dump(self, level: Level) -> list[dict[str, Any]]:
        """The items of a level as plain JSON values, for a session's own file."""
        return [asdict(item) for item in self.items(level)]

    def load(self, level: Level, rows: object) -> None:
        """Take a level from what ``dump`` gave, whoever kept it meanwhile.

        Raises:
            InputError: it is no such list.
        """
        if not isinstance(rows, list):
            raise InputError("a memory is a list of items", stage=STAGE)
        for row in rows:
            text, pinned, source, digest = _checked(row, f"the {level} memory")
            self.note(level, text, pinned=pinned, source=source, digest=digest)

    def _add(self, item: Item) -> None:
        self._items[item.id] = item
        self._next = max(self._next, item.id) + 1
        about = {"text": item.text, "pinned": item.pinned, "source": item.source, "digest": item.digest}
        self._log(item.level, {"do": "add", "id": item.id, **about})

    def _compact(self, level: Level, spare: int) -> None:
        """Push out the oldest that are not pinned until the level fits; ``spare`` goes last."""
        gone: list[Item] = []
        loose = [i for i in self.items(level) if not i.pinned]
        for item in sorted(loose, key=lambda i: (i.id == spare, i.id)):
            if self.tokens(level) <= self.budgets[level]:
                break
            gone.append(item)
            self.drop(item.id)
        line = self.fold(gone) if self.fold is not None and gone else None
        if not line:
            return
        folded = Item(self._next, level, line.strip(), tokens=self.count(line.strip()))
        for item in loose:  # the line stands for more than the next oldest does
            if folded.tokens + self.tokens(level) <= self.budgets[level]:
                self._add(folded)
                return
            if item.id in self._items and item.id != spare:
                self.drop(item.id)

    def _log(self, level: Level, delta: Mapping[str, Any]) -> None:
        path = self._files.get(level)
        if path is None:
            return
        make_folder(path.parent, stage=STAGE)
        line = json.dumps({"v": VERSION, **delta}, ensure_ascii=True).encode("ascii") + b"\n"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                before = os.fstat(fd).st_size
                if os.write(fd, line) != len(line):
                    os.ftruncate(fd, before)
                    raise OSError(28, "No space left on device")
            finally:
                os.close(fd)
        except OSError as error:
            raise unwritable(path, error, stage=STAGE) from error

    def _replay(self, level: Level, path: Path, *, kept: bool) -> None:
        """Take a level from its deltas; a line that was cut is left out.

        The numbers in a file count that file's items alone: here they get numbers of their own, and the file, if it
        is ``kept``, is written anew from what is left of it.
        """
        data = read_bounded(path, FILE_BYTES_MAX, stage=STAGE)
        found: dict[int, tuple[str, bool, str | None, str | None]] = {}
        for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), 1):
            where = f"{path}:{number}"
            row = _delta(line, where)
            if row["do"] == "add":
                found[row["id"]] = _checked(row, where)
            elif row["id"] not in found:
                raise InputError(f"{where}: no item {row['id']} before it", stage=STAGE)
            elif row["do"] == "pin":
                text, _, source, digest = found[row["id"]]
                found[row["id"]] = (text, True, source, digest)
            else:
                del found[row["id"]]
        file = self._files.pop(level)
        for text, pinned, source, digest in found.values():
            self._add(Item(self._next, level, text, pinned, source, digest, self.count(text)))
        self._compact(level, spare=0)
        self._files[level] = file
        if kept:
            self._rewrite(level, file)

    def _rewrite(self, level: Level, path: Path) -> None:
        from toolchain.files import write_atomic

        rows = [{"v": VERSION, "do": "add", **asdict(item)} for item in self.items(level)]
        write_atomic(path, "".join(json.dumps(row) + "\n" for row in rows), stage=STAGE)


def _titled(item: Item) -> str:
    return f"{item.source}:\n{item.text}" if item.source else item.text


def _delta(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or row.get("v") != VERSION or row.get("do") not in ("add", "pin", "drop"):
        raise InputError(f"{where}: not a line of a memory; move the file away to begin anew", stage=STAGE)
    if type(row.get("id")) is not int:
        raise InputError(f"{where}: 'id' is no number", stage=STAGE)
    return row


def _checked(row: object, where: str) -> tuple[str, bool, str | None, str | None]:
    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or len(row["text"]) > TEXT_MAX:
        raise InputError(f"{where}: not an item of a memory", stage=STAGE)
    source, digest = row.get("source"), row.get("digest")
    if not isinstance(source, str | None) or not isinstance(digest, str | None):
        raise InputError(f"{where}: not an item of a memory", stage=STAGE)
    return row["text"], row.get("pinned") is True, source, digest
