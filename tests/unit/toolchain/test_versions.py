from __future__ import annotations

import pytest

from gridiron.toolchain.versions import is_haproxy_new_enough, parse_version, printed_version


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("restate-server 1.7.12\n", "1.7.12"),
        ("workerd 2026-11-17\n", "2026-11-17"),
        ("HAProxy version 2.8.25-5cf5d0683 2026/06/26 - https://haproxy.org/\nStatus: …", "2.8.25"),
        ("HAProxy version 3.0-dev5 2026/06/26", "3.0"),
        ("usage: something else\n", None),
        ("", None),
    ],
)
def test_a_version_is_read_from_what_a_program_prints(output: str, version: str | None) -> None:
    assert parse_version(output) == version


@pytest.mark.parametrize(
    ("program", "release", "printed"),
    [
        ("workerd", "1.20261117.1", "2026-11-17"),
        ("restate-server", "1.7.12", "1.7.12"),
    ],
)
def test_workerd_prints_the_day_of_its_release(program: str, release: str, printed: str) -> None:
    assert printed_version(program, release) == printed


@pytest.mark.parametrize(
    ("version", "enough"),
    [("2.6.12", False), ("2.7", False), ("2.8", True), ("2.8.25", True), ("2.10.1", True), ("3.0", True)],
)
def test_haproxy_is_new_enough_from_2_8_on(version: str, enough: bool) -> None:
    assert is_haproxy_new_enough(version) is enough
