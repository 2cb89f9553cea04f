"""Random .pxl programs that end: every statement and operator, deep expressions, many locals, recursion that stops."""

from __future__ import annotations

from random import Random

_BINARY = "+ - * & | ^ << >>u >>s == != <u <s <=u <=s >u >s >=u >=s && ||".split()  # noqa: SIM905
_DIVISIONS = ["/u", "/s", "%u", "%s"]
_NUMBERS = [0, 1, 2, 3, 4, 5, 8, 31, 32, 255, 256, 0x7FFFFF, 0x800000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
_WORDS, _BYTES = 16, 32
_DEPTH = 4


class Writer:
    """Writes one program."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.lines: list[str] = []
        self.indent = 0
        self.locals: list[str] = []
        self.fixed: set[str] = set()  # locals that bound a loop or a recursion
        self.functions: list[tuple[str, int, int]] = []  # name, parameters, results
        self.loops = 0
        self.number = 0
        self.calls_left = 0

    def line(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    def program(self) -> str:
        self.line("const K = 3 * 5 - 1;")
        self.line(f"var g = {self.random.choice(_NUMBERS)};")
        self.line("var h;")
        self.line(
            f"var words: word[{_WORDS}] = [{', '.join(str(self.random.choice(_NUMBERS)) for _ in range(5))}];"
        )
        self.line(f'var bytes: byte[{_BYTES}] = ["ab\\n", 7, -1, K];')
        self.line("fn out(x) { putc(x); putc(x >>u 8); putc(x >>u 16); putc(x >>u 24); }")
        for _ in range(self.random.randrange(4)):
            self.function()
        self.locals, self.fixed = [], set()
        self.line("fn main() {")
        self.calls_left = 6
        self.body(8)
        self.line(f"    out(g); out(h); out({self.expression(2)});")
        self.line("}")
        return "\n".join(self.lines) + "\n"

    def fresh(self) -> str:
        self.number += 1
        return f"v{self.number}"

    def function(self) -> None:
        recursive = self.random.random() < 0.4
        parameters = [self.fresh() for _ in range(self.random.randrange(1 if recursive else 0, 6))]
        results = self.random.randrange(4)
        name = f"f{len(self.functions)}"
        arrow = f" -> {', '.join('abcd'[:results])}" if results else ""
        self.line(f"fn {name}({', '.join(parameters)}){arrow} {{")
        self.locals, self.fixed = list(parameters), set(parameters[:1]) if recursive else set()
        self.calls_left = 3
        self.indent += 1
        answer = f"return {', '.join(self.expression(2) for _ in range(results))};" if results else "return;"
        if recursive:
            self.line(f"if {parameters[0]} == 0 || {parameters[0]} >u 6 {{ {answer} }}")
            self.functions.append((f"{name}!{parameters[0]}", len(parameters), results))
        self.indent -= 1
        self.body(5)
        if recursive:
            self.functions.pop()
        if results:
            self.line(f"    return {', '.join(self.expression(3) for _ in range(results))};")
        self.line("}")
        self.functions.append((name, len(parameters), results))

    def body(self, most: int) -> None:
        known = len(self.locals)
        self.indent += 1
        if self.indent == 1 and self.random.random() < 0.3:
            for _ in range(self.random.randrange(10, 22)):
                self.declare()
        for _ in range(self.random.randrange(1, most)):
            self.statement()
        self.indent -= 1
        del self.locals[known:]

    def declare(self) -> None:
        name = self.fresh()
        self.line(f"var {name} = {self.expression(2)};" if self.random.random() < 0.9 else f"var {name};")
        self.locals.append(name)

    def statement(self) -> None:
        deep = self.indent >= _DEPTH
        kind = self.random.choice(
            ["declare", "assign", "assign", "update", "element", "bytes", "many", "call", "print"]
            + ([] if deep else ["if", "if", "while", "for", "block"])
            + (["break", "continue"] if self.loops else [])
        )
        if kind == "declare":
            self.declare()
        elif kind in ("break", "continue"):
            self.line(f"if {self.expression(1)} {{ {kind}; }}")
        elif kind == "print":
            self.line(f"out({self.expression(3)});")
        elif kind == "block":
            self.line("{")
            self.body(3)
            self.line("}")
        elif kind == "if":
            self.branches()
        elif kind in ("while", "for"):
            self.loop(kind)
        elif kind in ("many", "call"):
            self.called(kind)
        else:
            self.assign(kind)

    def target(self) -> str:
        return self.random.choice([v for v in self.locals if v not in self.fixed] + ["g", "h"])

    def assign(self, kind: str) -> None:
        value = self.expression(3)
        if kind == "assign":
            self.line(f"{self.target()} = {value};")
            return
        operator = self.random.choice(["+", "-", "*", "&", "|", "^", "<<", ">>u", ">>s"])
        if kind == "update":
            self.line(f"{self.target()} {operator}= {value};")
            return
        place = self.element() if kind == "element" else f"bytes[{self.index(_BYTES)}]"
        self.line(f"{place} {self.random.choice(['', operator])}= {value};")

    def element(self) -> str:
        index = self.index(_WORDS)
        return self.random.choice([f"words[{index}]", f"word[words + (({index}) << 2)]"])

    def index(self, length: int) -> str:
        if self.random.random() < 0.3:
            return str(self.random.randrange(length))
        return f"{self.expression(1, parts=True)} & {length - 1}"

    def branches(self) -> None:
        self.line(f"if {self.expression(2)} {{")
        self.body(3)
        if self.random.random() < 0.4:
            self.line(f"}} else if {self.expression(2)} {{")
            self.body(3)
        if self.random.random() < 0.5:
            self.line("} else {")
            self.body(3)
        self.line("}")

    def loop(self, kind: str) -> None:
        counter, times = self.fresh(), self.random.randrange(1, 4)
        known = len(self.locals)
        if kind == "for":
            self.line(f"for var {counter} = 0; {counter} <u {times}; {counter} += 1 {{")
        else:
            self.line(f"var {counter} = {times};")
            self.line(
                f"while {counter} != 0 && {self.random.choice(['1', self.expression(1, parts=True)])} {{"
            )
            self.line(f"    {counter} -= 1;")
        self.locals.append(counter)
        self.fixed.add(counter)
        self.loops += 1
        self.body(4)
        self.loops -= 1
        self.line("}")
        if kind == "for":
            del self.locals[known:]

    def called(self, kind: str) -> None:
        count = 2 if kind == "many" else None
        call = self.call(count)
        if call is None:
            self.line("h, g = size();" if kind == "many" else "random();")
        elif kind == "call":
            self.line(f"{call};")
        else:
            names = [self.fresh(), self.fresh()]
            if self.random.random() < 0.5:
                self.line(f"var {names[0]}, {names[1]} = {call};")
                self.locals += names
            else:
                target = self.target()
                self.line(f"{target}, {'g' if target == 'h' else 'h'} = {call};")

    def call(self, results: int | None) -> str | None:
        known = [f for f in self.functions if results is None or f[2] == results]
        if not known or self.calls_left <= 0 or self.loops > 1:
            return None
        self.calls_left -= 1
        name, parameters, _ = self.random.choice(known)
        arguments = [self.expression(2) for _ in range(parameters)]
        name, _, counter = name.partition("!")
        if counter:
            arguments[0] = f"{counter} - 1"
            self.calls_left = 0
        elif arguments:
            arguments[0] = f"({arguments[0]}) & 3"
        return f"{name}({', '.join(arguments)})"

    def expression(self, depth: int, parts: bool = False) -> str:
        """An expression; one of ``parts`` is in parentheses where it needs them."""
        random = self.random
        if depth == 0 or random.random() < 0.2:
            return self.leaf()
        kind = random.choice(["binary"] * 6 + ["division", "unary", "choice", "call", "load"])
        if kind == "load":
            return self.random.choice([self.element(), f"bytes[{self.index(_BYTES)}]"])
        if kind == "call":
            return self.call(1) or ("random()" if random.random() < 0.3 else self.leaf())
        if kind == "unary":
            return f"{random.choice('-~!')}{self.expression(depth - 1, True)}"
        left, right = self.expression(depth - 1, True), self.expression(depth - 1, True)
        if kind == "choice":
            text = f"{left} ? {right} : {self.expression(depth - 1, True)}"
        elif kind == "division":
            divisor = random.choice(
                [f"({right} | 1)", f"({right} | 1)", str(random.choice(_NUMBERS[1:])), right]
            )
            text = f"{left} {random.choice(_DIVISIONS)} {divisor}"
        else:
            text = f"{left} {random.choice(_BINARY)} {right}"
        return f"({text})" if parts else text

    def leaf(self) -> str:
        choices = [str(self.random.choice(_NUMBERS)), "g", "h", "K"]
        if self.locals:
            choices += [self.random.choice(self.locals) for _ in range(4)]
        return self.random.choice(choices)


def program(seed: int) -> str:
    """The program of this seed."""
    return Writer(Random(seed)).program()
