"""How restatectl is run: programs in its place show what it is given, and that none of them is left."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from gridiron.errors import ClusterRejected, RestateUnavailable
from gridiron.restate import restatectl
from gridiron.restate.restatectl import Restatectl
from tests.harness import alive, wait_until

URL = "http://127.0.0.1:9"  # the discard port: nobody listens


def write_program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


async def pid_in(file: Path) -> int:
    """Wait for a process to have written its id."""
    return int(await asyncio.to_thread(wait_until, partial(read_line, file)))


def read_line(file: Path) -> str:
    text = file.read_text() if file.exists() else ""
    return text if text.endswith("\n") else ""


async def test_a_query_is_asked_of_one_node_and_in_no_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTATECTL_ADDRESS", "http://elsewhere:5122")
    program = write_program(
        tmp_path / "ctl", """printf '[{"given": "%s", "address": "%s"}]' "$*" "$RESTATECTL_ADDRESS" """
    )
    (row,) = await Restatectl(URL + "/", program).query("-- a comment")

    assert row == {
        "given": f"--address={URL} --connect-timeout=2000 sql --json -- -- a comment",
        "address": "",
    }


async def test_one_that_takes_too_long_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restatectl, "READ_LIMIT", timedelta(seconds=1))
    pid = tmp_path / "pid"
    program = write_program(tmp_path / "ctl", f"echo $$ > {pid}; exec sleep 100")

    with pytest.raises(RestateUnavailable, match="no answer to restatectl sql in time"):
        await Restatectl(URL, program).query("select 1")
    assert alive([await pid_in(pid)]) == []


async def test_nothing_is_left_of_one_that_is_cancelled(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    program = write_program(tmp_path / "ctl", f"echo $$ > {pid}; exec sleep 100")
    running = asyncio.create_task(Restatectl(URL, program).query("select 1"))
    number = await pid_in(pid)
    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert alive([number]) == []


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo '[{'", "restatectl's answer is not understood"),
        (
            "echo '[]'; printf 'WARNING (partial results):\\n  N1: gone\\n' >&2",
            "it answered in part: N1: gone",
        ),
        ("echo 'Error: Failed to run query' >&2; echo '  └─ refused' >&2; exit 1", "refused"),
        ("exit 3", "restatectl ended with 3"),
    ],
)
async def test_an_answer_that_is_none(tmp_path: Path, script: str, reason: str) -> None:
    with pytest.raises(RestateUnavailable, match=reason):
        await Restatectl(URL, write_program(tmp_path / "ctl", script)).query("select 1")


async def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RestateUnavailable, match="restatectl cannot be started"):
        await Restatectl(URL, tmp_path / "ctl").query("select 1")


async def test_a_change_that_failed_although_it_ended_well(tmp_path: Path) -> None:
    refused = write_program(tmp_path / "refused", "echo '[ERR]: Failed to provision cluster: no'")
    away = write_program(tmp_path / "away", "echo '[ERR]: Failed to provision cluster: tcp connect error'")

    with pytest.raises(ClusterRejected) as caught:
        await Restatectl(URL, refused).change("provision the cluster", ("provision",))
    assert (caught.value.action, caught.value.reason) == (
        "provision the cluster",
        "Failed to provision cluster: no",
    )
    with pytest.raises(RestateUnavailable, match="tcp connect error"):
        await Restatectl(URL, away).change("provision the cluster", ("provision",))
