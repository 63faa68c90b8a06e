"""state.json: what the manager would rather not ask or compute again.

It is a cache. Restate's record is the truth about routing, the bundle directory about content and about
what is to be registered; a registry that is missing, damaged or of another format is rebuilt from both
(`Registry.reconcile`), and loses only what stands nowhere else: since when a build drains or is drained, how
long the steps of its activation took, and which bundle directory it is that belongs to this manager.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

import structlog
from pydantic import Field, ValidationError

from gridiron.errors import StorageFailed
from gridiron.lifecycle.observation import Observation, Registration, Unknown
from gridiron.model import Build, Value

log = structlog.get_logger()

FORMAT: Literal[1] = 1


class Record(Value):
    """What is remembered of one build."""

    deployment_id: str
    uri: str  # that Restate calls it at
    services: tuple[str, ...]
    protocol: str | None  # None: not known yet
    activated_at: datetime
    draining_at: datetime | None = None
    drained_at: datetime | None = None
    timings_ms: dict[str, float] = Field(default_factory=dict)


class Snapshot(Value):
    """The content of state.json."""

    format: Literal[1] = FORMAT
    last_timestamp: int = 0  # of any build that was ever made here
    store: str | None = None  # the identity of the bundle directory
    records: dict[str, Record] = Field(default_factory=dict)  # by build id


class Registry:
    """The snapshot, in memory and in its file.

    Every method that changes it writes the file before it returns, and raises StorageFailed where that fails.
    What is in memory is right all the same, and is written with the next change.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._snapshot = self._written = _read(path)
        self._reconciled = False

    @property
    def store(self) -> str | None:
        """The identity of the bundle directory that this manager had the last time; None for the first."""
        return self._snapshot.store

    def bind(self, store: str) -> None:
        """Keep the identity of the bundle directory. Safe to repeat."""
        self._write(self._snapshot.model_copy(update={"store": store}))

    @property
    def reconciled(self) -> bool:
        """Whether the records were compared with both truths since this process started."""
        return self._reconciled

    @property
    def records(self) -> Mapping[str, Record]:
        """What is remembered, by build id."""
        return self._snapshot.records

    @property
    def draining_at(self) -> dict[str, datetime]:
        """Since when each draining build is so, by build id."""
        return {key: record.draining_at for key, record in self.records.items() if record.draining_at}

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

    def track(self, draining_at: Mapping[str, datetime], drained_at: Mapping[str, datetime]) -> None:
        """Replace since when each build drains or is drained; writes only when something changed."""
        self._write_records(
            {
                build_id: record.model_copy(
                    update={
                        "draining_at": draining_at.get(build_id),
                        "drained_at": drained_at.get(build_id),
                    }
                )
                for build_id, record in self.records.items()
            }
        )

    def reconcile(self, observation: Observation) -> None:
        """Make the records agree with what was observed: one for each stored build that is registered.

        Writes only when they did not agree.

        Nothing follows from an unknown: a part that could not be read leaves its records alone.
        """
        inventory, registrations = observation.inventory, observation.registrations
        if isinstance(inventory, Unknown) or isinstance(registrations, Unknown):
            return
        newer = {  # than the look: it may not have seen them
            key: record for key, record in self.records.items() if key not in observation.remembered
        }
        self._reconciled = True
        self._take_over(inventory.builds, registrations, newer)

    def refresh(self, builds: Collection[Build], registrations: Collection[Registration]) -> None:
        """Make the records of some builds agree with all that is registered, as other managers register, too.

        Writes only when they did not agree.
        """
        ids = {build.build_id for build in builds}
        others = {key: record for key, record in self.records.items() if key not in ids}
        self._take_over(builds, registrations, others)

    def _take_over(
        self,
        builds: Collection[Build],
        registrations: Collection[Registration],
        others: Mapping[str, Record],
    ) -> None:
        """Keep a record of each of these builds that is registered, and the `others`."""
        present = {build.build_id for build in builds}
        seen = {
            str(registration.address): _refresh(self.records.get(str(registration.address)), registration)
            for registration in registrations
            if str(registration.address) in present
        }
        stored = (build.timestamp for build in builds)
        registered = (each.address.timestamp for each in registrations if each.address)
        last_timestamp = max((self._snapshot.last_timestamp, *stored, *registered))
        changed = {"last_timestamp": last_timestamp, "records": {**others, **seen}}
        self._write(self._snapshot.model_copy(update=changed))

    def _write_records(self, records: dict[str, Record]) -> None:
        self._write(self._snapshot.model_copy(update={"records": records}))

    def _write(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        if snapshot != self._written:
            replace_file(self._path, snapshot.model_dump_json(indent=1).encode())
            self._written = snapshot


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
