"""Install what a verb needs, and show that: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from gridiron.settings import Settings, checkout
from gridiron.toolchain.install import InstallProgress, install_toolchain
from gridiron.toolchain.programs import Toolchain, find_toolchain

TITLE = "Installing Restate, workerd and their tools"
LINE_SECONDS = 5.0
"""How often a line is written where there is no terminal."""


def ensure_toolchain(settings: Settings, console: Console) -> Toolchain:
    """Give the toolchain; outside a checkout install it first, once, and show that on `console`.

    In a checkout nothing is installed: `./justw` does that there. Raises what `install_toolchain` raises.
    """
    if checkout() is not None:
        return find_toolchain(settings)
    with show_progress(console) as progress:
        return install_toolchain(settings, progress)


@contextmanager
def show_progress(console: Console) -> Iterator[Callable[[InstallProgress], None]]:
    """Give a function that shows how far an installation is; nothing is shown until it is called."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (SpinnerColumn(), TextColumn(TITLE), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(TITLE, visible=False)
        yield lambda state: bar.update(task, completed=state.done, total=state.total, visible=True)


class _Lines:
    """Writes a line at the start, every few seconds, and when all packages are there."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._next = self._started

    def __call__(self, state: InstallProgress) -> None:
        now = time.monotonic()
        if now >= self._next or state.done == state.total:
            self._next = now + LINE_SECONDS
            line = f"{TITLE}: {state.done} of {state.total} packages, {now - self._started:.0f} s"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
