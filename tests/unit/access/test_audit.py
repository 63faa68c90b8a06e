from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gridiron.access import audit
from gridiron.access.audit import AuditLog, Entry
from gridiron.errors import AuditUnavailable

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def make_entry(number: int, **more: Any) -> Entry:
    fields = {
        "id": f"{number:016x}",
        "at": NOW,
        "event": "done",
        "token": "0badcafe",
        "name": "ci",
        "address": "192.0.2.1",
        "method": "POST",
        "route": "/activate",
        "about": {"name": "shop"},
    }
    return Entry(**{**fields, **more})


def write(log: AuditLog, *numbers: int) -> None:
    for number in numbers:
        log.append(make_entry(number), synced=True)


def read(log: AuditLog, limit: int) -> list[list[int]]:
    """The pages, as numbers."""
    pages, place = [], None
    while True:
        entries, place = log.fetch_page(place, limit)
        pages.append([int(entry.id, 16) for entry in entries])
        if place is None:
            return pages


def test_what_is_written_is_read_newest_first(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    assert log.fetch_page(None, 10) == ((), None)
    entry = make_entry(1, event="failed", status=409, code="service_taken", left_out=3)
    log.append(entry, synced=False)
    assert log.fetch_page(None, 10) == ((entry,), None)
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600
    write(log, *range(2, 8))
    assert read(log, 3) == [[7, 6, 5], [4, 3, 2], [1]]
    assert read(AuditLog(tmp_path / "audit.jsonl"), 100) == [[7, 6, 5, 4, 3, 2, 1]]


@pytest.mark.parametrize("block", [1, 7, 300, 1000])
def test_lines_are_found_wherever_blocks_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(audit, "BLOCK", block)
    log = AuditLog(tmp_path / "audit.jsonl")
    write(log, 1, 2, 3, 4, 5)
    assert read(log, 2) == [[5, 4], [3, 2], [1]]


def test_a_page_stays_the_same_while_more_is_written(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    write(log, 1, 2, 3)
    _, place = log.fetch_page(None, 2)
    write(log, 4, 5)
    assert [int(entry.id) for entry in log.fetch_page(place, 2)[0]] == [1]


@pytest.mark.parametrize("torn", [b'{"id": "000', b"\xff\xfe", b"{}", b'{"id": 1}\n\n\n'])
def test_a_torn_line_costs_no_other(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    write(log, 1)
    with path.open("ab") as file:
        file.write(torn)
    assert read(log, 10) == [[1]]
    write(log, 2)
    assert read(log, 10) == [[2, 1]]


def test_a_text_that_is_no_utf_8_is_written_nevertheless(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    log.append(make_entry(1, about={"source": "file:///\ud800"}), synced=True)
    assert log.fetch_page(None, 1)[0][0].about == {"source": "file:///?"}


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    write(log, 1)
    path.rename(tmp_path / "audit.1")
    write(log, 2)
    assert read(log, 10) == [[2]]


def test_a_line_that_is_not_whole_is_not_taken_for_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    write(log, 1)
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, line: whole(descriptor, line[:20]))
    with pytest.raises(AuditUnavailable, match="only 20 of"):
        write(log, 2)
    monkeypatch.undo()
    write(log, 3)
    assert read(log, 10) == [[3, 1]]


def test_what_cannot_be_written_or_read_is_told(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "missing" / "audit.jsonl")
    with pytest.raises(AuditUnavailable, match="No such file"):
        write(log, 1)
    with pytest.raises(AuditUnavailable, match="Is a directory"):
        AuditLog(tmp_path).fetch_page(None, 1)
