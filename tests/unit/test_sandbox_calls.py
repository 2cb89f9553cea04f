"""Commands of a foreign tree make system calls that the sandbox refuses; the filter itself, number by number."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest

from toolchain.errors import ToolError
from toolchain.foreign import sandbox, syscalls
from toolchain.foreign.sandbox import Limits, Sandbox

QUICK = Limits(seconds=20.0, cpu=10, processes=32)
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
X86_64, I386 = 0xC000003E, 0x40000003
CLONE, UNSHARE, IOCTL, SOCKET, SOCKETPAIR, PTRACE, PERSONALITY = 56, 272, 16, 41, 53, 101, 135
NEW_USER, NEW_TIME, THREAD = 0x10000000, 0x80, 0x003D0F00  # the last: what a thread is cloned with
CALLS = """
import ctypes, json, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *given):
    ctypes.set_errno(0)
    libc.syscall(ctypes.c_long(number), *[ctypes.c_long(word) for word in given])
    return ctypes.get_errno()
print(json.dumps({name: call(*words) for name, words in json.loads(sys.argv[1]).items()}))
"""
NOWHERE = (-1, -1, -1, -1, -1, -1)
# What the system itself answers to these is another error: wrong flags together, no such handle, no such process.
JUDGED = {
    "unshare": (UNSHARE, NEW_USER | 1),
    "unshare time": (UNSHARE, NEW_TIME | 1),
    "clone": (CLONE, NEW_USER | 0x200, 0, 0, 0, 0),
    "ptrace attach": (PTRACE, 16, 0x7FFFFFFF, 0, 0),
    "ptrace seize": (PTRACE, 0x4206, 0x7FFFFFFF, 0, 0),
    "type into a terminal": (IOCTL, -1, 0x5412, 0),
    "type into a console": (IOCTL, -1, 0x541C, 0),
    "type, high bits set": (IOCTL, -1, 0x1_0000_5412, 0),
    "pages readable and executable": (PERSONALITY, 0x0400000),
}
ALLOWED = """
import os, pty, resource, signal, socket, subprocess, threading, time
threading.Thread(target=time.time).start()
assert subprocess.run(["true"]).returncode == 0 and os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)[1] == 0
for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_NETLINK):
    socket.socket(family, socket.SOCK_DGRAM).close()
socket.socketpair()[0].close()
pty.openpty()
os.kill(os.getpid(), 0)
print("all of it")
"""


def attempt(cage: Sandbox, tree: Path, calls: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The error number that each call answers within."""
    done = cage.run(["python3", "-c", CALLS, json.dumps(calls)], tree, [tree], QUICK)
    assert done.status == 0, done.output
    answers: dict[str, int] = json.loads(done.output)
    return answers


@pytest.fixture(scope="module")
def cage() -> Sandbox:
    return Sandbox()


