"""Free questions without a model: what is meant is done with the tools where it can be, else it is searched for.

Owns the answer's form and the search over sources, shaders, manual and lessons. Every answer is found at that moment,
with the places that it came from; it says that no model is configured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from architect.chat.index import Hit, Index, lines_that_fit, telling
from architect.ci.escape import line as one_line

if TYPE_CHECKING:
    from architect.chat.talk import Talk

MANUAL = (
    "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "kernel/README.md", "shaders/README.md", "shaders/MAILBOX.md",
    "pixelvm/SPEC.md", "pixelvm/PXL.md", "pixelvm/examples/README.md", "pixelvm/god/SPEC.md",
)  # fmt: skip
HITS = 5
LESSONS = 3
NO_MODEL = "No model is configured (/model says how to name one)"
_LINE = 110
_SUMMARY_LINES = 4
_MANUAL_MAX = 1 << 20


def answer(talk: Talk, question: str) -> None:
    """Answer one question."""
    from architect.chat import intents

    intent = intents.of(talk, question)
    if intent is not None:
        talk.view.note(f"{NO_MODEL}; {intent.plan}.")
        intent.act(talk)
        return
    found = hits(talk, question, HITS)
    talk.view.note(f"{NO_MODEL}; this is what the sources, the lessons and the manual hold, by search.")
    show_hits(talk, found, question)
    talk.ok = bool(found)


def texts(talk: Talk) -> dict[str, str]:
    """Every text that can answer: the kernel's sources (with the proposal), the shaders, the manual."""
    desk = talk.desk
    place = "kernel/" if desk.native else ""
    found = {f"{place}{name}": text for name, text in desk.texts().items()}
    found |= {name: text for name, text in desk.sources().items() if name.startswith("shaders/")}
    for name in MANUAL if desk.native else ():
        path = desk.root / name
        if name not in found and path.is_file() and path.stat().st_size <= _MANUAL_MAX:
            found[name] = path.read_text(errors="replace")
    return found


def index(talk: Talk) -> Index:
    """The index of ``texts``, brought up to date."""
    if talk.index is None:
        talk.index = Index(talk.desk.out / "index.db")
    talk.index.update(texts(talk))
    return talk.index


def hits(talk: Talk, question: str, limit: int, kinds: tuple[str, ...] = ()) -> list[Hit]:
    """The pieces that fit a question best."""
    return index(talk).search(question, limit, kinds)


def show_hits(talk: Talk, found: list[Hit], question: str) -> None:
    """Pieces with their places, and the lessons that fit."""
    words = telling(question)
    for hit in found:
        _show_hit(talk, hit, words)
    shown = [f"{hit.piece.file}:{hit.piece.line} {hit.piece.title}" for hit in found]
    lessons = talk.desk.lessons().search(question, LESSONS) if words else []
    for lesson in lessons:
        talk.view.heading(f"lesson {lesson.id}")
        talk.view.text(f"    {one_line(lesson.cause, _LINE)}")
        shown.append(f"lesson {lesson.id}: {lesson.cause}")
    if not shown:
        talk.note("nothing fits; /search WORDS, /explain SYMBOL and /help go on from here")
    else:
        talk.session.say("assistant", "found:\n" + "\n".join(shown))


def _show_hit(talk: Talk, hit: Hit, words: list[str]) -> None:
    piece = hit.piece
    title = "" if piece.title == piece.file else f"  {piece.title}"
    talk.view.heading(f"{piece.file}:{piece.line}{title}")
    for row in piece.summary.splitlines()[:_SUMMARY_LINES]:
        talk.view.text(f"    {row[:_LINE]}")
    for number, line in lines_that_fit(piece, words):
        if not (piece.summary and line.lstrip("# ") in piece.summary):
            talk.view.text(f"    {number:>5}  {line[:_LINE]}")
