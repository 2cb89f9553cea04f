"""Arguments of tools are checked before a tool sees them; what a tool says is bounded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from architect.tools.base import ARGUMENTS_MAX, TEXT_MAX, Answer, misfit, run, schema
from architect.tools.desk import Desk
from architect.tools.table import TOOLS, call, described
from toolchain.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


class Echo:
    """Says its arguments back."""

    name = "echo"
    summary = "says it back"
    parameters = schema(
        ("word",),
        word={"type": "string", "minLength": 1, "maxLength": 5, "pattern": "^[a-z]+$"},
        times={"type": "integer", "minimum": 1, "maximum": 3},
        rows={"type": "array", "maxItems": 2, "items": {"type": "object", "required": ["at"]}},
    )

    def call(self, desk: Any, word: str, times: int = 1, rows: object = None) -> Answer:
        if word == "fail":
            raise InputError("no such thing", stage="echo")
        return Answer(word * times)


WRONG = [
    ("", "'word' is missing"),
    ("[]", "expected an object"),
    ("{", "no JSON"),
    ('{"word": NaN}', "no JSON number"),
    ('{"word": 1}', "expected a string, found 1"),
    ('{"word": ""}', "is empty"),
    ('{"word": "abcdef"}', "at most 5"),
    ('{"word": "A"}', "does not fit"),
    ('{"word": "a", "times": 4}', "out of range: 1 to 3"),
    ('{"word": "a", "times": true}', "expected an integer"),
    ('{"word": "a", "times": 1.5}', "expected an integer"),
    ('{"word": "a", "other": 1}', 'no argument "other"; there are: word, times, rows'),
    ('{"word": "a", "rows": [{"at": 1}, {}]}', "rows[1]: 'at' is missing"),
    ('{"word": "a", "rows": [1, 2, 3]}', "expected 0 to 2"),
    ("[" * 100_000, "no JSON"),
    ('{"word": "' + "a" * ARGUMENTS_MAX + '"}', "at most"),
    ('{"word": "fail"}', "no such thing"),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_does_not_fit_is_refused_and_says_where(text: str, said: str) -> None:
    answer = run(Echo(), None, text)  # type: ignore[arg-type]
    assert not answer.ok and said in answer.text and "\n" not in answer.text and len(answer.text) < 400


def test_what_fits_is_called() -> None:
    answer = run(Echo(), None, '{"word": "ab", "times": 2}')  # type: ignore[arg-type]
    assert answer == Answer("abab")


def test_deep_values_are_refused() -> None:
    rule: dict[str, Any] = {"type": "array", "items": {}}
    rule["items"] = rule
    value: list[Any] = []
    for _ in range(50):
        value = [value]
    assert "nested" in str(misfit(value, rule, "x"))


def test_a_long_answer_is_cut_at_a_line_and_says_so() -> None:
    class Long(Echo):
        def call(self, desk: Any, word: str, times: int = 1, rows: object = None) -> Answer:
            return Answer("\n".join("x" * 99 for _ in range(1000)))

    text = run(Long(), None, '{"word": "a"}').text  # type: ignore[arg-type]
    assert len(text) < TEXT_MAX + 100
    assert text.splitlines()[-1].endswith("more characters are left out; ask for a smaller part")


def test_every_tool_is_described_for_a_model() -> None:
    rows = described()
    assert [row["function"]["name"] for row in rows] == list(TOOLS)
    for row in rows:
        about = row["function"]
        assert about["parameters"]["additionalProperties"] is False and 20 < len(about["description"]) < 400
        json.dumps(about)


def test_an_unknown_tool_is_an_answer(tmp_path: Path) -> None:
    with Desk(ROOT / "kernel", tmp_path) as desk:
        answer = call("read_sources", desk, "{}")
        assert not answer.ok and "did you mean read_source?" in answer.text


HOSTILE = [
    ("read_source", {"file": "../../etc/passwd"}),
    ("read_source", {"file": "/etc/passwd"}),
    ("read_source", {"file": "mm/../../README.md"}),
    ("read_source", {"symbol": "(a+)+$" + "a" * 50}),
    ("search", {"text": "(a|a)*" * 30}),
    ("search", {"text": "page", "files": "*a*a*a*a*a*a*a*a*a*a*b"}),
    ("symbols", {"pattern": "*a*a*a*a*a*a*a*a*a*a*a*a*b"}),
    ("recall_lessons", {"words": 'x" OR 1=1; DROP TABLE lesson; --'}),
]


@pytest.mark.parametrize(("name", "arguments"), HOSTILE)
def test_hostile_arguments_reach_nothing(tmp_path: Path, name: str, arguments: dict[str, Any]) -> None:
    with Desk(ROOT / "kernel", tmp_path, lessons=tmp_path / "lessons") as desk:
        answer = call(name, desk, json.dumps(arguments))
        assert not answer.ok or answer.text == "no lesson is stored that fits"
        assert "root:" not in answer.text


def test_a_proposal_stays_within_the_fence(tmp_path: Path) -> None:
    with Desk(ROOT / "kernel", tmp_path) as desk:
        for name in (
            "test/test_mmio.s",
            "image.toml",
            "../README.md",
            "shaders/../x.wgsl",
            "/etc/passwd",
            "new.s",
        ):
            with pytest.raises(InputError, match="may not be changed"):
                desk.propose({name: "nop\n"})
        text = desk.originals()["mm/page.s"]
        with pytest.raises(InputError, match="may not bring in files"):
            desk.propose({"mm/page.s": text + '.incbin "/etc/passwd"\n'})
        desk.propose({"mm/page.s": text + "# end\n"})
        assert desk.sources()["mm/page.s"].endswith("# end\n")
        assert desk.diff().startswith("--- a/mm/page.s\n+++ b/mm/page.s\n")
        desk.propose({"mm/page.s": text})
        assert not desk.changes