@pytest.fixture
def unfiltered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox with a filter that allows every call."""
    monkeypatch.setattr(syscalls, "program", lambda: struct.pack("=HBBI", 6, 0, 0, ALLOW))


def test_calls_are_refused(cage: Sandbox, tmp_path: Path) -> None:
    whole = {name: (number, *NOWHERE) for name, number in syscalls.REFUSED.items()}
    assert set(attempt(cage, tmp_path, whole).values()) == {errno.ENOSYS}
    assert attempt(cage, tmp_path, JUDGED) == dict.fromkeys(JUDGED, errno.EPERM)
    families = {
        str(family): (SOCKET, family, 2, 0) for family in range(46) if family not in syscalls.FAMILIES
    }
    assert set(attempt(cage, tmp_path, families).values()) == {errno.EAFNOSUPPORT}


def test_it_is_the_filter_that_refuses_them(cage: Sandbox, tmp_path: Path, unfiltered: None) -> None:
    """Without it the system answers otherwise, so the test above can fail."""
    answers = attempt(cage, tmp_path, JUDGED)
    assert errno.EPERM not in answers.values(), answers
    names = (
        "clone3",
        "setns",
        "mount",
        "io_uring_setup",
        "bpf",
        "keyctl",
        "memfd_create",
        "process_vm_readv",
    )
    whole = {name: (syscalls.REFUSED[name], *NOWHERE) for name in names}
    assert errno.ENOSYS not in attempt(cage, tmp_path, whole).values()


def test_a_user_namespace_cannot_be_made(cage: Sandbox, tmp_path: Path) -> None:
    for command in (["unshare", "--user", "id"], ["unshare", "--user", "--net", "--mount", "id"]):
        done = cage.run(command, tmp_path, [tmp_path], QUICK)
        assert done.status != 0 and "uid" not in done.output


def test_calls_of_32_bits_end_the_program(cage: Sandbox, tmp_path: Path) -> None:
    """``mov eax, 20; int 0x80; ret``: getpid by its 32-bit number."""
    script = (
        "import ctypes, mmap; page = mmap.mmap(-1, 4096, prot=7); page.write(bytes.fromhex('b814000000cd80c3'));"
        "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))(); print('CALLED')"
    )
    done = cage.run(["python3", "-c", script], tmp_path, [tmp_path], QUICK)
    assert "CALLED" not in done.output
    assert done.status in (
        128 + signal.SIGSYS,
        128 + signal.SIGSEGV,
    )  # the latter where the system has no such calls


def test_what_builds_need_is_allowed(cage: Sandbox, tmp_path: Path) -> None:
    done = cage.run(["python3", "-c", ALLOWED], tmp_path, [tmp_path], QUICK)
    assert (done.status, done.output) == (0, "all of it\n")


def test_a_socket_of_the_host_without_a_file_is_not_reached(cage: Sandbox, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0pxos-sandbox-test")
        server.listen()
        script = "import socket; socket.socket(socket.AF_UNIX).connect(chr(0) + 'pxos-sandbox-test')"
        done = cage.run(["python3", "-c", script], tmp_path, [tmp_path], QUICK)
        assert "ConnectionRefusedError" in done.output


def test_memory_that_looks_like_files_is_bounded(cage: Sandbox, tmp_path: Path) -> None:
    script = "head -c 70M /dev/zero > /dev/shm/big || echo FULL; echo x > /dev/file || echo REFUSED; df -k /dev/shm"
    done = cage.run(["sh", "-c", script], tmp_path, [tmp_path], QUICK)
    assert "FULL" in done.output and "REFUSED" in done.output and " 65536 " in done.output


def test_the_system_and_the_terminal_are_not_told(cage: Sandbox, tmp_path: Path) -> None:
    script = "for name in cmdline keys key-users; do cat /proc/$name; done 2>/dev/null; echo > /dev/tty"
    done = cage.run(["sh", "-c", script], tmp_path, [tmp_path], QUICK)
    assert "/dev/tty" in done.output and len(done.output.splitlines()) == 1, done.output


def test_every_number_has_its_answer() -> None:
    refused = set(syscalls.REFUSED.values())
    for number in (*range(syscalls.NEWEST + 100), 0x40000000, 0x40000027, 0x7FFFFFFF, 0xFFFFFFFF):
        assert answer(X86_64, number, (0, 0)) == (
            ERRNO | errno.ENOSYS
            if number in refused or number > syscalls.NEWEST
            else ERRNO | errno.EAFNOSUPPORT
            if number in (SOCKET, SOCKETPAIR)
            else ALLOW
        ), number
        assert answer(I386, number, (0, 0)) == KILL


def test_arguments_are_judged() -> None:
    denied, strange = ERRNO | errno.EPERM, ERRNO | errno.EAFNOSUPPORT
    assert answer(X86_64, CLONE, (THREAD, 0)) == answer(X86_64, CLONE, (0x4111, 0)) == ALLOW
    assert answer(X86_64, CLONE, (signal.SIGCHLD | NEW_TIME, 0)) == ALLOW  # a bit of the signal there
    assert answer(X86_64, UNSHARE, (0x200, 0)) == ALLOW and answer(X86_64, UNSHARE, (NEW_TIME, 0)) == denied
    for flag in (0x20000, *(1 << bit for bit in range(25, 31))):
        assert answer(X86_64, CLONE, (flag | 17, 0)) == answer(X86_64, UNSHARE, (flag, 0)) == denied
    for family in range(64):
        told = ALLOW if family in (1, 2, 10, 16) else strange
        assert answer(X86_64, SOCKET, (family, 0)) == answer(X86_64, SOCKETPAIR, (family, 0)) == told
    assert answer(X86_64, IOCTL, (0, 0x5413)) == answer(X86_64, PTRACE, (0, 0)) == ALLOW
    assert answer(X86_64, PERSONALITY, (0xFFFFFFFF, 0)) == answer(X86_64, PERSONALITY, (0x40000, 0)) == ALLOW


def test_numbers_are_the_system_s_own() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("the system's headers are not installed")
    known = dict(re.findall(r"#define __NR_(\w+) (\d+)", header.read_text()))
    assert {
        name: int(known.get(name, number)) for name, number in syscalls.REFUSED.items()
    } == syscalls.REFUSED


def test_another_processor_has_no_filter_and_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        machine = "aarch64"

    for function in (sandbox._problem, syscalls.program):
        function.cache_clear()
    monkeypatch.setattr(os, "uname", Other)
    try:
        with pytest.raises(ToolError, match="is for x86-64, this is aarch64"):
            Sandbox()
    finally:
        for function in (sandbox._problem, syscalls.program):
            function.cache_clear()


def answer(architecture: int, number: int, arguments: tuple[int, int]) -> int:
    """What the filter answers to a call: the part of classic BPF that it is written in, run as the manual says."""
    data = struct.pack(
        "=IIQQQ4x", number, architecture, 0, *(word & (1 << 64) - 1 for word in arguments)
    ) + bytes(28)
    program = [
        struct.unpack_from("=HBBI", syscalls.program(), at) for at in range(0, len(syscalls.program()), 8)
    ]
    at = value = 0
    while True:
        code, yes, no, operand = program[at]
        if code == 0x06:
            return int(operand)
        if code == 0x20:
            value = struct.unpack_from("=I", data, operand)[0]
            at += 1
        else:
            met = {0x15: value == operand, 0x25: value > operand, 0x45: bool(value & operand)}[code]
            at += 1 + (yes if met else no)
