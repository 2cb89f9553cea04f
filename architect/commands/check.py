"""``pxos check``: static checks and contract tests of a kernel tree, without a boot."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from toolchain.command import STATUS_NO, STATUS_OK, Outcome, Ui, paint, wants_colour

HELP = "Static checks and contract tests of a kernel tree; nothing is booted."
EXAMPLE = "pxos check --kernel kernel"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument(
        "--kernel", type=Path, metavar="DIR", help="the kernel tree (default: this checkout's)"
    )
    parser.add_argument(
        "--seeds", type=int, default=3, metavar="N", help="calls per routine and contract (default 3)"
    )


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """Build in memory, look, call."""
    import sys

    from architect import checks, contracts
    from toolchain import build

    tree = build.kernel_tree(args.kernel)
    ui.step(f"assembling {tree}")
    with build.Session(tree) as session:
        image = session.build()
    sources = build.sources(tree)
    subject_findings = checks.findings(image, sources)
    ui.step("calling every routine that can run alone")
    headers = contracts.routines(sources)
    broken = contracts.violations(image, headers, seeds=max(1, args.seeds))
    rows = [asdict(finding) for finding in subject_findings]
    for violation in broken:
        header = headers.get(violation.routine)
        row = checks.Finding(
            "contract",
            violation.promise,
            violation.routine,
            header.file if header else None,
            header.line if header else None,
        )
        rows.append({**asdict(row), "call": dict(violation.call)})
        subject_findings.append(row)
    colour = wants_colour(sys.stdout)
    lines = [str(finding) for finding in subject_findings]
    count = len(lines)
    verdict = f"{count} finding{'s' if count != 1 else ''}" if count else "no findings"
    lines.append(paint(f"{verdict}; {len(headers)} routines", "red" if count else "green", colour))
    return Outcome(
        STATUS_NO if count else STATUS_OK, {"findings": rows, "routines": len(headers)}, "\n".join(lines)
    )
