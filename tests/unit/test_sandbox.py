"""Commands of a foreign tree try to break out: network, files, processes, output, secrets, our own process."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from toolchain.errors import ToolError
from toolchain.foreign import sandbox
from toolchain.foreign.sandbox import Completed, Limits, Sandbox

QUICK = Limits(seconds=20.0, cpu=10, processes=32)


@pytest.fixture(scope="module")
def cage() -> Sandbox:
    return Sandbox()


def sh(cage: Sandbox, tree: Path, script: str, limits: Limits = QUICK) -> Completed:
    return cage.run(["sh", "-c", script], tree, [tree], limits)


def test_a_command_runs_and_writes_its_tree(cage: Sandbox, tmp_path: Path) -> None:
    done = sh(cage, tmp_path, "echo hello; echo made > made; exit 3")
    assert (done.status, done.output, done.ended) == (3, "hello\n", "exit")
    assert (tmp_path / "made").read_text() == "made\n"


def test_programs_that_the_system_chooses_are_found(cage: Sandbox, tmp_path: Path) -> None:
    """``awk`` and ``cc`` are links through /etc/alternatives on Debian and Ubuntu."""
    done = sh(cage, tmp_path, "awk 'BEGIN { print 1 + 1 }'; cc --version >/dev/null && echo cc")
    assert done.output == "2\ncc\n"


def test_no_network(cage: Sandbox, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = f"python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 5)'"
        done = sh(cage, tmp_path, script)
        assert done.status != 0 and "refused" in done.output
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.accept()
    interfaces = sh(cage, tmp_path, "tail -n +3 /proc/net/dev | cut -d: -f1").output.split()
    assert set(interfaces) <= {"lo"}


def test_nothing_outside_is_written(cage: Sandbox, tmp_path: Path) -> None:
    tree, beside = tmp_path / "tree", tmp_path / "beside"
    tree.mkdir()
    beside.write_text("as it was")
    places = ["/etc/x", "/usr/x", "/x", "/proc/sys/kernel/hostname", "/root/x", str(beside), "/dev/shm/../x"]
    done = sh(
        cage, tree, "; ".join(f"echo bad > {place} && echo WROTE {place}" for place in places) + "; true"
    )
    # who is not root may write beside the tree, in the sandbox's own /tmp
    assert "WROTE" not in done.output.replace(f"WROTE {beside}\n", "")
    assert beside.read_text() == "as it was"
    done = sh(cage, tree, "echo private > /tmp/pxos-sandbox-test && cat /tmp/pxos-sandbox-test")
    assert done.output == "private\n" and not Path("/tmp/pxos-sandbox-test").exists()


def test_no_secret_is_read(cage: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, tree = tmp_path / "home", tmp_path / "tree"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "id_ed25519").write_text("KEY-OF-A-PERSON")
    tree.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PXOS_MODEL_KEY", "KEY-OF-A-MODEL")
    files = f"~/.ssh/* {home}/.ssh/* /root/.ssh/* /home/*/.ssh/* /etc/shadow /proc/*/environ"
    done = sh(cage, tree, f"env; cat {files}; ls -a /root /home")
    assert "KEY-OF" not in done.output and "root:" not in done.output
    assert {line.split("=")[0] for line in sh(cage, tree, "env").output.splitlines()} <= {
        *sandbox.ENVIRONMENT, "PWD", "SHLVL", "_", "OLDPWD"
    }  # fmt: skip


def test_links_out_of_the_tree_lead_nowhere(cage: Sandbox, tmp_path: Path) -> None:
    tree, secret = tmp_path / "tree", tmp_path / "secret"
    tree.mkdir()
    secret.write_text("SECRET")
    (tree / "link").symlink_to(secret)
    assert "SECRET" not in sh(cage, tree, "cat link; cat ../secret").output


@pytest.mark.long
def test_a_fork_bomb_ends(cage: Sandbox, tmp_path: Path) -> None:
    began = time.monotonic()
    done = sh(cage, tmp_path, "b() { b | b & }; b; sleep 60", Limits(seconds=2.0, processes=24))
    assert time.monotonic() - began < 15
    assert "fork" in done.output.lower() or done.ended == "deadline"
    assert not left_behind(tmp_path)


def test_processes_are_counted(cage: Sandbox, tmp_path: Path) -> None:
    script = "for i in $(seq 40); do sleep 30 & done; echo all of them"
    done = sh(cage, tmp_path, script, Limits(seconds=10.0, processes=24))
    assert "all of them" not in done.output and "fork" in done.output.lower()


def test_endless_output_ends(cage: Sandbox, tmp_path: Path) -> None:
    done = sh(cage, tmp_path, "yes", Limits(seconds=20.0, output=1 << 20))
    assert done.ended == "output"
    assert len(done.output) < 300_000 and "bytes left out" in done.output


def test_a_huge_file_is_refused(cage: Sandbox, tmp_path: Path) -> None:
    done = sh(cage, tmp_path, "head -c 64M /dev/zero > big", Limits(seconds=20.0, file=4 << 20))
    assert done.status != 0
    assert (tmp_path / "big").stat().st_size <= 4 << 20


def test_many_files_are_refused(cage: Sandbox, tmp_path: Path) -> None:
    script = "i=0; while :; do i=$((i+1)); head -c 4M /dev/urandom > f$i; done"
    done = sh(cage, tmp_path, script, Limits(seconds=30.0, cpu=30, disk=24 << 20))
    assert done.ended == "disk"


def test_memory_is_bounded(cage: Sandbox, tmp_path: Path) -> None:
    done = sh(
        cage, tmp_path, "python3 -c 'bytearray(1 << 30)'", Limits(seconds=20.0, address_space=256 << 20)
    )
    assert done.status != 0 and "MemoryError" in done.output
    hog = (
        "for i in 1 2 3 4; do python3 -c 'import time; b = b\"x\" * (64 << 20); time.sleep(20)' & done; wait"
    )
    done = sh(cage, tmp_path, hog, Limits(seconds=15.0, memory=128 << 20))
    assert done.ended == "memory"


@pytest.mark.long
def test_cpu_is_bounded(cage: Sandbox, tmp_path: Path) -> None:
    done = sh(cage, tmp_path, "while :; do :; done", Limits(seconds=30.0, cpu=1))
    assert done.ended == "exit" and done.status >= 128


def test_the_deadline_holds(cage: Sandbox, tmp_path: Path) -> None:
    began = time.monotonic()
    done = sh(cage, tmp_path, "trap '' TERM INT HUP; sleep 60; sleep 60", Limits(seconds=0.5))
    assert done.ended == "deadline" and time.monotonic() - began < 10


def test_no_daemon_stays(cage: Sandbox, tmp_path: Path) -> None:
    script = "setsid sh -c 'while :; do sleep 0.05; date +%s%N > alive; done' >/dev/null 2>&1 & sleep 0.3; echo off"
    done = sh(cage, tmp_path, script)
    assert done.output == "off\n"
    assert not left_behind(tmp_path)


def test_our_own_processes_cannot_be_reached(cage: Sandbox, tmp_path: Path) -> None:
    done = sh(cage, tmp_path, f"kill -9 $PPID; kill -9 1; kill -9 {os.getpid()}; kill -9 -1; echo still here")
    assert done.ended == "exit"  # whatever it killed was its own; we are here to say so
    seen = sh(cage, tmp_path, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").output
    assert "-m pytest" not in seen and "mypy" not in seen


def test_root_is_nobody_inside(cage: Sandbox, tmp_path: Path) -> None:
    done = sh(
        cage,
        tmp_path,
        "grep Cap /proc/self/status; mount -t tmpfs x /usr && echo MOUNTED; chroot / true && echo ROOT",
    )
    assert "MOUNTED" not in done.output and "ROOT" not in done.output
    effective = next(line.split()[1] for line in done.output.splitlines() if line.startswith("CapEff"))
    assert int(effective, 16) == 0


def test_without_bubblewrap_it_is_status_2_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise ToolError(f"{name} is not installed", stage="sandbox")

    monkeypatch.setattr(sandbox, "_tool", missing)
    for function in (sandbox._problem, sandbox._shell):
        function.cache_clear()
    try:
        with pytest.raises(
            ToolError, match=r"no sandbox.*apt-get install bubblewrap.*--unsafe-no-sandbox"
        ) as caught:
            Sandbox()
        assert caught.value.status == 2
        Sandbox(unsafe=True)
    finally:
        for function in (sandbox._problem, sandbox._shell):
            function.cache_clear()


def test_unsafe_still_has_deadline_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PXOS_MODEL_KEY", "KEY-OF-A-MODEL")
    done = Sandbox(unsafe=True).run(["sh", "-c", "env; sleep 60"], tmp_path, [tmp_path], Limits(seconds=0.5))
    assert done.ended == "deadline" and "KEY-OF" not in done.output


def left_behind(tree: Path) -> list[str]:
    """Processes whose working folder lies in a tree."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str((process / "cwd").readlink()).startswith(str(tree)):
                found.append(process.name)
        except OSError:
            continue
    return found
