"""Answers held to a JSON schema: asked for when blocks fail, where the server does it, and read like blocks."""

from __future__ import annotations

import json

import pytest

from architect.model import edits
from architect.model.client import ChatModel
from architect.model.ledger import Ledger, Reservation
from architect.model.placing import EditError
from architect.model.types import Endpoint
from architect.protocols import Case
from tests.architect.model_server import MODEL, ModelServer, Step, status
from tests.architect.test_model_engine import case, drive, engine, shift

__all__ = ["case"]
RIGHT = json.dumps(
    {
        "cause": "The index is shifted wrongly.",
        "edits": [{"file": "mm/page.s", "search": "    shr rax, 12\n", "replace": "    shr rax, 21\n"}],
    }
)
NONE = "I think that the shift is wrong."


def asked(script: list[Step | str], case: Case, profile: str) -> tuple[list[str], ModelServer]:
    """The edits that came of a script, and the server that told it."""
    with ModelServer(script) as server:
        made = engine(server, profile=profile)
        made.schemas = lambda: made.open_model().dialect.json_schema  # type: ignore[attr-defined]
        found = drive(made, case, most=1)
    return [line.strip() for patch in found for edit in patch.edits for line in edit.new], server


def test_a_schema_is_asked_for_when_blocks_fail(case: Case) -> None:
    found, server = asked([NONE, NONE, RIGHT], case, "llamacpp")
    assert found == ["shr rax, 21"]
    first, second, third = (request.body for request in server.requests)
    assert "response_format" not in first and "response_format" not in second
    assert third["response_format"]["json_schema"]["schema"] == edits.SCHEMA
    assert "one JSON object" in server.requests[2].last and "one JSON object" not in server.requests[1].last


def test_it_is_not_where_the_server_does_not_do_it_or_the_blocks_are_whole(case: Case) -> None:
    _, server = asked([NONE, NONE, shift(21)], case, "generic")
    assert not any("response_format" in request.body for request in server.requests)
    misplaced = shift(21).replace("shr rax, 12", "shr rcx, 99")
    _, server = asked([misplaced, misplaced, misplaced, shift(21)], case, "llamacpp")
    assert not any("response_format" in request.body for request in server.requests)


def test_a_server_that_refuses_it_is_asked_without(case: Case) -> None:
    refused = status(400, "response_format is not supported")
    found, server = asked([NONE, NONE, refused, shift(21)], case, "llamacpp")
    assert found == ["shr rax, 21"]
    assert ["response_format" in request.body for request in server.requests] == [False, False, True, False]


class Book(Ledger):
    """A ledger that keeps what was reserved last."""

    reserved = 0

    def reserve(self, prompt: int, completion: int) -> Reservation:
        self.reserved = prompt
        return super().reserve(prompt, completion)


def test_what_a_schema_costs_is_reserved() -> None:
    books = Book(), Book()
    with ModelServer(["ok"]) as server:
        endpoint = Endpoint(server.url, MODEL, "none", profile="vllm", context=8000)
        for book, schema in zip(books, (None, edits.SCHEMA), strict=True):
            ChatModel(endpoint, book).ask([], max_output=9, schema=schema)
    assert books[1].reserved - books[0].reserved >= len(json.dumps(edits.SCHEMA))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"edits": [3]}', "texts 'file'"),
        ('{"edits": [{"file": "a.s", "search": 1, "replace": ""}]}', "texts 'file'"),
        ('{"edits": [{"file": "a.s", "search": "x"}]}', "texts 'file'"),
    ],
)
def test_json_that_is_no_edit_is_told(text: str, said: str) -> None:
    with pytest.raises(EditError, match=said):
        edits.parse(text)


@pytest.mark.parametrize("text", ['{"edits": 3}', "{", "[]", '{"a": 1}', "{" * 100_000])
def test_json_without_edits_holds_none(text: str) -> None:
    assert edits.parse(text) == [] and edits.cause(text) == ""


def test_blocks_in_json_are_blocks() -> None:
    (block,) = edits.parse(f"<think>{{</think>{RIGHT}")
    assert block == edits.Block("mm/page.s", ("    shr rax, 12",), ("    shr rax, 21",))
    (gone,) = edits.parse('{"edits": [{"file": "a.s", "search": "a\\nb", "replace": ""}]}')
    assert gone == edits.Block("a.s", ("a", "b"), ())
