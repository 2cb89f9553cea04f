"""Lines and gaps of a length that only a program writes: what reads sources looks at each character a few times.

Each reader runs in a process of its own: one that took time with the square of the length would take an hour, so the
deadline says that it hangs, not how fast it is.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.long

SECONDS = 60
LENGTH = 1_000_000

READERS = {
    "a bracket that stays open": (
        '"mov eax, dword ptr" + " " * N + "[rax\\n"',
        "operand",
    ),
    "a gap before a decoration": ('"vaddps zmm0, zmm1, x" + " " * N + "y{k1}"', "operand"),
    "quotes before a slash": ("'a: ' * (N // 6) + '\"x\" ' * (N // 8) + '/'", "cut"),
    "openings in a macro": ('"\\\\(" * (N // 2)', "marks"),
    "a word beside a parameter": ('"a" * N + " \\\\x"', "names"),
    "blank lines and macros": ('"\\n" * N', "macros"),
    "blank lines and units": ('"\\n" * N', "lines"),
    "a gap in data": ('".byte 1" + " " * N + ", 2"', "size"),
    "a gap in a listing": ('"x" + " " * N + "y"', "listing"),
    "a gap in a makefile": ('"CC = a" + " " * N + "b\\n" + "\\n" * N', "makefile"),
    "a makefile of targets": ('"a.img " * (N // 6)', "makefile"),
    "a target without end": ('"a.img$(" * (N // 7)', "makefile"),
    "variables that name themselves": (
        '"A = $(A)$(A)$(B)\\nB = $(A)$(A)\\n" + "x.img: $(A)\\n\\tqemu-system-i386 $(A)\\n" * (N // 40)',
        "makefile",
    ),
    "a recipe without end": ('"\\tqemu-system-i386 " + "$(shell " * (N // 8)', "makefile"),
    "options without end": ('"\\tqemu-system-i386" + " -m 1" * (N // 5)', "makefile"),
    "quotation marks and formats": ('"\\"%08lx %" * (N // 8)', "sources"),
    "an include without end": ('" " * N + "#include" + " " * N', "sources"),
}
_READ = {
    "operand": """
from toolchain import insn
from toolchain.errors import InputError
from toolchain.types import Place
try:
    insn.parse(TEXT, Place("", 0), 64, lambda name: None)
except InputError:
    pass
""",
    "cut": "from toolchain.source import SourceFile; SourceFile('x', TEXT).statements",
    "marks": "from toolchain import template; template._cut_at_marks(TEXT, ['a'])",
    "names": "from toolchain import reach; reach.names_of(TEXT)",
    "macros": "from architect import statements; statements.label_arguments([TEXT])",
    "lines": """
from architect import judge, workspace
from toolchain import pieces
judge.tests_of({"x.s": TEXT})
workspace._judges_includes({"x.s": TEXT})
pieces._MACRO.findall(TEXT)
""",
    "size": "from architect.checks import places; places._size(TEXT, 0)",
    "listing": """
from toolchain.foreign import names
for pattern in (names._ORG, names._SECTION, names._LABEL):
    pattern.match(TEXT)
    pattern.match(TEXT[1:])
""",
    "makefile": """
from toolchain.foreign.makefile import Makefile
made = Makefile(TEXT, TEXT)
list(made.products()), made.rules, made.machine
""",
    "sources": """
from toolchain.foreign import wording
wording.ready(wording.texts({"a.c": TEXT}))
""",
}


@pytest.mark.parametrize("name", READERS)
def test_each_character_is_looked_at_a_few_times(name: str) -> None:
    text, reader = READERS[name]
    code = f"N = {LENGTH}\nTEXT = {text}\n{_READ[reader]}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=SECONDS)
