"""`gridiron status`: is the node usable, and what is on it, on one screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import typer

from gridiron.cli.edge import FAILED, ManagerRefused
from gridiron.cli.options import Json, PortOffset, Url
from gridiron.cli.output import print_json, print_table, print_text
from gridiron.cli.outside import outside_of
from gridiron.cli.table import Table, fields
from gridiron.cli.versions import Versions, render_versions
from gridiron.cli.words import UNKNOWN

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.cli.client import ManagerClient
    from gridiron.manager.api import Health
    from gridiron.settings import Settings


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of a node at one moment."""

    ready: bool
    components: tuple[dict[str, Any], ...]  # as the manager names them: name, ready, reason
    urls: Mapping[str, str]
    builds: Mapping[str, int] | None  # how many in each state; None: unknown
    versions: Versions


def status(
    ctx: typer.Context, as_json: Json = False, url: Url = None, port_offset: PortOffset = None
) -> None:
    """Show whether the node is usable, with the reason where it is not. Exits 1 when it is not."""
    from gridiron.cli.client import ManagerClient  # noqa: PLC0415 - see gridiron.cli.edge
    from gridiron.cli.versions import fetch_versions  # noqa: PLC0415 - the same
    from gridiron.settings import load_settings  # noqa: PLC0415 - the same

    settings = load_settings(manager_url=url, port_offset=port_offset)
    with ManagerClient(settings.manager_url, outside_of(ctx).transport) as manager:
        health = manager.fetch_health()
        builds = fetch_counts(manager)
    seen = make_status(settings, health, builds, fetch_versions(settings))
    if as_json:
        print_json(asdict(seen))
    else:
        for number, part in enumerate(render_status(seen)):
            if number:
                print_text("")
            print_table(part)
    if not seen.ready:
        raise typer.Exit(FAILED)


def fetch_counts(manager: ManagerClient) -> dict[str, int] | None:
    """Count the builds in each state; None where the manager cannot say."""
    try:
        deployments = manager.fetch_deployments()
    except ManagerRefused:  # it is not ready, and its components tell why
        return None
    return dict(sorted(Counter(view.state.value for view in deployments).items()))


def make_status(
    settings: Settings, health: Health, builds: Mapping[str, int] | None, versions: Versions
) -> Status:
    """Put together what was read."""
    manager = {"name": "manager", "ready": True, "reason": ""}  # it answered
    return Status(
        ready=health.ready,
        components=(manager, *(component.model_dump() for component in health.components)),
        urls={
            "manager": settings.manager_url,
            "ingress": settings.ingress_url,
            "restate admin": settings.restate_admin_url,
            "workers": settings.workers_url,
        },
        builds=builds,
        versions=versions,
    )


def render_status(seen: Status) -> tuple[Table, Table, Table]:
    """Make the screen: the components, where things are, the versions."""
    components = Table(
        tuple(
            (part["name"], "ready" if part["ready"] else "not ready", part["reason"])
            for part in seen.components
        ),
        ("COMPONENT", "STATE", "REASON"),
    )
    places = fields(*seen.urls.items(), ("builds", _describe_builds(seen.builds)))
    return components, places, render_versions(seen.versions)


def _describe_builds(builds: Mapping[str, int] | None) -> str:
    if builds is None:
        return UNKNOWN
    return ", ".join(f"{count} {state}" for state, count in builds.items()) or "none"
