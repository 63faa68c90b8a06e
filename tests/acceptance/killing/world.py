"""What a node says of its builds, and what is wrong with that."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gridiron.settings import Settings
from tests.harness import Client

Builds = tuple[tuple[str, frozenset[str]], ...]
"""What builds a name has, oldest first: the version of each, and the states that it may be in."""

STAGING = ".staging"
DISCOVERY = "application/vnd.restate.endpointmanifest.v4+json"


@dataclass(frozen=True)
class World:
    """One look at a node from outside: its API, Restate's admin API, its disk."""

    builds: tuple[dict[str, Any], ...]  # as the manager lists them, oldest first
    registrations: tuple[tuple[str, str], ...]  # of Restate: the id and the path, /name/version-timestamp
    directories: frozenset[str]  # of builds
    staging: frozenset[str]

    def of(self, name: str) -> World:
        """Leave out whatever belongs to other names."""
        return World(
            tuple(build for build in self.builds if build["name"] == name),
            tuple(each for each in self.registrations if each[1].startswith(f"/{name}/")),
            frozenset(each for each in self.directories if each.startswith(f"{name}-")),
            frozenset(),
        )


def fetch_world(settings: Settings, client: Client) -> World:
    """Look at a node."""
    listed = client.admin.get("/deployments").json()["deployments"]
    names = {path.name for path in settings.bundles_dir.iterdir() if path.is_dir()}
    return World(
        builds=tuple(client.builds(limit="1000")),
        registrations=tuple((each["id"], urlsplit(each["uri"]).path.rstrip("/")) for each in listed),
        directories=frozenset(names - {STAGING}),
        staging=frozenset(path.name for path in (settings.bundles_dir / STAGING).iterdir()),
    )


def find_leaks(world: World) -> list[str]:
    """Name what one of manager, Restate and disk has and another has not."""
    listed = {build["build_id"] for build in world.builds}
    paths = [path for _, path in world.registrations]
    served = {build["path"] for build in world.builds}
    return [
        *_each("left in staging", world.staging),
        *_each("a directory that is no build", world.directories - listed),
        *_each("a build without a directory", listed - world.directories),
        *_each("registered and not there", set(paths) - served),
        *_each("registered twice", {path for path in paths if paths.count(path) > 1}),
    ]


def find_faults(world: World, allowed: Collection[Builds]) -> list[str]:
    """Name what is wrong with the builds of one name, of which one list should be there."""
    seen = [(build["version"], build["state"]) for build in world.builds]
    if any(_is_one(seen, builds) for builds in allowed):
        return find_leaks(world)
    described = ", ".join(f"{version} {state}" for version, state in seen) or "nothing"
    return [f"there is {described}", *find_leaks(world)]


def find_unserved(client: Client, world: World) -> list[str]:
    """Name the registrations whose builds the workers do not serve."""
    return _each(
        "registered and not served",
        [path for _, path in world.registrations if not _is_served(client, path)],
    )


def active_version(world: World) -> str | None:
    """Give the version that the manager says is active; `world` is that of one name."""
    return next((build["version"] for build in world.builds if build["state"] == "active"), None)


def _is_one(seen: list[tuple[str, str]], builds: Builds) -> bool:
    return len(seen) == len(builds) and all(
        version == expected and state in states
        for (version, state), (expected, states) in zip(seen, builds, strict=True)
    )


def _is_served(client: Client, path: str) -> bool:
    return client.workers.get(f"{path}/discover", headers={"accept": DISCOVERY}).status_code == 200


def _each(what: str, things: Iterable[str]) -> list[str]:
    return [f"{what}: {thing}" for thing in sorted(things)]
