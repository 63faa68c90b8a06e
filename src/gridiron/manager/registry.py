"""state.json: what the manager would rather not ask or compute again.

It is a cache. Restate's record is the truth about routing, the bundle directory about content; a registry
that is missing, damaged or of another format is rebuilt from both (`Registry.reconcile`), and loses only
what stands nowhere else: since when a build is drained, and how long the steps of its activation took.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

import structlog
from pydantic import Field, ValidationError

from gridiron.errors import StorageFailed
from gridiron.lifecycle.observation import Observation, Registration, Unknown
from gridiron.model import Value

log = structlog.get_logger()

FORMAT: Literal[1] = 1


class Record(Value):
    """What is remembered of one build."""

    deployment_id: str
    uri: str  # that Restate calls it at
    services: tuple[str, ...]
    protocol: str | None  # None: not known yet
    activated_at: datetime
    drained_at: datetime | None = None
    timings_ms: dict[str, float] = Field(default_factory=dict)


class Snapshot(Value):
    """The content of state.json."""

    format: Literal[1] = FORMAT
    last_timestamp: int = 0  # of any build that was ever made here
    records: dict[str, Record] = Field(default_factory=dict)  # by build id


class Registry:
    """The snapshot, in memory and in its file, which every change is written to before the method returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._snapshot = _read(path)
        self._reconciled = False

    @property
    def reconciled(self) -> bool:
        """Whether the records were compared with both truths since this process started."""
        return self._reconciled

    @property
    def records(self) -> Mapping[str, Record]:
        """What is remembered, by build id."""
        return self._snapshot.records

    @property
    def drained_at(self) -> dict[str, datetime]:
        """Since when each drained build is drained, by build id."""
        return {build_id: record.drained_at for build_id, record in self.records.items() if record.drained_at}

    def take_timestamp(self, now: datetime) -> int:
        """Give `now` in milliseconds, or one more than any timestamp before: each call gives a larger one.

        It is written with the record of its build; that of a build that never came to be may be given again
        after a restart.
        """
        timestamp = max(int(now.timestamp() * 1000), self._snapshot.last_timestamp + 1)
        self._snapshot = self._snapshot.model_copy(update={"last_timestamp": timestamp})
        return timestamp

    def remember(self, build_id: str, record: Record) -> None:
        """Keep the record of a build that was just registered."""
        self._write_records({**self.records, build_id: record})

    def forget(self, build_id: str) -> None:
        """Drop the record of a build. Safe to repeat."""
        self._write_records({key: record for key, record in self.records.items() if key != build_id})

    def mark_drained(self, drained_at: Mapping[str, datetime]) -> None:
        """Replace since when each build is drained; writes only when something changed."""
        self._write_records(
            {
                build_id: record.model_copy(update={"drained_at": drained_at.get(build_id)})
                for build_id, record in self.records.items()
            }
        )

    def reconcile(self, observation: Observation) -> None:
        """Make the records agree with what was observed: one for each stored build that is registered.

        Writes only when they did not agree.

        Nothing follows from an unknown: a part that could not be read leaves its records alone.
        """
        builds, registrations = observation.builds, observation.registrations
        if isinstance(builds, Unknown) or isinstance(registrations, Unknown):
            return
        present = {build.build_id for build in builds}
        newer = {  # than the look: it could not see them
            key: record
            for key, record in self.records.items()
            if record.activated_at >= observation.observed_at
        }
        seen = {
            str(registration.address): _refresh(self.records.get(str(registration.address)), registration)
            for registration in registrations
            if str(registration.address) in present
        }
        stored = (build.timestamp for build in builds)
        registered = (each.address.timestamp for each in registrations if each.address)
        last_timestamp = max((self._snapshot.last_timestamp, *stored, *registered))
        self._write(Snapshot(last_timestamp=last_timestamp, records={**newer, **seen}))
        self._reconciled = True

    def _write_records(self, records: dict[str, Record]) -> None:
        self._write(self._snapshot.model_copy(update={"records": records}))

    def _write(self, snapshot: Snapshot) -> None:
        if snapshot == self._snapshot:
            return
        replace_file(self._path, snapshot.model_dump_json(indent=1).encode())
        self._snapshot = snapshot


def _refresh(record: Record | None, registration: Registration) -> Record:
    known = {
        "deployment_id": registration.deployment_id,
        "uri": registration.uri,
        "services": registration.services,
        "protocol": registration.protocol,
    }
    if record is None:
        return Record(**known, activated_at=registration.created_at)
    return record.model_copy(update=known)


def _read(path: Path) -> Snapshot:
    """Read the snapshot; an empty one where there is none or it is damaged, which `reconcile` fills."""
    try:
        return Snapshot.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Snapshot()
    except ValidationError as error:
        aside = path.with_suffix(".damaged.json")
        log.warning("registry.damaged", path=str(path), kept_as=str(aside), reason=str(error))
        path.replace(aside)
        return Snapshot()
    except OSError as error:
        raise StorageFailed("Reading", str(path), error.strerror or str(error)) from error


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that whoever reads it finds the old content or the new, whole.

    It is not synced: what a loss of power leaves is found to be damaged, and rebuilt. Raises StorageFailed,
    and leaves the old content.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # the error of the write says more than one of its tidying up
            partial.unlink()
        raise StorageFailed("Writing", str(path), error.strerror or str(error)) from error
