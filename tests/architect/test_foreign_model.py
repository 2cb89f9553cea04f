"""A scripted model repairs somebody else's kernel, in nasm and in C; what it must not do is refused and said to it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.architect.model_server import ModelServer
from tests.architect.test_fix_model import block, fix

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(300)]

KERNELS = Path(__file__).resolve().parents[1] / "fixtures/kernels"


def planted(folder: Path, kernel: str, file: str, good: str, bad: str) -> Path:
    tree = folder / kernel
    shutil.copytree(KERNELS / kernel, tree)
    text = (tree / file).read_text()
    assert text.count(good) == 1
    (tree / file).write_text(text.replace(good, bad))
    return tree


def test_a_model_repairs_nasm(tmp_path: Path) -> None:
    tree = planted(tmp_path, "nasm-flat", "main.asm", "imul rdx, rdx", "imul rdx, rax")
    judge = block("pxos.toml", "timeout = 5", "timeout = 500")
    right = block("main.asm", "imul rdx, rax", "imul rdx, rdx")
    with ModelServer([judge, right]) as server:
        status, data, _ = fix(tree, tmp_path, server.url, "--engine", "llm", "--budget", "600")
        assert status == 0 and data["outcome"] == "fixed" and data["engine"] == "llm"
        assert "+        imul rdx, rdx" in data["patch"]
        assert "imul rdx, rax" in server.requests[0].prompt  # their own syntax, not ours
        assert "pxos.toml" in server.requests[1].last  # why its first answer was refused
        assert data["lesson"] is not None


def test_a_model_cannot_print_the_words_of_ready(tmp_path: Path) -> None:
    tree = planted(tmp_path, "c-multiboot", "src/text.c", "return ~crc;", "return crc;")
    early = '    console_text("C kernel: 64 frames, 61 free, crc 414FA339, order ok\\n");'
    hostile = block("src/main.c", "    console_clear();", f"    console_clear();\n{early}")
    right = block("src/text.c", "return crc;", "return ~crc;")
    with ModelServer([hostile, right]) as server:
        status, data, _ = fix(tree, tmp_path, server.url, "--engine", "llm", "--budget", "600")
        assert status == 0 and data["outcome"] == "fixed"
        assert "return ~crc;" in data["patch"] and "console_text" not in data["patch"]
        assert "may not write what ready looks for" in server.requests[1].prompt
