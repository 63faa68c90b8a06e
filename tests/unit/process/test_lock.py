from __future__ import annotations

from pathlib import Path

import pytest

from gridiron.errors import DirectoryInUse
from gridiron.process.lock import lock_directory


def test_a_directory_that_it_makes_is_for_its_user_alone(tmp_path: Path) -> None:
    with lock_directory(tmp_path / "deep" / "data"):
        assert (tmp_path / "deep" / "data").stat().st_mode & 0o777 == 0o700


def test_one_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    with lock_directory(tmp_path), pytest.raises(DirectoryInUse), lock_directory(tmp_path):
        pass
    assert tmp_path.stat().st_mode & 0o777 == 0o750
