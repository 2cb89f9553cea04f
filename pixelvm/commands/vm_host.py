"""``pxos vm host``: many cartridges under the hypervisor."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelvm.commands.vm_fuzz import engine_names
from pixelvm.commands.vm_run import screen_size
from toolchain.command import STATUS_NO, STATUS_OK, STATUS_SPENT, Outcome, Ui
from toolchain.printable import printable

if TYPE_CHECKING:
    from pixelvm.hypervisor.guest import Guest, GuestHost
    from pixelvm.hypervisor.scheduler import Hypervisor

HELP = "run many programs at once: slices of fuel in turn, quotas, snapshots, moves between engines"
EXAMPLE = "host pixelvm/examples/fib.pxa pixelvm/examples/life.pxa --engine python,wgsl --slice 2000"
INTERACTIVE = False

STAGE = "vm"
_PAIR = re.compile(r"(\d{1,6}):(\d{1,6}|host)")
_SENT = re.compile(r"(\d{1,6})=([^=]+)")
_MOST = (1 << 53) - 1
_WORD = 0xFFFFFFFF


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="cartridges or sources; each becomes a machine"
    )
    parser.add_argument(
        "--copies", type=_count, default=1, metavar="N", help="machines of each file (default 1)"
    )
    parser.add_argument(
        "--engine", type=engine_names, metavar="A[,B]",
        help="where they run; with several they move to the next at each slice (default python)",
    )  # fmt: skip
    parser.add_argument("--slice", type=_count, metavar="N", help="fuel of a slice (default 10000)")
    parser.add_argument("--turns", type=_count, metavar="N", help="stop after so many slices of each machine")
    for name, what in (
        ("fuel", "fuel of each machine (default 10000000)"),
        ("memory", "bytes of memory of each machine; one that wants more is refused"),
        ("calls", "system calls of each machine (default 1000000)"),
    ):
        parser.add_argument(f"--quota-{name}", type=_count, metavar="N", help=what)
    parser.add_argument(
        "--seed", type=_word, metavar="S", help="of the random numbers; machine N gets S + N - 1"
    )
    parser.add_argument(
        "--screen",
        type=screen_size,
        metavar="WxH",
        help="a black screen in place of each program's own picture",
    )
    parser.add_argument("--input", metavar="FILE", help="what every machine reads from its console")
    parser.add_argument(
        "--connect", action="append", default=[], type=_pair, metavar="A:B",
        help="join the mailboxes of machines number A and B, or of A and the `host': 1:2, 3:host",
    )  # fmt: skip
    parser.add_argument(
        "--send", action="append", default=[], type=_sent, metavar="A=W[,W]",
        help="words that machine A, connected to the host, can receive",
    )  # fmt: skip
    parser.add_argument(
        "--snapshot", type=Path, metavar="DIR", help="save all machines there at the end, or at Ctrl-C"
    )
    parser.add_argument(
        "--every", type=_count, metavar="N", help="with --snapshot: save after every N turns, too"
    )
    parser.add_argument("--resume", type=Path, metavar="DIR", help="go on with the machines of a snapshot")
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="write the screen of machine N as DIR/N.png"
    )


def _whole(text: str, low: int, high: int) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"'{text}': expected a number from {low} to {high}")
    return value


def _count(text: str) -> int:
    return _whole(text, 1, _MOST)


def _word(text: str) -> int:
    return _whole(text, 0, _WORD)


def _pair(text: str) -> tuple[int, int]:
    """Two machines; 0 is the host."""
    found = _PAIR.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}': expected two machines, 1:2, or 1:host")
    return int(found[1]), 0 if found[2] == "host" else int(found[2])


def _sent(text: str) -> tuple[int, list[int]]:
    found = _SENT.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}': expected a machine and words, 1=5,6")
    return int(found[1]), [_word(word) for word in found[2].split(",")]


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """Admit the machines, or those of a snapshot, and run them until none can go on."""
    from pixelvm.hypervisor import scheduler, snapshot

    if args.every is not None and args.snapshot is None:
        raise _refuse("--every: say where with --snapshot DIR")
    guests = _resumed(args) if args.resume is not None else _admitted(args)
    _connect(args, guests)
    route = args.engine or (["python"] if args.resume is None else [])
    hypervisor = scheduler.Hypervisor(guests, route, args.slice or scheduler.SLICE)
    try:
        while (args.turns is None or hypervisor.turns < args.turns) and hypervisor.turn():
            if args.every is not None and hypervisor.turns % args.every == 0:
                snapshot.save(args.snapshot, guests)
            ui.progress(f"turn {hypervisor.turns}: {len(hypervisor.running())} of {len(guests)} run")
    finally:
        if args.snapshot is not None:
            snapshot.save(args.snapshot, guests)
            ui.step(f"{len(guests)} machines saved in {args.snapshot}")
    if args.pictures is not None:
        _pictures(args.pictures, guests)
    return _outcome(hypervisor)


def _refuse(message: str) -> Exception:
    from toolchain.errors import InputError

    return InputError(message, stage=STAGE)


def _quota(args: argparse.Namespace) -> dict[str, int]:
    """What was given of the quotas."""
    given = {"fuel": args.quota_fuel, "memory": args.quota_memory, "calls": args.quota_calls}
    return {name: value for name, value in given.items() if value is not None}


def _admitted(args: argparse.Namespace) -> list[Guest]:
    from pixelvm.hypervisor.guest import GuestHost, Quota, admit
    from pixelvm.hypervisor.scheduler import GUESTS_MAX
    from pixelvm.hypervisor.snapshot import INPUT_MAX
    from pixelvm.isa import SEED_DEFAULT
    from pixelvm.load import load
    from pixelvm.state import State
    from toolchain.files import read_bounded

    if not args.files:
        raise _refuse("nothing to run: name cartridges or sources, or a snapshot with --resume")
    if len(args.files) * args.copies > GUESTS_MAX:
        raise _refuse(f"{len(args.files) * args.copies} machines; at most {GUESTS_MAX}")
    quota = Quota(**_quota(args))
    typed = b"" if args.input is None else read_bounded(Path(args.input), INPUT_MAX, stage=STAGE)
    engine = (args.engine or ["python"])[0]
    guests: list[Guest] = []
    for name in args.files:
        loaded = load(name)
        width, height = args.screen or (loaded.picture.width, loaded.picture.height)
        pixels = b"" if args.screen else loaded.picture.pixels
        for _ in range(args.copies):
            host = GuestHost(input=typed, width=width, height=height, pixels=pixels)
            seed = SEED_DEFAULT if args.seed is None else args.seed + len(guests)
            state = State(loaded.program, seed=seed)
            guests.append(admit(name, loaded.program, state, host, quota, engine))
    return guests


def _resumed(args: argparse.Namespace) -> list[Guest]:
    """The machines of a snapshot, with the quotas that are given anew."""
    from pixelvm.hypervisor import snapshot

    if args.files or args.screen or args.seed is not None or args.input is not None or args.copies != 1:
        raise _refuse(
            "--resume: the snapshot holds all of FILE, --copies, --screen, --seed and --input; leave those away"
        )
    guests = snapshot.load(args.resume)
    for guest in guests:
        guest.quota = guest.quota._replace(**_quota(args))
        guest.guard.limit = guest.quota.calls
        if args.engine and guest.engine not in args.engine:
            guest.engine = args.engine[0]
            guest.moves += 1
    return guests


def _connect(args: argparse.Namespace, guests: list[Guest]) -> None:
    """Mailboxes, as ``--connect`` and ``--send`` say."""
    hosts: list[GuestHost] = [guest.guard.inner for guest in guests]  # type: ignore[misc]
    used: set[int] = set()
    for first, second in args.connect:
        for number in (first, second):
            if number > len(guests) or number == first == 0 or (number and number in used):
                raise _refuse(
                    f"--connect: {number} is none of {len(guests)} machines, or is connected already"
                )
            used.add(number)
        hosts[first - 1].connect(hosts[second - 1] if second else None)
    to_host = {first for first, second in args.connect if not second}
    for number, words in args.send:
        if number not in to_host:
            raise _refuse(f"--send: machine {number} is not connected to the host: --connect {number}:host")
        hosts[number - 1].inbox.extend(words)


def _pictures(folder: Path, guests: list[Guest]) -> None:
    from pixelvm import png
    from toolchain.files import make_folder, write_atomic

    make_folder(folder, stage=STAGE)
    for number, guest in enumerate(guests, 1):
        host: Any = guest.guard.inner
        if host.width and host.height:
            picture = png.Picture(host.width, host.height, bytes(host.pixels))
            write_atomic(folder / f"{number}.png", png.write(picture), stage=STAGE)


def _outcome(hypervisor: Hypervisor) -> Outcome:
    from pixelvm.hypervisor.guest import Status

    rows = [_about(number, guest) for number, guest in enumerate(hypervisor.guests, 1)]
    statuses = {guest.status for guest in hypervisor.guests}
    good = all(g.status is Status.HALTED and not g.state.result for g in hypervisor.guests)
    spent = statuses & {Status.RUNNING, Status.FUEL, Status.CALLS}
    no = statuses & {Status.TRAPPED, Status.FAILED, Status.REFUSED} or any(
        g.state.result for g in hypervisor.guests
    )
    status = STATUS_OK if good else STATUS_NO if no else STATUS_SPENT if spent else STATUS_NO
    data = {"action": "host", "engines": list(hypervisor.route), "turns": hypervisor.turns, "machines": rows}
    return Outcome(status, data, "\n".join(_lines(rows)))


def _about(number: int, guest: Guest) -> dict[str, Any]:
    host: Any = guest.guard.inner
    return {
        "number": number, "file": guest.name, "status": guest.status.value, "why": guest.why,
        "stop": guest.state.stop.name.lower(), "result": guest.state.result, "pc": guest.state.pc,
        "spent": guest.spent, "slices": guest.slices, "moves": guest.moves, "engine": guest.engine,
        "calls": guest.guard.calls, "output": host.output.decode("utf-8", "replace"),
        "sent": list(host.outbox) if host.connected else [],
    }  # fmt: skip


def _lines(rows: list[dict[str, Any]]) -> list[str]:
    """What the machines wrote, each line with its number, and the table."""
    lines = []
    for row in rows:
        for line in row["output"].split("\n"):
            if line:
                lines.append(f"[{row['number']}] " + printable(line, ""))
    for row in rows:
        ended = f"{row['status']} with {row['result']}" if row["status"] == "halted" else row["status"]
        why = f" ({row['why']})" if row["why"] else ""
        lines.append(
            f"machine {row['number']}  {row['file']}: {ended}{why}; fuel {row['spent']}, {row['slices']} slices,"
            f" {row['moves']} moves, {row['calls']} calls, last on {row['engine']}"
        )
    return lines
