"""What the doctor makes of what it reads."""

from __future__ import annotations

import errno
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gridiron.cli.doctor.examine import check_program
from gridiron.cli.doctor.finding import Finding, State
from gridiron.cli.doctor.machine import (
    ClockReading,
    DiskReading,
    check_clock,
    check_descriptors,
    check_disk,
    check_memory,
)
from gridiron.cli.doctor.places import Place, PlaceReading, check_place, check_shared_place
from gridiron.cli.doctor.ports import PortReading, check_port, parse_listeners, parse_lock_holder
from gridiron.cli.doctor.reach import Answer, check_component, check_ready, check_store
from gridiron.cli.doctor_verb import render_findings, summarize
from gridiron.cli.table import Table
from gridiron.cli.versions import ProgramVersion
from gridiron.workers.memory import MEBIBYTE

OK, WARNING, FAILURE = State.OK, State.WARNING, State.FAILURE
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PATH = Path("/data")


def judged(finding: Finding) -> tuple[State, str]:
    """How grave it is and what it means; whatever is not in order says how to mend it."""
    assert bool(finding.mend) is (finding.state is not OK)
    return finding.state, finding.meaning


@pytest.mark.parametrize(
    ("free_mib", "files", "expected"),
    [
        (10_000, None, (OK, "/data has 10.5 GB left")),
        (511, None, (WARNING, "/data has 536 MB left, and a source may take 537 MB while it comes in")),
        (63, 10, (FAILURE, "/data has 66.1 MB left, less than one bundle may need")),
        (10_000, 99_999, (WARNING, "/data has room for 99999 files")),
        (10_000, 999, (FAILURE, "/data has room for 999 files only")),
    ],
)
def test_disk(free_mib: int, files: int | None, expected: tuple[State, str]) -> None:
    assert judged(check_disk(DiskReading(PATH, free_mib * MEBIBYTE, files), source_mib=256)) == expected


@pytest.mark.parametrize(
    ("machine_mib", "cells", "ceiling_mib", "expected"),
    [
        (8192, 0, 0, (OK, "2 cells of up to 2.1 GB, and the machine has 8.6 GB")),
        (8192, 1, 6000, (OK, "1 cell of up to 6.3 GB, and the machine has 8.6 GB")),
        (8192, 2, 4000, (WARNING, "2 cells of up to 4.2 GB, and the machine has 8.6 GB")),
        (512, 0, 0, (WARNING, "2 cells of up to 268 MB, and the machine has 537 MB")),
    ],
)
def test_memory(machine_mib: int, cells: int, ceiling_mib: int, expected: tuple[State, str]) -> None:
    assert judged(check_memory(machine_mib * MEBIBYTE, cells, ceiling_mib, cores=2)) == expected


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (65_536, (OK, "65536 are allowed, so that HAProxy takes 32668 streams at once")),
        (1024, (WARNING, "1024 are allowed, so that HAProxy takes 412 streams at once")),
        (200, (FAILURE, "200 are allowed, too few for HAProxy")),
    ],
)
def test_open_files(limit: int, expected: tuple[State, str]) -> None:
    assert judged(check_descriptors(limit)) == expected


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        (ClockReading(NOW, None, None), (OK, "2026-11-01 12:00:00 UTC")),
        (ClockReading(NOW, NOW, NOW), (OK, "2026-11-01 12:00:00 UTC, as Restate has it")),
        (
            ClockReading(NOW, NOW + 2 * HOUR, NOW),
            (WARNING, "2026-11-01 12:00:00 UTC is 2h behind the newest build"),
        ),
        (
            ClockReading(NOW, NOW, NOW - HOUR),
            (WARNING, "2026-11-01 12:00:00 UTC and Restate's clock are 1h apart"),
        ),
        (
            ClockReading(datetime(1970, 1, 1, tzinfo=UTC), NOW, NOW),
            (FAILURE, "1970-01-01 00:00:00 UTC is before this Gridiron was made"),
        ),
    ],
)
def test_clock(reading: ClockReading, expected: tuple[State, str]) -> None:
    assert judged(check_clock(reading)) == expected


KEY = Place("key", PATH, 0o027, is_file=True)
SOCKETS = Place("sockets", PATH, 0o077, is_own=True)
DATA = Place("data directory", PATH)


@pytest.mark.parametrize(
    ("place", "reading", "expected"),
    [
        (DATA, PlaceReading(exists=True, usable=True, owner=0, mode=0o755), (OK, "/data is root's (0755)")),
        (
            DATA,
            PlaceReading(exists=False, usable=True, owner=0, mode=0o755),
            (OK, "/data is made when a node starts"),
        ),
        (
            DATA,
            PlaceReading(exists=False, usable=False, owner=1, mode=0o755),
            (FAILURE, "/data cannot be made by root"),
        ),
        (
            DATA,
            PlaceReading(exists=True, usable=False, owner=0, mode=0o755),
            (FAILURE, "/data cannot be written to by root"),
        ),
        (
            DATA,
            PlaceReading(exists=True, usable=True, owner=54321, mode=0o755),
            (WARNING, "/data belongs to user 54321, and this is root"),
        ),
        (
            DATA,
            PlaceReading(exists=True, usable=True, owner=0, mode=0o777),
            (FAILURE, "/data is open to others (0777)"),
        ),
        (
            KEY,
            PlaceReading(exists=True, usable=False, owner=1, mode=0o600),
            (FAILURE, "/data cannot be read by root"),
        ),
        (KEY, PlaceReading(exists=True, usable=True, owner=0, mode=0o640), (OK, "/data is root's (0640)")),
        (
            KEY,
            PlaceReading(exists=True, usable=True, owner=0, mode=0o644),
            (FAILURE, "/data is open to others (0644)"),
        ),
        (
            SOCKETS,
            PlaceReading(exists=True, usable=True, owner=54321, mode=0o700),
            (FAILURE, "/data belongs to user 54321, and root is to use it alone"),
        ),
    ],
)
def test_places(place: Place, reading: PlaceReading, expected: tuple[State, str]) -> None:
    assert judged(check_place(place, reading, user=0)) == expected


