"""The documents' examples run as they stand: each `console` block is typed in, and prints what it shows.

A line that begins with `$ ` is a command, the lines behind it are what it prints; `…` stands for any text,
alone on a line for any number of lines. `gridiron up` runs on in the background until the document ends.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gridiron.cli.demo.subject import choose_settings
from gridiron.settings import Settings, load_settings, variable_name
from gridiron.testing.processes import descendants
from gridiron.toolchain.programs import find_toolchain
from tests.harness import alive, wait_until

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("demo/GETTING_STARTED.md", "docs/wasm.md")
COMMAND_LIMIT_SECONDS = 120


@dataclass(frozen=True)
class Example:
    line: int
    command: str
    output: str


def parse_examples(text: str) -> list[Example]:
    """Read the console blocks of a document."""
    examples: list[Example] = []
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and line.startswith("$ "):
            examples.append(Example(number, line[2:], ""))
        elif inside:
            last = examples[-1]
            examples[-1] = Example(last.line, last.command, f"{last.output}{line}\n")
    return examples


def pattern_of(output: str) -> re.Pattern[str]:
    """Make an expected output into a pattern."""
    lines = []
    for line in output.splitlines():
        if line.strip() == "…":
            lines.append(r"(?:.*\n)*?")
        else:
            spaced = re.sub(r"(\\ )+", r"\\s+", re.escape(line.rstrip()))  # columns move with their content
            lines.append(spaced.replace("…", ".*?") + r"\s*\n")
    return re.compile("".join(lines))


class Shell:
    """Types commands into a copy of the checkout's demos, with a node of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        shutil.copytree(ROOT / "demo", directory / "demo", ignore=shutil.ignore_patterns("node_modules"))
        (directory / "node_modules").symlink_to(find_toolchain(load_settings()).node_modules)
        self.settings = choose_settings(
            directory / "data", 43_000, sweep_seconds=1.0, drain_grace_seconds=1.0
        )
        self._log = directory / "up.log"
        self._node: subprocess.Popen[bytes] | None = None

    @property
    def _environment(self) -> dict[str, str]:
        named = {variable_name(field) for field in Settings.model_fields}
        kept = {name: value for name, value in os.environ.items() if name not in named}
        path = f"{Path(sys.executable).parent}:{kept['PATH']}"
        return {**kept, **self.settings.environment(), "PATH": path, "COLUMNS": "120"}

    def moved(self, text: str) -> str:
        """Put this node's ports where the document has the usual ones."""
        for name, port in load_settings(port_offset=0).ports._asdict().items():
            text = text.replace(f"localhost:{port}", f"localhost:{getattr(self.settings.ports, name)}")
        return text

    def type(self, example: Example) -> str:
        if example.command == "gridiron up":
            return self._start(example)
        completed = subprocess.run(
            ["bash", "-c", self.moved(example.command)],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_LIMIT_SECONDS,
            check=False,
        )
        return completed.stdout

    def _start(self, example: Example) -> str:
        with self._log.open("wb") as log:
            self._node = subprocess.Popen(
                ["gridiron", "up"],
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        expected = pattern_of(self.moved(example.output))
        wait_until(lambda: expected.search(self._log.read_text()), 60, what=self._log.read_text())
        return self._log.read_text()

    def close(self) -> None:
        if self._node is None:
            return
        processes = descendants(self._node.pid)
        self._node.send_signal(signal.SIGINT)
        self._node.wait(15)
        assert not alive(processes)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    shell.close()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_does_what_it_says(document: str, shell: Shell) -> None:
    examples = parse_examples((ROOT / document).read_text())
    assert examples
    for example in examples:
        printed = shell.type(example)
        expected = pattern_of(shell.moved(example.output))
        matched = (
            expected.search(printed) if example.command == "gridiron up" else expected.fullmatch(printed)
        )
        assert matched, (
            f"{document}:{example.line}: `{example.command}` printed\n{printed}\ninstead of\n{example.output}"
        )


def test_the_reader_of_documents_notices_a_difference() -> None:
    (example,) = parse_examples("```console\n$ echo a b\na …\n…\nend\n```\n")
    assert pattern_of(example.output).fullmatch("a  b\nx\ny\nend\n")
    assert not pattern_of(example.output).fullmatch("a b\nx\n")
    assert not pattern_of(example.output).fullmatch("other\na b\nend\n")
