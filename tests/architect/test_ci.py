"""What ``pxos fix --ci`` leaves: hostile texts stay texts, forms keep their specifications, sizes are bounded."""

from __future__ import annotations

import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from architect.ci import diffs, escape, junit, markdown, sarif, workflow
from architect.ci.output import Ci
from toolchain.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SARIF = json.loads((Path(__file__).parent / "sarif-2.1.0.json").read_text())
PATCH = """\
--- a/mm/page.s
+++ b/mm/page.s
@@ -3,4 +3,4 @@
 a
-    shr rax, 30
+    shr rax, 21
 b
 c
@@ -9 +9,2 @@
+    mov [rax], rdx
 d
--- a/cpu/idt.s
+++ b/cpu/idt.s
@@ -1,2 +1 @@
-    nop
 e
"""
HOSTILE = (
    "\r\n::error::owned\n##[set-env name=PATH]x\n::stop-commands::x\x1b[2J\x00"
    " @everyone fixes #1 ``` ` | <b>%0A::add-mask::"
)


def gate(name: str, passed: bool = True, message: str = "") -> dict[str, Any]:
    return {"gate": name, "passed": passed, "seconds": 0.25, "message": message, "evidence": {}}


def answer(
    outcome: str = "fixed", said: str = "page_map: leaves no entry", patch: str = PATCH
) -> dict[str, Any]:
    """The JSON of a run."""
    proved = outcome == "fixed"
    row = {"gate": "contract", "message": said, "file": "mm/page.s", "line": 4}
    failing = [] if outcome == "healthy" else [row]
    best = {"diff": patch, "gates": [gate("boot", False, said)], "reason": said}
    return {
        "outcome": outcome, "reason": said, "patch": patch if proved else None, "engine": "search" if proved else None,
        "operator": "constant" if proved else None, "why": said if proved else None, "boots": 7, "candidates": 18,
        "seconds": 17.5, "tokens": 120, "report": "out/report.md", "lesson": None, "tried": {"search": 18},
        "diagnosis": {"failing": failing, "cause": said, "rules": [], "sentences": [said]},
        "asked": [gate("checks"), gate("contract", outcome == "healthy", "" if outcome == "healthy" else said)],
        "gates": [gate("fresh-copy"), gate("boot")] if proved else [],
        "partial": None if proved or outcome == "healthy" else best, "applied": [],
    }  # fmt: skip


# --- what GitHub's runner reads -----------------------------------------------------------------------------


class Runner:
    """Reads a step's output as actions/runner does (``ActionCommand.cs``, ``ActionCommandManager.cs``)."""

    NAMES = (
        "error",
        "warning",
        "notice",
        "set-env",
        "add-mask",
        "add-path",
        "group",
        "debug",
        "stop-commands",
    )

    def __init__(self) -> None:
        self.token: str | None = None
        self.obeyed: list[tuple[str, dict[str, str], str]] = []

    def read(self, output: str) -> Runner:
        for line in re.split(r"\r\n|\n|\r", output):
            found = self._modern(line) or self._legacy(line)
            if found is not None:
                self._obey(*found)
        return self

    def _known(self, name: str) -> bool:
        return name in self.NAMES or name == self.token

    def _modern(self, line: str) -> tuple[str, dict[str, str], str] | None:
        line = line.lstrip()
        end = line.find("::", 2)
        if not line.startswith("::") or end < 0:
            return None
        name, _, rest = line[2:end].partition(" ")
        pairs = (part.split("=", 1) for part in rest.split(",") if "=" in part)
        return (
            (name, {k: self._plain(v) for k, v in pairs}, self._plain(line[end + 2 :]))
            if self._known(name)
            else None
        )

    def _legacy(self, line: str) -> tuple[str, dict[str, str], str] | None:
        found = re.search(r"##\[([^\]]*)\]", line)
        name = found[1].split(" ")[0] if found else ""
        return (name, {}, "") if self._known(name) else None

    @staticmethod
    def _plain(text: str) -> str:
        for mark, meant in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
            text = text.replace(mark, meant)
        return text

    def _obey(self, name: str, properties: dict[str, str], message: str) -> None:
        if self.token is not None:
            self.token = None if name == self.token else self.token
        elif name == "stop-commands":
            self.token = message
        else:
            self.obeyed.append((name, properties, message))


