"""What is asked of a candidate of a kernel that broke promises, and what is said of those that it keeps now."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from types import SimpleNamespace

import pytest

from architect import contracts
from architect.contracts import Asked, Contract, asking, register
from architect.contracts.model import Broken, Violation
from architect.verify import broken
from toolchain.harness import Harness
from toolchain.types import Image, Section, Symbol

TEXT = 0xFFFFFFFF80100000
HEADER = "# {0} -- a routine\n# In:       none\n# Out:      none\n# Clobbers: rdx\n# Context:  any\n{0}:\n"
KEPT, RBX, R12, DF = "c3", "31dbc3", "4531e4c3", "fdc3"
HEADERS = contracts.routines({"x.s": "".join(HEADER.format(name) for name in "fgh")})


def image(**code: str) -> Image:
    """An image of routines given as their bytes in hex, 16 apart."""
    text = b"".join(bytes.fromhex(found).ljust(16, b"\xcc") for found in code.values())
    symbols = tuple(
        Symbol(name, TEXT + 16 * n, 16, "func", ".text", "x.s", 1, True) for n, name in enumerate(code)
    )
    return Image(
        TEXT, (Section(".text", TEXT, 0x100000, len(text), text, "ax", 4096),), symbols, (), ("x.s",)
    )


@pytest.fixture(autouse=True)
def no_models(monkeypatch: pytest.MonkeyPatch) -> dict[str, Contract]:
    """The models of the kernel's own routines do not apply to these images; every question takes as long."""
    found: dict[str, Contract] = {}
    monkeypatch.setattr(register, "registry", lambda: found)
    clock = count()
    monkeypatch.setattr(asking, "time", SimpleNamespace(process_time=lambda: next(clock)))
    return found


@pytest.fixture
def asked() -> Asked:
    """After the unpatched kernel, in which f and g break their promises."""
    known = Asked()
    contracts.rehearse(image(f=RBX, g=R12, h=KEPT), HEADERS, ["f", "g", "h"], known)
    return known


def promises(found: list[Violation]) -> dict[str, str]:
    return {v.routine: v.promise for v in found}


def test_what_the_unpatched_kernel_broke_is_remembered(asked: Asked) -> None:
    assert asked.broken == {"f()", "g()"}
    assert asked.order("f()") < asked.order("h()")


@pytest.mark.parametrize(
    ("code", "still", "kept"),
    [
        ({"f": RBX, "g": R12, "h": KEPT}, {"f", "g"}, []),
        ({"f": KEPT, "g": R12, "h": KEPT}, {"g"}, ["f()"]),
        ({"f": RBX, "g": KEPT, "h": KEPT}, {"f"}, ["g()"]),
        ({"f": KEPT, "g": KEPT, "h": KEPT}, set(), ["f()", "g()"]),
        ({"f": KEPT, "g": KEPT, "h": DF}, {"h"}, ["f()", "g()"]),  # new, and seen only when all else is kept
        ({"f": KEPT, "g": R12, "h": DF}, {"g"}, ["f()"]),
        ({"f": KEPT, "g": KEPT}, {"h"}, ["f()", "g()"]),
    ],
)
def test_what_is_kept_now_is_named(
    asked: Asked, code: Mapping[str, str], still: set[str], kept: list[str]
) -> None:
    found, names = contracts.mended(image(**code), HEADERS, ["f", "g", "h"], asked)
    assert ({v.routine for v in found}, names) == (still, kept)


def test_a_model_that_is_kept_is_named_too(no_models: dict[str, Contract]) -> None:
    def follows(harness: Harness) -> None:
        if harness.call("h", {}).registers["rdx"] != 5:
            raise Broken(Violation("h", "does not give 5", {}))

    no_models["follows"] = Contract("follows", ("h",), ("h",), follows)
    wrong, right = image(f=RBX, h=KEPT), image(f=RBX, h="ba05000000c3")
    known = Asked()
    contracts.rehearse(wrong, HEADERS, ["f", "h"], known)
    assert known.broken == {"f()", "follows"}
    found, kept = contracts.mended(right, HEADERS, ["f", "h"], known)
    assert ({v.routine for v in found}, kept) == ({"f"}, ["follows"])


def test_the_gate_tells_what_share_is_kept(asked: Asked) -> None:
    names = ["f", "g", "h"]

    def share(**code: str) -> float:
        gate = broken(image(**code), HEADERS, names, (), asked, every=True)
        assert gate.passed == (code == {"f": KEPT, "g": KEPT, "h": KEPT})
        found: float = gate.evidence["share"]
        return found

    none, one, all_of_them = (
        share(f=RBX, g=R12, h=KEPT),
        share(f=KEPT, g=R12, h=KEPT),
        share(f=KEPT, g=KEPT, h=KEPT),
    )
    assert 0 == none < one < all_of_them < 1
    gate = broken(image(f=KEPT, g=R12, h=KEPT), HEADERS, names, (), asked, every=True)
    assert gate.evidence["kept"] == ["f()"]
    assert gate.message == "g: changes r12, which its header does not list"
    plain = broken(image(f=KEPT, g=R12, h=KEPT), HEADERS, names, (), asked)
    assert "kept" not in plain.evidence


def test_what_broke_before_is_asked_first(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    ask = Asked.ask

    def noted(self: Asked, question: asking.Question, asked_of: Image) -> list[Violation]:
        order.append(question.name)
        return ask(self, question, asked_of)

    monkeypatch.setattr(Asked, "ask", noted)
    found = contracts.first(image(f=KEPT, g=R12, h=DF), HEADERS, ["h", "f", "g"], (), asked)
    assert found is not None
    assert found.routine == "g"
    assert set(order) <= {"f()", "g()"}  # one violation is enough


def test_a_routine_that_is_gone_keeps_nothing(asked: Asked) -> None:
    found, kept = contracts.mended(image(g=R12, h=KEPT), HEADERS, ["f", "g", "h"], asked)
    assert promises(found)["f"] == "is gone"
    assert kept == []
