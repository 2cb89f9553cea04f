"""What the compiler makes: locals in slots and in memory, deep expressions, loops of tail calls, source lines, fuel."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelvm import isa, reference
from pixelvm.assembler import Assembly
from pixelvm.host import PlainHost
from pixelvm.isa import Op, Stop
from pixelvm.load import load
from pixelvm.pxl.compiler import compile_text
from pixelvm.pxl.expressions import COMPARISONS, RANKS
from pixelvm.state import State
from pixelvm.verifier import verify
from tests.unit.pxl_model import Model
from tests.unit.pxos import pxos

OUT = "fn out(x) { putc(x); putc(x >>u 8); putc(x >>u 16); putc(x >>u 24); }\n"


def compiled(text: str) -> Assembly:
    made = compile_text(text, "p.pxl")
    verdict = verify(made.program)
    assert verdict.proved, verdict.findings
    return made


def ran(text: str, fuel: int = 1_000_000) -> tuple[PlainHost, State]:
    made = compiled(text)
    host, state = PlainHost(), State(made.program)
    state.fuel = fuel
    reference.run(made.program, state, host)
    return host, state


def held_to_the_model(text: str) -> State:
    host, state = ran(text)
    model = Model(text, compiled(text).data_labels, isa.SEED_DEFAULT)
    model.run()
    assert (state.stop.name.lower(), bytes(host.output)) == (model.stop, bytes(model.output))
    return state


def ops(text: str) -> list[Op]:
    return [Op(word & 0xFF) for word in compiled(text).program.code]


# --- locals ------------------------------------------------------------------------------------------------


def many_locals(count: int, inside: str, parameters: str = "n") -> str:
    names = [f"v{i}" for i in range(count)]
    text = [f"fn f({parameters}) -> x {{"]
    text += [f"    var {name} = n * {i + 3} + random();" for i, name in enumerate(names)]
    text += [inside, f"    return {' ^ '.join(names)};", "}"]
    return OUT + "\n".join(text) + "\nfn main() { out(f(5)); out(f(2)); }\n"


@pytest.mark.parametrize("count", [14, 15, 16, 17, 40, 90])
def test_more_locals_than_slots(count: int) -> None:
    text = many_locals(count, "    v3 += v2; v0 = v1 - v0;")
    held_to_the_model(text)
    assert (Op.LOAD32 in ops(text)) == (count + 1 > isa.LOCALS)


@pytest.mark.parametrize("count", [13, 15, 16, 17, 40, 90])
def test_more_locals_than_slots_in_a_function_that_calls_itself(count: int) -> None:
    state = held_to_the_model(many_locals(count, "    if n { v1 = f(n - 1) + f(n >>u 1) * v2; }"))
    stack = int.from_bytes(state.memory[4:8], "little")
    assert (count + 1 > isa.LOCALS) == (len(state.memory) > 256) and stack < len(state.memory)


def test_frames_in_memory_have_room_for_the_deepest_calls() -> None:
    names = [f"v{i}" for i in range(30)]
    body = "".join(f"var {name} = n + {i}; " for i, name in enumerate(names))
    text = f"{OUT}fn f(n) -> x {{ {body} if n {{ v1 = f(n - 1); }} return {' + '.join(names)}; }}\n"
    state = held_to_the_model(text + "fn main() { out(f(61)); }")
    assert state.stop is Stop.HALTED
    _, deeper = ran(text + "fn main() { out(f(63)); }")
    assert deeper.stop is Stop.CALLS


def test_frames_in_memory_are_given_back() -> None:
    names = [f"v{i}" for i in range(30)]
    body = "".join(f"var {name} = n + {i}; " for i, name in enumerate(names))
    answer = " + ".join(names)
    text = f"""{OUT}
fn even(n) -> x {{ {body} if n {{ v1 = odd(n - 1); }} return {answer}; }}
fn odd(n) -> x {{ {body} if !n {{ return {answer} * 2; }} v2 = even(n - 1); return {answer}; }}
fn main() {{ var all = 0; for var i = 0; i <u 150; i += 1 {{ all = all * 3 + even(i & 3); }} out(all); }}"""
    assert held_to_the_model(text).stop is Stop.HALTED


def test_locals_whose_lives_do_not_meet_share_a_slot() -> None:
    blocks = "".join(f"{{ var a{i} = random(); out(a{i} * a{i}); }}" for i in range(40))
    code = compiled(f"{OUT}fn main() {{ {blocks} }}").program.code
    assert {word >> 8 for word in code if word & 0xFF in (Op.GET, Op.SET)} == {0}


def test_the_most_used_locals_have_slots() -> None:
    names = [f"v{i}" for i in range(20)]
    text = "fn main() { " + "".join(f"var {name} = random(); " for name in names)
    text += (
        "for var i = 0; i <u 9; i += 1 { v19 += i; v18 ^= v19; }"
        + "".join(f"putc({name});" for name in names)
        + "}"
    )
    made = compiled(text)
    loop = [
        Op(w & 0xFF) for w, place in zip(made.program.code, made.places, strict=True) if place.column > 300
    ]
    assert loop and Op.ADD in ops(text)
    body = text.index("{ v19")
    inside = [
        Op(w & 0xFF)
        for w, place in zip(made.program.code, made.places, strict=True)
        if body < place.column < text.index("}", body)
    ]
    assert Op.GET in inside and Op.LOAD32 not in inside


# --- the stack ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", ["g + ({})", "({}) + g", "g - ({})", "f(g, {})", "f({}, g)", "a[{} & 3]", "-({})"]
)
def test_deep_expressions(shape: str) -> None:
    expression = "g"
    for _ in range(45):
        expression = shape.format(expression)
    text = (
        f"{OUT}var g = 7; var a: word[4] = [3, 9, 2, 5];\nfn f(x, y) -> z {{ g += 1; return x * 3 ^ y; }}\n"
    )
    held_to_the_model(f"{text}fn main() {{ out({expression}); }}")


def test_values_that_wait_for_calls_of_functions_that_call_themselves() -> None:
    text = f"""{OUT}var g = 1;
