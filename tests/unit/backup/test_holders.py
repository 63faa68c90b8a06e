"""Whom a backup takes for the holder of a node's data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gridiron.backup.holders import find_holders
from gridiron.errors import BackupFailed
from gridiron.process.lock import LOCK_FILE, lock_directory
from gridiron.settings import Settings


def test_the_manager_is_who_has_its_lock(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert find_holders(settings) == (None, None)
    with lock_directory(settings.manager_state_dir):
        assert find_holders(settings) == (os.getpid(), None)
    assert find_holders(settings) == (None, None)


@pytest.mark.parametrize("said", [f"{os.getppid()}\n", "999999999\n", "²\n", ""])
def test_a_number_that_is_not_the_holders_is_not_believed(said: str, tmp_path: Path) -> None:
    """As where the manager is in another container: there its number is another process's here."""
    settings = Settings(data_dir=tmp_path)
    with lock_directory(settings.manager_state_dir):
        (settings.manager_state_dir / LOCK_FILE).write_text(said)
        with pytest.raises(BackupFailed, match="run this in the container of the manager"):
            find_holders(settings)
