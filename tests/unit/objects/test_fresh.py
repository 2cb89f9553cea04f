"""A build in which nothing has changed: its products are left alone where they are what was made."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.small_tree import START
from tests.unit.objects.kept import IMAGE, PRODUCTS, made, products
from toolchain import build, link
from toolchain.command import Ui


@pytest.fixture
def linked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A word for each link; emptied by ``made``."""
    found = tmp_path / "linked"
    found.touch()
    really = link.link

    def noted(*arguments: object) -> object:
        with found.open("a") as file:
            file.write("link\n")
        return really(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(link, "link", noted)
    return found


def test_products_that_stand_are_left_alone(tree: Path, cache: Path, tmp_path: Path, linked: Path) -> None:
    (tree / "start.s").write_text(START + '    .warning "look here"\n')
    out = tmp_path / "out"
    first = build.build(tree, out, iso=False, cache=cache)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    made(linked)
    told = io.StringIO()
    again = build.build(tree, out, iso=False, cache=cache, ui=Ui(told))
    assert made(linked) == []
    assert again._replace(seconds=0) == first._replace(seconds=0)
    assert "warning: look here" in told.getvalue()
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", [*PRODUCTS, "gen/boot_table.inc"])
@pytest.mark.parametrize("how", ["removed", "changed", "cut"])
def test_a_product_that_is_not_what_was_made_is_made_again(
    tree: Path, cache: Path, tmp_path: Path, name: str, how: str
) -> None:
    path = tmp_path / "out" / name
    build.build(tree, tmp_path / "out", iso=False, cache=cache)
    whole = path.read_bytes()
    if how == "removed":
        path.unlink()
    else:
        path.write_bytes(whole[:-1] + (b"" if how == "cut" else b"?"))
    build.build(tree, tmp_path / "out", iso=False, cache=cache)
    assert path.read_bytes() == whole


def test_another_layout_or_folder_or_tree_is_linked(
    tree: Path, cache: Path, tmp_path: Path, linked: Path
) -> None:
    def products_now(out: str) -> dict[str, bytes]:
        build.build(tree, tmp_path / out, iso=False, cache=cache)
        return products(tmp_path / out)

    plain = products_now("out")
    assert products_now("elsewhere") == plain
    assert made(linked) == ["link", "link"]
    (tree / "image.toml").write_text(IMAGE.replace("0x100000", "0x200000"))
    assert products_now("out") != plain
    assert made(linked) == ["link"]
    (tree / "image.toml").write_text(IMAGE)
    (tree / "cpu/other.s").rename(tree / "zother.s")
    moved = products_now("out")
    assert made(linked) == ["link"]
    build.build(tree, tmp_path / "plain", iso=False)
    assert products(tmp_path / "plain") == moved
