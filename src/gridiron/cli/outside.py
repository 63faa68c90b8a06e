"""What verbs reach beyond this process: the network, the clock, the terminal. A test gives its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:  # see gridiron.cli.edge
    import httpx2

    from gridiron.cli.client import ManagerClient


def _has_terminal() -> bool:
    return sys.stdin.isatty()


@dataclass(frozen=True, slots=True)
class Outside:
    """The world as a verb sees it; the defaults are the real one."""

    transport: httpx2.MockTransport | None = None  # None: the network
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic  # seconds
    sleep: Callable[[float], None] = time.sleep  # seconds
    can_ask: Callable[[], bool] = lambda: sys.stdin.isatty() and sys.stdout.isatty()
    types: Callable[[], bool] = _has_terminal  # whether somebody types what the verb reads


def outside_of(ctx: typer.Context) -> Outside:
    """Give the outside that the command line was started with."""
    outside: Outside = ctx.ensure_object(Outside)
    return outside


def connect(ctx: typer.Context, url: str | None, port_offset: int | None) -> ManagerClient:
    """Make a client of the manager that the flags and settings name; use it in a `with`.

    Raises SettingsInvalid.
    """
    from gridiron.cli.client import ManagerClient  # noqa: PLC0415 - `gridiron version` and --help start quickly
    from gridiron.settings import load_settings  # noqa: PLC0415 - the same

    settings = load_settings(manager_url=url, port_offset=port_offset)
    return ManagerClient(settings.manager_url, outside_of(ctx).transport)
