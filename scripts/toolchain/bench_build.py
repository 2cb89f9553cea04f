"""``pxos bench build``: what a build costs, beside GNU as + ld and the bare import of Keystone and Capstone.

Owns: the three figures of the contract (``cold build``, ``one-line rebuild``, ``re-encode function``), each on the
project's kernel and on a generated one, and the peak memory of a cold build. Never keeps a cache between cold runs.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolchain import bench_kernel, measure
from toolchain.build import Session
from toolchain.command import Ui
from toolchain.errors import ToolError
from toolchain.scratch import folder as scratch_folder
from toolchain.tools import GnuAs, GnuLd

STAGE = "bench"
GENERATED_LINES = 6000
COLD_ROUNDS = 9
WARM_ROUNDS = 15
IMPORT = "import keystone, capstone"
_SAMPLE_SECONDS = 0.004  # between two looks at the memory of a running build

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
            rows += _cold(ui, suffix, folder, gnu, scratch / "out", count)
            rows += _rebuild(ui, suffix, folder, gnu, scratch, count)
        rows += _reencode(ui, scratch)
    return {"machine": measure.machine(), "rows": rows}


def _lines(tree: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in tree.rglob("*.s"))


class Gnu:
    """The same tree by GNU as and ld, in a folder of its own."""

    def __init__(self, tree: Path, folder: Path) -> None:
        from toolchain import generate, layout
        from toolchain.build import source_names

        folder.mkdir(parents=True)
        loaded = layout.load(tree / "image.toml")
        self.tree, self.folder = tree, folder
        self.names = source_names(tree, loaded.sources, {})
        generate.generate(tree, folder)
        self.include = [folder / "gen", *(tree / part for part in loaded.include)]
        self.script = folder / "layout.ld"
        self.script.write_text(layout.ld_script(loaded))
        self.assembler, self.linker = GnuAs(STAGE), GnuLd(STAGE)

    def assemble(self, name: str) -> None:
        """Assemble one unit."""
        self.assembler.assemble(self.tree / name, self.object(name), self.include)

    def link(self) -> None:
        """Link all units."""
        self.linker.link([self.object(name) for name in self.names], self.script, self.folder / "k.elf")

    def build(self) -> None:
        """Assemble every unit, one after the other as make does, and link."""
        for name in self.names:
            self.assemble(name)
        self.link()

    def object(self, name: str) -> Path:
        """Where a unit's object file lies."""
        return self.folder / (name.replace("/", "_") + ".o")


# --- cold build --------------------------------------------------------------------------------------------


def _cold(ui: Ui, suffix: str, tree: Path, gnu: Gnu, out: Path, lines: int) -> list[dict[str, Any]]:
    numbers = itertools.count()
    program = Path(sys.executable).with_name("pxos")
    start = [str(program)] if program.is_file() else [sys.executable, "-m", "cli"]
    peaks: list[float] = []

    def ours() -> float:
        folder = out / f"{tree.name}-{next(numbers)}"
        return _process([*start, "build", "-q", "--no-iso", "--kernel", str(tree), "--out", str(folder)])

    def memory() -> float:
        folder = out / f"{tree.name}-{next(numbers)}"
        peaks.append(_peak([*start, "build", "-q", "--no-iso", "--kernel", str(tree), "--out", str(folder)]))
        return peaks[-1]

    measures = measure.interleave(
        {
            "ours": ours,
            "import": lambda: _process([sys.executable, "-c", IMPORT]),
            "gnu": lambda: measure.timed(gnu.build),
        },
        COLD_ROUNDS,
        tick=lambda text: ui.progress(f"cold build{suffix}: {text}"),
    )
    sizes = measure.interleave(
        {"ours": memory, "import": lambda: _peak([sys.executable, "-c", IMPORT])}, 3, warm_up=0
    )
    own, bare = measures["ours"], measures["import"]
    peer = f'python -c "{IMPORT}"'
    return [
        measure.row(f"cold build{suffix}", own, peer, bare, "s", lines=lines),
        measure.row(f"cold build against as + ld{suffix}", own, "as + ld", measures["gnu"], "s", lines=lines),
        measure.row(f"cold build memory{suffix}", sizes["ours"], peer, sizes["import"], "MiB", 2**-20),
    ]


def _process(command: list[str]) -> float:
    began = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, env=_environment())
    seconds = time.perf_counter() - began
    if result.returncode:
        raise _failed(command, result.returncode, result.stderr)
    return seconds


def _environment() -> dict[str, str]:
    """This process's environment, in which the warm-up may keep the bytecode of modules just edited."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _failed(command: list[str], status: int, output: str) -> ToolError:
    last = output.strip().splitlines()[-1:] or ["it said nothing"]
    return ToolError(
        f"{Path(command[0]).name} {command[1]}: exit status {status}: {last[0]}",
        stage=STAGE,
        command=command,
        returncode=status,
        output_tail=output,
    )


def _peak(command: list[str]) -> float:
    """Peak memory in bytes of a command and its children: the sum of each process's own greatest resident size.

    Pages that the processes share are counted in each of them: the figure is an upper bound.
    """
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_environment()
    )
    highest: dict[int, int] = {}
    while process.poll() is None:
        for pid in _family(process.pid):
            highest[pid] = max(highest.get(pid, 0), _resident(pid))
        time.sleep(_SAMPLE_SECONDS)
    if process.returncode:
        raise _failed(command, process.returncode, "")
    return float(sum(highest.values()))


def _family(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        try:
            found += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
        except (OSError, ValueError):
            continue  # it has just ended
    return found


def _resident(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0  # it has just ended
    for line in text.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    return 0


# --- one-line rebuild --------------------------------------------------------------------------------------


def _rebuild(ui: Ui, suffix: str, tree: Path, gnu: Gnu, scratch: Path, lines: int) -> list[dict[str, Any]]:
    from toolchain import elf

    name = _edited(tree, gnu.names)
    text = (tree / name).read_text()
    anchor = "    ret\n" if "    ret\n" in text else "    return_frame\n"
    numbers = itertools.count(1)
    copy = scratch / f"edited-{tree.name}.s"

    def edit() -> str:
        return text.replace(anchor, f"    mov eax, {next(numbers)}\n{anchor}", 1)

    with Session(tree) as session:
        session.build()

        def ours() -> float:
            changed = edit()
            began = time.perf_counter()
            elf.write(session.build({name: changed}))
            return time.perf_counter() - began

        def peer() -> float:
            copy.write_text(edit())
            began = time.perf_counter()
            gnu.assembler.assemble(copy, gnu.folder / "edited.o", gnu.include)
            gnu.linker.link(
                [gnu.folder / "edited.o" if n == name else gnu.object(n) for n in gnu.names],
                gnu.script,
                gnu.folder / "k.elf",
            )
            return time.perf_counter() - began

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
        )
    ]


def _edited(tree: Path, names: list[str]) -> str:
    """The unit of middling size that has a routine to edit."""
    fit = [n for n in names if any(a in (tree / n).read_text() for a in ("    ret\n", "    return_frame\n"))]
    fit.sort(key=lambda n: ((tree / n).stat().st_size, n))
    return fit[len(fit) // 2]


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
        measure.row("re-encode function", measures["ours"], "as", measures["gnu"], "ms", 1e3, lines=count)
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