def test_the_reader_obeys_what_is_not_escaped() -> None:
    """The test's own runner must be able to fall for it."""
    assert [name for name, _, _ in Runner().read(f"serial: {HOSTILE}").obeyed] == ["error", "set-env"]


@pytest.mark.parametrize("outcome", ["fixed", "not-fixed", "budget", "healthy"])
def test_a_hostile_log_gives_no_command(outcome: str) -> None:
    lines = workflow.lines(answer(outcome, HOSTILE, PATCH.replace("mm/page.s", "a,b::c\r.s")), "kernel")
    assert all("\n" not in line and "\r" not in line for line in lines)
    runner = Runner().read("\n".join(lines))
    assert len(runner.obeyed) == len(lines) == (0 if outcome == "healthy" else 2)
    assert {name for name, _, _ in runner.obeyed} <= {"error", "warning", "notice"}
    assert all(properties["title"].startswith("pxOS: ") for _, properties, _ in runner.obeyed)


def test_annotations_name_file_line_and_level() -> None:
    runner = Runner().read("\n".join(workflow.lines(answer("not-fixed"), "my,tree")))
    place = {"title": "pxOS: contract", "file": "my,tree/mm/page.s", "line": "4"}
    assert runner.obeyed[0] == ("error", place, "page_map: leaves no entry")
    assert [name for name, _, _ in Runner().read("\n".join(workflow.lines(answer(), ""))).obeyed] == [
        "warning",
        "notice",
    ]
    assert all("file=" not in line for line in workflow.lines(answer(), None))


def test_the_output_of_the_run_is_no_command() -> None:
    stream = io.StringIO()
    with workflow.commands_stopped(stream):
        print(HOSTILE, file=stream)
    print("::notice::back", file=stream)
    assert Runner().read(stream.getvalue()).obeyed == [("notice", {}, "back")]


def test_inert_text_is_no_command() -> None:
    assert Runner().read(escape.inert(f"x{HOSTILE}")).obeyed == []


def test_json_on_one_line_is_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    import cli

    text = cli._json({"patch": HOSTILE})
    assert Runner().read(text).obeyed == [] and json.loads(text) == {"patch": HOSTILE}


# --- files --------------------------------------------------------------------------------------------------


def test_a_diff_is_read_back() -> None:
    assert diffs.changes(PATCH) == [
        diffs.Change("mm/page.s", 4, ("    shr rax, 30",), ("    shr rax, 21",)),
        diffs.Change("mm/page.s", 9, (), ("    mov [rax], rdx",)),
        diffs.Change("cpu/idt.s", 1, ("    nop",), ()),
    ]
    bare = "\\ No newline at end of file\n"
    text = f"--- a/x\n+++ b/x\n@@ -1 +1 @@\n--- old\n{bare}+++ new\n{bare}"
    assert diffs.changes(text) == [diffs.Change("x", 1, ("-- old",), ("++ new",))]
    assert diffs.changes("--- a/x\n+++ b/x\n@@ -3,0 +4 @@\n+z\n") == [diffs.Change("x", 4, (), ("z",))]