@pytest.mark.parametrize(
    ("place", "mode", "state"),
    [(SOCKETS, 0o2750, OK), (SOCKETS, 0o2755, FAILURE), (KEY, 0o644, FAILURE), (DATA, 0o711, OK)],
)
def test_places_of_roles_that_are_users_of_their_own(place: Place, mode: int, state: State) -> None:
    reading = PlaceReading(exists=True, usable=True, owner=54321, mode=mode)
    assert judged(check_shared_place(place, reading))[0] is state


def test_what_is_open_is_closed_by_the_command_that_is_named() -> None:
    open_key = PlaceReading(exists=True, usable=True, owner=0, mode=0o644)
    assert check_place(KEY, open_key, user=0).mend == "Close it: `chmod 640 /data`."


@pytest.mark.parametrize(
    ("error", "holder", "expected"),
    [
        (None, None, (OK, "admin at 127.0.0.1: free")),
        (errno.EADDRINUSE, 7, (OK, "admin at 127.0.0.1: this node listens there")),
        (
            errno.EADDRINUSE,
            8,
            (FAILURE, "admin at 127.0.0.1: process 8, none of this node, listens there"),
        ),
        (errno.EADDRINUSE, None, (FAILURE, "admin at 127.0.0.1: another program listens there")),
        (
            errno.EADDRNOTAVAIL,
            None,
            (FAILURE, "admin at 127.0.0.1: that is no address of this machine"),
        ),
        (errno.EACCES, None, (FAILURE, "admin at 127.0.0.1: permission denied")),
    ],
)
def test_ports(error: int | None, holder: int | None, expected: tuple[State, str]) -> None:
    reading = PortReading("admin", "127.0.0.1", 9070, error, holder)
    assert judged(check_port(reading, node=(6, 7))) == expected


def test_what_linux_says_of_ports_and_locks_is_read() -> None:
    table = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:236E 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100
   1: 0100007F:236E 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100
   2: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100
"""
    assert parse_listeners(table, 9070) == {"socket:[4711]"}
    locks = """\
1: POSIX  ADVISORY  WRITE 10 fe:00:99 0 EOF
2: FLOCK  ADVISORY  WRITE 11 fe:00:99 0 EOF
2: -> FLOCK  ADVISORY  WRITE 12 fe:00:99 0 EOF
"""
    assert (parse_lock_holder(locks, 99), parse_lock_holder(locks, 9)) == (11, None)


URL = "http://localhost:9070"


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (check_component("x", Answer(URL, 200), "X_URL"), (OK, f"{URL} answers")),
        (check_component("x", Answer(URL, 404), "X_URL"), (FAILURE, f"{URL} answers HTTP 404")),
        (
            check_component("x", Answer(URL, None, "no answer in time"), "X_URL"),
            (FAILURE, f"{URL} does not answer (no answer in time)"),
        ),
        (
            check_ready(Answer(URL, 503, reason="cells: 0 of 2 serve")),
            (FAILURE, "the node is not ready: cells: 0 of 2 serve"),
        ),
        (check_ready(Answer(URL, 503)), (FAILURE, f"{URL} answers HTTP 503")),
        (check_store(Answer(URL, 403)), (OK, f"{URL} answers")),
        (check_store(Answer(URL, 503)), (WARNING, f"{URL} answers HTTP 503")),
        (check_store(Answer(URL, None, "refused")), (FAILURE, f"{URL} does not answer (refused)")),
        (
            check_store(Answer(URL, None, "unknown authority", distrusted=True)),
            (WARNING, f"{URL} has a certificate that is not trusted here"),
        ),
    ],
)
def test_what_answers(finding: Finding, expected: tuple[State, str]) -> None:
    assert judged(finding) == expected


def test_programs() -> None:
    missing = ProgramVersion(None, None, "It is missing (looked in x). Install it.")
    assert check_program("workerd", missing) == Finding(
        "workerd", FAILURE, "It is missing (looked in x)", "Install it."
    )
    assert check_program("esbuild", missing).state is WARNING
    assert judged(check_program("workerd", ProgramVersion("1.2", "/w", None))) == (OK, "1.2 at /w")


def test_the_report_says_what_mends_a_thing_below_it() -> None:
    findings = (Finding("disk", OK, "room"), Finding("clock", WARNING, "behind", "Set it."))
    assert render_findings(findings) == Table(
        (("ok", "disk", "room"), ("warning", "clock", "behind\nSet it."))
    )
    assert summarize(findings) == "0 failures, 1 warning."
    assert summarize(findings[:1]) == "All is in order."
