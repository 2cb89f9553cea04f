"""``pxos bench build``: what a build costs, beside GNU as + ld and the bare import of Keystone and Capstone.

Owns: two of the figures of the contract (``one-line rebuild``, ``re-encode function``), and putting all of them
together: those of whole processes are ``bench_cold``'s. Each is taken on the project's kernel and on a generated one.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolchain import bench_cold, bench_kernel, measure
from toolchain.bench_gnu import STAGE, Edits, Gnu
from toolchain.build import Session
from toolchain.command import Ui
from toolchain.errors import ToolError
from toolchain.scratch import folder as scratch_folder
from toolchain.tools import GnuAs, GnuLd

GENERATED_LINES = 6000
WARM_ROUNDS = 15
REBUILD_REACH = 2.5  # times as (of that file) + ld
REENCODE_REACH = 5  # ms

# Twenty lines of a routine; {n} makes each round's bytes new, so that no cache answers.
FUNCTION = """\
push rbp
mov rbp, rsp
push rbx
mov rbx, rdi
mov eax, {n}
lea rsi, [rbx + rcx*8 + {n}]
mov rdx, qword ptr [rsi + 8]
test rdx, rdx
mov rdi, qword ptr [rbx + {n}]
shl rdi, 12
or rdi, 3
mov qword ptr [rsi], rdi
invlpg [rdi]
add rbx, {n}
cmp rbx, rdx
movzx eax, byte ptr [rbx + 1]
xor eax, {n}
pop rbx
pop rbp
ret
"""


def run(ui: Ui, kernel: Path | None = None) -> dict[str, Any]:
    """Measure.

    Args:
        ui: told of the progress.
        kernel: the kernel tree; None for the one of this checkout.

    Returns:
        ``machine`` and ``rows`` as ``measure.row`` makes them.

    Raises:
        ToolError: binutils are missing, or a build failed.
    """
    GnuAs(STAGE).find()
    GnuLd(STAGE).find()
    tree = kernel or Path(__file__).resolve().parents[2] / "kernel"
    rows: list[dict[str, Any]] = []
    with scratch_folder("pxos-bench-") as scratch:
        generated = scratch / "generated"
        lines = bench_kernel.write(generated, GENERATED_LINES)
        trees = [("", tree, _lines(tree)), (f" ({lines} generated lines)", generated, lines)]
        for suffix, folder, count in trees:
            ui.step(f"{folder.name}: {count} lines")
            gnu = Gnu(folder, scratch / f"gnu-{folder.name}")
            rows += bench_cold.rows(ui, suffix, folder, gnu, scratch, count)
            rows += _rebuild(ui, suffix, folder, gnu, scratch, count)
        rows += _reencode(ui, scratch)
    return {"machine": measure.machine(), "rows": rows}


def _lines(tree: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in tree.rglob("*.s"))


# --- one-line rebuild --------------------------------------------------------------------------------------


def _rebuild(ui: Ui, suffix: str, tree: Path, gnu: Gnu, scratch: Path, lines: int) -> list[dict[str, Any]]:
    from toolchain import elf

    edits = Edits(tree, gnu.names)
    copy = scratch / f"edited-{tree.name}.s"

    with Session(tree) as session:
        session.build()

        def ours() -> float:
            changed = edits.next()
            began = time.perf_counter()
            elf.write(session.build({edits.name: changed}))
            return time.perf_counter() - began

        def peer() -> float:
            copy.write_text(edits.next())
            return measure.timed(lambda: gnu.rebuild(edits.name, copy))

        measures = measure.interleave(
            {"ours": ours, "gnu": peer},
            WARM_ROUNDS,
            tick=lambda t: ui.progress(f"one-line rebuild{suffix}: {t}"),
        )
    return [
        measure.row(
            f"one-line rebuild{suffix}",
            measures["ours"],
            "as (one file) + ld",
            measures["gnu"],
            "ms",
            1e3,
            lines=lines,
            reach=REBUILD_REACH,
            reach_of="ratio",
        )
    ]


# --- re-encode function ------------------------------------------------------------------------------------


def _reencode(ui: Ui, scratch: Path) -> list[dict[str, Any]]:
    numbers = itertools.count(0x1000, 0x10)
    source = scratch / "function.s"
    assembler = GnuAs(STAGE)
    with _encoder() as encode:

        def ours() -> float:
            text = FUNCTION.format(n=next(numbers))
            return measure.timed(lambda: encode(text))

        def peer() -> float:
            source.write_text(".intel_syntax noprefix\n" + FUNCTION.format(n=next(numbers)))
            return measure.timed(lambda: assembler.assemble(source, scratch / "function.o"))

        measures = measure.interleave(
            {"ours": ours, "gnu": peer},
            WARM_ROUNDS,
            tick=lambda text: ui.progress(f"re-encode function: {text}"),
        )
    count = FUNCTION.count("\n")
    return [
        measure.row(
            "re-encode function",
            measures["ours"],
            "as",
            measures["gnu"],
            "ms",
            1e3,
            lines=count,
            reach=REENCODE_REACH,
        )
    ]


@contextmanager
def _encoder() -> Iterator[Callable[[str], None]]:
    """Parses and encodes a routine's text through the API, by a worker that is warm."""
    from toolchain import insn
    from toolchain.encode import Encoder
    from toolchain.types import Diagnostic, Mode, Place

    place = Place("function.s", 1)
    mode: Mode = 64
    with Encoder() as encoder:

        def encode(text: str) -> None:
            requests = [
                (mode, insn.parse(line, place, mode, lambda name: None)) for line in text.splitlines()
            ]
            for result in encoder.encode(requests):
                if isinstance(result, Diagnostic):
                    raise ToolError(str(result), stage=STAGE)

        yield encode