@pytest.mark.parametrize("outcome", ["fixed", "not-fixed", "budget", "healthy"])
@pytest.mark.parametrize("said", ["plain", HOSTILE, ""])
def test_sarif_is_what_its_specification_says(outcome: str, said: str) -> None:
    document = json.loads(sarif.text(answer(outcome, said), "a tree/kernel", "0.1.0", 1))
    jsonschema.Draft202012Validator(SARIF).validate(document)
    (run,) = document["runs"]
    assert len(run["results"]) == (0 if outcome == "healthy" else 1)
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in run["results"])
    for result in run["results"]:
        place = result["locations"][0]["physicalLocation"]
        assert place == {
            "artifactLocation": {"uri": "a%20tree/kernel/mm/page.s", "uriBaseId": "SRCROOT"}, "region": {"startLine": 4}
        }  # fmt: skip
        assert ("fixes" in result) == (outcome == "fixed")


def test_the_schema_refuses_what_is_no_sarif() -> None:
    wrongs: tuple[dict[str, Any], ...] = ({"version": "2.0.0"}, {"runs": [{"results": []}]}, {"extra": 1})
    for wrong in wrongs:
        document = {**sarif.document(answer(), "kernel", "0.1.0", 0), **wrong}
        assert list(jsonschema.Draft202012Validator(SARIF).iter_errors(document))
    absolute = sarif.document(answer(), "/kernel", "0.1.0", 0)
    assert list(jsonschema.Draft202012Validator(SARIF).iter_errors(absolute))


def test_a_sarif_fix_makes_the_patched_text() -> None:
    """Applying the replacements as section 3.57 says gives what ``git apply`` gives."""
    before = "1\n2\na\n    shr rax, 30\nb\nc\n7\n8\nd\n"
    (fix,) = sarif.document(answer(), "", "0.1.0", 0)["runs"][0]["results"][0]["fixes"]
    change = fix["artifactChanges"][0]
    lines = before.splitlines(keepends=True)
    for row in reversed(change["replacements"]):
        region = row["deletedRegion"]
        assert region["startColumn"] == region["endColumn"] == 1
        lines[region["startLine"] - 1 : region["endLine"] - 1] = [row["insertedContent"]["text"]]
    assert "".join(lines) == "1\n2\na\n    shr rax, 21\nb\nc\n7\n8\n    mov [rax], rdx\nd\n"


@pytest.mark.parametrize("said", ["plain", HOSTILE, "\ufffe\ud800 ]]> <&>"])
def test_junit_counts_what_it_holds(said: str) -> None:
    root = ElementTree.fromstring(junit.text(answer("fixed", said)).encode())
    cases = root.findall(".//testcase")
    assert int(root.get("tests", "")) == len(cases) == 4
    assert int(root.get("failures", "")) == len(root.findall(".//failure")) == 1
    assert [suite.get("name") for suite in root] == ["pxos fix: kernel", "pxos fix: repair"]
    assert [case.get("name") for case in root[1]] == ["fresh-copy", "boot"]


def test_junit_of_a_tree_whose_judge_tells_failures_alone() -> None:
    root = ElementTree.fromstring(junit.text({**answer("not-fixed"), "asked": []}).encode())
    assert [case.get("name") for case in root.findall(".//testcase")] == ["contract"]
    assert root.get("failures") == "1"


def outside_of_code(text: str) -> str:
    """What a renderer does not take for code (CommonMark, sections 4.5 and 6.1)."""
    text = re.sub(r"^(`{3,})[^\n`]*\n.*?^\1`*$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", text)


@pytest.mark.parametrize("outcome", ["fixed", "not-fixed", "budget", "healthy"])
def test_markdown_keeps_hostile_text_in_code(outcome: str) -> None:
    data = answer(outcome, HOSTILE, PATCH + "+````\n+@everyone\n")
    texts = [markdown.summary(data, "out")] + (
        [markdown.pull_request(data, "kernel", "out")] if data["patch"] else []
    )
    for text in texts:
        plain = outside_of_code(text)
        assert "@everyone" in text or outcome == "healthy"
        assert not any(word in plain for word in ("@everyone", "fixes #1", "<b>", "::error", "\x1b", "\x00"))
    assert "@everyone" in outside_of_code(HOSTILE), "the reader itself must see it"


