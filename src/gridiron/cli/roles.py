"""The verbs that run something until they are stopped: a whole node, or one of its roles."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import typer

from gridiron.cli.options import (
    ROLES_PANEL,
    Address,
    Bucket,
    Cells,
    DataDir,
    Join,
    Json,
    NodeName,
    PortOffset,
    Url,
)
from gridiron.cli.output import print_json, print_text
from gridiron.cli.outside import connect
from gridiron.errors import SettingsInvalid
from gridiron.process.staying import staying

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.settings import Settings

verbs = typer.Typer()
pool = typer.Typer(invoke_without_command=True)
verbs.add_typer(pool, name="workers", rich_help_panel=ROLES_PANEL)

RESTART_LIMIT = timedelta(hours=1)
"""How long to wait for a restart: each cell may take two minutes to end what it is answering."""

# Each verb imports what it runs: it would cost every other verb its start.


@verbs.command()
def up(  # noqa: PLR0913, PLR0917 - what a user may say of a node
    data_dir: DataDir = None,
    port_offset: PortOffset = None,
    cells: Cells = None,
    node_name: NodeName = None,
    join: Join = None,
    address: Address = None,
    bucket: Bucket = None,
) -> None:
    """Run a whole node in the foreground. Prints `ready …` with the URLs when it serves; Ctrl-C stops it."""
    import asyncio  # noqa: PLC0415 - see above
    from functools import partial  # noqa: PLC0415 - the same

    from rich.console import Console  # noqa: PLC0415 - the same

    with staying():
        from gridiron.node import run_node  # noqa: PLC0415 - the same
        from gridiron.settings import load_settings  # noqa: PLC0415 - the same
        from gridiron.toolchain.progress import ensure_toolchain  # noqa: PLC0415 - the same

    flags = {"data_dir": data_dir, "port_offset": port_offset, "cells": cells, "node_name": node_name}
    load = partial(load_settings, **flags, cluster=plan_cluster(join, address, bucket))
    ensure_toolchain(load(), Console(stderr=True))
    asyncio.run(run_node(load))


def plan_cluster(join: str | None, address: str | None, bucket: str | None) -> dict[str, object] | None:
    """Give what flags say of a cluster, which comes before what the file says of it; None: nothing.

    Raises SettingsInvalid where one is there and empty: the variable that it came from was not set, and the
    node would start alone.
    """
    for flag, text in (("--join", join), ("--address", address), ("--bucket", bucket)):
        if text is not None and not text.strip(" ,"):
            raise SettingsInvalid(flag, "it is empty: give a value, or leave it out to go by gridiron.toml")
    peers = None if join is None else [part.strip() for part in join.split(",") if part.strip()]
    said = {"peers": peers, "address": address, "bucket": bucket}
    return {key: value for key, value in said.items() if value is not None} or None


@verbs.command(rich_help_panel=ROLES_PANEL)
def restate(data_dir: DataDir = None, port_offset: PortOffset = None) -> None:
    """Run Restate: renders its configuration, then becomes restate-server."""
    from gridiron.restate.role import exec_restate  # noqa: PLC0415 - see above
    from gridiron.toolchain.programs import find_toolchain  # noqa: PLC0415 - the same

    settings = _begin("restate", data_dir=data_dir, port_offset=port_offset)
    exec_restate(settings, find_toolchain(settings))


@pool.callback()
def workers(
    ctx: typer.Context, data_dir: DataDir = None, port_offset: PortOffset = None, cells: Cells = None
) -> None:
    """Run the workers: HAProxy and the cells behind it."""
    if ctx.invoked_subcommand is not None:
        return
    import asyncio  # noqa: PLC0415 - see above

    with staying():
        from gridiron.toolchain.programs import find_toolchain  # noqa: PLC0415 - the same
        from gridiron.workers.role import run_workers  # noqa: PLC0415 - the same

    settings = _begin("workers", data_dir=data_dir, port_offset=port_offset, cells=cells)
    asyncio.run(run_workers(settings, find_toolchain(settings)))


@verbs.command(rich_help_panel=ROLES_PANEL)
def manager(data_dir: DataDir = None, port_offset: PortOffset = None) -> None:
    """Run the manager: its HTTP API, and the removal of what is drained."""
    import asyncio  # noqa: PLC0415 - see above
    from functools import partial  # noqa: PLC0415 - the same

    with staying():
        from gridiron.manager.role import run_manager  # noqa: PLC0415 - the same

    _begin("manager", data_dir=data_dir, port_offset=port_offset)
    asyncio.run(run_manager(partial(_load, data_dir=data_dir, port_offset=port_offset)))


def _begin(role: str, **flags: Any) -> Settings:  # noqa: ANN401 - a flag has its field's type
    """Read the settings of a role, and set up its logging."""
    from gridiron.process.events import configure_logging  # noqa: PLC0415 - see above

    settings = _load(**flags)
    configure_logging(role, settings, sys.stderr)
    return settings


def _load(**flags: Any) -> Settings:  # noqa: ANN401 - the same
    """Read the settings of a role."""
    from gridiron.process.events import resolve_format  # noqa: PLC0415 - see above
    from gridiron.settings import load_settings  # noqa: PLC0415 - the same

    return resolve_format(load_settings(**flags), sys.stderr)


@pool.command("restart")
def restart_workers(
    ctx: typer.Context, as_json: Json = False, url: Url = None, port_offset: PortOffset = None
) -> None:
    """Replace every cell of the running node, one by one, losing no call."""
    with connect(ctx, url, port_offset) as manager:
        outcome = manager.restart_workers(RESTART_LIMIT)
    if as_json:
        print_json(outcome.model_dump(mode="json"))
    else:
        print_text(f"Replaced {outcome.cells} cell{'' if outcome.cells == 1 else 's'}.")