fn f(n, a, b, c) -> x {{
    if n == 0 {{ return a + b; }}
    g += 1;
    return g + (g * 2 + (g * 3 + (g * 5 + (g * 7 + f(n - 1, g + b, g + c, g + f(n - 1 & 1, c, b, a))))));
}}
fn main() {{ out(f(9, 1, 2, 3)); out(g); }}"""
    held_to_the_model(text)
    _, state = ran(text.replace("f(9,", "f(200,"), fuel=100_000_000)
    assert state.stop is Stop.CALLS


def test_sixteen_parameters_and_results() -> None:
    names = [f"p{i}" for i in range(16)]
    results = ", ".join(f"r{i}" for i in range(16))
    text = f"{OUT}fn f({', '.join(names)}) -> {results} {{ return {', '.join(names[::-1])}; }}\n"
    text += f"fn main() {{ var {', '.join(f'v{i}' for i in range(16))} = f({', '.join(map(str, range(16)))});"
    text += "".join(f"out(v{i});" for i in range(16)) + "}"
    host, _ = ran(text)
    assert host.output[::4] == bytes(range(15, -1, -1))


def test_a_tail_call_is_a_loop() -> None:
    text = f"{OUT}fn sum(n, all) -> x {{ if !n {{ return all; }} return sum(n - 1, all + n); }}\n"
    host, state = ran(text + "fn main() { out(sum(5000, 0)); }")
    assert state.stop is Stop.HALTED
    assert int.from_bytes(host.output, "little") == 5000 * 5001 // 2


@pytest.mark.parametrize(
    ("shape", "levels"), [("a[n & 3] - ({})", 20), ("a[n & 3] - ({})", 45), ("pixel(a[n & 3], {})", 90)]
)
def test_a_deep_expression_on_top_of_deep_calls(shape: str, levels: int) -> None:
    deep = "a[n & 3]"
    for _ in range(levels):
        deep = shape.format(deep)
    text = f"""{OUT}var a: word[4] = [5, 6, 7, 8];
fn f(n) -> x {{
    if n == 0 {{ return {deep}; }}
    return a[0] + (a[1] - (a[2] + f(n - 1)));
}}
fn main() {{ out(f(60)); }}"""
    assert held_to_the_model(text).stop is Stop.HALTED


# --- the order of evaluation -------------------------------------------------------------------------------

OPERATORS = sorted(set(RANKS) - {"&&", "||"})
OPERANDS = ["f()", "g", "a[g & 3]", "h()", "0", "3", "v"]
ORDER = (
    OUT
    + """var g = 5; var z; var a: word[4] = [1, 2, 3, 4];
