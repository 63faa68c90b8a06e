"""What builds printed, on disk: for each a bounded ring of files, which one process writes and others read.

    {directory}/{build_id}/lines-{n}.jsonl       what was printed and thrown, and outcomes that are not good
    {directory}/{build_id}/outcomes-{n}.jsonl    the others, so that those of a busy build displace nothing

Each line is a LogEvent without what is None. Where a file is full, the next number begins, and the oldest
goes. No number is used twice, whatever is removed: somebody may have read up to there.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pydantic import ValidationError

from gridiron.errors import StorageFailed
from gridiron.settings import BUNDLES_IDENTITY, Settings
from gridiron.workers.logs import LogEvent, Source, Wanted, count_entries, make_gap
from gridiron.workers.memory import MEBIBYTE

DIRECTORY_MODE, FILE_MODE = 0o750, 0o640
"""What is printed is nobody's concern but the node's: the manager may be another user of its group."""


class Ring(StrEnum):
    """The rings of a build."""

    LINES = "lines"
    OUTCOMES = "outcomes"


KEPT: Mapping[Ring, int] = {Ring.LINES: 6, Ring.OUTCOMES: 2}
"""How many files of each ring there are at most; together they may take what a build may."""

_NAME = re.compile(r"(?P<ring>lines|outcomes)-(?P<number>[0-9]+)\.jsonl")

Place = Mapping[Ring, tuple[int, int]]
"""How far somebody has read: the file's number in each ring, and the bytes of it."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some events, in the order of their times, and up to where that is."""

    events: tuple[LogEvent, ...]
    place: Place


class LogFiles:
    """The logs of all builds in a directory. Every method blocks for as long as the disk needs.

    One process writes, with `append` and `tidy`; any may read. All raise StorageFailed where the disk does
    not do as it is asked.
    """

    def __init__(self, directory: Path, build_limit: int) -> None:
        """`build_limit` is how many bytes a build may take, give or take a line."""
        self._directory = directory
        self._file_limit = build_limit // sum(KEPT.values())
        self._changing = threading.Lock()  # no file is removed while lines are added to it

    def append(self, build_id: str, events: Iterable[LogEvent]) -> None:
        """Write events of a build behind those that are there; all of them or, where that fails, some."""
        lines: dict[Ring, list[bytes]] = {}
        for event in events:
            lines.setdefault(_ring_of(event), []).append(event.model_dump_json(exclude_none=True).encode())
        directory = self._directory / build_id
        with _storing("Writing", directory), self._changing:
            for ring, each in lines.items():
                directory.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
                self._append(directory, ring, each)

    def _append(self, directory: Path, ring: Ring, lines: list[bytes]) -> None:
        while lines:
            numbers = _list_files(directory)[ring] or [1]
            number = numbers[-1]
            written = _write(_path(directory, ring, number), lines, self._file_limit)
            lines = lines[written:]
            if lines:
                _write(_path(directory, ring, number + 1), [], self._file_limit)
                for old in numbers[: -(KEPT[ring] - 1)]:
                    _path(directory, ring, old).unlink(missing_ok=True)

    def read(self, build_id: str, wanted: Wanted, limit: int, place: Place | None = None) -> Excerpt:
        """Give the newest `limit` events that are wanted, of those behind a place or of all.

        An event says so where others behind the place are left out, are gone, or cannot be read.
        """
        directory = self._directory / build_id
        events: list[LogEvent] = []
        ends: dict[Ring, tuple[int, int]] = {}
        with _storing("Reading", directory):
            for ring, numbers in _list_files(directory).items():
                stretch = _read_on(directory, ring, numbers, (place or {}).get(ring))
                events += _parse(build_id, stretch, wanted, limit)
                ends[ring] = stretch.end
        ordered = sorted(events, key=lambda event: event.time)
        return Excerpt(tuple(ordered if place else ordered[max(0, len(ordered) - limit) :]), ends)

    def tidy(self, bundles_dir: Path, limit: int) -> tuple[str, ...]:
        """Remove the logs of builds that are gone, and beyond `limit` bytes the files written longest ago.

        Gives the builds that were gone. Nothing goes for that reason where it cannot be told which are there:
        where the bundle directory has no identity, its disk may not be mounted. What fails keeps nothing else
        from being done.
        """
        errors: list[OSError] = []
        with _storing("Tidying", self._directory):
            logs = _list_directories(self._directory)  # first: a build is there before its log
            kept = _list_kept(bundles_dir, logs, errors)
            gone = [each for each in logs if each not in kept]
            for build_id in gone:
                with _trying(errors):
                    shutil.rmtree(self._directory / build_id)
            self._cut([self._directory / build_id for build_id in logs], limit, errors)
            if errors:
                raise errors[0]
        return tuple(gone)

    def _cut(self, directories: Iterable[Path], limit: int, errors: list[OSError]) -> None:
        found: list[tuple[os.stat_result, Path]] = []
        for directory in directories:
            with _trying(errors):
                for path in directory.iterdir():
                    with _trying(errors):  # a file may go meanwhile, as its ring goes on
                        found.append((path.stat(), path))
        excess = sum(stat.st_size for stat, _ in found) - limit
        filled = [(stat, path) for stat, path in found if stat.st_size > 0]
        for stat, path in sorted(filled, key=lambda each: each[0].st_mtime_ns):
            if excess <= 0:
                return
            with _trying(errors):
                self._remove(path)
                excess -= stat.st_size

    def _remove(self, path: Path) -> None:
        """Remove a file; in place of a ring's newest comes an empty next one, so that the numbers go on."""
        with self._changing:
            match = _NAME.fullmatch(path.name)
            if match is not None:
                ring, number = Ring(match["ring"]), int(match["number"])
                if _list_files(path.parent)[ring][-1:] == [number]:
                    _write(_path(path.parent, ring, number + 1), [], self._file_limit)
            path.unlink()


