"""``pxos check`` on a foreign tree: its build's own warnings, odd data flow, definitions, learnt guards; no boot.

Owns gathering the findings. The tree is built in the sandbox, because a kernel that does not build has no findings but
errors; its sources are looked at in the words of the search.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from architect.checks import architecture
from architect.foreign.tongue import Translation
from architect.foreign.workspace import ForeignCopy, others
from toolchain import scratch
from toolchain.command import Ui
from toolchain.foreign import build, config, names
from toolchain.foreign.sandbox import Sandbox
from toolchain.foreign.tree import Copy

_WARNING = re.compile(r"^([^\s:][^:\n]*):(\d+):(?:\d+:)?\s*[Ww]arning:\s*(.*)$", re.MULTILINE)


def translated(copy: ForeignCopy, changed: Mapping[str, str] | None = None) -> Translation:
    """The assembly of a tree in the words of the search."""
    return Translation(copy.foreign.syntax, {**others(copy), **copy.sources(), **(changed or {})})


def findings(tree: Path, guards: list[Any], ui: Ui, *, unsafe: bool) -> dict[str, Any]:
    """The findings of a tree, in the form of ``pxos check --json``.

    Args:
        tree: with a ``pxos.toml``.
        guards: learnt guards that hold for it (``architect.learn.guards``).
        ui: for progress.
        unsafe: build without a sandbox.

    Raises:
        PxError: its description is wrong, no sandbox can be had, it does not build.
    """
    began = time.monotonic()
    copy = ForeignCopy(config.load(tree))
    sandbox = Sandbox(unsafe=unsafe)
    with scratch.folder("pxos-check-") as folder:
        ui.step(f"building {copy.foreign.name}: {copy.foreign.build}")
        built = build.build(copy.foreign, Copy(copy.whole, folder / "tree"), sandbox)
        rows = [*_warnings(built.log, folder / "tree")]
        ui.step("looking at the code")
        nothing = folder / "nothing"
        nothing.mkdir()
        made = translated(copy)
        editable = set(copy.sources())
        rows += [row for row in _odd(made, nothing) if row["file"] in editable]
        texts = {name: text for name, text in made.sources.items() if name in editable}
        rows += [asdict(finding) for finding in architecture.findings(texts)]
        routines = len(_routines(made, nothing))
        if guards:
            from architect.learn import guards as learnt

            ui.step(f"asking {len(guards)} learnt guards")
            rows += learnt.run(guards, nothing, made.sources)
    return {
        "findings": rows,
        "guards": len(guards),
        "routines": routines,
        "models": 0,
        "seconds": round(time.monotonic() - began, 3),
    }


def _warnings(log: str, folder: Path) -> Iterator[dict[str, Any]]:
    seen: set[tuple[str, int, str]] = set()
    for file, line, message in _WARNING.findall(log):
        key = (names.relative(file, folder), int(line), message.strip())
        if key not in seen:
            seen.add(key)
            yield {"rule": "compiler", "message": key[2], "routine": None, "file": key[0], "line": key[1]}


def _odd(made: Translation, folder: Path) -> Iterator[dict[str, Any]]:
    """What looks odd in the data flow of the assembly: values that nothing made, values that nothing uses."""
    from architect.anomalies import anomalies
    from architect.dataflow import Flows
    from architect.source import Tree

    tree = Tree.of(folder, made.sources)
    for (file, line), odd in sorted(anomalies(Flows(tree)).items()):
        for anomaly in odd:
            home = next((s.routine for s in tree.by_line.get((file, line), ())), None)
            said = f"{anomaly.kind}: {anomaly.register}"
            yield {"rule": "data-flow", "message": said, "routine": home, "file": file, "line": line}


def _routines(made: Translation, folder: Path) -> Mapping[str, Any]:
    from architect.source import Tree

    return Tree.of(folder, made.sources).routines
