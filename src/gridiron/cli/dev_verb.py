"""`gridiron dev`: what is saved is live at once. The loop itself is in gridiron.cli.dev."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gridiron.cli.deploy import parse_variables
from gridiron.cli.options import Json, PortOffset, ProjectName, Takeover, Url, Variables
from gridiron.cli.output import is_coloured, print_text
from gridiron.cli.outside import connect_by, outside_of

if TYPE_CHECKING:  # see gridiron.cli.edge
    from collections.abc import Callable

    from gridiron.cli.dev.events import Event
    from gridiron.cli.dev.loop import Development
    from gridiron.cli.outside import Outside
    from gridiron.workers.logs import LogEvent

verbs = typer.Typer()

EPILOG = """Examples:

gridiron dev demo/greeter

gridiron dev --json | jq -c 'select(.event == "live") | .spent_ms'"""


@verbs.command(epilog=EPILOG)
def dev(  # noqa: PLR0913, PLR0917 - one for each option
    ctx: typer.Context,
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A project to build, or a built bundle (index.js in it).")
    ] = Path(),
    name: ProjectName = None,
    var: Variables = None,
    takeover: Takeover = False,
    types: Annotated[
        bool, typer.Option("--types/--no-types", help="Check types where there is a tsconfig.json.")
    ] = True,
    as_json: Json = False,
    url: Url = None,
    port_offset: PortOffset = None,
) -> None:
    """Deploy what is saved, as the version `dev`, and show what it prints; until Ctrl-C.

    New invocations go to what was saved last, those in flight end on the build that they began on. With
    --json, each event is a line of its own.
    """
    from gridiron.cli.dev.loop import Development, Wanted  # noqa: PLC0415 - see gridiron.cli.edge
    from gridiron.settings import load_settings  # noqa: PLC0415 - the same
    from gridiron.toolchain.programs import find_toolchain  # noqa: PLC0415 - the same

    wanted = Wanted(directory.resolve(), name, parse_variables(var or []), takeover, types)
    settings = load_settings(manager_url=url, port_offset=port_offset)
    outside = outside_of(ctx)
    with connect_by(ctx, settings, url) as manager:
        tell = plan_teller(outside, as_json=as_json)
        asyncio.run(_run(Development(wanted, manager, find_toolchain(settings), tell)))


def plan_teller(outside: Outside, *, as_json: bool) -> Callable[[Event | LogEvent], None]:
    """Say how events are shown: as lines for people, or as objects for programs, at once in either case."""
    from gridiron.cli.dev.events import render_event, render_fields  # noqa: PLC0415 - see gridiron.cli.edge

    coloured = is_coloured(sys.stdout)

    def tell(event: Event | LogEvent) -> None:
        now = outside.now()
        if as_json:
            print_text(json.dumps(render_fields(event, now), ensure_ascii=False))
        else:
            print_text(render_event(event, now, coloured=coloured))
        sys.stdout.flush()

    return tell


async def _run(development: Development) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    await development.run(stopping)
