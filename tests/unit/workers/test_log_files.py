"""The rings of what builds printed, on a real disk."""

from __future__ import annotations

import errno
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gridiron.errors import StorageFailed
from gridiron.settings import BUNDLES_IDENTITY
from gridiron.workers.log_files import Excerpt, LogFiles, Place, Ring
from gridiron.workers.logs import LogEvent, Wanted

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
BUILD = "demo-1.0.0-1"
ALL = Wanted()
FILE = 1024  # bytes of one, in the logs of these tests


@pytest.fixture
def files(tmp_path: Path) -> LogFiles:
    return LogFiles(tmp_path / "logs", 8 * FILE)


def event(message: str, second: int = 0, **more: object) -> LogEvent:
    fields = {"kind": "log", "level": "info", "build_id": BUILD, "cell": "cell-1", **more}
    return LogEvent.model_validate({"time": NOW + timedelta(seconds=second), "message": message, **fields})


def outcome(second: int, level: str = "info") -> LogEvent:
    return event("", second, kind="outcome", level=level, outcome="ok", duration_ms=1.5)


def messages(excerpt: Excerpt) -> list[str]:
    return [each.message for each in excerpt.events]


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_what_is_written_is_read_in_the_order_of_its_times(files: LogFiles) -> None:
    first, second, third = event("a", 1), outcome(2), event("b", 3, handler="demo/run", invocation_id="inv_1")
    files.append(BUILD, [first, third])
    files.append(BUILD, [second])
    assert files.read(BUILD, ALL, 10).events == (first, second, third)
    assert files.read(BUILD, ALL, 2).events == (second, third)
    assert files.read(BUILD, ALL, 0).events == ()
    assert files.read(BUILD, Wanted(since=third.time), 10).events == (third,)


def test_of_what_never_printed_nothing_is_there(files: LogFiles) -> None:
    excerpt = files.read(BUILD, ALL, 10)
    assert excerpt.events == ()
    files.append(BUILD, [event("a")])
    assert messages(files.read(BUILD, ALL, 10, excerpt.place)) == ["a"]


def test_many_outcomes_displace_no_line_unless_they_are_bad(files: LogFiles, tmp_path: Path) -> None:
    files.append(BUILD, [event("rare"), outcome(1, level="warn"), *(outcome(2) for _ in range(100))])
    rings = [name.split("-")[0] for name in names(tmp_path / "logs" / BUILD)]
    assert rings == ["lines", "outcomes", "outcomes"]
    kept = files.read(BUILD, ALL, 1000).events
    assert (kept[0].message, kept[1].level) == ("rare", "warn")
    assert 2 < len(kept) < 20


def test_a_build_takes_no_more_than_it_may(files: LogFiles, tmp_path: Path) -> None:
    for number in range(200):
        files.append(BUILD, [event(f"{number} {'x' * 300}", number)])
    directory = tmp_path / "logs" / BUILD
    assert len(names(directory)) == 6
    assert all(path.stat().st_size <= FILE for path in directory.iterdir())
    kept = messages(files.read(BUILD, ALL, 1000))
    assert [line.split()[0] for line in kept] == [str(number) for number in range(200 - len(kept), 200)]
    assert len(kept) > 10


def test_a_line_that_is_larger_than_a_file_is_kept_whole(files: LogFiles) -> None:
    lines = ["a" * 3 * FILE, "b" * 3 * FILE]
    files.append(BUILD, [event(line) for line in lines])
    assert messages(files.read(BUILD, ALL, 10)) == lines


def follow(files: LogFiles, place: Place) -> tuple[list[str], Place]:
    excerpt = files.read(BUILD, ALL, 3, place)
    return messages(excerpt), excerpt.place


def test_who_reads_on_gets_each_event_once_and_hears_of_what_he_misses(files: LogFiles) -> None:
    files.append(BUILD, [event("a")])
    place = files.read(BUILD, ALL, 10).place
    assert follow(files, place) == ([], place)
    files.append(BUILD, [event("b"), event("x" * FILE), event("c")])  # over the end of a file
    said, place = follow(files, place)
    assert said == ["b", "x" * FILE, "c"]
    files.append(BUILD, [event(str(number), number) for number in range(5)])
    said, place = follow(files, place)
    assert said == ["2 entries were left out: they came too fast", "2", "3", "4"]
    files.append(BUILD, [event(f"{number} {'x' * FILE}", number) for number in range(20)])
    said, _ = follow(files, place)
    assert said[0].startswith("older entries are gone; ")


def test_who_reads_on_sees_what_came_after_all_was_removed(files: LogFiles, tmp_path: Path) -> None:
    files.append(BUILD, [event(f"{'x' * FILE}") for _ in range(3)])
    place = files.read(BUILD, ALL, 10).place
    assert place[Ring.LINES][0] == 3
    for path in (tmp_path / "logs" / BUILD).iterdir():
        path.unlink()
    files.append(BUILD, [event("anew")])
    assert follow(files, place)[0] == ["older entries are gone", "anew"]


def test_who_reads_on_misses_nothing_unsaid_where_a_quiet_log_was_cut(
    files: LogFiles, tmp_path: Path
) -> None:
    (tmp_path / "bundles").mkdir()
    files.append(BUILD, [event("a" * 300), event("b" * 300)])
    place = files.read(BUILD, ALL, 10).place
    files.tidy(tmp_path / "bundles", 0)
    said, place = follow(files, place)
    assert said == []
    files.append(BUILD, [event("c")])
    said, place = follow(files, place)
    assert said == ["older entries are gone", "c"]
    files.append(BUILD, [event("d")])
    assert follow(files, place)[0] == ["d"]
    assert names(tmp_path / "logs" / BUILD) == ["lines-2.jsonl"]


