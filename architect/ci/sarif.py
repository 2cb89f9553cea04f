"""What is wrong with a kernel as SARIF 2.1.0, the proved patch as its fix.

Owns the form (OASIS, Static Analysis Results Interchange Format 2.1.0; section numbers are those of that document).
Never judges.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from architect.ci import diffs
from architect.ci.escape import printable
from toolchain.command import STATUS_NO, STATUS_OK, STATUS_SPENT

VERSION = "2.1.0"
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
BASE = "SRCROOT"
MESSAGE_MAX = 4000
RULES: Mapping[str, str] = {
    "assembles": "The sources assemble and link.",
    "checks": "Static checks of the linked kernel find nothing.",
    "contract": "Every routine keeps the promises of its header and its model.",
    "boot": "Every boot unit ends as declared, then PXREADY.",
    "tests": "The in-kernel tests run and pass.",
    "claims": "What the kernel says at PXREADY holds when the host measures it.",
    "iso": "The ISO boots through GRUB.",
}


def document(data: Mapping[str, Any], prefix: str | None, version: str, status: int) -> dict[str, Any]:
    """The SARIF log of one run.

    Args:
        data: the JSON of ``pxos fix``.
        prefix: the kernel tree relative to the repository's root; None when it lies outside.
        version: of pxOS.
        status: the exit status.
    """
    failing = data["diagnosis"]["failing"]
    gates = list(dict.fromkeys(str(row["gate"]) for row in failing))
    results = [_result(row, gates, prefix or "") for row in failing]
    if results and data["patch"]:
        results[0]["fixes"] = [_fix(str(data["patch"]), str(data["why"]), prefix or "")]
    rules = [
        {"id": gate, "shortDescription": {"text": RULES.get(gate, f"The gate {gate} passes.")}}
        for gate in gates
    ]
    driver = {"name": "pxOS", "semanticVersion": version, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "invocations": [
            {"executionSuccessful": status in (STATUS_OK, STATUS_NO, STATUS_SPENT), "exitCode": status}
        ],
        "columnKind": "unicodeCodePoints",
        "results": results,
        "properties": {
            key: data[key] for key in ("outcome", "engine", "boots", "candidates", "seconds", "tokens")
        },
    }
    return {"$schema": SCHEMA, "version": VERSION, "runs": [run]}


def text(data: Mapping[str, Any], prefix: str | None, version: str, status: int) -> str:
    """``document`` as JSON."""
    return json.dumps(document(data, prefix, version, status), indent=1) + "\n"


def _result(row: Mapping[str, Any], gates: Sequence[str], prefix: str) -> dict[str, Any]:
    """One failing gate (section 3.27); code scanning shows only what has a place, so the tree stands in for one."""
    gate, message = str(row["gate"]), printable(str(row["message"]))[:MESSAGE_MAX]
    physical: dict[str, Any] = {"artifactLocation": _artefact(row["file"] or "boot.toml", prefix)}
    if row["line"]:
        physical["region"] = {"startLine": row["line"]}
    fingerprint = hashlib.sha256(f"{gate}\n{row['file']}\n{message}".encode()).hexdigest()
    return {
        "ruleId": gate,
        "ruleIndex": gates.index(gate),
        "level": "error",
        "message": {"text": message or f"the gate {gate} fails"},
        "locations": [{"physicalLocation": physical}],
        "partialFingerprints": {"pxosGate/v1": fingerprint},
    }


def _artefact(file: str, prefix: str) -> dict[str, str]:
    return {"uri": quote(f"{prefix}/{file}" if prefix else file), "uriBaseId": BASE}


def _fix(patch: str, why: str, prefix: str) -> dict[str, Any]:
    """The patch (sections 3.55 to 3.57): what is deleted is a region of whole lines."""
    files: dict[str, list[dict[str, Any]]] = {}
    for change in diffs.changes(patch):
        region = {
            "startLine": change.line, "startColumn": 1, "endLine": change.line + len(change.old), "endColumn": 1,
        }  # fmt: skip
        inserted = "".join(f"{line}\n" for line in change.new)
        files.setdefault(change.file, []).append(
            {"deletedRegion": region, "insertedContent": {"text": inserted}}
        )
    return {
        "description": {"text": printable(why)[:MESSAGE_MAX] or "the proved patch"},
        "artifactChanges": [
            {"artifactLocation": _artefact(file, prefix), "replacements": rows}
            for file, rows in files.items()
        ],
    }
