"""``pxos lessons``: what the architect has learnt: look, search, teach, export, import."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from architect.ci import escape
from toolchain.command import STATUS_OK, Outcome, Ui

HELP = "What the architect has learnt from past repairs: small numbered items, with a record and guards."
CAUSE_MAX = 90  # characters of a cause in a list
EXAMPLE = 'pxos lessons add --cause "shift of the wrong level" --remove "shr rax, 30" --insert "shr rax, 21"'

_SIGNATURE = ("outcome", "walk_level", "unit", "mnemonic", "routine", "failed_gate")


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments: one subcommand each."""
    store = argparse.ArgumentParser(add_help=False)
    for options, what in (
        (("--json",), "one JSON object on stdout"),
        (("-q", "--quiet"), "no progress on stderr"),
    ):
        store.add_argument(*options, action="store_true", default=argparse.SUPPRESS, help=what)
    store.add_argument(
        "--lessons", type=Path, metavar="DIR", help="the lesson store (default: the person's own)"
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, what: str, example: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = actions.add_parser(
            name, parents=[store], help=what, description=what, epilog=f"example: {example}"
        )
        return made

    action("list", "one line per lesson", "pxos lessons list --json")
    show = action("show", "one lesson in full, with its history", "pxos lessons show 3")
    show.add_argument("id", type=int)
    search = action("search", "lessons whose text holds the words", "pxos lessons search page fault bar0")
    search.add_argument("words", nargs="+")
    export = action("export", "all lessons as TOML, to review and keep", "pxos lessons export lessons.toml")
    export.add_argument("file", nargs="?", type=Path, help="where to (default: standard output)")
    importer = action(
        "import", "take lessons from such a file; equal ones merge", "pxos lessons import lessons.toml"
    )
    importer.add_argument("file", type=Path)
    credit = action("credit", "say that a lesson helped, or misled", "pxos lessons credit 3 --misled")
    credit.add_argument("id", type=int)
    way = credit.add_mutually_exclusive_group(required=True)
    way.add_argument("--helped", action="store_true", help="it led to the repair")
    way.add_argument("--misled", action="store_true", help="it, or its guard, was wrong here")
    guard = action(
        "guard",
        "make a lesson's guards anew against a sound tree, or take them away",
        "pxos lessons guard 3 --kernel kernel",
    )
    guard.add_argument("id", type=int)
    guard.add_argument("--kernel", type=Path, default=Path("kernel"), metavar="DIR", help="a sound tree")
    guard.add_argument("--drop", action="store_true", help="take them away: they were wrong")
    _configure_add(action("add", "teach a lesson by hand", EXAMPLE))


def _configure_add(add: argparse.ArgumentParser) -> None:
    add.add_argument("--cause", required=True, metavar="TEXT", help="why it fails, in a sentence")
    for name, what in (
        ("before", "statement before the edit"),
        ("remove", "statement that the repair takes out"),
        ("insert", "statement that the repair puts in"),
        ("after", "statement after the edit"),
    ):
        add.add_argument(
            f"--{name}", action="append", default=[], metavar="STATEMENT", help=f"{what}; may repeat"
        )
    add.add_argument("--operator", default="by-hand", help="a name for the kind of edit")
    add.add_argument("--vector", type=int, metavar="N", help="exception vector, 0 to 255")
    add.add_argument(
        "--error-bit", action="append", default=[], metavar="NAME", help="e.g. write; may repeat"
    )
    add.add_argument("--rule", action="append", default=[], metavar="NAME", help="diagnosis rule; may repeat")
    for name in _SIGNATURE:
        default = "fault" if name == "outcome" else None
        add.add_argument(f"--{name.replace('_', '-')}", default=default, metavar="NAME")


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """One action on the store."""
    from architect.lessons import SqliteLessons, default_folder

    store = SqliteLessons(args.lessons or default_folder())
    if args.action == "list":
        return _listed(store.all())
    if args.action == "search":
        return _listed(store.search(" ".join(args.words)))
    if args.action == "show":
        return _shown(store.get(args.id), store.history(args.id))
    if args.action == "credit":
        store.credit(args.id, helped=args.helped)
        return _listed([store.get(args.id)])
    if args.action == "guard":
        return _guarded(store, args, ui)
    if args.action == "export":
        return _exported(store.all(), args.file)
    if args.action == "import":
        return _imported(store, args.file)
    return _added(store, args)


def _row(lesson: Any) -> dict[str, Any]:
    signature = {name: getattr(lesson.signature, name) for name in lesson.signature.__dataclass_fields__}
    about = {"id": lesson.id, "cause": lesson.cause, "signature": signature, "edit": lesson.edit}
    record = {"helped": lesson.helped, "misled": lesson.misled}
    return {**about, "evidence": lesson.evidence, **record, "guards": [dict(g) for g in lesson.guards]}


def _listed(lessons: Sequence[Any]) -> Outcome:
    lines = [
        f"{lesson.id:>4}  helped {lesson.helped}, misled {lesson.misled}, guards {len(lesson.guards)}  "
        f"{escape.line(lesson.cause, CAUSE_MAX)}"
        for lesson in lessons
    ]
    return Outcome(STATUS_OK, {"lessons": [_row(x) for x in lessons]}, "\n".join(lines) or "no lessons")


def _shown(lesson: Any, history: Sequence[dict[str, Any]]) -> Outcome:
    from architect import lesson_text

    past = [{"kind": row["kind"], "data": row["data"], "at": row["at"]} for row in history]
    counts = Counter(row["kind"] for row in history)
    text = lesson_text.dump([lesson]).rstrip("\n")
    if counts:
        text += "\n\n# history: " + ", ".join(f"{kind} {count}" for kind, count in counts.items())
    return Outcome(STATUS_OK, {"lessons": [{**_row(lesson), "history": past}]}, text)


def _guarded(store: Any, args: argparse.Namespace, ui: Ui) -> Outcome:
    """Make the guards of a lesson from its edit, undone in a sound tree; or drop them."""
    from architect.learn import guards
    from architect.workspace import TreeCopy
    from toolchain import build
    from toolchain.errors import InputError

    lesson = store.get(args.id)
    made: list[dict[str, Any]] = []
    if not args.drop:
        tree = build.kernel_tree(args.kernel)
        sound = TreeCopy(tree).sources()
        ui.step(f"undoing the edit of lesson {lesson.id} in {tree}")
        broken = guards.recreated(tree, lesson, sound)
        if broken is None:
            message = (
                f"the edit of lesson {lesson.id} stands nowhere in {tree}; name a tree that was repaired so"
            )
            raise InputError(message, stage=guards.STAGE)
        made = [guards.to_json(guard) for guard in guards.learnt(tree, broken, sound)]
    store.guard(lesson.id, made)
    names = ", ".join(guard["rule"] for guard in made)
    text = f"lesson {lesson.id}: {names or 'no rule finds its bug and is silent on the sound tree'}"
    return Outcome(
        STATUS_OK,
        {"lessons": [_row(store.get(lesson.id))]},
        text if not args.drop else f"lesson {lesson.id}: no guards",
    )


def _exported(lessons: Sequence[Any], file: Path | None) -> Outcome:
    from architect import lesson_text
    from toolchain.files import write_atomic

    text = lesson_text.dump(lessons)
    data = {"lessons": [_row(x) for x in lessons], "file": str(file) if file else None}
    if file is None:
        return Outcome(STATUS_OK, data, text.rstrip("\n"))
    write_atomic(file, text, stage=lesson_text.STAGE)
    return Outcome(STATUS_OK, data, f"{len(lessons)} lessons written to {file}")


def _imported(store: Any, file: Path) -> Outcome:
    from architect import lesson_text

    numbers = []
    for lesson in lesson_text.read(file):
        runs = lesson.evidence["runs"]
        numbers.append(
            store.merge(
                lesson.signature, lesson.cause, lesson.edit, runs, lesson.helped, lesson.misled, lesson.guards
            )
        )
    return Outcome(
        STATUS_OK,
        {"lessons": [_row(store.get(n)) for n in numbers]},
        f"{len(numbers)} lessons taken from {file}",
    )


def _added(store: Any, args: argparse.Namespace) -> Outcome:
    from architect import lesson_text
    from architect.protocols import Lesson, Signature
    from architect.shape import Namer
    from toolchain.errors import InputError

    namer = Namer()
    lists = {
        name: [namer.shape(s) for s in getattr(args, name)]
        for name in ("before", "remove", "insert", "after")
    }
    if not lists["remove"] and not lists["insert"]:
        raise InputError("give what the repair does: --insert, --remove or both", stage=lesson_text.STAGE)
    if not args.cause.strip():
        raise InputError("--cause: is empty; say why it fails, in a sentence", stage=lesson_text.STAGE)
    columns = {name: getattr(args, name) for name in _SIGNATURE}
    signature = Signature(
        vector=args.vector, error_bits=tuple(args.error_bit), rules=tuple(args.rule), **columns
    )
    step = {"routine": args.routine or "", "role": "", "file": "", **lists}
    edit = {"operator": args.operator, "steps": [step]}
    draft = Lesson(0, signature, args.cause, edit, {"runs": []})
    (checked,) = lesson_text.load(
        lesson_text.dump([draft]), "this lesson"
    )  # the checks of the file form hold here too
    number = store.merge(checked.signature, checked.cause, checked.edit, [])
    return Outcome(STATUS_OK, {"lessons": [_row(store.get(number))]}, f"lesson {number}")
