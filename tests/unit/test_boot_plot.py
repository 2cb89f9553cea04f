"""The boot chart: well-formed whatever the guest said, in proportion, and nothing outside of the picture."""

from __future__ import annotations

import random
from pathlib import Path
from xml.etree import ElementTree

from toolchain import boot_plot
from toolchain.types import Unit

SVG = "{http://www.w3.org/2000/svg}"


def drawn(units: list[Unit], ready: int | None) -> ElementTree.Element:
    return ElementTree.fromstring(boot_plot.svg(units, ready, "title <&> \x00"))


def bars(picture: ElementTree.Element) -> dict[str, tuple[float, float, str]]:
    """Unit name -> left edge, width, colour."""
    found = {}
    for group in picture.iter(f"{SVG}g"):
        bar, label = group.find(f"{SVG}rect"), group.find(f"{SVG}text")
        assert bar is not None and label is not None and label.text is not None
        found[label.text.split(" ")[0]] = (
            float(bar.attrib["x"]),
            float(bar.attrib["width"]),
            bar.attrib["fill"],
        )
    return found


def test_bars_are_in_proportion() -> None:
    units = [
        Unit("first", "ok", 1200, 1000),
        Unit("second", "fail", 1600, 1200),
        Unit("third", "start", 1700, 1700),
    ]
    found = bars(drawn(units, None))
    assert list(found) == ["first", "second", "third"]
    assert found["first"][0] == 20 and found["second"][0] == found["first"][0] + found["first"][1]
    assert abs(found["second"][1] - 2 * found["first"][1]) < 0.2
    assert len({colour for _, _, colour in found.values()}) == 3


def test_a_unit_that_never_ended_reaches_the_end() -> None:
    found = bars(drawn([Unit("a", "ok", 500, 0), Unit("b", "start", 500, 500)], 1000))
    assert found["b"][0] + found["b"][1] == 980


def test_what_a_guest_says_stays_text() -> None:
    unit = Unit("</svg><script>", "ok", 5, 1, {"key": "\x1b[0m<b>&amp;" * 100})
    picture = drawn([unit], 9)
    assert not list(picture.iter(f"{SVG}script"))
    assert all(len(element.text or "") < 500 for element in picture.iter())


def test_no_boot_units() -> None:
    assert bars(drawn([], None)) == {}


def test_times_that_cannot_be_stay_in_the_picture() -> None:
    rng = random.Random(3)
    for _ in range(200):
        units = [
            Unit(f"u{i}", rng.choice(("ok", "skip", "fail", "start")), rng.choice(TIMES), rng.choice(TIMES))
            for i in range(rng.randrange(1, 20))
        ]
        for x, width, _ in bars(drawn(units, rng.choice((None, *TIMES)))).values():
            assert 20 <= x <= 980.1 and x + width <= 982


TIMES = (0, 1, 2, 1000, 10**9, 2**63, 10**20 - 1)


def test_the_axis_has_few_round_times() -> None:
    for total in (1, 7, 10, 99, 537_600, 10**12):
        step = boot_plot._step(total)
        assert total / step <= 10 and str(step).strip("0") in ("1", "2", "5")


def test_a_ready_before_the_units_is_not_outside() -> None:
    picture = drawn([Unit("a", "ok", 500, 400)], 7)
    assert all(0 <= float(line.attrib["x1"]) <= 1000 for line in picture.iter(f"{SVG}line"))


def test_the_command_writes_it(tmp_path: Path) -> None:
    from toolchain.commands import boot
    from toolchain.types import BootConfig, BootResult

    result = BootResult(
        "ready", 0.1, 33, "", (Unit("a", "ok", 5, 1),), {}, None, None, "", None, (), None, ready_tsc=9
    )
    boot._draw(result, BootConfig(Path("pxos.elf")), tmp_path / "chart.svg")
    assert "PXREADY" in (tmp_path / "chart.svg").read_text()
