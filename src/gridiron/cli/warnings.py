"""What of a node wants somebody's attention, in sentences: a pure function of what the manager answers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from gridiron.cli.words import render_age, render_count, render_size
from gridiron.manager.api import DeploymentView, Health, Listener, NodeStatus, WrittenSettings
from gridiron.model import State
from gridiron.process.disk import Disk

LONG_DRAINING = timedelta(days=1)
"""A build that drains for longer is one that somebody has to look at: most invocations take seconds."""

AHEAD = timedelta(minutes=1)
"""A build that was made so far in the future was made by a clock that was set back since."""

LEAST_FREE, LEAST_SHARE, LEAST_FILES = 1_000_000_000, 0.1, 10_000
"""Of a disk: bytes, the part of it, and files. A bundle may take half a gigabyte while it comes in."""

NAMED = 5
"""Builds that a warning names."""

OPEN = {
    "manager": "tokens go to it as they are, for all on the way to see: set GRIDIRON_TLS_CERT",
    "workers": "only Restate is to call it",
    "admin": "whoever reaches it there commands Restate",
    "fabric": "whoever reaches it there commands Restate",
}
"""What it means that a port is open beyond this machine; the ingress is there for callers."""


def find_warnings(
    health: Health, node: NodeStatus | None, builds: Collection[DeploymentView] | None
) -> tuple[str, ...]:
    """Say what is wrong, or soon will be, beside that the node is not ready."""
    found = [*_of_components(health)]
    if builds is not None and node is not None:
        found += _of_builds(builds, node.now)
    if node is not None:
        found += [*_of_disk(node.disk), *_of_settings(node.settings), *find_open_ports(node.listens)]
    return tuple(found)


def _of_components(health: Health) -> Iterator[str]:
    for part in health.components:
        if not part.required and not part.ready:
            yield f"{part.name}: {part.reason}."
        elif part.ready and part.reason:
            yield f"{part.name}: only {part.reason}."


def _of_builds(builds: Collection[DeploymentView], now: datetime) -> Iterator[str]:
    quarantined = [build.build_id for build in builds if build.is_quarantined]
    if quarantined:
        yield f"{_name(quarantined, 'is', 'are')} in quarantine: deploy a version that brings no cell down."
    failed = [build.build_id for build in builds if build.state is State.FAILED]
    if failed:
        yield f"{_name(failed, 'has', 'have')} failed: `gridiron show BUILD` says why."
    unknown = [build for build in builds if build.state is State.UNKNOWN]
    if unknown:
        yield f"The state of {render_count(len(unknown), 'build')} is unknown, so nothing of it is removed."
    for build in builds:
        if build.draining_at is not None and now - build.draining_at > LONG_DRAINING:
            age = render_age(now - build.draining_at)
            yield f"{build.build_id} has been draining for {age}: `gridiron show {build.build_id}` says why."
    ahead = max((build.created_at - now for build in builds if build.created_at), default=timedelta(0))
    if ahead > AHEAD:
        yield f"The node's clock is {render_age(ahead)} behind the newest build: set it."


def _of_disk(disk: Disk | None) -> Iterator[str]:
    if disk is None:
        yield "The disk of the bundle directory does not answer."
        return
    if disk.free < min(LEAST_FREE, disk.total * LEAST_SHARE):
        free = f"{render_size(disk.free)} of {render_size(disk.total)}"
        yield f"The disk of the bundle directory has only {free} left: make room."
    if disk.files_free is not None and disk.files_free < LEAST_FILES:
        yield f"The disk of the bundle directory has room for {disk.files_free} files only: remove some."


def _of_settings(written: WrittenSettings) -> Iterator[str]:
    if written.problem is not None:
        yield f"The settings that are written cannot be used, and no role starts with them. {written.problem}"
    if written.live:
        yield f"Written and not taken up yet: {', '.join(written.live)}. Send SIGHUP."
    if written.restart:
        yield f"Written and not taken up before a restart: {', '.join(written.restart)}."


def find_open_ports(listeners: Collection[Listener]) -> Iterator[str]:
    """Say which ports others than this machine reach, and what that means.

    In a cluster, Restate's port between nodes has to be open at the address of the node, where the managers
    meet, too: that a firewall leaves it to the nodes cannot be seen from here.
    """
    meeting = {listener.host for listener in listeners if listener.purpose == "peers"}
    for listener in listeners:
        if listener.purpose == "fabric" and listener.host in meeting:
            continue
        meaning = OPEN.get(listener.purpose)
        if meaning is not None and not listener.is_loopback and not listener.is_encrypted:
            yield f"The port of {listener.purpose} is open at {listener.host}:{listener.port}: {meaning}."


def _name(build_ids: list[str], one: str, many: str) -> str:
    named = ", ".join(build_ids[:NAMED])
    more = f" and {len(build_ids) - NAMED} more" if len(build_ids) > NAMED else ""
    return f"{named}{more} {one if len(build_ids) == 1 else many}"
