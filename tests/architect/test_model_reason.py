"""Why a model gave no answer is a word in the JSON, not only a sentence."""

from __future__ import annotations

import json
from typing import get_args

import pytest

import cli
from architect.model.types import Kind, ModelError
from tests.unit import schemas
from toolchain.errors import InputError


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_of_failure_has_its_word(kind: Kind, capsys: pytest.CaptureFixture[str]) -> None:
    error = ModelError("no answer", kind)
    status = cli._fail(error, as_json=True)
    told = json.loads(capsys.readouterr().out)
    schemas.validate(told, "error")
    assert told["error"]["reason"] == kind and status == error.status != 0


def test_other_failures_have_none(capsys: pytest.CaptureFixture[str]) -> None:
    cli._fail(InputError("no such file", stage="arguments"), as_json=True)
    assert set(json.loads(capsys.readouterr().out)["error"]) == {"stage", "message", "log"}
