"""The job's summary and the text of a pull request, as Markdown of bounded size.

Owns their wording and order. Text of a kernel, a log or a model stands in code spans and fences only, where it
names nobody, closes nothing and draws nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from architect.ci.escape import code, fence, line, shortened

SUMMARY_BYTES = 128 << 10  # GitHub takes 1 MiB of a step
BODY_BYTES = 60_000  # GitHub takes 65,536 characters
DIFF_BYTES = 32_000
ROWS_MAX = 40
TITLES: Mapping[str, str] = {
    "healthy": "Kernel healthy",
    "fixed": "Kernel repaired",
    "not-fixed": "Kernel broken, no repair found",
    "budget": "Kernel broken, budget spent",
}


def summary(data: Mapping[str, Any], folder: str) -> str:
    """What ``$GITHUB_STEP_SUMMARY`` gets."""
    parts = [f"## {TITLES[data['outcome']]}", "", code(data["reason"]), ""]
    parts += [*_diagnosis(data), *_repair(data, folder), *_cost(data)]
    parts += ["", f"Artefacts: {code(folder)}", ""]
    return shortened("\n".join(parts), SUMMARY_BYTES, f"{folder}/report.md") + "\n"


def pull_request(data: Mapping[str, Any], tree: str, folder: str) -> str:
    """The body of a pull request that brings the proved patch: diagnosis, patch, evidence, cost."""
    parts = [
        f"Repairs the kernel in {code(tree)}: every gate of `pxos fix` passes on a fresh copy with this patch.",
        "",
    ]
    parts += [*_diagnosis(data), *_repair(data, folder)]
    parts += ["### Evidence", "", *_table(data["gates"]), ""]
    parts += [*_cost(data), ""]
    parts += ["Made by a program and proved by booting; read it before you merge it.", ""]
    return shortened("\n".join(parts), BODY_BYTES, f"{folder}/report.md")


def title(data: Mapping[str, Any]) -> str:
    """The subject of a commit or a pull request with the patch."""
    return line(f"Repair the kernel: {data['why']}", 72)


def _diagnosis(data: Mapping[str, Any]) -> list[str]:
    found = data["diagnosis"]
    if not found["failing"]:
        return ["Every gate passes; nothing was changed.", ""]
    out = ["### Diagnosis", "", "| gate | place | what it says |", "| --- | --- | --- |"]
    for row in found["failing"][:ROWS_MAX]:
        place = f"{row['file']}:{row['line']}" if row["line"] else row["file"] or ""
        out.append(f"| {code(row['gate'])} | {code(place)} | {code(row['message'])} |")
    out.append("")
    if found["cause"]:
        out += [code(found["cause"]), ""]
    out += [f"- {code(sentence)}" for sentence in found["sentences"][:ROWS_MAX]]
    return [*out, ""] if found["sentences"] else out


def _repair(data: Mapping[str, Any], folder: str) -> list[str]:
    if data["patch"]:
        diff = shortened(str(data["patch"]), DIFF_BYTES, f"{folder}/patch.diff")
        told = f"{code(data['why'])} (engine {code(data['engine'])}, operator {code(data['operator'])})"
        return ["### Patch", "", told, "", fence(diff, "diff"), ""]
    if data["partial"]:
        diff = shortened(str(data["partial"]["diff"]), DIFF_BYTES, f"{folder}/partial.diff")
        failed = next((g for g in data["partial"]["gates"] if not g["passed"]), None)
        said = f"It still fails {code(failed['gate'])}: {code(failed['message'])}" if failed else ""
        return ["### Best partial result, no repair", "", said, "", fence(diff, "diff"), ""]
    return []


def _table(gates: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = []
    for gate in gates[:ROWS_MAX]:
        said = "pass" if gate["passed"] else "**fail**"
        took = f"{float(gate['seconds']):.2f} s"
        rows.append(f"| {code(gate['gate'])} | {said} | {took} | {code(gate['message'])} |")
    return ["| gate | result | time | |", "| --- | --- | --- | --- |", *rows]


def _cost(data: Mapping[str, Any]) -> list[str]:
    tried = ", ".join(f"{code(name)} {count}" for name, count in data["tried"].items())
    took = f"{data['boots']} boots, {data['candidates']} candidates, {data['seconds']:.1f} s, {data['tokens']} tokens"
    if data.get("money") is not None:
        took += f", cost {code(str(data['money']))}"
    return ["### Cost", "", took + (f". Candidates by engine: {tried}." if tried else ".")]
