"""The keys on disk. What waits for the cells notes for how long; Restate does not run here."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gridiron.ed25519 import parse_private_key, render_private_key
from gridiron.errors import IdentityGiven, KeyInvalid, StorageFailed
from gridiron.identity.accepted import kid_of
from gridiron.identity.store import (
    ACCEPTED_FILE,
    NEXT_FILE,
    PUBLIC_DIRECTORY,
    SETTLE,
    SIGNING_FILE,
    Identity,
    IdentityStore,
)

SETTLED = [SETTLE.total_seconds()]


class Room:
    """A store in a directory of its own."""

    def __init__(self, directory: Path, given: Path | None = None) -> None:
        self.directory = directory
        self.waited: list[float] = []
        self.store = IdentityStore(directory, given, self.waited.append)
        self.accepted_file = directory / PUBLIC_DIRECTORY / ACCEPTED_FILE

    def accepted(self) -> list[str]:
        return [key.kid for key in self.store.fetch().accepted]

    def kid(self, name: str = SIGNING_FILE) -> str:
        return kid_of(parse_private_key(name, (self.directory / name).read_bytes()).public_key())

    def modes(self) -> dict[str, str]:
        return {path.name: f"{path.stat().st_mode & 0o777:o}" for path in self.directory.rglob("*")}


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "identity")


def write_key(path: Path, mode: int = 0o600) -> str:
    key = Ed25519PrivateKey.generate()
    path.write_bytes(render_private_key(key))
    path.chmod(mode)
    return kid_of(key.public_key())


def test_the_first_start_makes_a_key_and_later_ones_keep_it(room: Room) -> None:
    assert room.store.fetch() == Identity(None, None, ())
    room.store.take_up()
    first = room.store.fetch()
    assert first == Identity(room.kid(), None, first.accepted)
    assert [key.kid for key in first.accepted] == [room.kid()]
    assert room.modes() == {SIGNING_FILE: "600", PUBLIC_DIRECTORY: "755", ACCEPTED_FILE: "644"}
    room.store.take_up()
    assert room.store.fetch() == first  # also since when it is accepted
    assert room.waited == []


def test_a_rotation(room: Room) -> None:
    room.store.take_up()
    old = room.kid()
    new = room.store.prepare_next()
    assert room.waited == SETTLED  # all cells accept it before Restate may take it up
    assert room.modes()[NEXT_FILE] == "600"
    assert room.store.fetch().signing == old
    assert room.store.fetch().following == new
    assert room.accepted() == [old, new]
    assert not room.store.fetch().is_settled_on(new)
    assert room.store.prepare_next() == new  # again: nothing more
    room.store.take_up()
    assert room.waited == SETTLED  # as the cells accept it already
    settled = room.store.fetch()
    assert settled == Identity(new, None, settled.accepted)
    assert room.accepted() == [new]
    assert settled.is_settled_on(new)
    assert set(room.modes()) == {SIGNING_FILE, PUBLIC_DIRECTORY, ACCEPTED_FILE}  # the old key is gone


def test_a_rotation_that_was_broken_off_before_its_key_was_there_begins_anew(room: Room) -> None:
    room.store.take_up()

    def break_off(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        IdentityStore(room.directory, wait=break_off).prepare_next()
    assert len(room.accepted()) == 2
    assert room.store.fetch().following is None
    new = room.store.prepare_next()
    room.store.take_up()
    assert room.accepted() == [new]


def test_two_rotations_at_once_agree_on_a_key(room: Room) -> None:
    room.store.take_up()
    agreed: list[str] = []
    other = IdentityStore(room.directory, wait=lambda _: agreed.append(room.store.prepare_next()))
    assert [other.prepare_next()] == agreed
    room.store.take_up()
    assert room.accepted() == agreed


def test_a_start_that_died_between_its_steps_is_finished_by_the_next(room: Room) -> None:
    room.store.take_up()
    old, new = room.kid(), room.store.prepare_next()
    (room.directory / NEXT_FILE).replace(room.directory / SIGNING_FILE)
    assert room.accepted() == [old, new]
    room.store.take_up()
    assert room.store.fetch().is_settled_on(new)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("{")])
def test_a_lost_or_damaged_set_is_written_anew(room: Room, damage: object) -> None:
    room.store.take_up()
    assert callable(damage)
    damage(room.accepted_file)
    assert room.accepted() == []
    room.store.take_up()
    assert room.accepted() == [room.kid()]


def test_a_lost_key_is_made_anew_and_waits_for_the_cells(room: Room) -> None:
    room.store.take_up()
    old = room.kid()
    (room.directory / SIGNING_FILE).unlink()
    room.store.take_up()
    assert room.kid() != old
    assert room.accepted() == [room.kid()]
    assert room.waited == SETTLED


def test_a_key_that_is_given(tmp_path: Path) -> None:
    given = tmp_path / "given.pem"
    first = write_key(given)
    room = Room(tmp_path / "identity", given)
    assert room.store.signing_key == given
    room.store.take_up()
    assert room.store.fetch().is_settled_on(first)
    assert room.waited == []
    with pytest.raises(IdentityGiven, match=r"given\.pem"):
        room.store.prepare_next()
    second = write_key(given)
    room.store.take_up()
    assert room.store.fetch().is_settled_on(second)
    assert room.waited == SETTLED
    assert set(room.modes()) == {PUBLIC_DIRECTORY, ACCEPTED_FILE}  # none is made


@pytest.mark.parametrize(("mode", "problem"), [(0o604, "0604"), (0o620, "0620"), (0o666, "0666")])
def test_a_key_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int, problem: str) -> None:
    given = tmp_path / "given.pem"
    write_key(given, mode)
    with pytest.raises(KeyInvalid, match=problem):
        IdentityStore(tmp_path / "identity", given).take_up()


def test_a_group_may_read_a_key(tmp_path: Path) -> None:
    given = tmp_path / "given.pem"
    kid = write_key(given, 0o640)
    room = Room(tmp_path / "identity", given)
    room.store.take_up()
    assert room.accepted() == [kid]


def test_what_is_no_key_is_refused_and_replaces_none(room: Room, tmp_path: Path) -> None:
    room.store.take_up()
    kid = room.kid()
    (room.directory / NEXT_FILE).write_text("no key")
    (room.directory / NEXT_FILE).chmod(0o600)
    with pytest.raises(KeyInvalid, match=r"next\.pem"):
        room.store.take_up()
    assert room.kid() == kid
    with pytest.raises(StorageFailed, match=r"missing\.pem"):
        IdentityStore(tmp_path / "other", tmp_path / "missing.pem").take_up()


def test_a_rotation_needs_a_node_that_was_started(room: Room) -> None:
    with pytest.raises(StorageFailed, match=SIGNING_FILE):
        room.store.prepare_next()
