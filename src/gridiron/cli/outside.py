"""What verbs reach beyond this process: the network, the clock, the terminal. A test gives its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from gridiron.cli.output import warn

if TYPE_CHECKING:  # see gridiron.cli.edge
    import httpx2

    from gridiron.cli.client import ManagerClient
    from gridiron.settings import Settings


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

    Raises SettingsInvalid, and as `connect_by` does.
    """
    from gridiron.settings import load_settings  # noqa: PLC0415 - `gridiron version` and --help start quickly

    return connect_by(ctx, load_settings(manager_url=url, port_offset=port_offset), url)


def connect_by(ctx: typer.Context, settings: Settings, url: str | None) -> ManagerClient:
    """Make a client of the managers that settings name; `url` is what the flag says, and is in them.

    Says so on standard error where it sends a token over a network as it is. Raises as `find_ways` does.
    """
    from gridiron.cli.client import ManagerClient  # noqa: PLC0415 - see above
    from gridiron.cli.credentials import find_ways, is_local  # noqa: PLC0415 - the same
    from gridiron.model import redact_url  # noqa: PLC0415 - the same

    way, *others = ways = find_ways(settings, named=url is not None)
    manager = ManagerClient(way, outside_of(ctx).transport, others)
    for each in ways:
        if each.token is not None and each.url.startswith("http:") and not is_local(each.url):
            shown = redact_url(each.url.rstrip("/"))
            warn(f"the token goes to {shown} as it is, for all on the way to see: use https.")
    return manager
