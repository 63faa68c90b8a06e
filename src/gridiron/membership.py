"""What a node's disk says of the cluster that it belongs to, so that the node never starts alone by accident.

Settings can get lost: another working directory, a variable that a supervisor does not pass on. What is left
then reads as a node alone, and that would make a cluster of its own, or take builds that no other node sees.

Restate and the manager may be users of their own, so each has a file in its own directory.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from gridiron.errors import ClusterTableMissing, StorageFailed
from gridiron.model import Value
from gridiron.process.kept import read_kept, write_kept
from gridiron.settings import Settings

MARKER_FILE = "member.json"
"""In Restate's and in the manager's directory, on a node of a cluster."""

UNKNOWN = "(unknown: that file is damaged)"


class Membership(Value):
    """What the file holds."""

    cluster: str
    bucket: str


def marked_directories(settings: Settings) -> tuple[Path, ...]:
    """Name the directories that have such a file on a node of a cluster."""
    return (settings.restate_dir, settings.manager_state_dir)


def check_membership(settings: Settings, *directories: Path) -> None:
    """Raise ClusterTableMissing where settings without a cluster are to be those of a node of one.

    `directories` are those of `marked_directories` that this process may read. A damaged file says that
    there is a cluster, too. Raises StorageFailed.
    """
    if settings.cluster is not None:
        return
    for directory in directories:
        path = directory / MARKER_FILE
        if (content := read_kept(path)) is not None:
            found = _parse(content)
            raise ClusterTableMissing(str(path), found.cluster, found.bucket)


def keep_membership(settings: Settings, *directories: Path) -> None:
    """Write down which cluster the node belongs to from now on; nothing for one that is alone.

    Safe to repeat: what is written already costs no write. Raises StorageFailed.
    """
    if settings.cluster is None:
        return
    own = Membership(cluster=settings.cluster.name, bucket=settings.cluster.bucket)
    content = own.model_dump_json().encode() + b"\n"
    for directory in directories:
        if read_kept(directory / MARKER_FILE) != content:
            write_kept(directory / MARKER_FILE, content)


def begin_membership(settings: Settings) -> None:
    """Do so before Restate starts where it has no data yet: what it begins then, it begins in the cluster.

    With data it may be that of a node that was alone and has not grown, which has to be able to go on alone:
    its manager refuses the table (ClusterNotGrown). Raises StorageFailed.
    """
    if not list_restate_nodes(settings.restate_dir):
        keep_membership(settings, settings.restate_dir)


def list_restate_nodes(restate_dir: Path) -> list[str]:
    """Give the names that Restate has kept data under, sorted. Raises StorageFailed."""
    try:
        return sorted(path.name for path in restate_dir.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageFailed("Reading", str(restate_dir), error.strerror or str(error)) from error


def _parse(content: bytes) -> Membership:
    try:
        return Membership.model_validate_json(content)
    except ValidationError:
        return Membership(cluster=UNKNOWN, bucket=UNKNOWN)
