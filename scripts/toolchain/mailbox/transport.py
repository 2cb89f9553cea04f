"""The lines between service and client: QEMU's ivshmem protocol over a UNIX socket, and doorbells made of eventfds.

Owns: handing the shared memory and the eventfds to one client at a time (QEMU, or a program on the host), taking them
as a client, ringing and waiting. Source: QEMU docs/specs/ivshmem-spec, "Client-Server protocol". Never reads the
memory.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from toolchain.errors import InputError, ToolError
from toolchain.mailbox import layout as m

STAGE = "mailbox"
PROTOCOL = 0
GUEST_PEER = 1  # there is one client at a time, always of this number
_NUMBER = struct.Struct("<q")
_MEMORY = -1  # the number that comes with the shared memory
_BACKLOG = 4
_PATH_MAX = 107  # bytes of a UNIX socket's path
_CONNECT_SECONDS = 10.0
_MEND = "choose a path in a folder that exists and can be written"
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


class Bells:
    """VECTORS eventfds of each side.

    Attributes:
        service: the client rings them, the service waits for them.
        client: the service rings them, the client (QEMU, as MSI-X messages) waits for them.
    """

    def __init__(self, service: Sequence[int], client: Sequence[int]) -> None:
        self.service = tuple(service)
        self.client = tuple(client)

    @classmethod
    def make(cls) -> Bells:
        """New ones; ``close`` them."""
        flags = os.EFD_NONBLOCK | os.EFD_CLOEXEC
        with ExitStack() as stack:
            made = []
            for _ in range(2 * m.VECTORS):
                made.append(os.eventfd(0, flags))
                stack.callback(os.close, made[-1])
            stack.pop_all()
        return cls(made[: m.VECTORS], made[m.VECTORS :])

    def close(self) -> None:
        """Give the descriptors back."""
        for handle in (*self.service, *self.client):
            os.close(handle)


def ring(handle: int) -> None:
    """Ring one eventfd; one that is full (2**64 - 2 rings, unread) rings already."""
    with suppress(BlockingIOError):
        os.eventfd_write(handle, 1)


def _heard(handles: Sequence[int], seconds: float) -> bool:
    """Sleep until one of the eventfds is rung, at most so long, and silence those that are; whether one was."""
    poller = select.poll()
    for handle in handles:
        poller.register(handle, select.POLLIN)
    ready = poller.poll(seconds * 1000)
    for handle, _ in ready:
        with suppress(BlockingIOError):
            os.eventfd_read(handle)
    return bool(ready)


class Doorbell:
    """The service's end: wait for the client, send it messages."""

    def __init__(self, bells: Bells) -> None:
        self.bells = bells

    def wait(self, seconds: float) -> bool:
        """Sleep until the client rings, at most so long; whether it did."""
        return _heard(self.bells.service, seconds)

    def notify(self, queue: int) -> None:
        """Send the client the message of a queue."""
        ring(self.bells.client[queue % m.VECTORS])


