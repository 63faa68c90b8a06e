"""`gridiron ls` and `gridiron show`: which builds there are, and what is known of one."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gridiron.cli.options import Json, PortOffset, Url
from gridiron.cli.output import print_json, print_table, print_text
from gridiron.cli.outside import connect, outside_of
from gridiron.cli.table import Table, fields
from gridiron.cli.words import UNKNOWN, render_age, render_moment, render_size, render_timings

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.manager.api import DeploymentView, HolderView, NodeView
    from gridiron.model import Git, State

verbs = typer.Typer()

HEADER = ("BUILD", "STATE", "SERVICES", "IN FLIGHT", "AGE", "SIZE", "LOADED")


@verbs.command()
def ls(  # noqa: PLR0913, PLR0917 - one for each option
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Only builds of this name.")
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(
            "--state", metavar="STATE", help="Only builds in this state: active, draining, drained, …"
        ),
    ] = None,
    as_json: Json = False,
    url: Url = None,
    port_offset: PortOffset = None,
) -> None:
    """List the builds, oldest first. A star marks services whose new invocations go to the build."""
    wanted = parse_state(state)
    with connect(ctx, url, port_offset) as manager:
        deployments = manager.fetch_deployments(name, wanted)
    if as_json:
        print_json({"deployments": [view.model_dump(mode="json") for view in deployments], "next": None})
    elif deployments:
        print_table(render_list(deployments, outside_of(ctx).now()))
    else:
        print_text(
            "No builds match." if name or wanted else "No builds yet. `gridiron deploy DIR` makes one."
        )


@verbs.command()
def show(
    ctx: typer.Context,
    build_id: Annotated[str, typer.Argument(metavar="BUILD_ID", help="As `gridiron ls` shows it.")],
    as_json: Json = False,
    url: Url = None,
    port_offset: PortOffset = None,
) -> None:
    """Show all that is known of one build."""
    with connect(ctx, url, port_offset) as manager:
        view = manager.fetch_deployment(build_id)
    if as_json:
        print_json(view.model_dump(mode="json"))
    else:
        print_table(render_build(view, outside_of(ctx).now()))


@verbs.command()
def release(
    ctx: typer.Context,
    build_id: Annotated[str, typer.Argument(metavar="BUILD_ID", help="As `gridiron ls` shows it.")],
    as_json: Json = False,
    url: Url = None,
    port_offset: PortOffset = None,
) -> None:
    """Take a build out of quarantine: the cells that it shares with others serve it again."""
    with connect(ctx, url, port_offset) as manager:
        outcome = manager.release(build_id)
    if as_json:
        print_json(outcome.model_dump(mode="json"))
    else:
        print_text(f"{build_id} is released." if outcome.released else f"{build_id} was in no quarantine.")


def parse_state(text: str | None) -> State | None:
    """Read the state that was asked for. Raises BadParameter, with the states that there are."""
    from gridiron.model import State  # noqa: PLC0415 - see gridiron.cli.edge

    if text is None:
        return None
    try:
        return State(text)
    except ValueError as error:
        states = ", ".join(State)
        raise typer.BadParameter(f"{text!r} is none of {states}.", param_hint="--state") from error


def render_list(deployments: tuple[DeploymentView, ...], now: datetime) -> Table:
    """Make the table of `gridiron ls`."""
    return Table(
        tuple(
            (
                view.build_id,
                f"{view.state.value}, quarantined" if view.is_quarantined else view.state.value,
                render_services(view),
                _in_flight(view),
                render_age(now - view.created_at) if view.created_at else UNKNOWN,
                UNKNOWN if view.size is None else render_size(view.size),
                _loaded(view),
            )
            for view in deployments
        ),
        HEADER,
        right=frozenset({3, 4, 5}),
    )


def render_services(view: DeploymentView) -> str:
    """`greeter*, counter`: a star after those whose new invocations come to this build."""
    return ", ".join(f"{service.name}{'*' if service.active else ''}" for service in view.services)


def render_build(view: DeploymentView, now: datetime) -> Table:
    """Make the lines of `gridiron show`."""
    return fields(
        ("build", view.build_id),
        ("state", view.state.value),
        ("because", view.reason),
        *_describe_quarantine(view, now),
        ("path", view.path or ""),
        ("deployment", view.deployment_id or ""),
        ("protocol", view.protocol or ""),
        ("services", "\n".join(_describe_services(view))),
        ("in flight", _describe_invocations(view)),
        ("held by", "\n".join(_describe_holders(view, now))),
        ("loaded", _describe_nodes(view.nodes)),
        ("size", "" if view.size is None else render_size(view.size)),
        ("sha256", view.sha256 or ""),
        ("archive", view.archive_sha256 or ""),
        ("signed by", view.signed_by or ""),
        ("source", view.source or ""),
        ("commit", "" if view.git is None else render_git(view.git)),
        ("secrets", ", ".join(view.secrets)),
        ("created", render_moment(view.created_at, now)),
        ("activated", render_moment(view.activated_at, now)),
        ("draining", render_moment(view.draining_at, now)),
        ("drained", render_moment(view.drained_at, now)),
        ("steps", render_timings(view.timings_ms)),
    )


def render_git(git: Git) -> str:
    """`a1b2c3d4e5f6 on main, with uncommitted changes`."""
    on = f" on {git.branch}" if git.branch else ""
    return f"{git.commit[:12]}{on}{', with uncommitted changes' if git.dirty else ''}"


def _describe_quarantine(view: DeploymentView, now: datetime) -> tuple[tuple[str, str], ...]:
    """Why a build has a cell of its own and how it gets out of that; no line for the others."""
    if (quarantine := view.quarantine) is None:
        return ()
    served = f"served by {quarantine.cell} alone" if quarantine.cell else "its own cell does not serve now"
    text = (
        f"since {render_moment(quarantine.since, now)}: it was in flight in three cells that went down; "
        f"the last one: {quarantine.reason.replace('_', ' ')}\n{served}\n"
        f"deploy a new version, or `gridiron release {view.build_id}`"
    )
    return (("quarantine", text),)


def _in_flight(view: DeploymentView) -> str:
    return UNKNOWN if view.invocations is None else str(view.invocations.pinned + view.invocations.attempting)


def _loaded(view: DeploymentView) -> str:
    """`yes`, `no`, `unknown`; with several nodes, how many of them: `1/3 nodes, 1 unknown`."""
    if view.nodes is None:
        return UNKNOWN
    said = [node.loaded for node in view.nodes]
    unknown = said.count(None)
    if len(said) > 1:
        more = f", {unknown} unknown" if unknown else ""
        return f"{said.count(True)}/{len(said)} nodes{more}"
    return UNKNOWN if unknown else "yes" if any(said) else "no"


def _describe_services(view: DeploymentView) -> list[str]:
    return [
        f"{service.name}  {'takes new invocations' if service.active else 'takes none'}"
        for service in view.services
    ]


def _describe_invocations(view: DeploymentView) -> str:
    if view.invocations is None:
        return "unknown"
    return f"{view.invocations.pinned} pinned, {view.invocations.attempting} being attempted"


MAX_SHOWN = 5
"""Invocations that `show` lists; `--json` has more."""


def _describe_holders(view: DeploymentView, now: datetime) -> list[str]:
    """What keeps a build that is to go, and how to end that: nothing for one that is to stay."""
    if view.state.value not in {"draining", "failed"} or not view.held_by:
        return []
    lines = [_describe_holder(holder, now) for holder in view.held_by[:MAX_SHOWN]]
    if (more := len(view.held_by) - MAX_SHOWN) > 0:
        lines.append(f"and {more} more: see --json")
    first = view.held_by[0]
    lines.append(f"what helps one that does not end by itself, such as {first.invocation_id}:")
    says = {"cancel": "clean up and end", "kill": "end at once", "resume": "go on with the newest build"}
    lines += [f"  {says[way]:<27}  {command}" for way, command in first.ways_out.items()]
    return lines


def _describe_holder(holder: HolderView, now: datetime) -> str:
    tried = f", tried {holder.attempts} times" if holder.attempts > 1 else ""
    failure = f": {holder.failure.splitlines()[0][:100]}" if holder.failure else ""
    age = render_age(now - holder.created_at)
    return f"{holder.invocation_id}  {holder.target}  {holder.status} for {age}{tried}{failure}"


def _describe_nodes(nodes: tuple[NodeView, ...] | None) -> str:
    """A line for each node: which cells have the build loaded, and what they are answering."""
    if nodes is None:
        return "unknown: the cells do not answer"
    apart = ", quarantined" if len(nodes) > 1 else ""  # else the quarantine has lines of its own
    return "\n".join(
        f"{node.node}: {_describe_cells(node)}{apart if node.quarantined else ''}" for node in nodes
    )


def _describe_cells(node: NodeView) -> str:
    if node.loaded is None:
        return f"unknown: {node.reason}"
    cells = [f"{cell.cell} ({cell.in_flight} in flight)" for cell in node.cells if cell.loaded]
    where = f"in {', '.join(cells)}" if cells else f"in none of {len(node.cells)} cells"
    absent = ", and not on its disk" if node.present is False else ""
    return f"{where}{absent}"
