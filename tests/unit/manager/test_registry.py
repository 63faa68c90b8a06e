from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gridiron.errors import StorageFailed
from gridiron.lifecycle.observation import Inventory, Observation, Unknown
from gridiron.manager.registry import Record, Registry
from gridiron.model import Address
from tests.values import NOW, STORE, make_build, make_observation, make_registration

MILLIS = int(NOW.timestamp() * 1000)
RECORD = Record(
    deployment_id="dp_1",
    uri=f"http://localhost:9080/demo/1-{int(NOW.timestamp() * 1000)}",
    services=("s",),
    protocol="BidiStream",
    activated_at=NOW,
    drained_at=NOW,
    timings_ms={"stage": 1.5},
)


def observation(builds: object, registrations: object, remembered: str = "demo-1-1") -> Observation:
    inventory = builds if isinstance(builds, Unknown) else Inventory(STORE, builds)  # type: ignore[arg-type]
    return replace(
        make_observation(),
        inventory=inventory,
        registrations=registrations,
        remembered=frozenset({remembered}),
    )


def test_timestamps_increase_strictly_whatever_the_clock_does_and_over_restarts(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    registry = Registry(path)
    taken = [registry.take_timestamp(NOW), registry.take_timestamp(NOW)]
    taken.append(registry.take_timestamp(NOW - timedelta(days=1)))
    registry.remember("demo-1-1", RECORD)
    taken.append(Registry(path).take_timestamp(NOW - timedelta(days=2)))
    assert taken == [MILLIS, MILLIS + 1, MILLIS + 2, MILLIS + 3]


def test_what_is_remembered_is_there_after_a_restart_until_it_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    Registry(path).remember("demo-1-1", RECORD)
    assert Registry(path).records == {"demo-1-1": RECORD}
    assert Registry(path).drained_at == {"demo-1-1": NOW}
    Registry(path).forget("demo-1-1")
    Registry(path).forget("demo-1-1")
    assert Registry(path).records == {}


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b'{"format": 2}', b'{"format": 1, "records": {"a": 1}}', b"\xff"]
)
def test_a_registry_that_is_missing_or_damaged_is_rebuilt_from_both_truths(
    content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "state.json"
    if content is not None:
        path.write_bytes(content)
    registry = Registry(path)
    known = make_build("1", MILLIS)
    registry.reconcile(
        observation(
            (known,),
            (make_registration(known.address, "dp_1", "s"), make_registration(None, "dp_by_hand", "s")),
        )
    )
    rebuilt = {known.build_id: RECORD.model_copy(update={"drained_at": None, "timings_ms": {}})}
    assert registry.records == rebuilt
    assert Registry(path).records == rebuilt
    assert registry.take_timestamp(NOW - timedelta(days=1)) == MILLIS + 1


def test_a_damaged_file_is_kept_aside(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"{")
    Registry(path)
    assert (tmp_path / "state.damaged.json").read_bytes() == b"{"


def test_a_timestamp_of_a_build_that_only_restate_remembers_is_not_given_again(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "state.json")
    gone = Address(name="demo", version="1", timestamp=MILLIS + 50)
    registry.reconcile(observation((), (make_registration(gone, "dp_1", "s"),)))
    assert registry.take_timestamp(NOW) == MILLIS + 51


def test_nothing_is_forgotten_on_an_unknown(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "state.json")
    registry.remember("demo-1-1", RECORD)
    registry.reconcile(observation(Unknown("disk"), ()))
    registry.reconcile(observation((), Unknown("down")))
    assert registry.records == {"demo-1-1": RECORD}
    assert not registry.reconciled
    registry.reconcile(observation((), ()))
    assert (registry.records, registry.reconciled) == ({}, True)


def test_what_was_registered_after_the_look_began_is_not_forgotten_by_it(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "state.json")
    for build_id in ("demo-1-1", "demo-1-2"):
        registry.remember(build_id, RECORD)
    registry.reconcile(observation((), (), remembered="demo-1-1"))
    assert registry.records == {"demo-1-2": RECORD}


def test_a_write_that_fails_leaves_the_old_content_on_disk_and_is_made_up_for(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    registry = Registry(path)
    registry.remember("demo-1-1", RECORD)
    before = path.read_bytes()
    (tmp_path / ".state.json.partial").mkdir()  # what it would write first
    with pytest.raises(StorageFailed) as failure:
        registry.forget("demo-1-1")
    assert (failure.value.code, failure.value.path) == ("storage_failed", str(path))
    assert path.read_bytes() == before
    assert registry.records == {}
    (tmp_path / ".state.json.partial").rmdir()
    registry.track({}, {})
    assert Registry(path).records == {}


def test_the_bundle_directory_is_known_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert Registry(path).store is None
    Registry(path).bind(STORE)
    assert Registry(path).store == STORE
