"""`gridiron demo`: the main job as a story. The story itself is in gridiron.cli.demo."""

from __future__ import annotations

from typing import Annotated

import typer

from gridiron.cli.options import Json, PortOffset

verbs = typer.Typer()


@verbs.command()
def demo(
    as_json: Json = False,
    port_offset: PortOffset = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the demo's directory, to look at.")] = False,
) -> None:
    """Show the main job on a node of its own: deploy, upgrade under load, drain, prune, restart."""
    from gridiron.cli.demo import run_demo  # noqa: PLC0415 - see gridiron.cli.edge

    run_demo(as_json=as_json, port_offset=port_offset, keep=keep)
