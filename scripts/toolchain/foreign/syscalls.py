"""The system calls that a command of a foreign tree is refused: a filter that bubblewrap loads (``--seccomp``).

Owns the table and the program made of it (classic BPF over ``struct seccomp_data``; Linux, ``seccomp_filter.rst`` and
``include/uapi/linux/filter.h``). Never decides what is run, and changes nothing of this process.

A call that is refused whole answers ENOSYS, an address family EAFNOSUPPORT, as a system built without them does, so
that libraries take their other way (glibc from clone3 to clone, QEMU from io_uring to poll). A call that is refused
for an argument answers EPERM. Numbers behind the newest that was looked at are refused until somebody has looked.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator, Mapping
from functools import cache

from toolchain.errors import ToolError

__all__ = ["FAMILIES", "NAMESPACES", "NEWEST", "REFUSED", "program"]

REFUSED: Mapping[str, int] = {
    # namespaces, mounts and roots: what a sandbox is made of. clone3 has its flags in memory, where no filter reads.
    "clone3": 435, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "mount_setattr": 442,
    # other processes' memory and files; files by number, past the folders that lead to them
    "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "pidfd_getfd": 438, "name_to_handle_at": 303,
    "open_by_handle_at": 304, "fanotify_init": 300, "fanotify_mark": 301, "lookup_dcookie": 212,
    # keys of the person, the system's own log
    "add_key": 248, "request_key": 249, "keyctl": 250, "syslog": 103,
    # large parts of the system that no build needs, where its holes have been
    "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425, "io_uring_enter": 426,
    "io_uring_register": 427, "modify_ldt": 154, "uselib": 134,
    # memory that no process shows as its own, and that the limit on memory could not see
    "memfd_create": 319, "memfd_secret": 447, "shmget": 29,
    # the machine itself
    "init_module": 175, "finit_module": 313, "delete_module": 176, "kexec_load": 246, "kexec_file_load": 320,
    "reboot": 169, "swapon": 167, "swapoff": 168, "iopl": 172, "ioperm": 173, "acct": 163, "quotactl": 179,
    "quotactl_fd": 443, "settimeofday": 164, "clock_settime": 227, "sethostname": 170, "setdomainname": 171,
}  # fmt: skip
NEWEST = 452  # fchmodat2, Linux 6.6

# asm/unistd_64.h, of the calls that are refused by an argument
_IOCTL, _SOCKET, _SOCKETPAIR, _CLONE, _PTRACE, _PERSONALITY, _UNSHARE = 16, 41, 53, 56, 101, 135, 272
# linux/sched.h, CLONE_NEW*: mount, control group, host name, IPC, user, process numbers, network
NAMESPACES = 0x0002_0000 | 0x0200_0000 | 0x0400_0000 | 0x0800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000
_NEW_TIME = 0x80  # in clone that bit belongs to the signal of the child's end
FAMILIES = (1, 2, 10, 16)  # bits/socket.h: AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
# linux/personality.h: PER_LINUX, PER_LINUX32, both with UNAME26, ADDR_NO_RANDOMIZE; the last number asks
_PERSONALITIES = (0, 0x8, 0x0002_0000, 0x0002_0008, 0x0004_0000, 0xFFFF_FFFF)
_TYPING = (0x5412, 0x541C)  # asm-generic/ioctls.h: TIOCSTI, TIOCLINUX put words into a terminal
_SEIZING = (
    16,
    0x4206,
)  # linux/ptrace.h: PTRACE_ATTACH, PTRACE_SEIZE; a debugger's own child asks for it itself

_X86_64 = 0xC000_003E  # linux/audit.h: AUDIT_ARCH_X86_64
_X32 = 0x4000_0000  # asm/unistd.h: __X32_SYSCALL_BIT
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _ERRNO, _KILL = 0x7FFF_0000, 0x0005_0000, 0x8000_0000  # linux/seccomp.h: SECCOMP_RET_*
# linux/bpf_common.h: BPF_LD | BPF_W | BPF_ABS; BPF_JMP with BPF_JEQ, BPF_JGT, BPF_JSET, all | BPF_K; BPF_RET | BPF_K
_LOAD, _EQUAL, _GREATER, _BITS, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_STATEMENT = struct.Struct("=HBBI")  # struct sock_filter: code, jump if true, jump if false, k


@cache
def program() -> bytes:
    """The filter, as ``struct sock_filter[]``.

    Raises:
        ToolError: this is no x86-64, whose numbers the table holds.
    """
    machine = os.uname().machine
    if machine != "x86_64":
        raise ToolError(f"its filter of system calls is for x86-64, this is {machine}", stage="sandbox")
    return b"".join(_statements())


def _statements() -> Iterator[bytes]:
    yield _load(_ARCHITECTURE)
    yield from _unless(_EQUAL, _X86_64, _KILL)  # the 32-bit calls have other numbers
    yield _load(_NUMBER)
    yield from _when(_GREATER, NEWEST, _ERRNO | errno.ENOSYS)  # those of x32 too
    for number in REFUSED.values():
        yield from _when(_EQUAL, number, _ERRNO | errno.ENOSYS)
    denied = _ERRNO | errno.EPERM
    yield from _judged(_CLONE, 0, *_when(_BITS, NAMESPACES, denied))
    yield from _judged(_UNSHARE, 0, *_when(_BITS, NAMESPACES | _NEW_TIME, denied))
    yield from _judged(_PTRACE, 0, *_among(_SEIZING, denied, _ALLOW))
    yield from _judged(_IOCTL, 1, *_among(_TYPING, denied, _ALLOW))
    yield from _judged(_PERSONALITY, 0, *_among(_PERSONALITIES, _ALLOW, denied))
    for number in (_SOCKET, _SOCKETPAIR):
        yield from _judged(number, 0, *_among(FAMILIES, _ALLOW, _ERRNO | errno.EAFNOSUPPORT))
    yield _give(_ALLOW)


def _load(offset: int) -> bytes:
    return _STATEMENT.pack(_LOAD, 0, 0, offset)


def _give(action: int) -> bytes:
    return _STATEMENT.pack(_RETURN, 0, 0, action)


def _when(test: int, value: int, action: int) -> tuple[bytes, ...]:
    return _STATEMENT.pack(test, 0, 1, value), _give(action)


def _unless(test: int, value: int, action: int) -> tuple[bytes, ...]:
    return _STATEMENT.pack(test, 1, 0, value), _give(action)


def _among(values: tuple[int, ...], action: int, otherwise: int) -> tuple[bytes, ...]:
    return *(part for value in values for part in _when(_EQUAL, value, action)), _give(otherwise)


def _judged(number: int, argument: int, *rules: bytes) -> Iterator[bytes]:
    """Rules on an argument's low half, all that these calls look at; a call that none refuses is allowed."""
    body = (_load(_ARGUMENTS + 8 * argument), *rules, _give(_ALLOW))
    yield _STATEMENT.pack(_EQUAL, 0, len(body), number)
    yield from body
