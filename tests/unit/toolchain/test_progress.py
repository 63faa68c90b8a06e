from __future__ import annotations

import io
import re

from rich.console import Console

from gridiron.toolchain.install import InstallProgress
from gridiron.toolchain.progress import show_progress


def shown(*states: InstallProgress, terminal: bool) -> str:
    output = io.StringIO()
    with show_progress(Console(file=output, force_terminal=terminal, width=100)) as progress:
        for state in states:
            progress(state)
    return output.getvalue()


def test_elsewhere_than_on_a_terminal_there_is_a_line_at_the_start_and_one_at_the_end() -> None:
    states = [InstallProgress(done, 48) for done in (0, 1, 20, 48)]

    assert re.sub(r"\d+ s$", "0 s", shown(*states, terminal=False), flags=re.MULTILINE) == (
        "Installing Restate, workerd and their tools: 0 of 48 packages, 0 s\n"
        "Installing Restate, workerd and their tools: 48 of 48 packages, 0 s\n"
    )


def test_on_a_terminal_there_is_a_bar() -> None:
    bar = shown(InstallProgress(12, 48), terminal=True)

    assert "Installing Restate, workerd and their tools" in bar
    assert "12/48" in bar


def test_nothing_is_shown_where_nothing_is_installed() -> None:
    assert shown(terminal=False) == ""
