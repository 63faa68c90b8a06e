"""Options that several verbs have, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gridiron.cli.edge import JSON_WANTED

ROLES_PANEL = "Roles, for a supervisor such as runit"


def _remember_json(ctx: typer.Context, value: bool) -> bool:
    """Let the edge know that a failure is wanted as JSON too."""
    ctx.meta[JSON_WANTED] = value
    return value


Json = Annotated[
    bool,
    typer.Option("--json", help="Print JSON, for programs.", callback=_remember_json),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The manager's URL; several with commas: the first that can be reached is asked. "
        "Default: GRIDIRON_MANAGER_URL, or the manager's port on this machine.",
        show_default=False,
    ),
]
PortOffset = Annotated[
    int | None,
    typer.Option(
        "--port-offset",
        metavar="N",
        min=0,
        max=50_000,
        help="Added to every port of the node. Default: GRIDIRON_PORT_OFFSET, or 0.",
        show_default=False,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Where the node keeps everything. Default: GRIDIRON_DATA_DIR, or gridiron/data in the user's "
        "data directory.",
        show_default=False,
    ),
]
Cells = Annotated[
    int | None,
    typer.Option(
        "--cells",
        metavar="N",
        min=0,
        max=256,
        help="How many workerd processes. Default: GRIDIRON_CELLS, or one for each core (0).",
        show_default=False,
    ),
]
Join = Annotated[
    str | None,
    typer.Option(
        "--join",
        metavar="ADDRESS,…",
        help="Be a node of a cluster: where its other nodes are. What is not given here is in the table "
        "\\[cluster] of gridiron.toml.",
        show_default=False,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="ADDRESS", help="Of this node for the others of its cluster.", show_default=False
    ),
]
Bucket = Annotated[
    str | None,
    typer.Option(
        "--bucket", metavar="URL", help="What the cluster shares: s3://BUCKET/PREFIX.", show_default=False
    ),
]
NodeName = Annotated[
    str | None,
    typer.Option(
        "--node-name",
        metavar="NAME",
        help="Default: GRIDIRON_NODE_NAME; n1 for a node alone.",
        show_default=False,
    ),
]
ProjectName = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Default: what the project says.")
]
Variables = Annotated[
    list[str] | None,
    typer.Option("--var", metavar="KEY=VALUE", help="A binding of the worker, as text. May be repeated."),
]
Takeover = Annotated[
    bool, typer.Option("--takeover", help="Allow services that builds of other names have now.")
]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=1, help="How long it may take.")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")]
