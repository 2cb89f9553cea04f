"""The search over sources, shaders and manual: an FTS5 index that is kept from run to run, by content.

Owns the index file and the ranking: a hit in a title counts more than one in a summary, that more than one in a body.
A file that did not change is not read into the index again; a damaged or locked index is made anew in memory.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from architect.chat.pieces import Piece, pieces

VERSION = 3
WAIT_SECONDS = 0.5
_WEIGHTS = "0.0, 0.0, 0.0, 8.0, 4.0, 1.0"
_SCHEMA = f"""
CREATE TABLE file (name TEXT PRIMARY KEY, digest TEXT NOT NULL);
CREATE VIRTUAL TABLE piece USING fts5 (file UNINDEXED, line UNINDEXED, kind UNINDEXED, title, summary, body,
  tokenize = 'porter unicode61');
PRAGMA user_version = {VERSION};
"""
_CANDIDATES = 60  # by words alone, before they are ranked by what they are worth
_NAMED, _OF_TESTS = 3.0, 0.7
_KINDS = {"constants": 0.6, "file": 0.9}
_SYNONYMS = {
    "allocator": ("alloc", "heap"), "allocate": ("alloc",), "allocation": ("alloc",), "loaded": ("load", "mov"),
    "boots": ("boot",), "cpus": ("smp", "processor"), "processors": ("cpu",), "shootdown": ("shoot",),
    "exception": ("fault",), "crash": ("fault", "panic"), "latency": ("ns", "round"), "speed": ("ns",),
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z_][\w.]*")
_WORD = re.compile(r"[A-Za-z0-9]+")
_STOP_WORDS = (
    "a about all am an and any are as at be because been but by can could did do does done for from get "
    "gets give had has have he her here him his how i if in into is it its just know let like look make "
    "may me mean more most must my no not of off on one or our out over please really s say see set shall "
    "she should show so some such tell than that the their them then there these they thing this those "
    "through to too under up us use used uses using very want was we were what whats when where which "
    "while who whose why will with work works would you your "
)
_STOP = frozenset(_STOP_WORDS.split())


class Hit(NamedTuple):
    """A piece that fits a question; a smaller ``rank`` fits better."""

    piece: Piece
    rank: float


class Index:
    """The index of one set of texts.

    Args:
        path: where it is kept, or None for memory.
    """

    def __init__(self, path: Path | None) -> None:
        self._db = _open(path)

    def close(self) -> None:
        """Let the file go."""
        self._db.close()

    def update(self, texts: Mapping[str, str]) -> int:
        """Make the index that of ``texts`` (file -> text); how many files were read into it."""
        try:
            return self._update(texts)
        except sqlite3.Error:  # locked by another conversation, or damaged
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = _open(None)
            return self._update(texts)

    def _update(self, texts: Mapping[str, str]) -> int:
        digests = {
            name: hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() for name, text in texts.items()
        }
        known = dict(self._db.execute("SELECT name, digest FROM file"))
        stale = [name for name, digest in known.items() if digests.get(name) != digest]
        fresh = [name for name, digest in digests.items() if known.get(name) != digest]
        if not stale and not fresh:
            return 0
        with self._db:
            for name in stale:
                self._db.execute("DELETE FROM piece WHERE file = ?", (name,))
                self._db.execute("DELETE FROM file WHERE name = ?", (name,))
            for name in fresh:
                self._db.executemany("INSERT INTO piece VALUES (?, ?, ?, ?, ?, ?)", pieces(name, texts[name]))
                self._db.execute("INSERT INTO file VALUES (?, ?)", (name, digests[name]))
        return len(fresh)

    def search(self, question: str, limit: int = 8, kinds: Collection[str] = ()) -> list[Hit]:
        """The pieces that fit a question best; any text is a valid question.

        Args:
            question: words.
            limit: most pieces.
            kinds: only pieces of these kinds; all when empty.
        """
        words = telling(question)
        if not words:
            return []
        match = " OR ".join(f'"{word}"' for word in (*words, *_also(words)))
        names = [name.lower() for name in _NAME.findall(question)]
        found = self._query(match, _CANDIDATES)
        ranked = [
            Hit(hit.piece, hit.rank * _worth(hit.piece, words, names))
            for hit in found
            if not kinds or hit.piece.kind in kinds
        ]
        return sorted(ranked, key=lambda hit: (hit.rank, hit.piece.file, hit.piece.line))[:limit]

    def _query(self, match: str, limit: int) -> list[Hit]:
        query = (
            f"SELECT *, bm25(piece, {_WEIGHTS}) AS rank FROM piece WHERE piece MATCH ? ORDER BY rank LIMIT ?"
        )
        return [Hit(Piece(*row[:6]), row[6]) for row in self._db.execute(query, (match, limit))]


def _worth(piece: Piece, words: list[str], names: list[str]) -> float:
    """What a hit counts: by the share of the words that it holds, whether it is what was named, and its kind."""
    text = f"{piece.title} {piece.summary} {piece.body}".lower()
    share = sum(_stem(word) in text for word in words) / len(words)
    named = _NAMED if piece.title.lower() in names else 1.0
    test = _OF_TESTS if "/test/" in f"/{piece.file}" else 1.0
    return (0.2 + share * share) * named * test * _KINDS.get(piece.kind, 1.0)


def _stem(word: str) -> str:
    return word[: max(4, len(word) - 3)]


def _also(words: list[str]) -> list[str]:
    """Further words that mean the same in these sources."""
    return [other for word in words for other in _SYNONYMS.get(word, ())]


def telling(question: str) -> list[str]:
    """The words of a question that tell what it is about, at most 24."""
    words = dict.fromkeys(word.lower() for word in _WORD.findall(question))
    return [word for word in words if word not in _STOP][:24]


def lines_that_fit(piece: Piece, words: list[str], most: int = 3) -> Iterator[tuple[int, str]]:
    """The lines of a piece that hold the most of the words, with their numbers, in order."""
    offset = piece.summary.count("\n") + 1 if piece.kind == "routine" and piece.summary else 0
    scored = []
    for number, line in enumerate(piece.body.split("\n"), piece.line + offset):
        low = line.lower()
        score = sum(word in low for word in words)
        if score and line.strip():
            scored.append((-score, number, line.strip()))
    chosen = sorted(sorted(scored)[:most], key=lambda row: row[1])
    return ((number, line) for _, number, line in chosen)


def _open(path: Path | None) -> sqlite3.Connection:
    """A database of this version at ``path``; in memory where that cannot be had."""
    if path is not None:
        with suppress(sqlite3.Error, OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(path, timeout=WAIT_SECONDS)
            try:
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if version == 0:
                    db.executescript(_SCHEMA)
                    version = VERSION
                if version == VERSION:
                    db.execute("SELECT count(*) FROM piece").fetchone()
                    return db
            except sqlite3.Error:
                db.close()
                raise
            db.close()
    db = sqlite3.connect(":memory:")
    db.executescript(_SCHEMA)
    return db
