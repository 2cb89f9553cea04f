"""Which places of a tree are like a gap: the ranking over whole vectors against one entry at a time."""

from __future__ import annotations

from architect.dataflow import Flow, mask_of, names_of
from architect.effects import ALL, FLAGS
from architect.operators.surroundings import Donors, registers_of, usable
from architect.shapes import shape, sort_of
from architect.source import Tree
from architect.statements import Statement

WEIGHTS = {-1: ((4.0, 2.0), (1.5, 0.7), (0.6, 0.2)), 1: ((3.0, 1.5), (1.2, 0.6), (0.5, 0.2))}
SOURCE = """
.text
# first -- one of two alike
first:
    push rbx
    mov rax, [rdi]
    test rax, rax
    jz .Lfirst_out
    mov [rsi], rax
    add rax, 8
.Lfirst_out: pop rbx
    ret

# second -- one of two alike
second:
    push rbx
    mov rcx, [rdx]
    test rcx, rcx
    jz .Lsecond_out
    mov [r8], rcx
    inc rcx
    add rcx, 16
.Lsecond_out: pop rbx
    ret
"""


class _View:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree


def _donors() -> tuple[Tree, Donors]:
    tree = Tree({"a.s": SOURCE, "b.s": SOURCE.replace("first", "third").replace("second", "first_more")})
    return tree, Donors(_View(tree))  # type: ignore[arg-type]


def _sequence(tree: Tree, routine: str) -> tuple[Statement, ...]:
    return next(group for group in tree.sequences if group[0].routine == routine)


def _plainly(
    tree: Tree, donors: Donors, around: dict[int, list[Statement]], length: int, routine: str
) -> list[tuple[float, int]]:
    """Every entry's score by the definition; near the best of so few none is left out."""
    entries = [(group, place) for group in tree.sequences for place in range(len(group))]
    found = []
    for number, (group, place) in enumerate(entries):
        if place + length > len(group):
            continue
        score = 0.0
        for side, gap in ((-1, place), (1, place + length - 1)):
            part = 0.0
            for n, ours in enumerate(around[side]):
                at = gap + side * (n + 1)
                if 0 <= at < len(group):
                    exact, alike = WEIGHTS[side][n]
                    theirs = group[at]
                    if shape(theirs) == shape(ours):
                        part += exact * donors._rarity(shape(ours))
                    elif sort_of(theirs) == sort_of(ours):
                        part += alike * donors._rarity(sort_of(ours))
            score += part
        if score:
            name = group[place].routine or ""
            kin = 0.4 * len(set(routine.split("_")) & set(name.split("_"))) if name != routine else 0.2
            found.append((score + kin, number))
    return sorted(found, key=lambda item: (-item[0], item[1]))


def test_the_ranking_is_that_of_each_entry_alone() -> None:
    tree, donors = _donors()
    statements = _sequence(tree, "first")
    for place in range(1, len(statements) - 1):
        around = {
            -1: list(reversed(statements[max(0, place - 3) : place])),
            1: list(statements[place : place + 3]),
        }
        for length, most in ((1, 480), (2, 80), (3, 50), (4, 30)):
            expected = _plainly(tree, donors, around, length, "first")
            found = donors.ranked(around[-1], around[1], length, "first")
            assert (expected and len(expected) <= most) or length > 1
            assert found == expected[: len(found)] and (len(found) == len(expected) or len(found) <= most)


def test_only_what_can_stand_elsewhere_is_movable() -> None:
    tree, donors = _donors()
    statements = _sequence(tree, "first")
    before, after = (
        list(reversed(statements[2:5])),
        list(statements[-1:]),
    )  # around two, a label on the second
    everything = donors.ranked(before, after, 2, "first")
    movable = donors.ranked(before, after, 2, "first", movable=True)
    runs = {number: donors.run(number, 2) for _, number in everything}
    expected = [
        row for row in everything if all(usable(s) for s in runs[row[1]]) and not runs[row[1]][1].labels
    ]
    assert movable == expected and len(movable) < len(everything)


def test_registers_follow_neighbours_of_the_same_shape() -> None:
    tree, donors = _donors()
    ours, theirs = _sequence(tree, "first"), _sequence(tree, "second")
    wanted = next(n for n, s in enumerate(theirs) if s.code.text == "mov [r8], rcx")
    number = next(n for n in range(len(donors.codes)) if donors.run(n, 1) == (theirs[wanted],))
    place = next(n for n, s in enumerate(ours) if s.code.text == "mov [rsi], rax")
    (names,) = donors.aligned([number], 1, list(reversed(ours[place - 3 : place])), list(ours[place + 1 :]))
    assert names["rcx"] == "rax"


def test_registers_of_operands_alone() -> None:
    tree, _ = _donors()
    assert [registers_of(s) for s in tree.routines["first"].statements if s.name == "mov"] == [
        ("rax", "rdi"),
        ("rsi", "rax"),
    ]


def test_sets_of_registers_and_their_bits_are_the_same() -> None:
    everything = ALL | {FLAGS}
    for some in (frozenset[str](), frozenset({"rax"}), frozenset({"r15", FLAGS}), everything):
        assert names_of(mask_of(some)) == some
    assert mask_of(everything) == sum(mask_of(frozenset({name})) for name in everything)


def test_liveness_and_definition_meet_their_equations() -> None:
    tree, _ = _donors()
    flow = Flow(tree.routines["second"], tree)
    for node, item in enumerate(flow.nodes):
        wanted = [
            (flow.live[n] - (flow.nodes[n].effects.writes - flow.nodes[n].effects.merges))
            | flow.nodes[n].effects.reads
            for n in flow.successors[node]
        ]
        if wanted:
            assert flow.live[node] == frozenset().union(*wanted), item.statement.text
        for n in flow.successors[node]:
            assert flow.defined[n] <= flow.defined[node] | item.effects.writes
