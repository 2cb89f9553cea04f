"""/fix and /test: the fix loop and the gates, on the kernel with the proposal as it lies on the desk."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from architect.chat.names import Meant, nearest
from architect.chat.talk import words_of
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.chat.talk import Talk
    from architect.run import Repair

STAGE = "chat"
BUDGET_SECONDS = 120.0


def fix(talk: Talk, rest: str) -> None:
    """``/fix [ROUTINE] [budget=S] [engine=NAME]``."""
    words = words_of(rest)
    options = dict(word.split("=", 1) for word in words if "=" in word)
    names = [word for word in words if "=" not in word]
    unknown = options.keys() - {"budget", "engine"}
    if unknown or len(names) > 1:
        raise InputError("/fix [ROUTINE] [budget=S] [engine=NAME]", stage=STAGE)
    try:
        seconds = float(options.get("budget", BUDGET_SECONDS))
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InputError(f"budget={options['budget']}: give seconds above 0", stage=STAGE)
    meant = routine(talk, names[0]) if names else None
    repair(talk, meant, seconds, options.get("engine", "auto"))


def routine(talk: Talk, said: str) -> Meant:
    """The routine of a name, or the nearest one.

    Raises:
        InputError: nothing is near.
    """
    headers = talk.desk.headers()
    name = said if said in headers else nearest(said, headers)
    if name is None:
        raise InputError(f"no routine is called '{said}', and none nearly; /search {said}", stage=STAGE)
    return Meant(said, name)


def repair(talk: Talk, meant: Meant | None, seconds: float = 0.0, engine: str = "auto") -> None:
    """Run the fix loop on the kernel as it lies on the desk, and lay what it found beside it.

    Args:
        talk: the conversation.
        meant: the routine that the person named, or None.
        seconds: budget; 0 for the usual one.
        engine: who proposes.
    """
    from architect import engines, kinds

    if engine not in engines.NAMES:
        raise InputError(f"engine={engine}: there are {', '.join(engines.NAMES)}", stage=STAGE)
    kinds.of(talk.desk.tree).check_tools()
    if meant is not None and meant.renamed:
        header = talk.desk.headers()[meant.name]
        talk.note(
            f"No routine is called {meant.said}; in this tree that is {meant.name} ({header.file}:{header.line}):"
            f" {header.summary}"
        )
    if talk.desk.report is not None:
        talk.note(f"The last failure report ({talk.desk.report_note}): {talk.desk.report.cause}")
        for found in talk.desk.report.diagnosis:
            talk.note(f"  {found.sentence}")
    done = _loop(talk, seconds or BUDGET_SECONDS, engine)
    _told(talk, done, meant)


def _loop(talk: Talk, seconds: float, engine: str) -> Repair:
    from architect import run as runner
    from architect.tools.foreign_desk import ForeignDesk

    settings = runner.Settings(
        tree=talk.desk.on_disk(),
        out=talk.desk.out / "fix",
        lessons=talk.desk.lessons_folder(),
        engine=engine,
        seconds=seconds,
        unsafe=isinstance(talk.desk, ForeignDesk) and talk.desk.unsafe,
        **(talk.mind.for_repair() if talk.mind is not None and engine in ("auto", "llm") else {}),
    )
    return runner.repair(settings, talk.ui)


def _told(talk: Talk, done: Repair, meant: Meant | None) -> None:
    verdict, data = done.verdict, done.data
    failing = data["diagnosis"]["failing"]
    for gate in failing:
        talk.note(f"  {gate['gate']}: {gate['message']}")
    took = f"{verdict.boots} boots, {verdict.candidates} candidates, {verdict.seconds:.1f} s"
    if verdict.outcome == "healthy":
        talk.view.good(f"healthy: {verdict.reason} ({took})")
        talk.session.say("note", f"healthy: {verdict.reason}")
        if meant is not None:
            talk.show(talk.tool("check_contracts", routines=[meant.name]), f"check_contracts {meant.name}")
        return
    if verdict.patch is None:
        talk.ok = False
        talk.view.bad(f"{verdict.outcome}: {verdict.reason} ({took})")
        talk.session.say("note", f"{verdict.outcome}: {verdict.reason}")
        if data["partial"] is not None:
            talk.note("the best partial result:")
            talk.view.diff(data["partial"]["diff"])
        talk.note(f"report: {data['report']}")
        return
    talk.view.good(f"{verdict.outcome}: {verdict.reason} ({took})")
    talk.note(f"{verdict.patch.reason} (engine {verdict.patch.engine}, operator {verdict.patch.operator})")
    before = talk.before_proposal()
    talk.desk.propose(done.workspace.apply(verdict.patch))
    talk.proposed(before)
    talk.proved = talk.desk.key()
    lesson = f"; lesson {verdict.lesson} remembers it" if verdict.lesson is not None else ""
    talk.note(f"Every gate passes on a fresh copy{lesson}. /apply takes it to a branch, /undo drops it.")
    _elsewhere(talk, meant, done)


def _elsewhere(talk: Talk, meant: Meant | None, done: Repair) -> None:
    """Say so when the fault was not where it was looked for."""
    if meant is None or done.verdict.patch is None:
        return
    from architect.tools.reading import place_of

    name, begin, end = place_of(talk.desk, meant.name)
    if not any(e.file == name and begin <= e.line <= end for e in done.verdict.patch.edits):
        files = ", ".join(sorted({f"{e.file}:{e.line}" for e in done.verdict.patch.edits}))
        talk.note(f"The fault was not in {meant.name} itself but at {files}.")


def test(talk: Talk, rest: str) -> None:
    """``/test [kernel|contracts [ROUTINE ...]|gates|thorough]``."""
    words = words_of(rest) or ["kernel" if talk.desk.native else "gates"]
    what, names = words[0], words[1:]
    if what == "contracts":
        arguments: dict[str, Any] = {"routines": names} if names else {}
        talk.show(talk.tool("check_contracts", **arguments), f"check_contracts {' '.join(names)}".strip())
    elif names:
        raise InputError("/test [kernel|contracts [ROUTINE ...]|gates|thorough]", stage=STAGE)
    elif what == "kernel":
        if not talk.desk.native:
            raise InputError(
                "/test kernel: only a pxOS kernel holds such tests; /test gates judges this one", stage=STAGE
            )
        talk.show(talk.tool("boot", cmdline="test"), "boot test")
    elif what in ("gates", "thorough"):
        answer = talk.tool("run_gates", thorough=what == "thorough", all=True)
        talk.show(answer, f"run_gates {what}")
        if answer.ok:
            talk.proved = talk.desk.key()
    else:
        raise InputError(f"/test {what[:40]}: there are kernel, contracts, gates, thorough", stage=STAGE)
