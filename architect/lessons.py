"""The lesson store: what past repairs taught, in one SQLite file.

Owns the file ``lessons.db``: typed signature columns for recall, an FTS5 index over the prose for people's searches,
counters and guards that change by deltas. A lesson is added once and never rewritten: what happens to it later, each
credit, piece of evidence and guard, is a row of its own in ``delta``, and the columns hold the sums. Several processes
may use it at once. Never decides what to do with a lesson.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from architect.protocols import Lesson, Signature
from architect.signature import similarity
from toolchain.errors import InputError
from toolchain.files import make_folder, unwritable

STAGE = "lessons"
VERSION = 2
EVIDENCE_MAX = 8  # pieces of evidence kept per lesson, the newest
WAIT_SECONDS = 10.0
LIKE_MIN = 0.05  # signatures less alike than this are not recalled

_COLUMNS = (
    "outcome", "vector", "error_bits", "walk_level", "unit", "mnemonic", "routine", "rules", "failed_gate",
)  # fmt: skip
_LISTS = ("error_bits", "rules")
_DELTAS = """CREATE TABLE IF NOT EXISTS delta (
  id INTEGER PRIMARY KEY, lesson INTEGER NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL
)"""
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS lesson (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,
  outcome TEXT NOT NULL, vector INTEGER, error_bits TEXT NOT NULL, walk_level TEXT, unit TEXT, mnemonic TEXT,
  routine TEXT, rules TEXT NOT NULL, failed_gate TEXT,
  cause TEXT NOT NULL, edit TEXT NOT NULL, evidence TEXT NOT NULL,
  helped INTEGER NOT NULL DEFAULT 0, misled INTEGER NOT NULL DEFAULT 0,
  created REAL NOT NULL, changed REAL NOT NULL, guards TEXT NOT NULL DEFAULT '[]'
);
CREATE INDEX IF NOT EXISTS lesson_signature ON lesson (outcome, vector);
CREATE VIRTUAL TABLE IF NOT EXISTS lesson_text USING fts5 (cause, signature, edit, tokenize = 'porter unicode61');
{_DELTAS};
PRAGMA user_version = {VERSION};
"""
_CREDITED = "SELECT 1 FROM delta WHERE lesson = ? AND kind IN ('helped', 'misled') AND data = ?"
# From the form before: the same lessons, none with a guard, their history unknown.
_UPGRADE = f"""
ALTER TABLE lesson ADD COLUMN guards TEXT NOT NULL DEFAULT '[]';
{_DELTAS};
PRAGMA user_version = {VERSION};
"""
_STEPS = {0: _SCHEMA, 1: _UPGRADE}  # form of a file -> what makes it the form of now


def default_folder() -> Path:
    """Where a person's lessons lie: ``$XDG_DATA_HOME/pxos/lessons`` (XDG Base Directory: a relative path is no path).

    Raises:
        InputError: this user has no home folder.
    """
    data = Path(os.environ.get("XDG_DATA_HOME", ""))
    if not data.is_absolute():
        try:
            data = Path.home() / ".local" / "share"
        except RuntimeError as error:
            message = "this user has no home folder: say where the lessons lie (--lessons DIR)"
            raise InputError(message, stage=STAGE) from error
    return data / "pxos" / "lessons"


