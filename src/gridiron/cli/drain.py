"""Waiting until the builds that a deployment replaced have nothing left to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from gridiron.cli.edge import ManagerRefused
from gridiron.cli.outside import Outside
from gridiron.errors import BuildNotFound, GridironError, ManagerUnavailable
from gridiron.model import State

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.cli.client import ManagerClient
    from gridiron.manager.api import DeploymentView

POLL_SECONDS = 0.5

GONE = "gone"
"""How a build ended that the manager does not know any more."""


@dataclass(eq=False)
class DrainUnfinished(GridironError):
    """A replaced build still has something to do when the time is over."""

    code = "drain_unfinished"
    sentence = (
        "{build_id} has not drained after {seconds:.0f} s: {reason}. The new build serves, and this one goes "
        "when it is done; `gridiron show {build_id}` tells how far it is."
    )
    build_id: str
    seconds: float
    reason: str


def await_drained(
    manager: ManagerClient,
    build_ids: Sequence[str],
    limit: timedelta,
    outside: Outside,
    say: Callable[[str], None],
) -> dict[str, str]:
    """Wait until each build is drained or further; give how each ended, by its id.

    That is its state, `active` for one that goes on serving what the new build does not, or `gone`. `say`
    hears what is waited for. A manager that does not answer is waited for too. Raises DrainUnfinished when
    `limit` is over.
    """
    deadline = outside.monotonic() + limit.total_seconds()
    ended: dict[str, str] = {}
    for build_id in build_ids:
        while (end := _look(manager, build_id)) not in ENDS:
            if outside.monotonic() >= deadline:
                raise DrainUnfinished(build_id, limit.total_seconds(), end)
            say(f"Waiting for {build_id} to drain: {end}")
            outside.sleep(POLL_SECONDS)
        ended[build_id] = end
    return ended


ENDS = {State.ACTIVE.value, State.DRAINED.value, State.RETIRED.value, State.FAILED.value, GONE}
"""What is not waited for: nothing that was replaced leaves these by waiting."""


def _look(manager: ManagerClient, build_id: str) -> str:
    """Look at a build once: one of ENDS, or what it is waited for."""
    try:
        view = manager.fetch_deployment(build_id)
    except ManagerUnavailable as error:
        return str(error)
    except ManagerRefused as refused:
        if refused.problem.code == BuildNotFound.code:
            return GONE
        raise
    return view.state.value if view.state.value in ENDS else describe_wait(view)


def describe_wait(view: DeploymentView) -> str:
    """Say what a build is waited for."""
    if view.invocations is None:
        return f"what it has to do is unknown ({view.reason})"
    return f"{view.invocations.pinned} pinned, {view.invocations.attempting} being attempted"
