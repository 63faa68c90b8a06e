"""`gridiron cluster`: the nodes of a cluster, as its operator sees and changes them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from gridiron.cli.edge import FAILED
from gridiron.cli.options import DataDir, Json, PortOffset, Timeout, Url, Yes
from gridiron.cli.output import Progress, confirm_removal, print_json, print_table, print_text, warn
from gridiron.cli.outside import connect, connect_by, outside_of
from gridiron.errors import ManagerUnavailable

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.manager.cluster_api import NodeChanged

EPILOG = """Examples:

gridiron cluster status

gridiron cluster drain n2 && ssh n2 systemctl stop gridiron"""

app = typer.Typer(help="Show the cluster, and drain, replace or remove its nodes.", epilog=EPILOG)
verbs = typer.Typer()
verbs.add_typer(app, name="cluster")

BLOCKED = {"majority_lost", "partition_leaderless"}
"""What a cluster warns of where calls wait for somebody to do something."""

Node = Annotated[str, typer.Argument(metavar="NODE", help="Its name, as `gridiron cluster status` shows it.")]


@app.command()
def status(
    ctx: typer.Context, as_json: Json = False, url: Url = None, port_offset: PortOffset = None
) -> None:
    """Show the nodes, who leads which partition, and what wants attention. Exits 1 where calls wait."""
    from gridiron.cli.cluster_view import render_cluster  # noqa: PLC0415 - see gridiron.cli.edge

    with connect(ctx, url, port_offset) as manager:
        seen = manager.fetch_cluster()
    if as_json:
        print_json(seen.model_dump(mode="json"))
    else:
        for number, part in enumerate(render_cluster(seen)):
            if number:
                print_text("")
            print_table(part)
        for warning in seen.warnings:
            warn(f"{warning.detail}  [{warning.code}]")
    if any(warning.code in BLOCKED for warning in seen.warnings):
        raise typer.Exit(FAILED)


@app.command()
def drain(  # noqa: PLR0913, PLR0917 - one for each option
    ctx: typer.Context,
    node: Node,
    timeout: Timeout = 60,
    as_json: Json = False,
    url: Url = None,
    port_offset: PortOffset = None,
) -> None:
    """Have a node lead nothing, and wait until that is so: then it can be stopped, and no call waits."""
    from gridiron.cli.cluster_steps import await_drained  # noqa: PLC0415 - see gridiron.cli.edge

    limit = timedelta(seconds=timeout)
    with connect(ctx, url, port_offset) as manager, Progress(quiet=as_json) as progress:
        changed = manager.drain_node(node)
        await_drained(manager, node, limit, outside_of(ctx), progress.say)
    _tell(changed, f"{node} leads nothing any more. `gridiron cluster activate {node}` undoes that.", as_json)


@app.command()
def activate(
    ctx: typer.Context, node: Node, as_json: Json = False, url: Url = None, port_offset: PortOffset = None
) -> None:
    """Let a node lead again that was drained, and keep its part again where its removal had begun."""
    with connect(ctx, url, port_offset) as manager:
        changed = manager.activate_node(node)
    _tell(changed, f"{node} may lead again." if changed.changed else f"{node} may lead already.", as_json)


@app.command()
def remove(  # noqa: PLR0913, PLR0917 - one for each option
    ctx: typer.Context,
    node: Node,
    yes: Yes = False,
    timeout: Timeout = 300,
    as_json: Json = False,
    url: Url = None,
    port_offset: PortOffset = None,
) -> None:
    """Remove a node that is down, for good. It cannot come back but with an empty disk and another name."""
    from gridiron.cli.cluster_steps import remove_node  # noqa: PLC0415 - see gridiron.cli.edge

    if not yes:
        _confirm(ctx, f"Remove {node} for good?")
    with connect(ctx, url, port_offset) as manager, Progress(quiet=as_json) as progress:
        remove_node(manager, node, timedelta(seconds=timeout), outside_of(ctx), progress.say)
    if as_json:
        print_json({"removed": node})
    else:
        print_text(f"{node} is removed.")


@app.command()
def replace(  # noqa: PLR0913, PLR0917 - one for each option
    ctx: typer.Context,
    node: Node,
    yes: Yes = False,
    timeout: Timeout = 300,
    as_json: Json = False,
    url: Url = None,
    port_offset: PortOffset = None,
) -> None:
    """Have another node take the place of one whose disk is lost, and remove that for good.

    Start the other one first, or meanwhile where it has another address. It needs an empty disk and a name
    of its own, and joins by itself.
    """
    from gridiron.cli.cluster_steps import replace_node  # noqa: PLC0415 - see gridiron.cli.edge

    if not yes:
        _confirm(ctx, f"Remove {node} for good, once another node serves in its place?")
    with connect(ctx, url, port_offset) as manager, Progress(quiet=as_json) as progress:
        serving = replace_node(manager, node, timedelta(seconds=timeout), outside_of(ctx), progress.say)
    if as_json:
        print_json({"removed": node, "serving": list(serving)})
    else:
        print_text(f"{node} is removed, and {', '.join(serving)} serve.")


@app.command()
def grow(  # noqa: PLR0913, PLR0917 - one for each option
    ctx: typer.Context,
    timeout: Timeout = 60,
    data_dir: DataDir = None,
    as_json: Json = False,
    url: Url = None,
    port_offset: PortOffset = None,
) -> None:
    """Make a node that is alone the first of a cluster; then have the cluster keep its copies.

    Run it while the node is stopped and has its table [cluster]: it brings what the node has into the bucket.
    Run it again when the node, and the others, have started. Each time it says what is next.
    """
    from gridiron.cli.cluster_grow import await_grown, grow_here  # noqa: PLC0415 - see gridiron.cli.edge
    from gridiron.settings import load_settings  # noqa: PLC0415 - the same

    settings = load_settings(manager_url=url, data_dir=data_dir, port_offset=port_offset)
    with Progress(quiet=as_json) as progress:
        try:
            with connect_by(ctx, settings, url) as manager:
                grown = await_grown(manager, timedelta(seconds=timeout), outside_of(ctx), progress.say)
        except ManagerUnavailable:
            if url is not None:
                raise
            uploaded = grow_here(settings, progress.say)
            report, sentence = uploaded.report, uploaded.sentence
        else:
            report = grown.model_dump(mode="json")
            sentence = f"Everything is kept on {grown.replication} nodes."
    if as_json:
        print_json(report)
    else:
        print_text(sentence)


def _confirm(ctx: typer.Context, question: str) -> None:
    """Ask before a node is removed. Raises BadParameter where there is no terminal."""
    if not outside_of(ctx).can_ask():
        raise typer.BadParameter("needs -y where no terminal can be asked.", param_hint="NODE")
    confirm_removal(question)


def _tell(changed: NodeChanged, sentence: str, as_json: bool) -> None:
    if as_json:
        print_json(changed.model_dump(mode="json"))
    else:
        print_text(sentence)
