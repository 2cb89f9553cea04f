"""What a ``pxos.toml`` for a tree would say, by looking at the tree: each key with the reason.

Owns the looking: makefiles, names, headers and words in sources. It runs nothing, and what it cannot tell it says to
be a guess. Never writes a file.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from toolchain.errors import InputError
from toolchain.foreign import machine
from toolchain.foreign.config import SUFFIXES, SYNTAXES, TIMEOUT_SECONDS
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
_TARGET = re.compile(
    r"^([\w./$(){}-]+\.(?:iso|img|bin|elf|flp|raw)|kernel|[\w./-]*os)\s*:(?!=)", re.MULTILINE
)
_VARIABLE = re.compile(r"^[ \t]*(?:export[ \t]+)?(\w+)[ \t]*[:?]?=([^#\n]*)", re.MULTILINE)
_OUTPUT = re.compile(r"(?:-o\s*|of=)([\w./-]+)")
_QEMU = re.compile(r"qemu-system-(?:x86_64|i386)\s+(.*)$", re.MULTILINE)
_STRING = re.compile(r"\"((?:\\.|[^\"\\\n]){3,80})\"|'((?:[^'\n]){3,80})'")
_READY = re.compile(
    r"\b(?:ready|booted|welcome|hello|kernel|running|started|up|done|initiali[sz]ed|ok)\b", re.IGNORECASE
)
_BAD = re.compile(r"\b(?:panic|fatal|exception|fault|assert\w*|error)\b", re.IGNORECASE)
_EXTENT = {".iso": 0, ".img": 1, ".flp": 1, ".raw": 1, ".elf": 2, ".bin": 3}


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
            name
            for name in self.names
            if name.endswith(SUFFIXES) and name in self.texts and not _is_aside(name)
        ]
        if not any(name.endswith((".s", ".S", ".asm", ".nasm", ".c")) for name in self.sources):
            raise InputError(
                f"{tree}: no sources of a kernel ({', '.join(f'*{s}' for s in SUFFIXES)}); name its folder",
                stage=STAGE,
            )
        self.makefile = next((n for n in ("GNUmakefile", "makefile", "Makefile") if n in self.texts), None)
        self.make = self.texts[self.makefile] if self.makefile else ""

    def guesses(self) -> tuple[Guess, ...]:
        """Every key."""
        syntax = self.syntax()
        artifact = self.artifact()
        return (
            Guess("kernel", "name", _quoted(_name(self.tree.resolve().name)), "the folder's name"),
            self.globs(),
            syntax,
            self.build(artifact, syntax),
            artifact,
            self.qemu(artifact),
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
        rows = Counter((str(PurePosixPath(n).parent), PurePosixPath(n).suffix) for n in self.sources)
        tops: dict[tuple[str, str], int] = {}
        for (folder, suffix), count in sorted(rows.items()):
            top = folder.split("/")[0]
            key = ("" if folder == "." else top, suffix)
            tops[key] = tops.get(key, 0) + count
        found = [f"{top}/**/*{suffix}" if top else f"*{suffix}" for top, suffix in tops]
        aside = sorted({n.split("/")[0] for n in self.names if _is_aside(n) and n.endswith(SUFFIXES)})
        left = f"; {', '.join(aside)} left out: no part of what boots, by the name" if aside else ""
        value = "[" + ", ".join(_quoted(row) for row in found) + "]"
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
        """A product that the makefile names, or what one command will make."""
        found = list(dict.fromkeys(self._products()))
        if found:
            first = re.search(r"^([\w./-]+)\s*:(?!=)", self.make, re.MULTILINE)  # what a bare `make` makes
            best = min(
                found,
                key=lambda name: (
                    not (first and first[1] == name),
                    _EXTENT.get(PurePosixPath(name).suffix, 2),
                    found.index(name),
                ),
            )
            others = f"; it makes {', '.join(found[:6])}" if len(found) > 1 else ""
            return Guess(
                "kernel", "artifact", _quoted(best), f"a product of {self.makefile or 'its script'}{others}"
            )
        return Guess("kernel", "artifact", _quoted("kernel.img"), "a guess: no makefile names a product")

    def _products(self) -> Iterator[str]:
        variables = {name: value.strip() for name, value in _VARIABLE.findall(self.make)}

        def expanded(text: str) -> str:
            for _ in range(4):
                text = re.sub(r"\$[({](\w+)[)}]", lambda m: variables.get(m[1], ""), text)
            return text

        script = "\n".join(self.texts.get(name, "") for name in ("build.sh", "make.sh"))
        for name in _TARGET.findall(self.make):
            yield expanded(name)
        for name in _OUTPUT.findall(expanded(self.make) + "\n" + script):
            if PurePosixPath(name).suffix in _EXTENT:
                yield name
        for value in variables.values():
            word = expanded(value)
            if PurePosixPath(word).suffix in _EXTENT and " " not in word and "*" not in word:
                yield word

    def build(self, artifact: Guess, syntax: Guess) -> Guess:
        """The command that makes it."""
        product = artifact.value.strip('"')
        if self.makefile:
            first = re.search(r"^([\w./-]+)\s*:(?!=)", self.make, re.MULTILINE)
            default = first is None or first[1] in ("all", product) or product in self.make.split("\n\n")[0]
            named = re.search(rf"^{re.escape(product)}\s*:", self.make, re.MULTILINE)
            command = f"make {product}" if named and not default else "make"
            return Guess("kernel", "build", _quoted(command), f"there is a {self.makefile}")
        for name in ("build.sh", "make.sh"):
            if name in self.texts:
                return Guess("kernel", "build", _quoted(f"sh {name}"), f"there is a {name}")
        if "CMakeLists.txt" in self.names:
            command = "cmake -S . -B build && cmake --build build"
            return Guess("kernel", "build", _quoted(command), "there is a CMakeLists.txt")
        roots = [n for n in self.sources if n.endswith((".asm", ".nasm"))]
        main = next(
            (n for n in roots if re.search(r"\borg\s+0x7c00|\b0xaa55\b", self.texts[n], re.IGNORECASE)), None
        )
        if main is not None and "nasm" in syntax.value:
            listing = str(PurePosixPath(product).with_suffix(".lst"))
            command = shlex.join(["nasm", "-f", "bin", "-l", listing, "-o", product, main])
            return Guess(
                "kernel", "build", _quoted(command), f"{main} is a boot sector, and there is no makefile"
            )
        return Guess(
            "kernel", "build", _quoted("make"), "a guess: there is neither a makefile nor a build script"
        )

    # --- the boot and its judge ----------------------------------------------------------------------------

    def qemu(self, artifact: Guess) -> Guess:
        """What the makefile tells QEMU, as far as it is allowed."""
        lines = [
            m
            for text in (self.make, *(self.texts.get(n, "") for n in ("run.sh", "build.sh")))
            for m in _QEMU.findall(text)
        ]
        kept: list[str] = []
        dropped: list[str] = []
        for word, value in _options(lines[0]) if lines else ():
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
        return Guess("boot", "qemu", "[" + ", ".join(_quoted(word) for word in kept) + "]", why)

    def judge(self) -> Iterator[Guess]:
        """Words that say that it is up, and words that say that it is not."""
        found = [
            (name, (a or b))
            for name in self.sources
            for a, b in _STRING.findall(_bare(self.texts[name]))
            if (a or b).strip()
        ]
        said = [(name, text) for name, text in found if re.search(r"[A-Za-z]{2}", text) and "%" not in text]
        good = [row for row in said if _READY.search(row[1]) and not _BAD.search(row[1])]
        plain = sorted((row for row in said if not _BAD.search(row[1])), key=lambda row: len(row[1]))
        name, text = (good or plain or [("", "ready")])[-1]
        where = f"a text of {name}" if name else "no text of the sources looks like it"
        yield Guess(
            "judge",
            "ready",
            _quoted(_escaped(text)),
            f"a guess, {where}: put here what a good boot prints last",
        )
        bad = list(dict.fromkeys(m[0] for _, text in said if (m := _BAD.search(text))))[:4]
        if bad:
            value = "[" + ", ".join(_quoted(re.escape(word)) for word in bad) + "]"
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


def _is_aside(name: str) -> bool:
    return any(part.lower() in _ASIDE or part.startswith(".") for part in PurePosixPath(name).parts[:-1])


def _bare(text: str) -> str:
    """Without includes and sections, whose names are no words of the kernel."""
    return re.sub(r"^[ \t]*(?:#include|%include|\.section|\.include).*$", "", text, flags=re.MULTILINE)


def _options(line: str) -> Iterator[tuple[str, str | None]]:
    """The options of a command line, each with its value."""
    try:
        words = shlex.split(re.sub(r"\$[({]\w+[)}]|\\$", "", line))
    except ValueError:
        return
    at = 0
    while at < len(words):
        word = words[at]
        value = words[at + 1] if at + 1 < len(words) and not words[at + 1].startswith("-") else None
        if word.startswith("-"):
            yield word, value
        at += 1 if value is None else 2


def _escaped(text: str) -> str:
    """A text as a regular expression, without its escapes at the end."""
    return re.escape(re.sub(r"(?:\\[nrt0]|\s)+$", "", text).lstrip()).replace(r"\ ", " ")


def _name(folder: str) -> str:
    """A folder's name as text on one line."""
    return printable(folder, "", "-").strip() or "kernel"


def _quoted(text: str) -> str:
    """A TOML basic string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