def open_logs(settings: Settings) -> LogFiles | None:
    """Give the logs of a node; None where it keeps none."""
    if settings.logs_mib == 0:
        return None
    return LogFiles(settings.logs_dir, settings.logs_build_mib * MEBIBYTE)


def _ring_of(event: LogEvent) -> Ring:
    return Ring.OUTCOMES if event.kind == "outcome" and event.level == "info" else Ring.LINES


def _path(directory: Path, ring: Ring, number: int) -> Path:
    return directory / f"{ring}-{number}.jsonl"


def _list_files(directory: Path) -> dict[Ring, list[int]]:
    """List the numbers of the files of each ring, in order."""
    try:
        names = os.listdir(directory)  # noqa: PTH208 - names are all
    except FileNotFoundError:
        names = []
    matches = [match for name in names if (match := _NAME.fullmatch(name))]
    return {ring: sorted(int(match["number"]) for match in matches if match["ring"] == ring) for ring in Ring}


def _list_directories(directory: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _list_kept(bundles_dir: Path, logs: Sequence[str], errors: list[OSError]) -> AbstractSet[str]:
    """List the builds whose logs stay: those that are there, or all where that cannot be told."""
    try:
        there = set(os.listdir(bundles_dir))  # noqa: PTH208 - names are all
    except OSError as error:
        errors.append(error)
        return set(logs)
    return there if BUNDLES_IDENTITY in there else set(logs)


def _write(path: Path, lines: Sequence[bytes], limit: int) -> int:
    """Write as many lines as a file has room for, one where it is empty; give how many. Makes the file."""
    with os.fdopen(
        os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, FILE_MODE), "r+b", buffering=0
    ) as file:
        size = os.fstat(file.fileno()).st_size
        torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"  # by a crash of the machine
        text, count = bytearray(b"\n" if torn else b""), 0
        for line in lines:
            if size + len(text) + len(line) >= limit and size + len(text):
                break
            text += line + b"\n"
            count += 1
        try:
            while text:
                del text[: file.write(text)]
        except OSError:
            os.ftruncate(file.fileno(), size)
            raise
        return count


@dataclass(slots=True)
class _Stretch:
    """Lines of a ring behind a place."""

    end: tuple[int, int]  # as in Place
    followed: bool  # somebody has read up to there, and is to miss nothing unsaid
    gap: bool = False  # some are gone
    lines: list[bytes] = field(default_factory=list)


def _read_on(directory: Path, ring: Ring, numbers: Sequence[int], at: tuple[int, int] | None) -> _Stretch:
    """Read the whole lines of a ring behind a place; None is the beginning."""
    number, offset = at or (0, 0)
    stretch = _Stretch((number, offset), followed=at is not None)
    stretch.gap = bool(number and numbers) and number not in numbers
    if numbers and number > numbers[-1]:  # all were removed, and it began anew
        number, offset = 0, 0
    for each in numbers:
        if each < number:
            continue
        start = offset if each == number else 0
        try:
            with _path(directory, ring, each).open("rb") as file:
                if (
                    start and os.pread(file.fileno(), 1, start - 1) != b"\n"
                ):  # no line ends there: it is another
                    start, stretch.gap = 0, True
                file.seek(start)
                text = file.read()
        except FileNotFoundError:  # it went meanwhile
            stretch.gap = True
            continue
        whole = text[: text.rfind(b"\n") + 1]
        stretch.lines += whole.splitlines()
        if whole or not stretch.gap:  # else what is missing is told with the line that comes next
            stretch.end = (each, start + len(whole))
    return stretch


def _parse(build_id: str, stretch: _Stretch, wanted: Wanted, limit: int) -> list[LogEvent]:
    """Read lines, the newest first, until there are enough that are wanted; give them in their own order."""
    events: list[LogEvent] = []
    damaged = 0
    oldest: LogEvent | None = None  # of those that were looked at
    while stretch.lines and len(events) < limit:
        line = stretch.lines.pop()
        try:
            event = LogEvent.model_validate_json(line)
        except ValidationError:
            damaged += bool(line)
            continue
        oldest = event
        if wanted.takes(event):
            events.append(event)
    events.reverse()
    left = len(stretch.lines)
    missing = (
        (stretch.gap, "older entries are gone"),
        (stretch.followed and left, f"{count_entries(left)} left out: they came too fast"),
        (damaged, f"{count_entries(damaged)} left out: damaged"),
    )
    said = [what for is_so, what in missing if is_so]
    first = events[0] if events else oldest if stretch.followed else None
    if first is None or not said:
        return events
    return [make_gap(Source(build_id, first.cell), first.time, "; ".join(said)), *events]


@contextmanager
def _trying(errors: list[OSError]) -> Iterator[None]:
    """Take a step, and go on whatever comes of it. What is not there any more needs none."""
    try:
        yield
    except FileNotFoundError:
        pass
    except OSError as error:
        errors.append(error)


@contextmanager
def _storing(action: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        named = error.filename if isinstance(error.filename, str) else str(path)
        raise StorageFailed(action, named, error.strerror or str(error)) from error