class Server:
    """The ivshmem server.

    Args:
        path: of the socket; its folder should be the user's alone.
        memory: file descriptor of the shared memory.
        bells: the eventfds.

    Attributes:
        listener: becomes readable when a client comes.
        client: the connected client, readable when it leaves; None while there is none.
    """

    def __init__(self, path: Path, memory: int, bells: Bells) -> None:
        self.path = path
        self.memory = memory
        self.bells = bells
        self.client: socket.socket | None = None
        if len(os.fsencode(path)) > _PATH_MAX:
            raise InputError(
                f"{path}: longer than a socket's path may be ({_PATH_MAX} bytes): choose a shorter one",
                stage=STAGE,
            )
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._bind()
            self.listener.listen(_BACKLOG)
            self.listener.setblocking(False)
        except OSError as error:
            self.listener.close()
            taken = error.errno == errno.EADDRINUSE
            mend = (
                "another service listens there, or it is no socket; choose another path" if taken else _MEND
            )
            raise InputError(f"{path}: cannot listen: {error.strerror}: {mend}", stage=STAGE) from error

    def _bind(self) -> None:
        """Bind; a socket that nobody listens at is what a killed service left, and is replaced."""
        mask = os.umask(0o177)
        try:
            try:
                self.listener.bind(str(self.path))
            except OSError:
                if not self.path.is_socket():
                    raise
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                    if probe.connect_ex(str(self.path)) == 0:
                        raise
                self.path.unlink()
                self.listener.bind(str(self.path))
        finally:
            os.umask(mask)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drop()
        self.listener.close()
        self.path.unlink(missing_ok=True)

    def accept(self) -> bool:
        """Take the client that waits, when there is none yet and it is this user's; whether it was taken."""
        try:
            came, _ = self.listener.accept()
        except OSError:
            return False
        credentials = came.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if self.client is not None or _CREDENTIALS.unpack(credentials)[1] != os.getuid():
            came.close()
            return False
        came.settimeout(_CONNECT_SECONDS)
        for handle in self.bells.client:  # messages that the client before it did not take
            with suppress(BlockingIOError):
                os.eventfd_read(handle)
        try:
            self._introduce(came)
        except OSError:
            came.close()
            return False
        came.setblocking(False)
        self.client = came
        return True

    def _introduce(self, client: socket.socket) -> None:
        _send(client, PROTOCOL)
        _send(client, GUEST_PEER)
        _send(client, _MEMORY, self.memory)
        for handle in self.bells.service:
            _send(client, m.SERVICE_PEER, handle)
        for handle in self.bells.client:
            _send(client, GUEST_PEER, handle)

    def gone(self) -> bool:
        """Whether the client has left (a client says nothing; what it says is not heard)."""
        if self.client is None:
            return False
        try:
            return not self.client.recv(1 << 12)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def drop(self) -> None:
        """Forget the client."""
        if self.client is not None:
            self.client.close()
            self.client = None


def _send(client: socket.socket, number: int, handle: int | None = None) -> None:
    socket.send_fds(client, [_NUMBER.pack(number)], [] if handle is None else [handle])


class Connection:
    """A client on the host: what QEMU does when its machine starts, for programs and tests."""

    def __init__(self, path: Path) -> None:
        """Connect and take everything.

        Raises:
            ToolError: nobody listens there, or it speaks another protocol.
        """
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        handles: list[int] = []
        try:
            self.socket.settimeout(_CONNECT_SECONDS)
            self.socket.connect(str(path))
            version, peer = self._receive(handles), self._receive(handles)
            if version != PROTOCOL or self._receive(handles) != _MEMORY:
                raise ToolError(f"{path}: no ivshmem server of protocol {PROTOCOL}", stage=STAGE)
            peers = [self._receive(handles) for _ in range(2 * m.VECTORS)]
            if peers != [m.SERVICE_PEER] * m.VECTORS + [peer] * m.VECTORS or len(handles) != len(peers) + 1:
                raise ToolError(f"{path}: other peers or vectors than ours", stage=STAGE)
        except OSError as error:
            self._drop(handles)
            raise ToolError(f"{path}: no mailbox service: {error.strerror or error}", stage=STAGE) from error
        except BaseException:
            self._drop(handles)
            raise
        self.memory = handles[0]
        self.bells = Bells(handles[1 : 1 + m.VECTORS], handles[1 + m.VECTORS :])

    def _receive(self, handles: list[int]) -> int:
        data, came, _, _ = socket.recv_fds(self.socket, _NUMBER.size, 1)
        handles += came
        if len(data) != _NUMBER.size:
            raise ToolError("the mailbox service has a client already, or ended", stage=STAGE)
        return int(_NUMBER.unpack(data)[0])

    def _drop(self, handles: list[int]) -> None:
        self.socket.close()
        for handle in handles:
            os.close(handle)

    def ring(self, vector: int) -> None:
        """Ring the service."""
        ring(self.bells.service[vector])

    def wait(self, seconds: float) -> bool:
        """Sleep until the service sends a message, at most so long; whether it did."""
        return _heard(self.bells.client, seconds)

    def close(self) -> None:
        """Leave."""
        self._drop([self.memory, *self.bells.service, *self.bells.client])
