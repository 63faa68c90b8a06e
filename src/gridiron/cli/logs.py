"""`gridiron logs`: what a build prints, and what becomes of its calls."""

from __future__ import annotations

import json
import queue
import re
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from gridiron.cli.edge import ManagerRefused
from gridiron.cli.options import Json, PortOffset, Url
from gridiron.cli.output import is_coloured, print_text, warn
from gridiron.cli.outside import connect, outside_of
from gridiron.errors import BuildNotFound, GridironError

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.cli.client import ManagerClient
    from gridiron.manager.api import DeploymentView
    from gridiron.workers.logs import LogEvent, Wanted

verbs = typer.Typer()

LOOK_SECONDS = 2.0
"""Between two looks for new builds of a name that is followed."""

FOLLOWED = frozenset({"active", "draining"})
"""States of builds that are followed with their name; one that becomes active joins in."""

BUILD_ID = re.compile(r"[a-z][a-z0-9-]*-[0-9A-Za-z][0-9A-Za-z._-]*-[0-9]+")

AGO = re.compile(r"(?P<count>[0-9]{1,6})(?P<unit>[smhd])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

EPILOG = """Examples:

gridiron logs greeter

gridiron logs greeter -f

gridiron logs greeter --level warn --since 2h

gridiron logs greeter-1.0.0-1790000000000 --json"""


class Grade(StrEnum):
    """The levels that can be asked for."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Newest:
    """What is shown of what is kept."""

    wanted: Wanted
    limit: int | None  # events; None: as many as the manager thinks fit


@verbs.command(epilog=EPILOG)
def logs(  # noqa: PLR0913, PLR0917 - one for each option
    ctx: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            metavar="NAME|BUILD_ID", help="A name stands for its active builds, or those to come with -f."
        ),
    ],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is printed from now on, until Ctrl-C.")
    ] = False,
    level: Annotated[Grade, typer.Option("--level", help="Only this and what is graver.")] = Grade.DEBUG,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help="Only what is not older: 90s, 10m, 2h, 3d, or a time as 2026-11-01T12:00 (UTC).",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", "-n", metavar="N", min=0, max=10_000, help="The newest N. Default: 1000 of each build."
        ),
    ] = None,
    as_json: Json = False,
    url: Url = None,
    port_offset: PortOffset = None,
) -> None:
    """Show what a build printed, what it threw, and how its calls ended; the newest of it is kept.

    With --json, each event is a line of its own.
    """
    from gridiron.workers.logs import Wanted  # noqa: PLC0415 - see gridiron.cli.edge

    now = outside_of(ctx).now
    coloured = is_coloured(sys.stdout)
    newest = Newest(Wanted(level.value, parse_since(since, now())), limit)
    with connect(ctx, url, port_offset) as manager:
        build, others = find_target(manager, target)
        states = FOLLOWED if follow else {"active"}
        chosen = [build] if build else [view for view in others if view.state.value in states]

        def show(event: LogEvent) -> None:
            from gridiron.cli.log_lines import render_log_event  # noqa: PLC0415 - see gridiron.cli.edge

            line = render_log_event(event, now(), coloured=coloured, with_build=build is None)
            print_text(json.dumps(event.model_dump(mode="json"), ensure_ascii=False) if as_json else line)

        if follow:
            _follow(manager, chosen, None if build else target, newest, show)
        else:
            _show_kept(manager, chosen, newest, show)


def find_target(
    manager: ManagerClient, target: str
) -> tuple[DeploymentView | None, tuple[DeploymentView, ...]]:
    """Find the build of an id, or else all builds of a name. Raises BuildNotFound where there is neither."""
    if BUILD_ID.fullmatch(target):
        try:
            return manager.fetch_deployment(target), ()
        except ManagerRefused as error:
            if error.problem.code != BuildNotFound.code:  # it may be a name
                raise
    builds = manager.fetch_deployments(target)
    if not builds:
        raise BuildNotFound(target)
    return None, builds


def parse_since(text: str | None, now: datetime) -> datetime | None:
    """Read how long ago, or when, something was; a time of no zone is UTC. Raises typer.BadParameter."""
    if text is None:
        return None
    if ago := AGO.fullmatch(text):
        return now - timedelta(**{UNITS[ago["unit"]]: float(ago["count"])})
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        advice = f"{text!r} is no time: write 10m, 2h or 2026-11-01T12:00"
        raise typer.BadParameter(advice, param_hint="--since") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _show_kept(
    manager: ManagerClient,
    builds: Iterable[DeploymentView],
    newest: Newest,
    show: Callable[[LogEvent], None],
) -> None:
    """Show what is kept of some builds, in the order of its times."""
    lists = [manager.fetch_log(build.build_id, newest.wanted, newest.limit) for build in builds]
    events = sorted((event for each in lists for event in each.events), key=lambda event: event.time)
    for event in events if newest.limit is None else events[max(0, len(events) - newest.limit) :]:
        show(event)
    for silent in sorted({name for each in lists for name in each.silent}):
        warn(f"{silent} does not answer: what was printed there last may be missing.")


def _follow(
    manager: ManagerClient,
    builds: Iterable[DeploymentView],
    name: str | None,
    newest: Newest,
    show: Callable[[LogEvent], None],
) -> None:
    """Show what builds print, and what later ones of the name do; without a name, until the build's end."""
    from gridiron.cli.following import Following, Lost, News  # noqa: PLC0415 - see gridiron.cli.edge
    from gridiron.workers.logs import LogEvent  # noqa: PLC0415 - the same

    arriving: queue.SimpleQueue[News] = queue.SimpleQueue()
    following = Following(manager, arriving.put, newest.wanted)
    for build in builds:
        following.add(build.build_id, newest.limit)
    looked_at = time.monotonic()
    while True:
        if time.monotonic() - looked_at > LOOK_SECONDS:
            looked_at = time.monotonic()
            for view in manager.fetch_deployments(name) if name else ():
                if view.state.value in FOLLOWED:
                    following.add(view.build_id)
        try:
            news = arriving.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            continue
        if isinstance(news, LogEvent):
            show(news)
        elif isinstance(news, Lost) and (name is None or not _is_gone(news.failure)):
            raise news.failure
        elif name is None:
            return


def _is_gone(failure: GridironError) -> bool:
    return isinstance(failure, ManagerRefused) and failure.problem.code == BuildNotFound.code
