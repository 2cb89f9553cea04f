"""The gates as JUnit XML: one suite for the kernel as it is, one for the repair on a fresh copy.

Owns the form that CI services read (testsuites, testsuite, testcase, failure). Never judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from architect.ci.escape import line, printable, xml

NAME = "pxos fix"
AS_IT_IS, REPAIRED = "kernel", "repair"
FAILURE_MAX = 20_000


def text(data: Mapping[str, Any]) -> str:
    """The JSON of ``pxos fix`` as JUnit XML."""
    failing = [{**row, "passed": False, "seconds": 0.0} for row in data["diagnosis"]["failing"]]
    suites = [(AS_IT_IS, data["asked"] or failing)]
    if data["gates"]:
        suites.append((REPAIRED, data["gates"]))
    root = ElementTree.Element("testsuites", name=NAME)
    totals = [_suite(root, name, rows) for name, rows in suites]
    root.set("tests", str(sum(count for count, _, _ in totals)))
    root.set("failures", str(sum(failed for _, failed, _ in totals)))
    root.set("errors", "0")
    root.set("time", f"{float(data['seconds']):.3f}")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: ElementTree.Element, name: str, rows: Sequence[Mapping[str, Any]]) -> tuple[int, int, float]:
    failed = sum(not row["passed"] for row in rows)
    seconds = sum(float(row["seconds"]) for row in rows)
    suite = ElementTree.SubElement(
        root, "testsuite", name=f"{NAME}: {name}", tests=str(len(rows)), failures=str(failed), errors="0",
        skipped="0", time=f"{seconds:.3f}",
    )  # fmt: skip
    for row in rows:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"pxos.{name}",
            name=xml(str(row["gate"])),
            time=f"{float(row['seconds']):.3f}",
        )
        if not row["passed"]:
            message = str(row["message"])
            failure = ElementTree.SubElement(case, "failure", type="gate", message=xml(line(message)))
            failure.text = xml(printable(message)[:FAILURE_MAX])
    return len(rows), failed, seconds
