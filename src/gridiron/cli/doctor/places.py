"""Directories and files of a node: whose they are, and who may read and write them."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from gridiron.access.tokens import ADMIN_FILE
from gridiron.cli.doctor.finding import Finding, failure, fine, warning
from gridiron.identity.store import IdentityStore
from gridiron.process.files import OF_OTHERS
from gridiron.settings import Settings

OTHERS_WRITE, EVERYBODY = 0o002, 0o007
"""Permissions of everybody."""


@dataclass(frozen=True, slots=True)
class Place:
    """A directory or a file of a node, and what it must not let others do."""

    name: str
    path: Path
    forbidden: int = OTHERS_WRITE  # permissions that it must not give
    is_own: bool = False  # whether it has to belong to the user who runs the node
    is_file: bool = False


@dataclass(frozen=True, slots=True)
class PlaceReading:
    """What was found there; of one that is not there, of the directory that it would be made in."""

    exists: bool
    usable: bool  # may be written to, or read where it is a file
    owner: int
    mode: int  # permissions


def list_places(settings: Settings) -> tuple[Place, ...]:
    """Name the places of a node."""
    return (
        Place("data directory", settings.data_dir),
        Place("bundle directory", settings.bundles_dir),
        Place("manager's state", settings.manager_state_dir),
        Place("sockets", settings.run_dir, 0o077, is_own=True),
        Place("secrets directory", settings.secrets_dir, 0o022),
        Place("key of the secrets", settings.secrets_dir / "key", OF_OTHERS, is_file=True),
        Place("key that Restate signs with", IdentityStore.of(settings).signing_key, 0o077, is_file=True),
        Place("admin's token", settings.manager_state_dir / ADMIN_FILE, OF_OTHERS, is_file=True),
    )


def read_place(place: Place) -> PlaceReading:
    """Look at a place. Raises OSError where not even its parents can be looked at."""
    exists = os.path.lexists(place.path)
    looked_at = place.path
    while not looked_at.exists():
        looked_at = looked_at.parent
    found = looked_at.stat()
    wanted = os.R_OK if place.is_file and exists else os.W_OK | os.X_OK
    usable = os.access(looked_at, wanted, effective_ids=os.access in os.supports_effective_ids)
    return PlaceReading(exists, usable, found.st_uid, stat.S_IMODE(found.st_mode))


def check_place(place: Place, reading: PlaceReading, user: int) -> Finding:
    """Judge a place for the user who asks, given by number."""
    check, path = place.name, place.path
    if not reading.usable:
        what = "read" if place.is_file else "written to" if reading.exists else "made"
        mend = (
            f"Run this as the user who runs the node, or give the place to that user: `chown -R USER {path}`."
        )
        return failure(check, f"{path} cannot be {what} by {name_of(user)}", mend)
    if not reading.exists:
        return fine(check, f"{path} is made when a node starts")
    if place.is_own and reading.owner != user:
        meaning = f"{path} belongs to {name_of(reading.owner)}, and {name_of(user)} is to use it alone"
        return failure(check, meaning, "Run this as the user who runs the node, or remove the directory.")
    if reading.mode & place.forbidden:
        kept = reading.mode & ~place.forbidden
        meaning = f"{path} is open to others ({reading.mode:04o})"
        return failure(check, meaning, f"Close it: `chmod {kept:o} {path}`.")
    if reading.owner != user:
        meaning = f"{path} belongs to {name_of(reading.owner)}, and this is {name_of(user)}"
        return warning(check, meaning, "Run this as the user who runs the node.")
    return fine(check, f"{path} is {name_of(user)}'s ({reading.mode:04o})")


def check_shared_place(place: Place, reading: PlaceReading) -> Finding:
    """Judge a place where each role has a user of its own: they share it by their group, or one has it."""
    if not reading.exists:
        return fine(place.name, f"{place.path} is made when a node starts")
    if reading.mode & EVERYBODY and place.forbidden != OTHERS_WRITE:
        meaning = f"{place.path} is open to everybody ({reading.mode:04o})"
        return failure(place.name, meaning, f"Close it: `chmod o-rwx {place.path}`.")
    return fine(place.name, f"{place.path} is {name_of(reading.owner)}'s ({reading.mode:04o})")


def name_of(user: int) -> str:
    """Name a user by its number."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:  # a container need not know it
        return f"user {user}"
