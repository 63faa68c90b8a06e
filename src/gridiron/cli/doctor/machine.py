"""The machine: disks, memory, open files, the clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gridiron.cli.doctor.finding import Finding, failure, fine, warning
from gridiron.cli.warnings import AHEAD
from gridiron.cli.words import render_age, render_size
from gridiron.errors import SettingsInvalid
from gridiron.model import DEFAULT_COMPATIBILITY_DATE, MAX_MODULES_SIZE
from gridiron.process.disk import fetch_disk
from gridiron.workers.memory import MEBIBYTE, plan_ceiling
from gridiron.workers.render import MAX_DESCRIPTORS, plan_max_connections

COMING_IN = 2
"""Times that a source is on the disk while it comes in: as it came, and unpacked."""

LEAST_FILES, FEW_FILES = 1_000, 100_000
"""Files that a disk has room for: a build has a handful, Restate some hundreds."""

FEW_DESCRIPTORS = 8_192
"""Open files: for some four thousand streams, and an invocation is one while it runs."""

MOST_MEMORY = 0.8
"""Of the machine's, that cells may be allowed together: Restate and HAProxy need the rest."""

APART = timedelta(seconds=3)
"""Between two clocks: Restate tells whole seconds, and some of the way."""


@dataclass(frozen=True, slots=True)
class DiskReading:
    """A disk."""

    path: Path  # what of the node lies on it
    free: int  # bytes
    files_free: int | None  # None: it has no such limit


def read_disk(path: Path) -> DiskReading:
    """Read the disk of a path, or of what it would be made in. Raises OSError."""
    there = path
    while not there.exists():
        there = there.parent
    found = fetch_disk(there)
    return DiskReading(path, found.free, found.files_free)


def check_disk(reading: DiskReading, source_mib: int) -> Finding:
    """Judge the room on a disk, for sources of up to so many MiB."""
    comfortable = COMING_IN * source_mib * MEBIBYTE
    room = f"{reading.path} has {render_size(reading.free)} left"
    if reading.free < MAX_MODULES_SIZE:
        return failure("disk", f"{room}, less than one bundle may need", "Make room on that disk.")
    if reading.files_free is not None and reading.files_free < LEAST_FILES:
        files = f"{reading.path} has room for {reading.files_free} files only"
        return failure("disk", files, "Remove files from that disk, or make it anew with more inodes.")
    if reading.free < comfortable:
        need = f"a source may take {render_size(comfortable)} while it comes in"
        return warning("disk", f"{room}, and {need}", "Make room, or lower GRIDIRON_SOURCE_MIB.")
    if reading.files_free is not None and reading.files_free < FEW_FILES:
        files = f"{reading.path} has room for {reading.files_free} files"
        return warning("disk", files, "Remove files from that disk.")
    return fine("disk", room)


def check_memory(machine: int, cells: int, ceiling_mib: int, cores: int) -> Finding:
    """Judge what the cells may take of the machine's memory, in bytes; 0 cells or MiB: what is planned."""
    count = cells or cores
    ceiling = ceiling_mib * MEBIBYTE or plan_ceiling(machine, count)
    meaning = (
        f"{count} {'cell' if count == 1 else 'cells'} of up to {render_size(ceiling)}, "
        f"and the machine has {render_size(machine)}"
    )
    if count * ceiling > machine * MOST_MEMORY:
        return warning("memory", meaning, "Lower GRIDIRON_CELLS or GRIDIRON_CELL_MEMORY_MIB.")
    return fine("memory", meaning)


def check_descriptors(limit: int) -> Finding:
    """Judge how many files a process may have open, by the hard limit."""
    mend = f"Allow {MAX_DESCRIPTORS}: `ulimit -Hn`, LimitNOFILE of systemd, or --ulimit of a container."
    try:
        streams = plan_max_connections(limit)
    except SettingsInvalid:
        return failure("open files", f"{limit} are allowed, too few for HAProxy", mend)
    meaning = f"{limit} are allowed, so that HAProxy takes {streams} streams at once"
    return fine("open files", meaning) if limit >= FEW_DESCRIPTORS else warning("open files", meaning, mend)


@dataclass(frozen=True, slots=True)
class ClockReading:
    """This machine's clock, and what can be compared with it."""

    now: datetime
    newest_build: datetime | None  # None: there is none
    restate: datetime | None  # Restate's clock at the same time; None: it was not asked


def read_newest_build(bundles_dir: Path) -> datetime | None:
    """Say when the newest build was made, by the names of the directories; None where there is none."""
    try:
        stamps = [entry.name.rpartition("-")[2] for entry in bundles_dir.iterdir() if entry.name[0] != "."]
    except OSError:  # another check says it
        return None
    newest = max((int(stamp) for stamp in stamps if stamp.isascii() and stamp.isdigit()), default=None)
    return None if newest is None else datetime.fromtimestamp(newest / 1000, UTC)


def check_clock(reading: ClockReading) -> Finding:
    """Judge a clock."""
    shown = f"{reading.now:%Y-%m-%d %H:%M:%S} UTC"
    mend = "Set the clock, and keep it by NTP (chrony, systemd-timesyncd)."
    if reading.now.date() < DEFAULT_COMPATIBILITY_DATE:
        return failure("clock", f"{shown} is before this Gridiron was made", mend)
    if reading.newest_build is not None and reading.newest_build - reading.now > AHEAD:
        behind = render_age(reading.newest_build - reading.now)
        return warning("clock", f"{shown} is {behind} behind the newest build", mend)
    if reading.restate is not None and abs(reading.restate - reading.now) > APART:
        apart = render_age(abs(reading.restate - reading.now))
        return warning("clock", f"{shown} and Restate's clock are {apart} apart", mend)
    return fine("clock", shown if reading.restate is None else f"{shown}, as Restate has it")


def fetch_now() -> datetime:
    """Read the clock."""
    return datetime.fromtimestamp(time.time(), UTC)
