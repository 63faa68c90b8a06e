"""`gridiron logs`: what a build prints, and what becomes of its calls."""

from __future__ import annotations

import json
import queue
import re
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from gridiron.cli.edge import ManagerRefused
from gridiron.cli.options import Json, PortOffset, Url
from gridiron.cli.output import is_coloured, print_text, warn
from gridiron.cli.outside import connect, outside_of
from gridiron.errors import BuildNotFound, GridironError

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.cli.client import ManagerClient
    from gridiron.manager.api import DeploymentView, LogEvent

LOOK_SECONDS = 2.0
"""Between two looks for new builds of a name that is followed."""

FOLLOWED = frozenset({"active", "draining"})
"""States of builds that are followed with their name; one that becomes active joins in."""

BUILD_ID = re.compile(r"[a-z][a-z0-9-]*-[0-9A-Za-z][0-9A-Za-z._-]*-[0-9]+")

EPILOG = """Examples:

gridiron logs greeter

gridiron logs greeter -f

gridiron logs greeter-1.0.0-1790000000000 --json"""


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
    as_json: Json = False,
    url: Url = None,
    port_offset: PortOffset = None,
) -> None:
    """Show what a build printed, what it threw, and how its calls ended; the newest of it is kept.

    With --json, each event is a line of its own.
    """
    now = outside_of(ctx).now
    coloured = is_coloured(sys.stdout)
    with connect(ctx, url, port_offset) as manager:
        build, others = find_target(manager, target)
        states = FOLLOWED if follow else {"active"}
        chosen = [build] if build else [view for view in others if view.state.value in states]

        def show(event: LogEvent) -> None:
            from gridiron.cli.log_lines import render_log_event  # noqa: PLC0415 - see gridiron.cli.edge

            line = render_log_event(event, now(), coloured=coloured, with_build=build is None)
            print_text(json.dumps(event.model_dump(mode="json"), ensure_ascii=False) if as_json else line)

        if follow:
            _follow(manager, chosen, None if build else target, show)
        else:
            _show_kept(manager, chosen, show)


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


def _show_kept(
    manager: ManagerClient, builds: Iterable[DeploymentView], show: Callable[[LogEvent], None]
) -> None:
    """Show what is kept of some builds, in the order of its times."""
    lists = [manager.fetch_log(build.build_id) for build in builds]
    for event in sorted((event for each in lists for event in each.events), key=lambda event: event.time):
        show(event)
    for cell in sorted({cell for each in lists for cell in each.silent}):
        warn(f"{cell} does not answer: what was printed there is missing.")


def _follow(
    manager: ManagerClient,
    builds: Iterable[DeploymentView],
    name: str | None,
    show: Callable[[LogEvent], None],
) -> None:
    """Show what builds print, and what later ones of the name do; without a name, until the build's end."""
    from gridiron.cli.following import Following, Lost, News  # noqa: PLC0415 - see gridiron.cli.edge
    from gridiron.manager.api import LogEvent  # noqa: PLC0415 - the same

    arriving: queue.SimpleQueue[News] = queue.SimpleQueue()
    following = Following(manager, arriving.put)
    for build in builds:
        following.add(build.build_id)
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
