"""A test suite for some routines of the kernel, made from what they promise: headers, models, in-kernel tests.

Owns the choice of routines, the text of the suite (a pytest file that stands alone), and running it. What is in the
file is derived from the tree when it is made; the judge is the same that holds repairs to account.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from architect.chat.index import telling
from architect.chat.talk import words_of
from architect.chat.view import PYTHON
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.chat.talk import Talk
    from architect.tools.desk import Desk
    from toolchain.headers import Routine, Slot

STAGE = "suite"
RUN_SECONDS = 180.0
SHOWN_LINES = 40
_ROUTINES_MAX = 120
_ENDS_MAX = 400
_TAIL = 25  # lines of pytest that are shown when it fails
_IDLE_WORDS = (
    "test tests suite suites comprehensive create generate write make code unit contract contracts full "
    "complete thorough kernel routine routines function functions assembly case cases "
)
_IDLE = frozenset(_IDLE_WORDS.split())
_SUMMARY = re.compile(r"(\d+) (passed|failed|error|errors)")


class Plan(NamedTuple):
    """What a suite covers.

    Attributes:
        title: of the subject, for names.
        routines: their headers, by name.
        models: names of the models that judge them.
        unjudged: routines that only their headers speak for.
        ends: (routine, register, value) at the ends of declared ranges.
        tests: names of in-kernel tests about them.
    """

    title: str
    routines: dict[str, Routine]
    models: tuple[str, ...]
    unjudged: tuple[str, ...]
    ends: tuple[tuple[str, str, int], ...]
    tests: tuple[str, ...]


def command(talk: Talk, rest: str) -> None:
    """``/suite [FILE|ROUTINE|WORD ...]``."""
    words = words_of(rest)
    if not words:
        raise InputError("/suite FILE|ROUTINE|WORD: say of what, e.g. /suite paging", stage=STAGE)
    make(talk, words)


def asked(talk: Talk, question: str) -> None:
    """A suite for what a question is about."""
    words = [word for word in telling(question) if word not in _IDLE]
    make(talk, words)


def make(talk: Talk, words: list[str]) -> None:
    """Make the suite, show it, run it, and say what it would and would not find."""
    from architect.chat import suite_mutants
    from toolchain.files import make_folder, write_atomic

    talk.desk.need_native("a suite")
    found = plan(talk.desk, words)
    text = written(talk.desk, found)
    folder = talk.desk.out / "suites"
    make_folder(folder, stage=STAGE)
    path = folder / f"test_{found.title}_suite.py"
    write_atomic(path, text, stage=STAGE)
    rows = text.splitlines()
    talk.view.code("\n".join(rows[:SHOWN_LINES]), PYTHON)
    if len(rows) > SHOWN_LINES:
        talk.view.note(f"… {len(rows) - SHOWN_LINES} more lines in {path}")
    counted = (
        f"{len(found.routines)} routines: {len(found.routines)} headers, {len(found.ends)} calls at the ends of ranges,"
        f" {len(found.models)} models, {len(found.tests)} in-kernel tests"
    )
    talk.note(f"{path}: {counted}")
    talk.ok = _run(talk, path)
    if found.unjudged:
        shown = ", ".join(found.unjudged[:12]) + (" …" if len(found.unjudged) > 12 else "")
        talk.note(f"only their headers speak for {len(found.unjudged)} of them (no model): {shown}")
    if talk.ok:
        suite_mutants.report(talk, found.routines)


def plan(desk: Desk, words: list[str]) -> Plan:
    """What a suite about these words covers.

    Raises:
        InputError: no routine fits them.
    """
    from architect import contracts
    from architect.judge import tests_of

    headers = desk.headers()
    chosen = _chosen(headers, words)
    if not chosen:
        raise InputError(
            f"no routine is about {' '.join(words) or 'nothing'}; /search finds names", stage=STAGE
        )
    items = [i for i in contracts.registry().values() if set(i.judges) & chosen.keys()]
    judged = {name for item in items for name in item.judges}
    tests = tests_of({n: t for n, t in desk.texts().items() if n.endswith(".s")})
    stems = {_stem(word) for word in (*words, *(name.partition("_")[0] for name in chosen))}
    title = re.sub(r"\W+", "_", "_".join(words)).strip("_")[:40] or "kernel"
    return Plan(
        title.lower(),
        chosen,
        tuple(sorted(item.name for item in items)),
        tuple(name for name in chosen if name not in judged),
        _ends(chosen),
        tuple(name for name in tests if any(stem in name for stem in stems)),
    )


def _chosen(headers: Mapping[str, Routine], words: list[str]) -> dict[str, Routine]:
    """The routines that are named, or whose file is, or whose name or file holds a word's stem."""
    files = {word.removeprefix("kernel/") for word in words}
    named = {n: r for n, r in headers.items() if n in words or r.file in files}
    if named:
        return named
    stems = [_stem(word) for word in words]
    near = {n: r for n, r in headers.items() if any(s in n or s in r.file for s in stems)}
    near = near or {n: r for n, r in headers.items() if any(s in r.summary.lower() for s in stems)}
    return dict(list(near.items())[:_ROUTINES_MAX])


