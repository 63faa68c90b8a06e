"""`gridiron rollback`: an earlier build's code takes new invocations again, as a new build."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from gridiron.cli.deployed import report
from gridiron.cli.options import Json, PortOffset, Timeout, Url
from gridiron.cli.outside import connect

verbs = typer.Typer()

EPILOG = """Examples:

gridiron rollback greeter

gridiron rollback greeter greeter-1.0.0-1790000000000"""


@verbs.command(epilog=EPILOG)
def rollback(  # noqa: PLR0913, PLR0917 - one for each option
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose active build is to be replaced.")],
    build_id: Annotated[
        str | None,
        typer.Argument(
            metavar="BUILD_ID",
            help="An earlier build, as `gridiron ls` shows it. "
            "Default: the newest before the active one that differs from it.",
        ),
    ] = None,
    timeout: Timeout = 600,
    as_json: Json = False,
    url: Url = None,
    port_offset: PortOffset = None,
) -> None:
    """Make an earlier build's code active again, as a new build; what is in flight ends where it began."""
    from gridiron.manager.api import RollbackRequest  # noqa: PLC0415 - see gridiron.cli.edge

    with connect(ctx, url, port_offset) as manager:
        request = RollbackRequest(name=name, build_id=build_id)
        activated = manager.rollback(request, timedelta(seconds=timeout))
    report(activated, None, as_json=as_json)
