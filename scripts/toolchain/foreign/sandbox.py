"""Where commands of a foreign kernel tree run: bubblewrap, with limits, and nothing left behind.

Owns: the view of the system that such a command gets (``/usr`` and a few files of ``/etc`` read-only, its own folders
writable, a private ``/tmp``, no home, no network, its own processes, IPC and host name, an environment of fixed
words), the filter on its system calls (``syscalls``), the limits on CPU, memory, file size, processes, disk and output,
the deadline, and the end of everything that was started. Never decides what is run, and never reads what was written.

A namespace of process numbers ends with its first process: no daemon outlives a command. As root the command gets a
user number of its own without capabilities, because the kernel counts no processes of root against a limit; as
anybody else bubblewrap makes a user namespace, in which only the person's own number exists.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from toolchain import launch
from toolchain.errors import ToolError
from toolchain.foreign import syscalls
from toolchain.foreign.supervise import (
    KEPT,
    STAGE,
    Ending,
    Limits,
    Output,
    Pipe,
    below,
    first_process,
    gone,
    watch,
)

__all__ = ["Completed", "Limits", "Sandbox", "check"]


_NAMESPACES = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
_SYSTEM = ("/usr", "/opt", "/nix/store", "/gnu/store")  # programs and libraries, where they exist
_MERGED = (
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
)  # links into /usr, or folders of an older system
_ETC = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/mtools.conf")
# What /proc tells of the whole system, its kernel's words at boot and the person's keys; what containers hide as well.
_HIDDEN = (
    "cmdline", "interrupts", "kcore", "key-users", "keys", "latency_stats", "sched_debug", "timer_list",
)  # fmt: skip
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/tmp",
    "TMPDIR": "/tmp",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "SOURCE_DATE_EPOCH": "1700000000",  # what is built twice is to be the same twice
}
_TMP_BYTES = 256 << 20
_SHARED_BYTES = 64 << 20  # /dev/shm; without a bound it could take half of the memory
_FIRST_USER = 0x7000_0000  # user numbers that no system gives out; ours is this plus our process number
_PROBE_SECONDS = 10.0
MEND = (
    "install bubblewrap (apt-get install bubblewrap) and allow user namespaces"
    " (sysctl kernel.unprivileged_userns_clone=1), or add --unsafe-no-sandbox for a tree that you trust"
)


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended: its status (128 plus the signal's number where one ended it), and what it said.

    ``ended`` is ``exit`` when it ended by itself, else the limit that it broke; it was killed then.
    """

    status: int
    output: str
    seconds: float
    ended: Ending = "exit"


class Sandbox:
    """Runs commands that are not trusted.

    Args:
        unsafe: run them without any of this, with the limits and the deadline only: for a person who said so.

    Raises:
        ToolError: no sandbox can be had here.
    """

    def __init__(self, *, unsafe: bool = False) -> None:
        self.unsafe = unsafe
        if not unsafe:
            check()

    @contextmanager
    def wrapped(
        self,
        argv: Sequence[str],
        cwd: Path,
        writable: Sequence[Path] = (),
        readable: Sequence[Path] = (),
        limits: Limits | None = None,
        environment: dict[str, str] | None = None,
    ) -> Iterator[tuple[list[str], tuple[int, ...]]]:
        """The argument vector that runs ``argv`` inside, and the handles that it inherits: for one start.

        Args:
            argv: the command; its program is found on the sandbox's own ``PATH``.
            cwd: its working folder, one of ``writable`` or below.
            writable: folders that it may write, under their own names. They become the command's property.
            readable: further files and folders that it may read.
            limits: of its resources; those of wall time, memory in all, disk and output are ``run``'s.
            environment: words to add to the fixed ones.
        """
        limits = limits or Limits()
        prlimit = [
            _tool("prlimit"), f"--cpu={limits.cpu}", f"--as={limits.address_space}", f"--fsize={limits.file}",
            f"--nproc={limits.processes}", "--core=0", "--nofile=1024", "--",
        ]  # fmt: skip
        if self.unsafe:
            del prlimit[4]  # counted over everything that the person runs
            yield [*prlimit, *argv], ()
            return
        words = {**ENVIRONMENT, **(environment or {})}
        inside = [
            *_view(),
            *_way_to([*readable, *writable]),
            *(part for path in readable for part in ("--ro-bind", str(path), str(path))),
            *(part for path in writable for part in ("--bind", str(path), str(path))),
            "--remount-ro", "/", "--chdir", str(cwd), "--clearenv",
            *(part for name, word in words.items() for part in ("--setenv", name, word)),
        ]  # fmt: skip
        for path in writable:
            _hand_over(path)
        with _filtered_shell() as (shell, handle):
            yield [*shell, *inside, "--", *_demoted(), *prlimit, *argv], (handle,)

    def run(
        self,
        argv: Sequence[str],
        cwd: Path,
        writable: Sequence[Path],
        limits: Limits | None = None,
        readable: Sequence[Path] = (),
    ) -> Completed:
        """Run a command to its end, or to the first limit that it breaks; afterwards nothing of it is left.

        Raises:
            ToolError: the sandbox itself could not be set up.
        """
        limits = limits or Limits()
        began = time.monotonic()
        with ExitStack() as stack:
            command, handles = stack.enter_context(self.wrapped(argv, cwd, writable, readable, limits))
            reading, telling = (stack.enter_context(Pipe()) for _ in range(2))
            if not self.unsafe:
                command[1:1] = ["--info-fd", str(telling.write)]
            process = launch.spawn(
                command,
                folder=cwd if self.unsafe else None,
                stdout=reading.write,
                stderr=reading.write,
                pass_fds=handles if self.unsafe else (telling.write, *handles),
                environment=ENVIRONMENT if self.unsafe else {},
            )
            reading.close_write()
            telling.close_write()
            stack.callback(gone, first_process(telling.read, limits.seconds))
            said = Output(reading.read, limits.output)
            try:
                ended = watch(process.pid, said, writable, limits, began)
            finally:
                status = launch.kill(process)
        if ended == "exit" and status is None:
            ended = "deadline"  # it closed its output and went on
        text = said.text()
        if ended == "exit" and text.startswith("bwrap: ") and status:
            raise ToolError(f"the sandbox cannot be set up: {text.splitlines()[0]}; {MEND}", stage=STAGE)
        number = 128 + 9 if status is None else 128 - status if status < 0 else status
        return Completed(number, text, time.monotonic() - began, ended)


