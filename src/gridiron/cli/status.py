"""`gridiron status`: is the node usable, what is on it, and what wants attention, on one screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from gridiron.cli.edge import FAILED, ManagerRefused
from gridiron.cli.options import Json, PortOffset, Url
from gridiron.cli.output import print_json, print_table, print_text, warn
from gridiron.cli.outside import connect, outside_of
from gridiron.cli.table import Table, fields
from gridiron.cli.words import UNKNOWN, render_age, render_count, render_size

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.cli.client import ManagerClient
    from gridiron.manager.api import Component, Health, NodeStatus
    from gridiron.process.disk import Disk
    from gridiron.workers.status import PoolStatus

verbs = typer.Typer()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of a node at one moment. None: the manager could not say it."""

    health: Health
    node: NodeStatus | None
    pool: PoolStatus | None
    builds: dict[str, int] | None  # how many in each state
    warnings: tuple[str, ...]


@verbs.command()
def status(
    ctx: typer.Context, as_json: Json = False, url: Url = None, port_offset: PortOffset = None
) -> None:
    """Show how the node is, and what wants attention. Exits 1 when it is not ready.

    `gridiron doctor` looks at the machine, also where no node runs.
    """
    with connect(ctx, url, port_offset) as manager:
        seen = fetch_status(manager)
    if as_json:
        print_json(describe(seen))
    else:
        for number, part in enumerate(render_status(seen, outside_of(ctx).now())):
            if number:
                print_text("")
            print_table(part)
        for warning in seen.warnings:
            warn(warning)
    if not seen.health.ready:
        raise typer.Exit(FAILED)


def fetch_status(manager: ManagerClient) -> Status:
    """Ask the manager for all of it. Raises ManagerUnavailable."""
    from gridiron.cli.warnings import find_warnings  # noqa: PLC0415 - see gridiron.cli.edge

    health = manager.fetch_health()
    node = _known(manager.fetch_node)
    builds = _known(manager.fetch_deployments)
    return Status(
        health=health,
        node=node,
        pool=_known(manager.fetch_pool),
        builds=None if builds is None else dict(sorted(Counter(view.state.value for view in builds).items())),
        warnings=find_warnings(health, node, builds),
    )


def _known(fetch: Callable[[], T]) -> T | None:
    try:
        return fetch()
    except ManagerRefused as error:
        if error.problem.status < 500:  # whoever asks may not know it
            raise
        return None  # it is not ready, and its components tell why


def describe(seen: Status) -> dict[str, Any]:
    """Put it into an object for programs."""
    return {
        **seen.health.model_dump(mode="json"),
        "node": None if seen.node is None else seen.node.model_dump(mode="json"),
        "cells": None if seen.pool is None else seen.pool.model_dump(mode="json"),
        "builds": seen.builds,
        "warnings": list(seen.warnings),
    }


def render_status(seen: Status, now: datetime) -> tuple[Table, ...]:
    """Make the screen: the components, the cells, the node."""
    components = Table(
        tuple(_render_component(part, now) for part in seen.health.components),
        ("COMPONENT", "STATE", "SINCE", "REASON"),
    )
    cells = () if seen.pool is None or not seen.pool.cells else (_render_cells(seen.pool),)
    return (components, *cells, _render_node(seen, now))


def _render_component(part: Component, now: datetime) -> tuple[str, ...]:
    state = "ready" if part.ready else "not ready"
    return (part.name, state, render_age(now - part.since), part.reason)


def _render_cells(pool: PoolStatus) -> Table:
    rows = tuple(
        (
            cell.cell,
            "serving" if cell.serving else "not serving",
            render_age(timedelta(seconds=cell.uptime_seconds)),
            f"{render_size(cell.memory)} of {render_size(cell.memory_limit)}",
            cell.own or "",
        )
        for cell in pool.cells
    )
    return Table(rows, ("CELL", "STATE", "UP", "MEMORY", "ONLY FOR"))


def _render_node(seen: Status, now: datetime) -> Table:
    node = seen.node
    about = () if node is None else _describe_node(node, now)
    return fields(
        *about, ("builds", _describe_builds(seen.builds)), ("restarts", _describe_restarts(seen.pool))
    )


def _describe_node(node: NodeStatus, now: datetime) -> tuple[tuple[str, str], ...]:
    programs = (f"{name} {version or 'missing'}" for name, version in node.programs.items())
    return (
        ("node", f"{node.node}, its manager up for {render_age(now - node.started_at)}"),
        ("versions", ", ".join((f"gridiron {node.version}", *programs))),
        *node.urls.items(),
        ("ports", ", ".join(f"{each.purpose} {each.host}:{each.port}" for each in node.listens)),
        ("disk", _describe_disk(node.disk)),
    )


def _describe_disk(disk: Disk | None) -> str:
    return UNKNOWN if disk is None else f"{render_size(disk.free)} free of {render_size(disk.total)}"


def _describe_builds(builds: dict[str, int] | None) -> str:
    if builds is None:
        return UNKNOWN
    return ", ".join(f"{count} {state}" for state, count in builds.items()) or "none"


def _describe_restarts(pool: PoolStatus | None) -> str:
    """Say how many cells were replaced, and why; nothing where none was."""
    if pool is None:
        return UNKNOWN
    return ", ".join(
        f"{render_count(count, 'cell')} {reason}" for reason, count in pool.restarts.items() if count
    )
