"""Since when a build drains: what is registered tells at first, and is remembered, as successors go, too."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime

from gridiron.lifecycle.observation import Registration
from gridiron.lifecycle.states import BuildStatus
from gridiron.model import State


def track_draining(
    statuses: Collection[BuildStatus],
    registrations: Collection[Registration],
    draining_at: Mapping[str, datetime],
    now: datetime,
) -> dict[str, datetime]:
    """Carry on since when each build drains: kept while unknown, forgotten in every other state.

    Where nobody can tell any more, it is since now. `registrations` are empty where they are unknown.
    """
    starts = find_drain_starts(statuses, registrations)
    tracked = {}
    for status in statuses:
        known = draining_at.get(status.build_id)
        if status.state is State.DRAINING:
            tracked[status.build_id] = min(known or starts.get(status.build_id, now), now)
        elif status.state is State.UNKNOWN and known is not None:
            tracked[status.build_id] = known
    return tracked


def find_drain_starts(
    statuses: Collection[BuildStatus], registrations: Collection[Registration]
) -> Mapping[str, datetime]:
    """Give for each draining build, by its id, when the last of its services went to a newer deployment.

    One whose successors were removed since is not in it: nobody can tell.
    """
    registered_at: dict[str, list[datetime]] = defaultdict(list)  # by service, in order
    for registration in sorted(registrations, key=lambda each: each.created_at):
        for service in registration.services:
            registered_at[service].append(registration.created_at)
    starts = {
        status.build_id: _find_start(status.registration, registered_at)
        for status in statuses
        if status.state is State.DRAINING and status.registration is not None
    }
    return {build_id: start for build_id, start in starts.items() if start is not None}


def _find_start(registration: Registration, registered_at: Mapping[str, list[datetime]]) -> datetime | None:
    successors = []
    for service in registration.services:
        times = registered_at[service]
        following = bisect_right(times, registration.created_at)
        if following == len(times):
            return None
        successors.append(times[following])
    return max(successors, default=None)
