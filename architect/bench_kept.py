"""What ``pxos bench fix --keep FILE`` has measured so far: a run that was interrupted goes on where it was.

Owns the file, a line for each bug and engine, written whole as soon as it is known, and what a line is good for: the
same bug in the same tree, repaired by the same code on the same machine under the same terms. A line that is torn,
changed or of anything else is passed over and its bug repaired again. Never repairs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import toolchain
from architect import lesson_text
from architect.bench_result import Result, Terms
from architect.corpus import Bug
from toolchain import measure
from toolchain.errors import InputError
from toolchain.files import read_bounded, unwritable

STAGE = "bench"
FILE_MAX = 256 << 20
_ASIDE = frozenset(("__pycache__", ".git", "build"))
_APART = ("bug", "learnt")  # fields that are written in a way of their own


class Kept:
    """The results of one file.

    Args:
        path: the file; it need not be there yet.
        trees: the sound tree of each kind.

    Raises:
        InputError: the file cannot be read.
    """

    def __init__(self, path: Path, trees: Mapping[str, Path]) -> None:
        self._path = path
        self._trees = {kind: _content(tree) for kind, tree in trees.items()}
        code = [_content(Path(root).parent) for root in (__file__, str(toolchain.__file__))]
        self._base = [*code, measure.machine()]
        self._lines: dict[str, dict[str, Any]] = {}
        if path.exists():
            for line in read_bounded(path, FILE_MAX, stage=STAGE).split(b"\n"):
                seal, _, body = line.partition(b" ")
                if sha256(body).hexdigest().encode() == seal:
                    row = json.loads(body)
                    self._lines[row["key"]] = row

    def get(self, bug: Bug, terms: Terms) -> Result | None:
        """The result of a bug under these terms, if it is known."""
        row = self._lines.get(self._key(bug, terms))
        if row is None:
            return None
        told = {**row["result"], "broken": tuple(row["result"]["broken"])}
        try:
            learnt = tuple(lesson_text.load(text)) if (text := row["lessons"]) else ()
            return Result(bug, learnt=learnt, **told)
        except InputError:  # a lesson beyond the bounds of a file of lessons
            return None

    def put(self, result: Result, terms: Terms) -> None:
        """Write a result down.

        Raises:
            InputError: the file cannot be written.
        """
        told = {f.name: getattr(result, f.name) for f in fields(result) if f.name not in _APART}
        row = {
            "key": self._key(result.bug, terms),
            "id": result.bug.id,
            "result": told,
            "lessons": lesson_text.dump(result.learnt) if result.learnt else "",
        }
        self._append(row)

    def recall(self, name: str) -> Any:
        """What was noted under a name of these trees, by this code on this machine; None where nothing was."""
        row = self._lines.get(self._noted(name))
        return None if row is None else row["noted"]

    def note(self, name: str, value: Any) -> None:
        """Write something else down than a result; raises as ``put``."""
        self._append({"key": self._noted(name), "noted": value})

    def _noted(self, name: str) -> str:
        return sha256(json.dumps([self._base, self._trees, name]).encode()).hexdigest()

    def _append(self, row: Mapping[str, Any]) -> None:
        body = json.dumps(row).encode()
        try:
            with self._path.open("ab", buffering=0) as file:  # a line feed first: the last line may be torn
                file.write(b"\n" + sha256(body).hexdigest().encode() + b" " + body + b"\n")
        except OSError as error:
            raise unwritable(self._path, error, stage=STAGE) from error

    def _key(self, bug: Bug, terms: Terms) -> str:
        taught = lesson_text.dump([one.lesson for one in terms.taught if one.bug != bug.id])
        model = [terms.model.endpoint.base_url, terms.model.endpoint.model] if terms.model else None
        told = [self._base, self._trees[bug.tree], bug.file.read_text("utf-8"), terms.engine, terms.seconds]
        return sha256(json.dumps([*told, terms.max_boots, model, taught]).encode()).hexdigest()


def _content(folder: Path) -> str:
    """SHA-256 over every file of a folder."""
    whole = sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not _ASIDE & set(path.relative_to(folder).parts):
            data = path.read_bytes()
            whole.update(f"{path.relative_to(folder)} {len(data)}\n".encode("utf-8", "surrogateescape"))
            whole.update(data)
    return whole.hexdigest()