fn f() -> x { out(1000); g = g * 3 + 1; return g; }
fn h() -> x { out(2000); g += 7; a[g & 3] += g; return g & 31 | 1; }
"""
)


@pytest.mark.parametrize("operator", OPERATORS)
def test_operands_are_evaluated_from_the_left(operator: str) -> None:
    divides = operator[0] in "/%"
    lines = [
        f"out({left} {operator} {right}); out(g);"
        for left in OPERANDS
        for right in OPERANDS
        if not (divides and right == "0")
    ]
    state = held_to_the_model(f"{ORDER}fn main() {{ var v = 3; {' '.join(lines)} }}")
    assert state.stop is Stop.HALTED


@pytest.mark.parametrize("operator", ["*", "&", "-", ">u", "<=s"])
def test_a_trap_comes_in_its_order(operator: str) -> None:
    for other in ("f()", "a[g & 3]", "0", "v"):
        for left, right in ((other, "(1 /u w)"), ("(1 /u z)", other), (other, "(1 /u z)")):
            text = f"{ORDER}fn main() {{ var v = 3; var w; out({left} {operator} {right}); }}"
            assert held_to_the_model(text).stop is Stop.DIVISION


@pytest.mark.parametrize("operator", sorted(COMPARISONS))
def test_comparisons_at_the_ends_of_the_numbers(operator: str) -> None:
    ends = [0, 1, 2, 0x7FFFFFFE, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFE, 0xFFFFFFFF]
    lines = [f"out({c} {operator} x); out(x {operator} {c}); if x {operator} {c} {{ out(7); }}" for c in ends]
    body = "for var i = 0; i <u 9; i += 1 { var x = all[i]; " + " ".join(lines) + " }"
    held_to_the_model(f"{OUT}var all: word[] = {ends};\nfn main() {{ {body} }}")


# --- code --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "same"),
    [
        ("2 * 3 + 4", "10"), ("x * 8", "x << 3"), ("x /u 16", "x >>u 4"), ("x %u 16", "x & 15"), ("x + 0", "x"),
        ("x - 1 + 3", "x + 2"), ("1 + x", "x + 1"), ("x <=u 9", "x <u 10"), ("!(x == 3)", "x != 3"),
        ("1 ? x : y", "x"), ("0 && y", "0"), ("x | 0", "x"), ("K * 2", "12"), ("-(1)", "0xffffffff"),
        ("!!(x <u 3)", "x <u 3"), ("id(x)", "x"), ("inc(inc(x))", "x + 2"), ("twice(x)", "x + x"),
        ("x >=s 1", "x >s 0"),
        ("a[2]", "word[a + 8]"),
        ("a[x + 1]", "word[x * 4 + a + 4]"), ("len(a)", "4"), ("-8 /s 3", "-2"), ("1 << 33", "2"), ("x & 0", "0"),
    ],
)  # fmt: skip
def test_forms_that_cost_the_same(expression: str, same: str) -> None:
    def code(text: str) -> tuple[int, ...]:
        rest = "fn id(n) -> n { return n; } fn inc(n) -> n { return n + 1; }"
        rest += " fn twice(n) -> m { return n << 1; } const K = 6; var a: word[4];"
        text = text.replace("x + x", "x << 1")
        return compiled(
            f"{rest} fn main() {{ var x = random(); var y = random(); a[0] = y; putc({text}); putc(x); }}"
        ).program.code

    assert code(expression) == code(same)


def test_what_is_never_called_is_not_there() -> None:
    made = compiled(
        'use std; use sha256; var big: word[9999]; fn f() { print("x"); g(); } fn g() {} fn main() { g(); }'
    )
    assert made.program.code == (isa.word(Op.HALT),) and made.program.memory <= 256
    assert set(made.code_labels) == {"main"} and not made.data_labels


def test_a_loop_jumps_once_each_time_round() -> None:
    made = ops("fn main() { for var i = 0; i <u 9; i += 1 { putc(i); } }")
    assert made == [
        Op.PUSH, Op.SET, Op.JUMP, Op.GET, Op.SYS, Op.GET, Op.PUSH, Op.ADD, Op.SET, Op.GET, Op.PUSH, Op.LTU, Op.JNZ,
        Op.HALT,
    ]  # fmt: skip


def test_a_local_that_is_read_once_stays_on_the_stack() -> None:
    text = "fn f(a, b) -> c { return a - b; } fn main() { putc(f(getc(), getc())); }"
    assert ops(text) == [Op.SYS, Op.SYS, Op.SUB, Op.SYS, Op.HALT]


def test_memory_is_laid_out_as_the_manual_says() -> None:
    text = 'var z; var b: byte[3] = "ab"; var w: word[2] = [1, 2]; var t: word[] = ["hi", "hi", w];\n'
    text += "fn main() { z = b[0] + w[0] + t[0]; }"
    made = compiled(text)
    labels, data = made.data_labels, made.program.data.ljust(made.program.memory, b"\0")
    assert min(labels.values()) > 0 and all(labels[name] % 4 == 0 for name in "zwt")
    assert data[labels["b"] : labels["b"] + 3] == b"ab\0"
    first, second, third = (
        int.from_bytes(data[labels["t"] + at : labels["t"] + at + 4], "little") for at in (0, 4, 8)
    )
    assert first == second and data[first : first + 3] == b"hi\0" and third == labels["w"]
    assert labels["z"] >= len(made.program.data)  # zeros are not carried


# --- where it comes from -----------------------------------------------------------------------------------


def test_every_word_has_its_line_and_every_function_its_place(tmp_path: Path) -> None:
    source = tmp_path / "p.pxl"
    source.write_text(
        "var g;\nfn main() {\n    g = 5;\n    g = f(g)\n        /u 0;\n}\nfn f(x) -> y {\n    g += x; return g;\n}\n"
    )
    loaded = load(str(source))
    assert {name: loaded.place(pc) for name, pc in loaded.code_labels.items()} == {
        "main": f"{source}:3", "f": f"{source}:7",
    }  # fmt: skip
    division = next(pc for pc, word in enumerate(loaded.program.code) if word & 0xFF == Op.DIVU)
    assert loaded.place(division) == f"{source}:5"
    told = pxos("vm", "run", str(source))
    assert told.status == 1 and f"{source}:5: trap DIVISION at `divu'" in told.errors
    rows = pxos("vm", "asm", str(source), "--json").data["pixels"]
    assert [row["place"] for row in rows] == [loaded.place(pc) for pc in range(len(rows))]
