"""One run's answers written where a CI service looks for them.

Owns the folder ``OUT/ci`` (``junit.xml``, ``results.sarif``, ``summary.md``, ``pr-body.md``), what is added to the
files that GitHub's runner names in the environment, and the annotations on standard error. Never changes a verdict.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from architect.ci import junit, markdown, sarif, workflow
from toolchain.command import STATUS_INTERRUPTED
from toolchain.errors import InputError, PxError
from toolchain.files import make_folder, unwritable, write_atomic
from toolchain.process import Ended

STAGE = "ci"
SUMMARY_FILE_MAX = 1 << 20  # GitHub refuses a larger one, all steps' parts together


class Ci:
    """The CI side of one ``pxos fix``.

    Args:
        service: ``github``, ``files`` (only files, for any other service), or ``auto`` to ask the environment.
        tree: the kernel tree.
        out: the folder of the run's reports.
        environment: of the process (tests give their own).
        stream: where annotations go; None for standard error.
    """

    def __init__(
        self,
        service: str,
        tree: Path,
        out: Path,
        environment: Mapping[str, str] | None = None,
        stream: TextIO | None = None,
    ) -> None:
        self.environment = os.environ if environment is None else environment
        detected = "github" if self.environment.get("GITHUB_ACTIONS") == "true" else "files"
        self.service = detected if service == "auto" else service
        self.tree = tree
        self.out = out
        self.stream = stream if stream is not None else sys.stderr

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return self.out / "ci"

    @property
    def prefix(self) -> str | None:
        """The kernel tree relative to the repository; None when it lies outside, "" when it is the repository."""
        root = Path(self.environment.get("GITHUB_WORKSPACE") or ".").resolve()
        tree = self.tree.resolve()
        if not tree.is_relative_to(root):
            return None
        inside = tree.relative_to(root).as_posix()
        return "" if inside == "." else inside

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Around the run: its output is no command, an error becomes an annotation, an interruption keeps the best."""
        report = self.out / "report.json"
        report.unlink(missing_ok=True)  # of an earlier run
        try:
            with self._quiet():
                yield
        except PxError as error:
            self._say(workflow.command("error", error.message, title=f"pxOS: {error.stage}"))
            self._say(workflow.stopped())  # what is said of it behind this holds names of the tree
            raise
        except (KeyboardInterrupt, Ended):
            with suppress(OSError, ValueError, PxError):  # it is over; what can be kept is kept
                self.write(json.loads(report.read_bytes()), STATUS_INTERRUPTED)
            raise

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        if self.service == "github":
            with workflow.commands_stopped(self.stream):
                yield
        else:
            yield

    def write(self, data: Mapping[str, Any], status: int) -> None:
        """Every form of the answer.

        Args:
            data: the JSON of ``pxos fix``.
            status: the exit status that it ends with.

        Raises:
            InputError: a file cannot be written.
        """
        make_folder(self.folder, stage=STAGE)
        summary = markdown.summary(data, str(self.out))
        texts = {
            "junit.xml": junit.text(data),
            "results.sarif": sarif.text(data, self.prefix, _version(), status),
            "summary.md": summary,
        }
        if data["patch"]:
            texts["pr-body.md"] = markdown.pull_request(data, self.prefix or self.tree.name, str(self.out))
            texts["pr-title.txt"] = markdown.title(data) + "\n"
        for stale in ("pr-body.md", "pr-title.txt"):
            if stale not in texts:
                (self.folder / stale).unlink(missing_ok=True)
        for name, text in texts.items():
            write_atomic(self.folder / name, text, stage=STAGE)
        if self.service == "github":
            self._summarise(summary)
            self._outputs(data, status)
            for line in workflow.lines(data, self.prefix):
                self._say(line)

    def _say(self, line: str) -> None:
        if self.service == "github":
            print(line, file=self.stream, flush=True)

    def _summarise(self, text: str) -> None:
        """Behind what other commands of the step wrote; where no room is left, nothing."""
        name = self.environment.get("GITHUB_STEP_SUMMARY")
        if name:
            there = Path(name).stat().st_size if Path(name).exists() else 0
            if there + len(text.encode()) <= SUMMARY_FILE_MAX:
                _append(Path(name), text)

    def _outputs(self, data: Mapping[str, Any], status: int) -> None:
        """The step's outputs: words, numbers and paths of ours, none of them text of a kernel."""
        name = self.environment.get("GITHUB_OUTPUT")
        if not name:
            return
        patch = self.out / "patch.diff" if data["patch"] else ""
        body = self.folder / "pr-body.md" if data["patch"] else ""
        rows = {
            "outcome": data["outcome"], "status": status, "patch": patch, "pr-body": body,
            "sarif": self.folder / "results.sarif", "junit": self.folder / "junit.xml",
        }  # fmt: skip
        if any("\n" in str(value) or "\r" in str(value) for value in rows.values()):
            raise InputError(f"{self.out}: a path with a line feed cannot be told to GitHub", stage=STAGE)
        _append(Path(name), "".join(f"{key}={value}\n" for key, value in rows.items()))


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise unwritable(path, error, stage=STAGE) from error


def _version() -> str:
    from importlib.metadata import version

    return version("pxos")
