"""Streams as servers write them: events, characters and tool calls in any pieces, packed, marked, mislabelled."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from architect.model.pieces import Calls, Characters
from architect.model.types import Reply
from architect.model.unpacking import STEP_BYTES, UnknownPackingError, readable, unpacked
from tests.architect.model_client import ask, fails
from tests.architect.model_server import MODEL, Exchange, Step

_FRAME = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
_COUNTED = {"prompt_tokens": 150, "completion_tokens": 3, "total_tokens": 153}


def chunk(text: str | list[Any] = "", finish: str | None = None, **fields: Any) -> dict[str, Any]:
    said = {**({"content": text} if text else {}), **fields}
    return {**_FRAME, "choices": [{"index": 0, "delta": said, "finish_reason": finish}]}


def event(data: object, end: str = "\n", gap: str = " ") -> str:
    return f"data:{gap}{data if isinstance(data, str) else json.dumps(data)}{end}{end}"


def end(finish: str = "stop", line: str = "\n") -> str:
    usage = {**_FRAME, "choices": [], "usage": _COUNTED}
    return event(chunk(finish=finish), line) + event(usage, line) + event("[DONE]", line)


def sends(
    *parts: str | bytes, kind: str = "text/event-stream", headers: Mapping[str, str] | None = None
) -> Step:
    def step(exchange: Exchange) -> None:
        exchange.head(kind=kind, headers=headers)
        for part in parts:
            exchange.write(part)

    return step


def part(
    index: int | None, id: str | None = None, name: str | None = None, arguments: Any = None
) -> dict[str, Any]:
    function = {k: v for k, v in (("name", name), ("arguments", arguments)) if v is not None}
    row = {"index": index, "id": id, "type": "function", "function": function}
    return {k: v for k, v in row.items() if v is not None}


def called(*parts: dict[str, Any]) -> list[tuple[str, str, str]]:
    events = [event(chunk(tool_calls=[row])) for row in parts]
    reply = ask([sends(*events, end("tool_calls"))])
    return [(call.id, call.name, call.arguments) for call in reply.tool_calls]


@pytest.mark.parametrize(
    "stream",
    [
        (": keep-alive\n\n", event(chunk("hel")), ": PROCESSING\n\n", event(chunk("lo")), end()),
        (event(chunk("hel"), "\r\n"), event(chunk("lo"), "\r\n"), end(line="\r\n")),
        (event(chunk("hel"), "\r"), event(chunk("lo"), "\r"), end(line="\r")),
        (event(chunk("hello"), gap=""), end()),
        ("\ufeff", event(chunk("hello")), end()),
        (event({**chunk("hello"), "usage": None}), end()),
        (event(chunk([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "hello"}])), end()),
        tuple(bytes([byte]) for byte in (event(chunk("hello"), "\r\n") + end(line="\r\n")).encode()),
    ],
    ids=["comments", "crlf", "cr", "no-space", "mark", "usage-null", "parts", "byte-by-byte"],
)
def test_a_stream_is_understood_however_it_is_written(stream: Sequence[str | bytes]) -> None:
    reply = ask([sends(*stream)])
    assert (reply.text, reply.finish, reply.usage.total) == ("hello", "stop", 153)


def test_a_character_may_come_in_parts() -> None:
    rows = "".join(f"data: {json.dumps(chunk(text), ensure_ascii=False)}\n\n" for text in ("日本", "語😀ü"))
    assert ask([sends(*(bytes([b]) for b in rows.encode()), end())]).text == "日本語😀ü"
    escaped = [event(chunk("*")).replace("*", half) for half in ("\\ud83d", "\\ude00")]
    assert ask([sends(*escaped, end())]).text == "😀"


def test_what_is_no_character_is_replaced() -> None:
    broken = event(chunk("a*b")).encode().replace(b"*", b"\xff")
    assert ask([sends(broken, end())]).text == "a�b"
    alone = event(chunk("a*b")).replace("*", "\\ud83d")
    text = ask([sends(alone, end())]).text
    assert text.encode() and text.startswith("a") and text.endswith("b")


def test_halves_wait_for_each_other() -> None:
    characters = Characters()
    assert [characters.of(text) for text in ("a\ud83d", "", "\ude00b", "\ude00", "c")] == [
        "a",
        "",
        "😀b",
        "�",
        "c",
    ]


def test_one_answer_was_asked_for() -> None:
    both = {**_FRAME, "choices": [{"index": n, "delta": {"content": text}} for n, text in enumerate("AB")]}
    other = {**_FRAME, "choices": [{"index": 1, "delta": {"content": "C"}}]}
    assert ask([sends(event(both), event(other), end())]).text == "A"


def test_arguments_come_in_any_pieces() -> None:
    letters = [part(0, arguments=letter) for letter in '{"file": "x"}']
    assert called(part(0, "a", "read", ""), *letters) == [("a", "read", '{"file": "x"}')]


@pytest.mark.parametrize("index", [0, None])
def test_calls_that_share_a_number_stay_two(index: int | None) -> None:
    rows = (part(index, "a", "read", '{"x": 1}'), part(index, "b", "search", '{"y": 2}'))
    assert called(*rows) == [("a", "read", '{"x": 1}'), ("b", "search", '{"y": 2}')]


def test_calls_without_any_number_stay_two() -> None:
    calls = Calls()
    calls.add([(None, "", "read", '{"x":'), (None, "", "", " 1}"), (None, "", "search", "{}")])
    assert [(call.id, call.name, call.arguments) for call in calls.whole()] == [
        ("call-0", "read", '{"x": 1}'),
        ("call-1", "search", "{}"),
    ]


def test_two_calls_of_one_id_get_two() -> None:
    rows = (part(0, "a", "read", "{}"), part(1, "a", "search", "{}"))
    assert called(*rows) == [("a", "read", "{}"), ("a-1", "search", "{}")]


def test_a_name_that_is_said_again_is_one_name() -> None:
    assert called(part(0, "a", "read", '{"x"'), part(0, "a", "read", ": 1}")) == [("a", "read", '{"x": 1}')]


def test_arguments_that_are_an_object_are_its_text() -> None:
    assert called(part(0, "a", "read", {"x": 1})) == [("a", "read", '{"x": 1}')]


@pytest.mark.parametrize("usage", [{"prompt_tokens": True, "completion_tokens": 1}, {"prompt_tokens": "9"}])
def test_a_count_that_is_no_number_counts_as_none(usage: dict[str, Any]) -> None:
    told = event({**_FRAME, "choices": [], "usage": usage})
    reply = ask([sends(event(chunk("hi", "stop")), told, event("[DONE]"))])
    assert reply.text == "hi" and reply.usage.estimated


_WHOLE = {
    **_FRAME,
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (json.dumps(_WHOLE), "text/event-stream"),
        (json.dumps(_WHOLE), "text/plain"),
        (event(_WHOLE), "text/event-stream"),
    ],
    ids=["mislabelled", "plain", "one-event"],
)
def test_a_whole_answer_is_one_whatever_its_label(body: str, kind: str) -> None:
    assert whole(body, kind).text == "hi"


def whole(body: str, kind: str) -> Reply:
    return ask([sends(body, kind=kind)])


@pytest.mark.parametrize("kind", ["text/event-stream", "text/plain", "application/problem+json"])
def test_an_error_with_status_200_says_why_whatever_its_label(kind: str) -> None:
    error, server = fails([sends(json.dumps({"error": {"message": "model not loaded"}}), kind=kind)])
    assert "model not loaded" in error.message and len(server.requests) == 1


def test_a_web_page_is_told_as_one() -> None:
    error, server = fails([sends("<html>please log in</html>", kind="text/html")])
    assert "a web page" in error.message and "--model-url" in error.message and len(server.requests) == 1


def test_what_is_no_answer_is_shown() -> None:
    error, _ = fails([sends('event: error\ndata: {"message": "out of memory"}\n\n')])
    assert error.kind == "format" and "out of memory" in error.message


def packed(answer: bytes, packing: str) -> Step:
    return sends(answer, headers={"content-encoding": packing})


def test_an_answer_that_is_packed_is_unpacked() -> None:
    text = (event(chunk("hello")) + end()).encode()
    assert ask([packed(gzip.compress(text), "gzip")]).text == "hello"
    assert ask([packed(zlib.compress(text), "deflate")]).text == "hello"


def test_a_packing_that_nobody_asked_for_is_refused() -> None:
    for answer, packing in ((b"xxxx", "br"), (b"no gzip", "gzip")):
        error, server = fails([packed(answer, packing)])
        assert error.kind == "format" and "packed" in error.message and len(server.requests) == 1


def test_what_unpacks_to_much_is_never_all_in_memory() -> None:
    size = 64 << 20
    bomb = gzip.compress(b"data: " + bytes(size))
    seen = 0

    def blocks() -> Iterator[bytes]:
        yield bomb

    tracemalloc.start()
    for step in readable(unpacked(blocks(), "gzip"), lambda data: None):
        seen += len(step)
        assert len(step) <= STEP_BYTES
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == size + 6 and most < 4 << 20


def test_an_answer_that_unpacks_without_end_is_left() -> None:
    error, _ = fails([packed(gzip.compress(b"data: " + b"x" * (32 << 20)), "gzip")])
    assert error.kind == "format" and "without end" in error.message


def test_packings_by_name() -> None:
    assert b"".join(unpacked([b"a", b"b"], "identity")) == b"ab"
    with pytest.raises(UnknownPackingError):
        list(unpacked([b"a"], "zstd"))
    assert b"".join(unpacked([gzip.compress(b"ab") + b"behind"], " GZIP ")) == b"ab"
