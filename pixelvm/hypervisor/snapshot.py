"""All machines of a hypervisor as files, and back: what was saved is found whole, or nothing of it.

Owns the folder: ``manifest.json`` names for each machine its blobs (program, state, console output, screen), files
called by their SHA-256. Blobs are written first, the manifest last and at once, files that no manifest names any more
are removed after it. What is read may be anybody's: every number has its range, every blob its digest.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pixelvm import engines, isa, png, program
from pixelvm import state as states
from pixelvm.host import MAILBOX_MAX, OUTPUT_MAX
from pixelvm.hypervisor.guest import Guard, Guest, GuestHost, Quota
from pixelvm.hypervisor.scheduler import GUESTS_MAX
from toolchain.errors import InputError
from toolchain.files import claimed, read_bounded, write_atomic

STAGE = "vm"
MANIFEST = "manifest.json"
VERSION = 1
MANIFEST_MAX = 256 << 20  # bytes; GUESTS_MAX rows with full mailboxes and long names
INPUT_MAX = 16 << 20
SUFFIX = ".blob"
_NAME_MAX = 4096
_COUNT_MAX = 1 << 53  # JSON numbers beyond it are not the same everywhere
_LIMITS = {
    "program": program.SERIAL_MAX,
    "state": states.BYTES_MAX,
    "output": OUTPUT_MAX,
    "input": INPUT_MAX,
    "pixels": 4 * png.PIXELS_MAX,
}


def save(folder: Path, guests: Sequence[Guest]) -> None:
    """Write all machines (whose hosts are ``GuestHost``) into ``folder``, in place of what was saved there.

    Raises:
        InputError: it cannot be written, or another process is writing there.
    """
    with claimed(folder, stage=STAGE) as own:
        if own != folder:
            raise InputError(f"{folder}: another process is writing a snapshot there", stage=STAGE)
        rows: list[dict[str, Any]] = []
        blobs: set[str] = set()
        inboxes = {id(_host(guest).inbox): number for number, guest in enumerate(guests)}
        for guest in guests:
            row = _row(guest, inboxes)
            for key, data in _blobs(guest).items():
                row[key] = hashlib.sha256(data).hexdigest()
                write_atomic(folder / f"{row[key]}{SUFFIX}", data, stage=STAGE)
                blobs.add(f"{row[key]}{SUFFIX}")
            rows.append(row)
        text = json.dumps({"version": VERSION, "machines": rows}, separators=(",", ":"))
        write_atomic(folder / MANIFEST, text + "\n", stage=STAGE)
        for path in folder.glob(f"*{SUFFIX}"):
            if path.name not in blobs:
                path.unlink(missing_ok=True)


def _host(guest: Guest) -> GuestHost:
    assert isinstance(guest.guard.inner, GuestHost)
    return guest.guard.inner


def _row(guest: Guest, inboxes: dict[int, int]) -> dict[str, Any]:
    host = _host(guest)
    row = {
        name: getattr(guest, name)
        for name in ("name", "engine", "given", "slices", "moves", "failure", "refused")
    }
    row["quota"] = dict(guest.quota._asdict())
    row["calls"], row["error"] = guest.guard.calls, guest.guard.error
    row |= {name: getattr(host, name) for name in ("clock", "width", "height", "shown", "begun", "connected")}
    row["inbox"] = list(host.inbox)
    row["outbox"] = list(host.outbox)
    row["peer"] = inboxes.get(id(host.outbox))
    return row


def _blobs(guest: Guest) -> dict[str, bytes]:
    host = _host(guest)
    return {
        "program": program.to_bytes(guest.program),
        "state": states.save(guest.state, guest.program),
        "output": bytes(host.output),
        "input": host.input,
        "pixels": bytes(host.pixels),
    }


# --- back ----------------------------------------------------------------------------------------------------


def load(folder: Path) -> list[Guest]:
    """The machines of a snapshot, connected as they were.

    Raises:
        InputError: there is none, or it is not what ``save`` wrote.
    """
    path = folder / MANIFEST
    data = read_bounded(path, MANIFEST_MAX, stage=STAGE, missing="name the folder of a snapshot")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _refuse(path, "no JSON") from error
    if not isinstance(found, dict) or found.get("version") != VERSION:
        raise _refuse(path, f"no snapshot of version {VERSION}")
    rows = found.get("machines")
    if not isinstance(rows, list) or not 1 <= len(rows) <= GUESTS_MAX:
        raise _refuse(path, f"its machines are none; expected 1 to {GUESTS_MAX}")
    guests = [_Row(path, number, row).guest() for number, row in enumerate(rows)]
    for number, (guest, row) in enumerate(zip(guests, rows, strict=True)):
        peer = row.get("peer")
        if peer is None:
            continue
        if not _is_count(peer, len(guests) - 1) or rows[peer].get("peer") != number:
            raise _refuse(path, f"machine {number + 1} is connected to none of {len(guests)}")
        _host(guest).outbox = _host(guests[peer]).inbox
    return guests


def _is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _refuse(path: Path, message: str) -> InputError:
    return InputError(f"{path}: {message}", stage=STAGE)


class _Row:
    """One machine of a manifest, its values checked one by one."""

    def __init__(self, path: Path, number: int, row: object) -> None:
        self.path, self.number = path, number
        if not isinstance(row, dict):
            raise self._wrong("its row", "an object")
        self.row = row

    def _wrong(self, what: str, expected: str) -> InputError:
        return _refuse(self.path, f"machine {self.number + 1}: {what} is wrong; expected {expected}")

    def count(self, name: str, most: int = _COUNT_MAX) -> int:
        value = self.row.get(name)
        if not _is_count(value, most):
            raise self._wrong(name, f"a number from 0 to {most}")
        assert isinstance(value, int)
        return value

    def text(self, name: str) -> str:
        value = self.row.get(name)
        if not isinstance(value, str) or len(value) > _NAME_MAX:
            raise self._wrong(name, f"up to {_NAME_MAX} characters")
        return value

    def flag(self, name: str) -> bool:
        value = self.row.get(name)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def words(self, name: str) -> list[int]:
        value = self.row.get(name)
        if (
            not isinstance(value, list)
            or len(value) > MAILBOX_MAX
            or not all(_is_count(w, isa.MASK) for w in value)
        ):
            raise self._wrong(name, f"up to {MAILBOX_MAX} words of 32 bits")
        return value

    def blob(self, name: str) -> bytes:
        digest = self.text(name)
        if len(digest) != 2 * hashlib.sha256().digest_size or set(digest) - set("0123456789abcdef"):
            raise self._wrong(name, "a SHA-256")
        path = self.path.with_name(digest + SUFFIX)
        data = read_bounded(path, _LIMITS[name], stage=STAGE, missing="the snapshot is not whole")
        if hashlib.sha256(data).hexdigest() != digest:
            raise _refuse(path, "its SHA-256 does not fit; it was changed or damaged")
        return data

    def quota(self) -> Quota:
        value = self.row.get("quota")
        if not isinstance(value, dict) or set(value) != set(Quota._fields):
            raise self._wrong("quota", f"{', '.join(Quota._fields)}")
        if not all(_is_count(number, _COUNT_MAX) for number in value.values()):
            raise self._wrong("quota", f"numbers from 0 to {_COUNT_MAX}")
        return Quota(**value)

    def guest(self) -> Guest:
        """The machine; the mailboxes of two that are connected are joined later."""
        name = self.text("name")
        of = program.from_bytes(self.blob("program"), f"{self.path}: machine {self.number + 1}")
        state = states.restore(self.blob("state"), of, f"{self.path}: machine {self.number + 1}")
        width, height = self.count("width", png.PIXELS_MAX), self.count("height", png.PIXELS_MAX)
        pixels = self.blob("pixels")
        if len(pixels) != 4 * width * height:
            raise self._wrong("its screen", f"{width} x {height} pixels of 4 bytes")
        host = GuestHost(input=self.blob("input"), clock=self.count("clock"), width=width, height=height)
        host.pixels[:] = pixels
        host.output[:] = self.blob("output")
        host.begin(self.count("begun", isa.MASK))
        host.shown, host.connected = self.count("shown"), self.flag("connected")
        host.inbox, host.outbox = deque(self.words("inbox")), deque(self.words("outbox"))
        quota = self.quota()
        guard = Guard(host, quota.calls)
        guard.calls, guard.error = self.count("calls"), self.text("error")
        engine = self.text("engine")
        if engine not in engines.ENGINES:
            raise self._wrong("engine", f"one of {', '.join(engines.ENGINES)}")
        guest = Guest(name, of, state, guard, quota, engine)
        guest.given, guest.slices, guest.moves = (
            self.count("given"),
            self.count("slices"),
            self.count("moves"),
        )
        guest.failure, guest.refused = self.text("failure"), self.flag("refused")
        if guest.given < state.fuel:
            raise self._wrong("given", f"at least the {state.fuel} units of fuel that are left")
        return guest