def test_sizes_are_bounded_and_the_cut_is_said() -> None:
    data = answer("fixed", "x" * 10_000, PATCH + "+" + "y" * 200 * 2**10)
    data["diagnosis"]["sentences"] = ["z" * 5000] * 500
    for text, most in (
        (markdown.summary(data, "out"), 128 << 10),
        (markdown.pull_request(data, "k", "out"), 60_000),
    ):
        assert len(text.encode()) <= most + 1 and "cut here" in text
    assert len("".join(workflow.lines(data, "k"))) < 3 * workflow.MESSAGE_MAX
    assert len(markdown.title(data)) <= 72
    assert (
        len(workflow.lines({**data, "diagnosis": {"failing": data["diagnosis"]["failing"] * 50}}, "k"))
        <= workflow.MOST
    )


# --- the run's side -----------------------------------------------------------------------------------------


def ci(tmp_path: Path, **more: str) -> tuple[Ci, io.StringIO]:
    stream = io.StringIO()
    environment = {
        "GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(tmp_path), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        "GITHUB_OUTPUT": str(tmp_path / "output"), **more,
    }  # fmt: skip
    (tmp_path / "out").mkdir(exist_ok=True)
    return Ci("auto", tmp_path / "kernel", tmp_path / "out", environment, stream), stream


def test_everything_is_written_where_it_is_looked_for(tmp_path: Path) -> None:
    side, stream = ci(tmp_path)
    (tmp_path / "summary").write_text("of another command\n")
    side.write(answer(), 0)
    assert {path.name for path in side.folder.iterdir()} == {
        "junit.xml", "results.sarif", "summary.md", "pr-body.md", "pr-title.txt"
    }  # fmt: skip
    assert (tmp_path / "summary").read_text() == "of another command\n" + (
        side.folder / "summary.md"
    ).read_text()
    rows = dict(line.split("=", 1) for line in (tmp_path / "output").read_text().splitlines())
    assert (rows["outcome"], rows["status"], rows["patch"]) == (
        "fixed",
        "0",
        str(tmp_path / "out/patch.diff"),
    )
    assert "file=kernel/mm/page.s" in stream.getvalue()
    side.write(answer("not-fixed"), 1)
    assert not (side.folder / "pr-body.md").exists(), "of an earlier run"


def test_a_full_summary_is_left_alone(tmp_path: Path) -> None:
    side, _ = ci(tmp_path)
    (tmp_path / "summary").write_text("x" * (1 << 20))
    side.write(answer(), 0)
    assert (tmp_path / "summary").stat().st_size == 1 << 20


def test_elsewhere_there_are_files_alone(tmp_path: Path) -> None:
    side, stream = ci(tmp_path, GITHUB_ACTIONS="")
    with side.watch():
        pass
    side.write(answer(), 0)
    assert (
        stream.getvalue() == ""
        and not (tmp_path / "summary").exists()
        and (side.folder / "junit.xml").exists()
    )


def test_an_error_is_an_annotation_and_what_follows_is_no_command(tmp_path: Path) -> None:
    side, stream = ci(tmp_path)
    with pytest.raises(InputError), side.watch():
        raise InputError(f"tree {HOSTILE}", stage="workspace")
    print(HOSTILE, file=stream)  # as the command says it on standard error
    assert [name for name, _, _ in Runner().read(stream.getvalue()).obeyed] == ["error"]


def test_an_interruption_keeps_the_best(tmp_path: Path) -> None:
    side, _ = ci(tmp_path)
    (tmp_path / "out/report.json").write_text(json.dumps(answer("fixed")))  # of an earlier run
    with pytest.raises(KeyboardInterrupt), side.watch():
        assert not (tmp_path / "out/report.json").exists()
        (tmp_path / "out/report.json").write_text(json.dumps(answer("budget")))
        raise KeyboardInterrupt
    assert "budget spent" in (side.folder / "summary.md").read_text()


