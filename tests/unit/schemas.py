"""The schemas of ``--json``, and whether an object fits the one of its command."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
from referencing import Registry, Resource

import toolchain

FOLDER = Path(toolchain.__file__).parent / "schemas"


@cache
def every() -> dict[str, Any]:
    """File name -> schema."""
    return {path.name: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def validate(data: object, command: str) -> None:
    """``data`` is what ``pxos COMMAND --json`` may say; ``error`` stands for the object of a failure."""
    registry: Any = Registry().with_resources(
        [(name, Resource.from_contents(schema)) for name, schema in every().items()]
    )
    jsonschema.Draft202012Validator(every()[f"{command}.json"], registry=registry).validate(data)