def _stem(word: str) -> str:
    """``paging`` -> ``pag``, so that it is found in ``page_map``."""
    low = word.lower()
    for ending in ("ing", "ers", "er", "es", "s", "e"):
        if low.endswith(ending) and len(low) - len(ending) >= 3:
            return low[: -len(ending)]
    return low


def _ends(chosen: Mapping[str, Routine]) -> tuple[tuple[str, str, int], ...]:
    """Each input at the ends of its declared range, and of its width where none is declared."""
    found = [
        (name, slot.register, value)
        for name, routine in chosen.items()
        for slot in routine.inputs
        for value in _values(slot)
    ]
    return tuple(found[:_ENDS_MAX])


def _values(slot: Slot) -> list[int]:
    from toolchain.headers import register_bits

    bits = register_bits(slot.register)
    if bits is None or slot.type[:1] not in ("u", "i", "s") or not slot.type[1:].isdigit():
        return []
    bits = min(bits, int(slot.type[1:]))
    low = slot.low if slot.low is not None else 0
    high = slot.high if slot.high is not None else (1 << bits) - 1
    return sorted({low, min(low + 1, high), max(high - 1, low), high})


def written(desk: Desk, found: Plan) -> str:
    """The suite as a pytest file."""
    names = _list("ROUTINES", [repr(name) for name in found.routines])
    models = _list("MODELS", [repr(name) for name in found.models])
    ends = _list("ENDS", [f"({name!r}, {register!r}, {value:#x})" for name, register, value in found.ends])
    tests = _list("KERNEL_TESTS", [repr(name) for name in found.tests])
    return _TEMPLATE.format(
        title=found.title, tree=str(desk.on_disk()), names=names, models=models, ends=ends, tests=tests
    )


def _list(name: str, rows: list[str]) -> str:
    return f"{name} = [\n" + "".join(f"    {row},\n" for row in rows) + "]"


_TEMPLATE = '''"""Tests of {title}, made from the headers, models and in-kernel tests of the routines that it names.

Run: python -m pytest THIS_FILE [--kernel is the environment variable PXOS_KERNEL]
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from architect import contracts
from architect.contracts import generic
from toolchain import build, elf, qemu
from toolchain.harness import Harness
from toolchain.headers import full_register
from toolchain.types import BootConfig

TREE = Path(os.environ.get("PXOS_KERNEL", {tree!r}))
SEEDS = 8

{names}

# routine, register, value: the ends of the range that its header declares, the other inputs within theirs
{ends}

{models}

{tests}


@pytest.fixture(scope="session")
def image():
    with build.Session(TREE) as session:
        return session.build()


@pytest.fixture(scope="session")
def headers():
    return contracts.routines(build.sources(TREE))


@pytest.fixture(scope="session")
def machine(image):
    harness = Harness(image)
    yield harness
    harness.close()


@pytest.fixture
def harness(machine):
    machine.renew()
    return machine


@pytest.mark.parametrize("name", ROUTINES)
def test_it_keeps_what_its_header_promises(harness, headers, name):
    assert harness.has(name), "the routine is gone"
    assert generic.check(harness, headers[name], seeds=SEEDS) == []


@pytest.mark.parametrize(("name", "register", "value"), ENDS)
def test_at_the_ends_of_its_ranges(harness, headers, name, register, value):
    registers = generic.inputs(harness, headers[name], 0)
    registers[full_register(register)] = value
    result = harness.call(name, registers, limit=20_000)
    assert list(generic.broken(harness, headers[name], result)) == []


@pytest.mark.parametrize("name", MODELS)
def test_it_does_what_the_model_says(harness, name):
    assert contracts.registry()[name].violations(harness) == []


@pytest.fixture(scope="session")
def booted(image, tmp_path_factory):
    folder = tmp_path_factory.mktemp("boot")
    path = folder / "kernel.elf"
    path.write_bytes(elf.write(image))
    return qemu.boot(BootConfig(path, cmdline="test", timeout=60.0, log_dir=folder))


@pytest.mark.parametrize("name", KERNEL_TESTS)
def test_in_the_kernel(booted, name):
    assert booted.tests.get(name) is True, booted.outcome
'''


def _run(talk: Talk, path: Path) -> bool:
    """Run the suite in a process of its own; whether all of it passed."""
    from architect.tools import subcommand

    talk.desk.say(f"running {path.name}, at most {RUN_SECONDS:g} s")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir"]
    done = subcommand.run([*words, str(path.parent), str(path)], RUN_SECONDS)
    rows = done.output.strip().splitlines()
    last = rows[-1] if rows else f"pytest ended with status {done.status}: {done.errors.strip()[-200:]}"
    if done.status == 0:
        talk.view.good(last)
    else:
        for row in rows[-_TAIL:]:
            talk.view.bad(row)
    talk.session.say("tool", last, f"pytest {path.name}")
    return done.status == 0 and bool(_SUMMARY.search(last))