# --- the composite action -----------------------------------------------------------------------------------

ACTION = (ROOT / ".github/actions/fix/action.yml").read_text()
WORKFLOWS = [ROOT / ".github/workflows/ci.yml", ROOT / ".github/actions/fix/action.yml"]


def scripts(text: str) -> list[str]:
    """The shell scripts of an action: what stands behind ``run:``, on its line or indented below it."""
    found = re.findall(r"^( *)(?:- )?run: (\|\n(?:\1 {2,}.*\n|\n)+|.+)", text, re.MULTILINE)
    return [body.removeprefix("|\n") for _, body in found]


def test_no_input_is_pasted_into_a_script() -> None:
    """``${{ inputs.x }}`` in a script runs what it holds; inputs come by the environment."""
    assert len(scripts(ACTION)) == 3
    assert all("${{" not in script for script in scripts(ACTION))


def test_every_input_and_step_that_is_named_exists() -> None:
    head = ACTION[: ACTION.index("\noutputs:")]
    declared = set(re.findall(r"^  ([\w-]+):$", head, re.MULTILINE))
    assert set(re.findall(r"inputs\.([\w-]+)", ACTION)) <= declared
    assert set(re.findall(r"steps\.(\w+)\.", ACTION)) == set(re.findall(r"\bid: (\w+)", ACTION)) == {"fix"}
    used = re.search(r"actions/fix\n        with:\n((?:          .+\n)+)", WORKFLOWS[0].read_text())
    assert used and set(re.findall(r"^ +([\w-]+):", used[1], re.MULTILINE)) <= declared


@pytest.mark.parametrize(("status", "outcome"), [(0, "fixed"), (1, "not-fixed"), (2, ""), (3, "budget")])
def test_the_action_ends_as_the_command_does(tmp_path: Path, status: int, outcome: str) -> None:
    """The scripts run as the runner runs them (``bash -eo pipefail``), with a ``pxos`` that tells its arguments."""
    _, repair, end = scripts(ACTION)
    pxos = tmp_path / "root/.venv/bin/pxos"
    pxos.parent.mkdir(parents=True)
    pxos.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$@" > "$OUT.arguments"\nenv | grep -c ^PXOS_MODEL > "$OUT.keys"\n'
        f'echo "outcome={outcome}" >> "$GITHUB_OUTPUT"\nexit {status}\n'
    )
    pxos.chmod(0o755)
    nasty = "a b; touch owned; $(touch owned)"
    environment = {
        "PATH": "/usr/bin:/bin", "PXOS_ROOT": str(tmp_path / "root"), "KERNEL": nasty, "ENGINE": "auto", "BUDGET": "6",
        "MAX_BOOTS": "9", "OUT": str(tmp_path / "out"), "LESSONS": "", "RUNNER_TEMP": "/tmp/r",
        "GITHUB_OUTPUT": str(tmp_path / "output"), "PXOS_MODEL_URL": "", "PXOS_MODEL": "", "PXOS_MODEL_KEY": "",
    }  # fmt: skip
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]
    subprocess.run([*shell, repair], env=environment, cwd=tmp_path, check=True)
    words = (tmp_path / "out.arguments").read_text().splitlines()
    assert words[:5] == ["fix", "--ci", "github", "--kernel", nasty] and not (tmp_path / "owned").exists()
    assert words[-2:] == ["--lessons", "/tmp/r/pxos-lessons"] and (tmp_path / "out.keys").read_text() == "0\n"
    rows = dict(line.split("=", 1) for line in (tmp_path / "output").read_text().splitlines())
    assert rows == {"outcome": outcome, "exit": str(status)}
    done = subprocess.run([*shell, end], env={**environment, "STATUS": rows["exit"]}, check=False)
    assert done.returncode == status
    assert subprocess.run([*shell, end], env=environment, check=False).returncode == 4