def check() -> None:
    """See that commands can be run apart here.

    Raises:
        ToolError: with the mend: bubblewrap is missing, or the system forbids it.
    """
    problem = _problem()
    if problem is not None:
        raise ToolError(f"no sandbox for a foreign kernel tree: {problem}; {MEND}", stage=STAGE)


@cache
def _problem() -> str | None:
    with ExitStack() as stack:
        try:
            shell, handle = stack.enter_context(_filtered_shell())
            command = [*shell, *_view(), "--", *_demoted(), _tool("true")]
        except ToolError as error:
            return error.message
        pipe = stack.enter_context(Pipe())
        process = launch.spawn(
            command, stdout=pipe.write, stderr=pipe.write, pass_fds=(handle,), environment={}
        )
        pipe.close_write()
        said = Output(pipe.read, KEPT)
        watch(process.pid, said, (), Limits(seconds=_PROBE_SECONDS), time.monotonic())
        status = launch.kill(process)
    if status == 0:
        return None
    lines = said.text().splitlines()
    return lines[0] if lines else f"bwrap ends with status {status}"


@cache
def _tool(name: str) -> str:
    found = shutil.which(name, path=ENVIRONMENT["PATH"])
    if found is None:
        raise ToolError(f"{name} is not installed", stage=STAGE)
    return found


@cache
def _shell() -> tuple[str, ...]:
    """Bubblewrap with its namespaces: as root without a user namespace, in which everybody would still be root."""
    users = () if os.geteuid() == 0 else ("--unshare-user", "--disable-userns")
    return (_tool("bwrap"), *users, *_NAMESPACES, "--hostname", "pxos", "--die-with-parent", "--new-session")


@contextmanager
def _filtered_shell() -> Iterator[tuple[list[str], int]]:
    """Bubblewrap with the filter on system calls: a file to read once, for two starts would share its position."""
    program = syscalls.program()
    with os.fdopen(os.memfd_create("filter"), "r+b", buffering=0) as file:
        file.write(program)
        file.seek(0)
        yield [*_shell(), "--seccomp", str(file.fileno())], file.fileno()


@cache
def _view() -> tuple[str, ...]:
    """The part of the system that every command sees."""
    found: list[str] = []
    for name in _SYSTEM:
        if Path(name).is_dir():
            found += ["--ro-bind", name, name]
    for name in _MERGED:
        path = Path(name)
        if path.is_symlink():
            found += ["--symlink", str(path.readlink()), name]
        elif path.is_dir():
            found += ["--ro-bind", name, name]
    found += ["--perms", "0755", "--dir", "/etc"]  # bubblewrap would make it for root's eyes alone
    for name in _ETC:
        found += ["--ro-bind-try", name, name]
    found += [
        "--proc", "/proc", *_hidden(), "--dev", "/dev", *_room("/dev/shm", _SHARED_BYTES), "--remount-ro", "/dev",
        "--perms", "0755", "--dir", "/var", "--symlink", "/tmp", "/var/tmp", *_room("/tmp", _TMP_BYTES),
    ]  # fmt: skip
    return tuple(found)


def _hidden() -> Iterator[str]:
    for name in _HIDDEN:
        if Path("/proc", name).exists():
            yield from ("--ro-bind", "/dev/null", f"/proc/{name}")


def _room(place: str, size: int) -> tuple[str, ...]:
    return ("--perms", "1777", "--size", str(size), "--tmpfs", place)


def _way_to(places: Sequence[Path]) -> Iterator[str]:
    """The folders above some places; bubblewrap would make them for root's eyes alone."""
    seen = {"/", "/tmp"}
    for place in places:
        for parent in reversed(place.parents):
            name = str(parent)
            if name not in seen and not name.startswith(("/usr/", "/opt/")) and name not in _SYSTEM:
                seen.add(name)
                yield from ("--perms", "0755", "--dir", name)


def user() -> int:
    """The user number that commands of this process have when we are root."""
    return _FIRST_USER + os.getpid()


def _demoted() -> list[str]:
    if os.geteuid() != 0:
        return []
    number = str(user())
    return [
        _tool("setpriv"), "--reuid", number, "--regid", number, "--clear-groups", "--bounding-set=-all",
        "--inh-caps=-all", "--no-new-privs",
    ]  # fmt: skip


def _hand_over(folder: Path) -> None:
    """As root: make a folder and all that lies in it the command's own, links themselves and not their targets."""
    if os.geteuid() != 0:
        return
    number = user()
    for path in (str(folder), *below(folder)):
        with suppress(FileNotFoundError):
            if os.lstat(path).st_uid != number:
                os.lchown(path, number, number)
