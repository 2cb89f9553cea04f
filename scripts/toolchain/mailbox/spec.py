"""The tables of shaders/MAILBOX.md and shaders/mailbox.wgsl, from mailbox.toml: ``python -m toolchain.mailbox.spec``.

Owns that shader part and the marked blocks of MAILBOX.md (``<!-- table NAME -->`` to ``<!-- end -->``); the prose
around them is written by hand. A test fails while the files and the definitions differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from toolchain.mailbox import layers, layout, registry

SPEC = Path(__file__).resolve().parents[3] / "shaders" / "MAILBOX.md"
_HEX_FROM = 0x1000  # smaller numbers are counts and times, larger ones places and masks
WGSL = SPEC.with_name("mailbox.wgsl")
_BLOCK = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """``text`` with every marked block holding its table.

    Raises:
        KeyError: a block names no table.
    """
    made = tables()
    return _BLOCK.sub(lambda match: f"{match[1]}\n{made[match[2]]}\n\n{match[3]}", text)


def tables() -> dict[str, str]:
    """Every table by the name of its block."""
    found = layout.rows()
    out = {
        "constant": _table(
            ("name", "value", "is"), [(r["name"], _number(r["value"]), r["is"]) for r in found["constant"]]
        ),
        "operation": _table(
            ("opcode", "name", "result", "does", "payload on the compatibility page"),
            [(hex(r["value"]), r["name"], r["result"], r["is"], r["payload"]) for r in found["operation"]],
        ),
        "body": _table(("operation", "offset", "size", "field", "is"), _bodies(found["operation"])),
        "error": _table(
            ("type", "code", "name", "STATUS bits", "retry", "is"),
            [
                (
                    r["type"],
                    r["code"],
                    r["name"],
                    f"0x{r['value']:04x}",
                    "may help" if r["retry"] else "no",
                    r["is"],
                )
                for r in found["error"]
            ],
        ),
        "counter": _table(
            ("index", "name", "counts"), [(r["value"], r["name"], r["is"]) for r in found["counter"]]
        ),
    }
    out["shader"] = _table(("id", "name", "buffers"), _shaders())
    for name in ("compatible", "control", "queue"):
        out[name] = _table(
            ("offset", "size", "field", "written by", "is"),
            [(*_at(r), r["name"], r["owner"], r["is"]) for r in found[name]],
        )
    for name in ("slot", "completion", "buffer", "register"):
        out[name] = _table(
            ("offset", "size", "field", "is"), [(*_at(r), r["name"], r["is"]) for r in found[name]]
        )
    for name in (
        "compatible_status", "service_status", "client_status", "feature", "queue_flag", "status_bit", "flag",
        "buffer_access",
    ):  # fmt: skip
        out[name] = _table(
            ("bits", "name", "means"), [(hex(r["value"]), r["name"], r["is"]) for r in found[name]]
        )
    for name in ("call", "window"):
        out[name] = _table(("number", "name", "is"), [(r["value"], r["name"], r["is"]) for r in found[name]])
    return out


def _at(row: dict[str, Any]) -> tuple[str, int]:
    return f"0x{row['offset']:02x}", row.get("size", 4)


def _number(value: int) -> str:
    return hex(value) if value >= _HEX_FROM else str(value)


def _bodies(operations: Iterable[dict[str, Any]]) -> list[tuple[object, ...]]:
    return [
        (row["name"], f"0x{field.offset:02x}", field.size, field.name, field.text)
        for row in operations
        for field in layout.fields(row)
    ]


def _shaders() -> list[tuple[object, ...]]:
    texts = [f"see shaders/{shader.file}" for shader in registry.SHADERS]
    for layer in layers.LAYERS:
        inputs = len(layer.arrays((1, 1, 1, 1))) - 1
        texts.append(f"0: shape ({layer.words}); 1 to {inputs}: inputs; {inputs + 1}: result")
    return [(number, *row) for number, row in enumerate(zip(layers.names(), texts, strict=True))]


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(c).replace("|", "\\|") for c in line) + " |" for line in lines)


def main() -> None:
    """Write the tables into the specification, and the shader part."""
    text = SPEC.read_text(encoding="utf-8")
    SPEC.write_text(filled(text), encoding="utf-8")
    WGSL.write_text(layout.wgsl(), encoding="utf-8")


if __name__ == "__main__":
    main()
