"""``pxos bugs``: the corpus of seeded kernel bugs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolchain.command import STATUS_NO, STATUS_OK, Outcome, Ui, paint, wants_colour
from toolchain.errors import InputError

HELP = "The corpus of seeded kernel bugs: list them, show one as a diff, prove that each breaks what it says."
EXAMPLE = "pxos bugs check seed-bar0-unmapped"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("action", choices=("list", "show", "check"))
    parser.add_argument("ids", nargs="*", metavar="ID", help="bugs (default: all)")
    parser.add_argument(
        "--kernel", type=Path, default=Path("kernel"), metavar="DIR", help="the sound kernel tree"
    )
    parser.add_argument(
        "--shaders", type=Path, default=Path("shaders"), metavar="DIR", help="the sound shaders"
    )
    parser.add_argument("--bugs", type=Path, default=Path("tests/bugs"), metavar="DIR", help="the corpus")


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """List, show or check."""
    from architect import corpus
    from toolchain import build

    tree = args.kernel if args.action == "list" else build.kernel_tree(args.kernel)
    every = corpus.load(args.bugs)
    known = {bug.id: bug for bug in every}
    unknown = [name for name in args.ids if name not in known]
    if unknown:
        raise InputError(f"no bug is called '{unknown[0]}' (see pxos bugs list)", stage="corpus")
    bugs = [known[name] for name in args.ids] if args.ids else every
    if args.action == "list":
        return _list(bugs)
    trees = {"kernel": tree, "shaders": args.shaders}
    if args.action == "show":
        return _show(bugs, trees)
    return _check(bugs, trees, ui)


def _row(bug: Any) -> dict[str, Any]:
    return {
        "id": bug.id, "class": bug.cls, "tree": bug.tree, "report": bug.report, "shows": bug.shows,
        "expect": bug.expect, "noticed_by": bug.noticed_by, "reference_edits": bug.reference_edits,
        "files": sorted({plant.file for plant in bug.plants}),
    }  # fmt: skip


def _list(bugs: list[Any]) -> Outcome:
    rows = [_row(bug) for bug in bugs]
    width, wide = max(len(r["id"]) for r in rows), max(len(r["class"]) for r in rows)
    lines = [f"{r['id']:<{width}}  {r['class']:<{wide}}  {r['report']}" for r in rows]
    lines.append(f"{len(rows)} bugs in {len({r['class'] for r in rows})} classes")
    return Outcome(STATUS_OK, {"bugs": rows, "classes": len({r["class"] for r in rows})}, "\n".join(lines))


def _show(bugs: list[Any], trees: Mapping[str, Path]) -> Outcome:
    import sys

    from architect import corpus
    from architect.report import coloured

    sources = {name: corpus.sources(tree) for name, tree in trees.items()}
    rows, texts = [], []
    for bug in bugs:
        diff = corpus.diff(bug, sources[bug.tree])
        rows.append({**_row(bug), "diff": diff, "invariants": [dict(row) for row in bug.invariants]})
        texts.append(f"{bug.id} ({bug.cls}): {bug.report}\n{coloured(diff, wants_colour(sys.stdout))}")
    return Outcome(STATUS_OK, {"bugs": rows}, "\n".join(texts))


def _check(bugs: list[Any], trees: Mapping[str, Path], ui: Ui) -> Outcome:
    import sys

    from architect import corpus_check
    from architect.kernel_tree import check_tools

    check_tools()
    ui.step(f"the sound trees and the invariants of {len(bugs)} bugs")
    problems = corpus_check.clean(bugs, trees)

    def say(proof: corpus_check.Proof) -> None:
        verdict = "; ".join(proof.problems) or "ok"
        ui.step(
            f"{proof.id}: {proof.outcome}, noticed by {', '.join(proof.noticed_by) or 'nothing'}: {verdict}"
        )

    proofs = corpus_check.prove_all(bugs, trees, say)
    findings = problems + [f"{proof.id}: {problem}" for proof in proofs for problem in proof.problems]
    rows = [
        {
            "id": p.id,
            "ok": not p.problems,
            "outcome": p.outcome,
            "noticed_by": p.noticed_by,
            "problems": p.problems,
        }
        for p in proofs
    ]
    colour = wants_colour(sys.stdout)
    verdict = (
        f"{len(findings)} problems"
        if findings
        else f"{len(proofs)} bugs break what they say; kernel and shaders are sound"
    )
    text = "\n".join([*findings, paint(verdict, "red" if findings else "green", colour)])
    return Outcome(STATUS_NO if findings else STATUS_OK, {"bugs": rows, "findings": findings}, text)
