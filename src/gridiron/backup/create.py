"""Make a backup of a node."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import gridiron
from gridiron.backup.archive import Manifest, access_of, write_archive
from gridiron.backup.exclusive import check_alone, exclusive
from gridiron.backup.snapshot import Snapshot, take_snapshot
from gridiron.bundles.disk import storing, sync
from gridiron.errors import BackupExists
from gridiron.process.priority import lower_priority
from gridiron.settings import Settings, shared_path
from gridiron.toolchain.packages import RESTATE_SERVER, wanted_versions

NICENESS = 5
"""Packing gets a third of what each thread of the node gets: it is to yield, and to come to its end."""

OnProgress = Callable[[int, int], None]
"""Gets the bytes that are done, and those of all files."""


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that was made."""

    taken_at: datetime  # the moment that it is a picture of
    files: int
    size: int  # bytes of all files
    manager_paused: timedelta
    restate_paused: timedelta
    skipped: tuple[str, ...]  # paths of links, pipes and the like, which no node makes


def make_backup(settings: Settings, path: Path | None, on_progress: OnProgress) -> Made:
    """Make a backup of the node in the data directory, and give it its name when it is whole and on the disk.

    None writes it to standard output. Blocks; a process of the node that runs is stopped for a moment (see
    `gridiron.backup.snapshot`), and this process yields to all others from then on. When it fails, nothing of
    the name is left; when it is killed, it is `{path}.partial`, which the next one overwrites.

    Raises BackupExists, BackupFailed, BackupOfCluster, BackupUnderWay, StorageFailed.
    """
    check_alone(settings)
    with ExitStack() as stack:
        stack.enter_context(exclusive(settings.data_dir))
        file = stack.enter_context(_standard_output() if path is None else _new_file(path))
        snapshot = stack.enter_context(take_snapshot(settings))
        lower_priority(os.getpid(), NICENESS)
        done = 0

        def on_bytes(count: int) -> None:
            nonlocal done
            done += count
            on_progress(done, snapshot.size)

        write_archive(file, plan_manifest(settings, snapshot), snapshot, on_bytes)
        return Made(
            taken_at=snapshot.taken_at,
            files=sum(item.content is not None for item in snapshot.items),
            size=snapshot.size,
            manager_paused=snapshot.manager_paused,
            restate_paused=snapshot.restate_paused,
            skipped=tuple(snapshot.skipped),
        )


def plan_manifest(settings: Settings, snapshot: Snapshot) -> Manifest:
    """Say what a snapshot is one of."""
    return Manifest(
        gridiron=gridiron.__version__,
        restate=restate_version(),
        node_name=settings.node_name,
        workers_port=settings.ports.workers,
        created_at=snapshot.taken_at,
        size=snapshot.size,
        directory=access_of(settings.data_dir.stat()),
    )


def restate_version() -> str:
    """Give the version of Restate that this Gridiron runs, and no other."""
    return wanted_versions(json.loads(shared_path("package.json").read_bytes()))[RESTATE_SERVER.package]


@contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    with storing("Writing", Path("standard output")):
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file that has its name at the end of the block, unless that fails."""
    partial = path.with_name(f"{path.name}.partial")
    _check_missing(path)
    with storing("Writing", path):
        partial.unlink(missing_ok=True)  # of one that was killed
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(descriptor)
            _check_missing(path)
            partial.rename(path)
            sync(path.parent)
        except BaseException:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise


def _check_missing(path: Path) -> None:
    if os.path.lexists(path):
        raise BackupExists(str(path))
