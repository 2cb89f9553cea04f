"""What a ``pxos.toml`` for a tree would say, by looking at the tree: each key with the reason.

Owns the looking: makefiles, names, headers and words in sources. It runs nothing, and what it cannot tell it says to
be a guess. Never writes a file.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from toolchain.errors import InputError
from toolchain.foreign import machine, recipe, wording
from toolchain.foreign.config import DISKS_MAX, SUFFIXES, SYNTAXES, TIMEOUT_SECONDS
from toolchain.foreign.makefile import IMAGES, Makefile
from toolchain.foreign.tree import read
from toolchain.printable import printable

STAGE = "init"
TEXT_MAX = 1 << 20

_ASSEMBLY = (".s", ".S", ".asm", ".nasm", ".inc", ".mac")
_ASIDE = (
    "test",
    "tests",
    "build",
    "out",
    "doc",
    "docs",
    "tools",
    "scripts",
    "limine",
    "third_party",
    "vendor",
)
# What speaks for a dialect, and how much, by a line
_SIGNS: Mapping[str, tuple[tuple[str, int], ...]] = {
    "nasm": (
        (r"^\s*\[?(?:bits|org|use(?:16|32|64)|default\s+rel|cpu)\b", 6),
        (r"^\s*%(?:include|define|macro|endmacro|if|ifdef|assign|rep)\b", 8),
        (r"^\s*\[?(?:section|segment|global|extern)\s", 5),
        (r"\b(?:db|dw|dd|dq|resb|resw|resd|resq)\s", 3),
        (r"\bequ\b|\btimes\s", 3),
        (r"^[^\"'#]*;", 1),
    ),
    "gas-att": (
        (r"%(?:[re]?(?:ax|bx|cx|dx|si|di|sp|bp)|[abcd][lh]|r\d+[dwb]?|[cdefgs]s|cr\d)\b", 4),
        (r"\$(?:0x[0-9a-f]+|\d+|\w+)\s*,", 3),
        (r"^\s*(?:mov|add|sub|cmp|test|and|or|xor|push|pop|inc|dec|lea|shl|shr)[bwlq]\s", 2),
        (r"^\s*\.(?:globl|global|section|code(?:16|32|64)|text|data|bss|align|long|asciz)\b", 1),
    ),
    "gas-intel": (
        (r"^\s*\.intel_syntax\s+noprefix", 40),
        (r"\b(?:byte|word|dword|qword)\s+ptr\b|\boffset\s", 4),
        (r"^\s*\.(?:globl|global|section|code(?:16|32|64)|text|data|bss|align|long|asciz)\b", 1),
        (r"^\s*(?:mov|add|sub|cmp|test|and|or|xor)\s+[re]?(?:ax|bx|cx|dx|si|di|sp|bp)\s*,", 3),
    ),
}
_SCRIPTS = ("build.sh", "make.sh")


@dataclass(frozen=True, slots=True)
class Guess:
    """One key: its table and name, the TOML of its value, and why."""

    table: str
    key: str
    value: str
    why: str


class Look:
    """A tree as it is looked at: names, and the texts among them.

    Raises:
        InputError: it is no folder, or holds no source of a kernel.
    """

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        files = read(tree)
        self.names = sorted(files)
        self.texts = {
            name: file.data.decode("utf-8", "replace")
            for name, file in files.items()
            if len(file.data) <= TEXT_MAX and b"\0" not in file.data[:4096]
        }
        self.sources = [
            name for name in self.names if name.endswith(SUFFIXES) and name in self.texts and not _aside(name)
        ]
        if not any(name.endswith((".s", ".S", ".asm", ".nasm", ".c")) for name in self.sources):
            raise InputError(
                f"{tree}: no sources of a kernel ({', '.join(f'*{s}' for s in SUFFIXES)}); name its folder",
                stage=STAGE,
            )
        self.makefile = _makefile(self.texts)
        self.folder = str(PurePosixPath(self.makefile).parent) if self.makefile else "."
        scripts = "\n".join(self.texts.get(name, "") for name in ("run.sh", *_SCRIPTS))
        self.make = Makefile(self.texts[self.makefile] if self.makefile else "", scripts)
        self._disks = self.make.machine.disks[:DISKS_MAX]

    def guesses(self) -> tuple[Guess, ...]:
        """Every key."""
        return (
            Guess("kernel", "name", _quoted(_name(self.tree.resolve().name)), "the folder's name"),
            self.globs(),
            self.syntax(),
            self.build(),
            self.artifact(),
            self.qemu(),
            *self.disks(),
            Guess(
                "boot",
                "timeout",
                f"{TIMEOUT_SECONDS:g}",
                "the default; make it a few times what a good boot takes",
            ),
            *self.judge(),
        )

    # --- the kernel ----------------------------------------------------------------------------------------

    def globs(self) -> Guess:
        """One glob for each folder and ending that holds sources."""
        aside = sorted({_aside(n) for n in self.names if n.endswith(SUFFIXES)} - {""})
        mixed = {folder.split("/")[0] for folder in aside if "/" in folder}  # of theirs a part stays outside
        globs: dict[str, None] = {}
        for folder, suffix in sorted(
            {(str(PurePosixPath(n).parent), PurePosixPath(n).suffix) for n in self.sources}
        ):
            top = folder.split("/")[0]
            here = "" if folder == "." else f"{folder}/" if top in mixed else f"{top}/**/"
            globs.setdefault(f"{here}*{suffix}")
        found = list(globs)
        left = f"; {', '.join(aside)} left out: no part of what boots, by the name" if aside else ""
        value = _list(found)
        return Guess("kernel", "sources", value, f"{len(self.sources)} files that a repair may edit{left}")

    def syntax(self) -> Guess:
        """The dialect that most lines speak for."""
        scores = dict.fromkeys(SYNTAXES, 0)
        for name in self.sources:
            if name.endswith(_ASSEMBLY):
                for syntax, score in score_text(self.texts[name]).items():
                    scores[syntax] += score
        best = max(SYNTAXES, key=lambda name: scores[name])
        told = ", ".join(f"{name} {score}" for name, score in sorted(scores.items(), key=lambda row: -row[1]))
        if not scores[best]:
            best = "gas-att"
            if any(name.endswith(_ASSEMBLY) for name in self.sources):
                why = "a guess: no line tells one syntax from another"
            else:
                why = "there is no assembly file, so it is of no account"
            return Guess("kernel", "syntax", _quoted(best), why)
        return Guess("kernel", "syntax", _quoted(best), f"by what lines look like: {told}")

    def artifact(self) -> Guess:
        """What QEMU is started from, a product that the makefile names, or what one command will make."""
        name, why = self._product()
        return Guess("kernel", "artifact", _quoted(self._placed(name)), why)

    def _product(self) -> tuple[str, str]:
        """The artifact as the makefile names it, and why it is that."""
        if self.make.machine.boots:
            return self.make.machine.boots, "QEMU is started from it"
        found = list(dict.fromkeys(self.make.products()))
        if not found:
            return recipe.product(self.texts), "a guess: no makefile names a product"
        first = next(iter(self.make.rules), None)  # what a bare `make` makes

        def order(name: str) -> tuple[bool, int, int]:
            return first != name, IMAGES.get(PurePosixPath(name).suffix, 2), found.index(name)

        others = f"; it makes {', '.join(found[:6])}" if len(found) > 1 else ""
        return min(found, key=order), f"a product of {self.makefile or 'its script'}{others}"

    def _placed(self, name: str) -> str:
        """A file of the makefile's as the tree names it."""
        return (PurePosixPath(self.folder) / name).as_posix()

    def disks(self) -> Iterator[Guess]:
        """The further disks of the machine."""
        found = [self._placed(name) for name in self._disks]
        if found:
            yield Guess("boot", "disks", _list(found), "further disks of the machine that its makefile runs")

    def build(self) -> Guess:
        """The command that makes it."""
        product, _ = self._product()
        if self.makefile:
            wanted = [name for name in (product, *self._disks) if name in self.make.rules]
            first = next(iter(self.make.rules), "all")
            bare = first in ("all", product) or product in self.make.text.split("\n\n")[0]
            if wanted == [product] and bare:
                wanted = []  # a bare make is enough
            elif wanted and product not in wanted:
                wanted.insert(0, first)
            folder = ["-C", self.folder] if self.folder != "." else []
            command = shlex.join(["make", *folder, *wanted])
            return Guess("kernel", "build", _quoted(command), f"there is a {self.makefile}")
        for name in _SCRIPTS:
            if name in self.texts:
                return Guess("kernel", "build", _quoted(f"sh {name}"), f"there is a {name}")
        if "CMakeLists.txt" in self.names:
            command = "cmake -S . -B build && cmake --build build"
            return Guess("kernel", "build", _quoted(command), "there is a CMakeLists.txt")
        why = "a guess: there is neither a makefile nor a build script"
        command, why = recipe.command(self.texts, product) or ("make", why)
        return Guess("kernel", "build", _quoted(command), why)

    # --- the boot and its judge ----------------------------------------------------------------------------

    def qemu(self) -> Guess:
        """What the makefile tells QEMU, as far as it is allowed."""
        kept: list[str] = []
        dropped: list[str] = []
        for word, value in self.make.machine.options:
            try:
                for item in machine.checked([word, value] if value is not None else [word]):
                    kept.append(item)
            except machine.Refused:
                dropped.append(word)
        why = "what its makefile runs" if kept else "nothing: a plain machine"
        if dropped:
            why += f"; left out, since they name host files or lines, or are ours: {' '.join(dict.fromkeys(dropped))}"
        if any(
            re.search(r"\b0xf4\b", self.texts[n]) for n in self.sources
        ) and "isa-debug-exit" not in " ".join(kept):
            kept += ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x4"]
            why += "; isa-debug-exit, because a source names port 0xf4"
        headers = [name for magic, name in ((r"0x1badb002", "Multiboot"), (r"0xe85250d6", "Multiboot2"))
                   if any(re.search(magic, self.texts[n], re.IGNORECASE) for n in self.sources)]  # fmt: skip
        scripts = [name for name in self.names if name.endswith((".ld", ".lds"))]
        if headers:
            why += (
                f"; a {headers[0]} header"
                + (f" and {scripts[0]}" if scripts else "")
                + (" make" if scripts else " makes")
                + " it a loader's kernel"
            )
        return Guess("boot", "qemu", _list(kept), why)

    def judge(self) -> Iterator[Guess]:
        """Words that say that it is up, and words that say that it is not."""
        said = wording.texts({name: self.texts[name] for name in self.sources})
        name, text = wording.ready(said)
        where = f"a text of {name}" if name else "no text of the sources looks like it"
        yield Guess(
            "judge",
            "ready",
            _quoted(_escaped(text)),
            f"a guess, {where}: put here what a good boot prints last",
        )
        bad = wording.bad(said)[:4]
        if bad:
            value = _list([re.escape(word) for word in bad])
            yield Guess("judge", "forbid", value, "words of its own failures")