@pytest.mark.parametrize("line", ["short", "x" * 500])
def test_who_reads_on_gets_another_file_of_the_same_number_whole(
    files: LogFiles, tmp_path: Path, line: str
) -> None:
    files.append(BUILD, [event("a" * 100)])
    place = files.read(BUILD, ALL, 10).place
    (tmp_path / "logs" / BUILD / "lines-1.jsonl").unlink()  # by somebody else
    files.append(BUILD, [event(line)])
    assert follow(files, place)[0] == ["older entries are gone", line]


def test_who_wants_only_some_hears_still_that_others_are_gone(files: LogFiles, tmp_path: Path) -> None:
    (tmp_path / "bundles").mkdir()
    files.append(BUILD, [event("a")])
    place = files.read(BUILD, ALL, 10).place
    files.tidy(tmp_path / "bundles", 0)
    files.append(BUILD, [event("b")])
    assert messages(files.read(BUILD, Wanted("error"), 10, place)) == ["older entries are gone"]


def test_a_line_that_is_torn_or_damaged_costs_itself_only(files: LogFiles, tmp_path: Path) -> None:
    files.append(BUILD, [event("a")])
    path = tmp_path / "logs" / BUILD / "lines-1.jsonl"
    with path.open("ab") as file:
        file.write(b'{"time": "2026')
    assert messages(files.read(BUILD, ALL, 10)) == ["a"]  # it may just be being written
    files.append(BUILD, [event("b")])
    assert messages(files.read(BUILD, ALL, 10)) == ["1 entry was left out: damaged", "a", "b"]


def test_the_disk_that_does_not_take_it_is_named(files: LogFiles, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("")
    with pytest.raises(StorageFailed, match="Writing"):
        files.append(BUILD, [event("a")])


def test_only_the_node_reads_what_was_printed(files: LogFiles, tmp_path: Path) -> None:
    files.append(BUILD, [event("a")])
    path = tmp_path / "logs" / BUILD / "lines-1.jsonl"
    assert (path.stat().st_mode & 0o007, path.parent.stat().st_mode & 0o007) == (0, 0)


def test_the_log_of_a_build_goes_with_its_files(files: LogFiles, tmp_path: Path) -> None:
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    for build_id in (BUILD, "gone-1.0.0-2"):
        files.append(build_id, [event("a")])
    (bundles / BUILD).mkdir()
    assert files.tidy(bundles, 10**9) == ()  # its disk may not be mounted
    (bundles / BUNDLES_IDENTITY).touch()
    assert files.tidy(bundles, 10**9) == ("gone-1.0.0-2",)
    assert names(tmp_path / "logs") == [BUILD]
    with pytest.raises(StorageFailed, match="Tidying"):
        files.tidy(tmp_path / "elsewhere", 10**9)
    assert names(tmp_path / "logs") == [BUILD]


def test_a_log_that_cannot_be_removed_keeps_no_other_from_going(
    files: LogFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundles, logs = tmp_path / "bundles", tmp_path / "logs"
    (bundles / BUILD).mkdir(parents=True)
    (bundles / BUNDLES_IDENTITY).touch()
    for build_id in (BUILD, "gone-1.0.0-2", "gone-1.0.0-3"):
        files.append(build_id, [event("x" * 600) for _ in range(2)])
    remove = shutil.rmtree

    def refuse(path: Path) -> None:  # as a disk does that root, too, cannot write to
        if path.name == "gone-1.0.0-2":
            raise PermissionError(errno.EPERM, "not permitted", str(path))
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(StorageFailed, match=r"gone-1\.0\.0-2 failed: not permitted"):
        files.tidy(bundles, 0)
    assert names(logs) == [BUILD, "gone-1.0.0-2"]
    assert files.read(BUILD, ALL, 10).events == ()  # cut all the same


def test_where_builds_cannot_be_listed_too_much_goes_still(files: LogFiles, tmp_path: Path) -> None:
    files.append(BUILD, [event("x" * 600) for _ in range(2)])
    with pytest.raises(StorageFailed, match="Tidying"):
        files.tidy(tmp_path / "elsewhere", 0)
    assert "lines-1.jsonl" not in names(tmp_path / "logs" / BUILD)


def test_a_file_that_goes_meanwhile_needs_not_be_removed(files: LogFiles, tmp_path: Path) -> None:
    (tmp_path / "bundles").mkdir()
    files.append(BUILD, [event("x" * 600) for _ in range(2)])
    (tmp_path / "logs" / BUILD / "lines-0.jsonl").symlink_to("nowhere")  # listed, and then not found
    assert files.tidy(tmp_path / "bundles", 10**9) == ()


def test_of_too_much_the_files_go_that_were_written_longest_ago(files: LogFiles, tmp_path: Path) -> None:
    bundles = tmp_path / "bundles"
    for build_id in ("old", "new"):
        (bundles / build_id).mkdir(parents=True)
        files.append(build_id, [event("x" * 600) for _ in range(2)])
    for number, path in enumerate(sorted((tmp_path / "logs").glob("old/*"))):
        os.utime(path, (number, number))
    size = sum(path.stat().st_size for path in (tmp_path / "logs").glob("*/*"))
    files.tidy(bundles, size - 1)
    assert [names(tmp_path / "logs" / build) for build in ("old", "new")] == [
        ["lines-2.jsonl"],
        ["lines-1.jsonl", "lines-2.jsonl"],
    ]
