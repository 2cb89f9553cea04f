"""The tools for WGSL: the validator's words, the references and that each can fail, a dispatch by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from architect.tools import shaders
from architect.tools.base import Answer
from architect.tools.desk import Desk
from architect.tools.table import call
from tests.architect.chatting import KERNEL, chat

pytestmark = pytest.mark.long


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Desk(KERNEL, tmp_path) as made:
        yield made


def ask(desk: Desk, name: str, **arguments: Any) -> Answer:
    return call(name, desk, json.dumps(arguments))


def test_the_validators_message_comes_with_its_place(desk: Desk) -> None:
    answer = ask(
        desk, "compile_shader", shader="mine", text="@compute @workgroup_size(1)\nfn main() { let x = y; }\n"
    )
    assert (
        not answer.ok and "mine.wgsl:2: error:" in answer.text and "y" in answer.text and "^" in answer.text
    )
    good = ask(desk, "compile_shader", shader="mailbox_vectors")
    assert good.ok and good.data["entries"] == ["vector_add", "vector_scale"]
    part = ask(desk, "compile_shader", shader="shaders/activate.wgsl")
    assert part.ok and "a part of others" in part.text


def test_a_shader_is_held_to_its_reference_and_that_can_fail(desk: Desk) -> None:
    text = desk.originals()["shaders/mailbox_runtime.wgsl"]
    assert ask(desk, "run_shader", shader="mailbox_runtime").ok
    wrong = text.replace("left == here && right == here", "left == here")
    assert wrong != text
    desk.propose({"shaders/mailbox_runtime.wgsl": wrong})
    answer = ask(desk, "run_shader", shader="mailbox_runtime")
    assert not answer.ok and "the model says" in answer.text
    vectors = desk.originals()["shaders/mailbox_vectors.wgsl"]
    desk.propose(
        {"shaders/mailbox_vectors.wgsl": vectors.replace("first[0] * second", "first[at.x] * second")}
    )
    answer = ask(desk, "run_shader", shader="mailbox_vectors")
    assert not answer.ok and "vector_scale of 63" in answer.text


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("activations", "return max(a, b)", "return min(a, b)"),
        ("god_pixel", "word *= MIX_SECOND", "word *= MIX_FIRST"),
        ("pixel_vm", "a >> (b & 31u), kind == K_SHR", "a >> (b & 15u), kind == K_SHR"),
    ],
)
def test_the_other_references(desk: Desk, file: str, old: str, new: str) -> None:
    assert ask(desk, "run_shader", shader=file).ok
    text = desk.originals()[f"shaders/{file}.wgsl"]
    assert old in text
    desk.propose({f"shaders/{file}.wgsl": text.replace(old, new)})
    answer = ask(desk, "run_shader", shader=file)
    assert not answer.ok and "FAIL" in answer.text


def test_one_dispatch_with_buffers_of_ones_own(desk: Desk) -> None:
    values = [[1, 2, 3], [10, 20, 30]]
    buffers: list[dict[str, Any]] = [{"type": "f32", "values": row} for row in values]
    buffers.append({"type": "f32", "zeros": 3})
    answer = ask(
        desk, "run_shader", shader="mailbox_vectors", entry="vector_add", groups=[1], buffers=buffers
    )
    assert answer.ok and answer.data["buffers"] == {"2": [11.0, 22.0, 33.0]}
    assert "has 3 bindings" in ask(desk, "run_shader", shader="mailbox_vectors", buffers=buffers[:1]).text
    assert "no such shader" in ask(desk, "run_shader", shader="nothing").text
    assert not ask(desk, "run_shader", shader="../../etc/passwd").ok


def test_a_new_shader_may_be_proposed_and_nothing_is_said_of_it(desk: Desk) -> None:
    text = "@compute @workgroup_size(1) fn main() {}"
    edits = [{"file": "shaders/fresh.wgsl", "search": "", "replace": text}]
    assert ask(desk, "propose_edit", edits=edits).ok
    assert ask(desk, "compile_shader", shader="fresh").ok
    assert "nothing says what it must compute" in ask(desk, "run_shader", shader="fresh").text


def test_a_shader_without_end_takes_only_its_own_process(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shaders, "SECONDS", 0.05)
    answer = ask(desk, "run_shader", shader="mailbox_vectors")
    assert not answer.ok and "did not end within" in answer.text


def test_the_seeds_prompt_for_an_allocator_shows_what_there_is_and_proves_it(tmp_path: Path) -> None:
    with chat(tmp_path) as made:
        said = made.say("Generate WGSL shader for GPU memory allocator")
        assert "fn allocate(size: u32) -> Answer" in said and "fn release" in said
        assert "mailbox_runtime.wgsl compiles on" in said and "computes what its reference does" in said
        assert made.talk.ok
        assert "no shader of the tree is about" in made.say("write a shader for zebra okapi quagga")