def score_text(text: str) -> dict[str, int]:
    """How much the lines of an assembly source speak for each dialect."""
    scores = dict.fromkeys(SYNTAXES, 0)
    for line in text.split("\n")[:5000]:
        for syntax, signs in _SIGNS.items():
            scores[syntax] += sum(
                weight for pattern, weight in signs if re.search(pattern, line, re.IGNORECASE)
            )
    return scores


def _makefile(names: Collection[str]) -> str | None:
    """The tree's makefile: at its top, else in the one folder there that has one."""
    called = ("GNUmakefile", "makefile", "Makefile")
    below = [name for name in names if name.count("/") == 1 and name.endswith(called) and not _aside(name)]
    top = next((name for name in called if name in names), None)
    return top or (below[0] if len(below) == 1 else None)


def toml(guesses: tuple[Guess, ...]) -> str:
    """The file, each key with its reason above it."""
    out = ["# How this kernel is built, booted and judged (pxos init --help tells every key)."]
    table = ""
    for guess in guesses:
        if guess.table != table:
            table = guess.table
            out += ["", f"[{table}]"]
        out += [f"# {guess.why}", f"{guess.key} = {guess.value}"]
    return "\n".join(out) + "\n"


def _aside(name: str) -> str:
    """The folder by whose name a file is no part of what boots; empty for one that may be."""
    parts = PurePosixPath(name).parts[:-1]
    for depth, part in enumerate(parts, 1):
        if part.lower() in _ASIDE or part.startswith("."):
            return "/".join(parts[:depth])
    return ""


def _escaped(text: str) -> str:
    """A text as a regular expression, without its escapes at the end."""
    return re.escape(re.sub(r"(?:\\[nrt0]|\s)+$", "", text).lstrip()).replace(r"\ ", " ")


def _name(folder: str) -> str:
    """A folder's name as text on one line."""
    return printable(folder, "", "-").strip() or "kernel"


def _list(texts: Sequence[str]) -> str:
    """A TOML array of strings."""
    return "[" + ", ".join(_quoted(text) for text in texts) + "]"


def _quoted(text: str) -> str:
    """A TOML basic string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
