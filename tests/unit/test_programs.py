"""User programs: the bytes that GNU as and ld make, images that the loader takes, names that --module knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from architect.contracts import elfcheck
from tests.unit import gnu_link
from toolchain import elf, generate, layout, modules, programs
from toolchain.encode import Encoder
from toolchain.errors import InputError

LAYOUT = layout.load(programs.FOLDER / "image.toml")


@pytest.fixture(scope="module")
def includes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    out = tmp_path_factory.mktemp("programs")
    generate.generate(programs.KERNEL, out)
    return [out / "gen", *(programs.KERNEL / folder for folder in LAYOUT.include)]


@pytest.mark.long
@pytest.mark.parametrize("name", programs.names())
def test_as_gnu_makes_it(name: str, encoder: Encoder, includes: list[Path]) -> None:
    sources: dict[str, str | Path] = {f"{name}.s": programs.FOLDER / f"{name}.s"}
    oracle = gnu_link.gnu(sources, LAYOUT, includes)
    assert not oracle.complaint
    image = gnu_link.ours(sources, LAYOUT, encoder, includes)
    assert gnu_link.differences(image, oracle) == []
    assert image.entry == oracle.symbols[LAYOUT.entry]


def test_the_loader_takes_them(tmp_path: Path) -> None:
    assert set(programs.names()) == {"hello", "stress"}
    for name in programs.names():
        made = programs.build(name, tmp_path)
        data = made.read_bytes()
        assert elfcheck.judge(data)[0] == ""
        assert data == elf.write(programs.image(programs.FOLDER / f"{name}.s"))  # the same bytes each time


def test_a_name_stands_for_a_program_unless_it_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = Path("./folder/hello")
    assert programs.resolve([Path("hello"), other], tmp_path) == [tmp_path / "programs/hello", other]
    Path("hello").write_bytes(b"somebody's own")
    assert programs.resolve([Path("hello")], tmp_path) == [Path("hello")]
    with pytest.raises(InputError, match="no such program; there are hello, stress"):
        programs.build("goodbye", tmp_path)
    with pytest.raises(InputError):
        modules.archive(programs.resolve([Path("goodbye")], tmp_path))
