"""Files of God Pixel's first version stay readable, and predictors are those that the specification names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pixelvm.god import container, dictionary, predict
from pixelvm.god.family import SIDE
from tests.unit.make_god_files import made

FILES = Path(__file__).resolve().parents[1] / "fixtures" / "god_pixel.txt"
ROWS = [line.replace(":", "").rsplit(" ", 2) for line in FILES.read_text().splitlines()]


@pytest.mark.parametrize(("name", "digest", "data"), ROWS, ids=[row[0] for row in ROWS])
def test_a_file_of_version_1(name: str, digest: str, data: str) -> None:
    if name == "dictionary":
        store = dictionary.from_bytes(bytes.fromhex(data), name)
        assert container.Content(store.tile(1), SIDE, SIDE).digest.hex() == digest
        assert (store.next, store.identity) == (2, bytes(range(16)))
        return
    assert container.expand(bytes.fromhex(data), name)[1].digest.hex() == digest


def test_there_is_a_file_of_every_kind() -> None:
    contents = {name: content for name, _, content in made()}
    assert {row[0] for row in ROWS} == {*contents, "dictionary"}
    for name, digest, _ in ROWS:
        assert name == "dictionary" or contents[name].digest.hex() == digest


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (predict.NONE, [0, 0, 0, 0]),
        (predict.SUB, [10, 200, 3, 50]),
        (predict.UP, [20, 100, 3, 90]),
        (predict.AVERAGE, [15, 150, 3, 70]),
        (predict.PAETH, [10, 100, 3, 50]),
        (predict.GRADIENT, [10, 100, 3, 60]),
    ],
)
def test_what_a_predictor_expects(kind: int, expected: list[int]) -> None:
    left, up, corner = (
        np.array(row, np.uint8) for row in ([10, 200, 3, 50], [20, 100, 3, 90], [25, 250, 3, 80])
    )
    assert predict._guess(kind, left, up, corner).tolist() == expected