class SqliteLessons:
    """A ``LessonStore`` in ``folder/lessons.db``, made at first use.

    Every method opens, works and closes, in one transaction: processes see each other's lessons at once.

    Raises:
        InputError: (every method) the file is no lesson store, is damaged, or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: not a folder; name the lessons' folder (--lessons DIR)", stage=STAGE)
        self.path = folder / "lessons.db"

    def recall(self, signature: Signature, limit: int = 5) -> Sequence[Lesson]:
        """The lessons nearest to the signature, best record first among equally near ones."""
        if not self.path.exists():
            return []
        near = [(likeness(lesson, signature), lesson) for lesson in self.all()]
        near = [pair for pair in near if pair[0] >= LIKE_MIN]
        near.sort(key=lambda pair: (-pair[0], pair[1].id))
        return [lesson for _, lesson in near[:limit]]

    def record(
        self, signature: Signature, cause: str, edit: Mapping[str, Any], evidence: Mapping[str, Any]
    ) -> int:
        """Store a lesson and return its id; one with an equal signature and edit gains the evidence instead.

        Evidence of a ``run`` that is known is not added: a run that was killed tells it again when it resumes.
        """
        return self.merge(signature, cause, edit, [evidence])

    def merge(
        self,
        signature: Signature,
        cause: str,
        edit: Mapping[str, Any],
        evidence: Sequence[Mapping[str, Any]],
        helped: int = 0,
        misled: int = 0,
        guards: Sequence[Mapping[str, Any]] = (),
    ) -> int:
        """Store a lesson with its whole record, or add to an equal one what it did not know; returns the id."""
        number = self._merged(signature, cause, edit, evidence, helped, misled)
        if guards:
            self.guard(number, guards)
        return number

    def _merged(
        self,
        signature: Signature,
        cause: str,
        edit: Mapping[str, Any],
        evidence: Sequence[Mapping[str, Any]],
        helped: int,
        misled: int,
    ) -> int:
        key = _key(signature, edit)
        now = time.time()
        with self._open() as db:
            row = db.execute("SELECT * FROM lesson WHERE key = ?", (key,)).fetchone()
            if row is not None:
                known = json.loads(row["evidence"])
                runs = {e["run"] for e in known if isinstance(e, dict) and "run" in e}
                new = [dict(e) for e in evidence if dict(e) not in known and e.get("run") not in runs]
                merged = known + new
                db.execute(
                    "UPDATE lesson SET evidence = ?, helped = max(helped, ?), misled = max(misled, ?), changed = ?"
                    " WHERE id = ?",
                    (json.dumps(merged[-EVIDENCE_MAX:], default=str), helped, misled, now, row["id"]),
                )
                number = int(row["id"])
                if len(merged) > len(known):
                    _delta(db, number, "evidence", {"count": len(merged) - len(known)})
                return number
            columns = {name: getattr(signature, name) for name in _COLUMNS}
            columns |= {name: json.dumps(columns[name]) for name in _LISTS}
            columns |= {"key": key, "cause": cause, "edit": json.dumps(edit, sort_keys=True)}
            columns |= {"evidence": json.dumps([dict(e) for e in evidence][-EVIDENCE_MAX:], default=str)}
            columns |= {"helped": helped, "misled": misled, "created": now, "changed": now}
            names = ", ".join(columns)
            marks = ", ".join("?" * len(columns))
            cursor = db.execute(f"INSERT INTO lesson ({names}) VALUES ({marks})", tuple(columns.values()))
            number = int(cursor.lastrowid or 0)
            db.execute(
                "INSERT INTO lesson_text (rowid, cause, signature, edit) VALUES (?, ?, ?, ?)",
                (number, cause, _prose(signature), json.dumps(edit)),
            )
            _delta(db, number, "added", {"evidence": len(evidence)})
            return number

    def credit(self, lesson: int, *, helped: bool, run: str = "") -> None:
        """Count one use of a lesson; of a run that has a name only once, however often that is killed and resumed."""
        column = "helped" if helped else "misled"
        about = {"run": run} if run else {}
        with self._open() as db:
            if run and db.execute(_CREDITED, (lesson, json.dumps(about))).fetchone() is not None:
                return
            changed = db.execute(
                f"UPDATE lesson SET {column} = {column} + 1, changed = ? WHERE id = ?", (time.time(), lesson)
            )
            if changed.rowcount != 1:
                raise InputError(f"no lesson {lesson}; `pxos lessons list` shows them", stage=STAGE)
            _delta(db, lesson, column, about)

    def guard(self, lesson: int, guards: Sequence[Mapping[str, Any]]) -> None:
        """Let a lesson carry guards, in place of those that it had; none takes them away."""
        rows = json.dumps([dict(guard) for guard in guards], sort_keys=True)
        with self._open() as db:
            changed = db.execute(
                "UPDATE lesson SET guards = ?, changed = ? WHERE id = ? AND guards <> ?",
                (rows, time.time(), lesson, rows),
            )
            if changed.rowcount:
                _delta(db, lesson, "guard", {"rules": [guard["rule"] for guard in guards]})
            elif db.execute("SELECT 1 FROM lesson WHERE id = ?", (lesson,)).fetchone() is None:
                raise InputError(f"no lesson {lesson}; `pxos lessons list` shows them", stage=STAGE)

    def history(self, lesson: int | None = None) -> list[dict[str, Any]]:
        """What happened to a lesson, or to all, oldest first: ``lesson``, ``kind``, ``data``, ``at`` (Unix seconds)."""
        if not self.path.exists():
            return []
        with self._open(write=False) as db:
            if db.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                return []
            where, values = ("", ()) if lesson is None else (" WHERE lesson = ?", (lesson,))
            rows = db.execute(
                f"SELECT lesson, kind, data, at FROM delta{where} ORDER BY id", values
            ).fetchall()
        try:
            return [{**dict(row), "data": json.loads(row["data"])} for row in rows]
        except ValueError as error:
            raise self._damaged(error) from error

    def get(self, lesson: int) -> Lesson:
        """One lesson by its id."""
        found = [] if not self.path.exists() else self._rows("SELECT * FROM lesson WHERE id = ?", lesson)
        if not found:
            raise InputError(f"no lesson {lesson}; `pxos lessons list` shows them", stage=STAGE)
        return found[0]

    def all(self) -> list[Lesson]:
        """Every lesson, oldest first."""
        return [] if not self.path.exists() else self._rows("SELECT * FROM lesson ORDER BY id")

    def search(self, words: str, limit: int = 20) -> list[Lesson]:
        """The lessons whose prose holds the words, best match first; any text is a valid query."""
        terms = " OR ".join(f'"{term}"' for term in words.replace('"', " ").split()[:32])
        if not terms or not self.path.exists():
            return []
        query = (
            "SELECT lesson.* FROM lesson_text JOIN lesson ON lesson.id = lesson_text.rowid"
            " WHERE lesson_text MATCH ? ORDER BY bm25(lesson_text), lesson.id LIMIT ?"
        )
        return self._rows(query, terms, limit)

    def _rows(self, query: str, *values: object) -> list[Lesson]:
        with self._open(write=False) as db:
            if db.execute("PRAGMA user_version").fetchone()[0] == 0:
                return []
            try:
                return [_lesson(row) for row in db.execute(query, values)]
            except (KeyError, TypeError, ValueError) as error:
                raise self._damaged(error) from error

    @contextmanager
    def _open(self, *, write: bool = True) -> Iterator[sqlite3.Connection]:
        if write:
            make_folder(self.path.parent, stage=STAGE)
        mode = "rwc" if write else "ro"
        try:
            where = f"{self.path.absolute().as_uri()}?mode={mode}"
            db = sqlite3.connect(where, uri=True, timeout=WAIT_SECONDS, isolation_level=None)
        except sqlite3.Error as error:
            raise self._damaged(error) from error
        try:
            db.row_factory = sqlite3.Row
            db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            self._check_version(db)
            if write:
                self._prepare(db)
            yield db
            db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._damaged(error) from error
        finally:
            db.close()  # an open transaction is rolled back

    def _prepare(self, db: sqlite3.Connection) -> None:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        for part in _STEPS.get(version, "").split(";\n"):
            db.execute(part)

    def _check_version(self, db: sqlite3.Connection) -> None:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (*_STEPS, VERSION):
            raise InputError(
                f"{self.path}: written by another version (format {version}, this is {VERSION}); "
                "export with that version and import here",
                stage=STAGE,
            )

    def _damaged(self, error: Exception) -> InputError:
        text = str(error)
        if "readonly" in text or "unable to open" in text or "disk is full" in text or "locked" in text:
            return unwritable(self.path, OSError(text), stage=STAGE)
        return InputError(
            f"{self.path}: not a readable lesson store ({text}); move it away, then `pxos lessons import` a backup",
            stage=STAGE,
        )


def likeness(lesson: Lesson, signature: Signature) -> float:
    """How much a lesson promises for a failure: alike signatures, weighed by its record (Laplace's rule)."""
    record = (lesson.helped + 1) / (lesson.helped + lesson.misled + 2)
    return similarity(lesson.signature, signature) * (0.5 + record)


def _delta(db: sqlite3.Connection, lesson: int, kind: str, data: Mapping[str, Any]) -> None:
    db.execute(
        "INSERT INTO delta (lesson, at, kind, data) VALUES (?, ?, ?, ?)",
        (lesson, time.time(), kind, json.dumps(data)),
    )


def _key(signature: Signature, edit: Mapping[str, Any]) -> str:
    columns = [getattr(signature, name) for name in _COLUMNS]
    return hashlib.sha256(json.dumps([columns, edit], sort_keys=True).encode()).hexdigest()


def _prose(signature: Signature) -> str:
    """The signature as words that a person would search for."""
    values = [getattr(signature, name) for name in _COLUMNS]
    flat = [str(v) for value in values if value for v in (value if isinstance(value, tuple) else (value,))]
    return " ".join([*flat, *([f"vector {signature.vector}"] if signature.vector is not None else [])])


def _lesson(row: sqlite3.Row) -> Lesson:
    columns = {name: row[name] for name in _COLUMNS}
    columns |= {name: tuple(json.loads(columns[name])) for name in _LISTS}
    evidence = {"runs": json.loads(row["evidence"])}
    return Lesson(
        id=row["id"],
        signature=Signature(**columns),
        cause=row["cause"],
        edit=json.loads(row["edit"]),
        evidence=evidence,
        helped=row["helped"],
        misled=row["misled"],
        guards=tuple(json.loads(row["guards"])) if "guards" in row.keys() else (),  # noqa: SIM118 (a Row is no dict)
    )
