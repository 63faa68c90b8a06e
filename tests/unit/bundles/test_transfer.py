from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import stamina

from gridiron.bundles.limits import Limits, Meter
from gridiron.bundles.transfer import ATTEMPTS, Interrupted, Saved, save, transfer
from gridiron.errors import ManifestInvalid, SourceTooLarge, SourceTooSlow, SourceUnreachable, StorageFailed

LIMITS = Limits(size=100, files=2, time=timedelta(seconds=10))
SOURCE = "https://example.org/a"


@pytest.fixture(autouse=True)
def no_pauses() -> Iterator[None]:
    with stamina.set_testing(True, attempts=ATTEMPTS):
        yield


class Attempts:
    """Fails as often as it is told to."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.failures = failures
        self.error = error or Interrupted("it hung up")
        self.made = 0

    def __call__(self) -> str:
        self.made += 1
        if self.made <= self.failures:
            raise self.error
        return "content"


@pytest.mark.parametrize("failures", range(ATTEMPTS))
def test_an_attempt_is_made_again(failures: int) -> None:
    attempts = Attempts(failures)
    assert transfer(SOURCE, Meter(LIMITS), attempts) == "content"
    assert attempts.made == failures + 1


def test_attempts_come_to_an_end() -> None:
    attempts = Attempts(ATTEMPTS)
    with pytest.raises(SourceUnreachable) as caught:
        transfer(SOURCE, Meter(LIMITS), attempts)
    assert (caught.value.source, caught.value.reason) == (SOURCE, "it hung up")
    assert attempts.made == ATTEMPTS


def test_what_will_not_pass_is_not_tried_again() -> None:
    attempts = Attempts(1, SourceTooLarge(100))
    with pytest.raises(SourceTooLarge):
        transfer(SOURCE, Meter(LIMITS), attempts)
    assert attempts.made == 1


def test_attempts_end_with_the_time() -> None:
    now = [0.0]
    attempts = Attempts(ATTEMPTS)

    def attempt() -> str:
        now[0] += 4.0
        return attempts()

    with pytest.raises(SourceTooSlow):
        transfer(SOURCE, Meter(LIMITS, clock=lambda: now[0]), attempt)
    assert attempts.made == 3  # it is over in the third of 4 s


def test_no_attempt_is_made_when_the_time_is_over() -> None:
    now = [0.0]
    meter, attempts = Meter(LIMITS, clock=lambda: now[0]), Attempts(0)
    now[0] = 10.0
    with pytest.raises(SourceTooSlow):
        transfer(SOURCE, meter, attempts)
    assert attempts.made == 0


def test_what_comes_is_saved(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_text("what an earlier attempt left, which was longer")
    saved = save(iter([b"hel", b"", b"lo"]), target, Meter(LIMITS))
    assert saved == Saved(5, hashlib.sha256(b"hello").hexdigest())
    assert target.read_bytes() == b"hello"


def test_nothing_of_an_attempt_that_failed_is_counted(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield bytes(60)
        raise Interrupted("it hung up")

    meter = Meter(LIMITS)
    meter.begin()
    with pytest.raises(Interrupted):
        save(chunks(), tmp_path / "a", meter)
    assert save([bytes(100)], tmp_path / "a", meter).size == 100


def test_a_limit_of_its_own(tmp_path: Path) -> None:
    assert save([b"1234"], tmp_path / "metadata.json", Meter(LIMITS), limit=4).size == 4
    with pytest.raises(ManifestInvalid, match="more than 4 bytes"):
        save([b"1234", b"5"], tmp_path / "metadata.json", Meter(LIMITS), limit=4)


def test_a_disk_that_takes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed):
        save([b"1234"], tmp_path / "missing" / "a", Meter(LIMITS))
