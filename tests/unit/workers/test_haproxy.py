from __future__ import annotations

import pytest

from gridiron.errors import ProxyRefused
from gridiron.workers.haproxy import CellStatus, parse_cells, parse_counts, parse_deleted, parse_done
from gridiron.workers.status import BackendCounts, ProxyCounts

# as HAProxy 2.8 answers, with the columns behind the status left out
STAT = """\
# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,
cells,cell-1,0,0,2,2,,5,0,0,,0,,0,0,0,0,UP,
cells,cell-2,1,1,3,3,,5,0,0,,0,,0,0,0,0,UP 0/2,
cells,cell-3,0,0,1,1,,5,0,0,,0,,0,0,0,0,DRAIN,

"""

COUNTS = """\
# pxname,svname,qcur,scur,slim,dreq,ereq,econ,eresp,wretr,wredis,\
hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,req_tot,
workers,FRONTEND,,3,9900,1,2,,,,,0,40,0,5,6,0,51,
cells,BACKEND,7,2,990,0,,1,2,3,4,0,40,0,5,6,0,51,
quarantined,BACKEND,0,0,990,0,,0,0,0,0,0,0,0,0,0,0,0,

"""


def test_cells() -> None:
    assert parse_cells(STAT) == (
        CellStatus("cell-1", "UP", 2),
        CellStatus("cell-2", "UP", 4),
        CellStatus("cell-3", "DRAIN", 1),
    )


def test_no_cells() -> None:
    assert parse_cells(STAT.splitlines()[0] + "\n\n") == ()


@pytest.mark.parametrize("answer", ["", "Can't find backend.\n\n", "cells,cell-1"])
def test_no_answer_is_not_no_cells(answer: str) -> None:
    with pytest.raises(ProxyRefused):
        parse_cells(answer)


def test_counts() -> None:
    assert parse_counts(COUNTS) == ProxyCounts(
        connections=3,
        connections_limit=9900,
        requests=51,
        invalid=2,
        denied=1,
        responses={"1xx": 0, "2xx": 40, "3xx": 0, "4xx": 5, "5xx": 6, "other": 0},
        backends={
            "cells": BackendCounts(queued=7, retries=3, redispatches=4, connect_errors=1, response_errors=2),
            "quarantined": BackendCounts(
                queued=0, retries=0, redispatches=0, connect_errors=0, response_errors=0
            ),
        },
    )


def test_a_command_that_was_done() -> None:
    parse_done("enable server cells/cell-1", "\n")
    parse_done("add server cells/cell-1", "New server registered.\n\n", "New server registered.")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("No such server.\n\n", ""),
        ("\n", "New server registered."),
        ("Already exists a server with the same name in backend.\n\n", "New server registered."),
    ],
)
def test_a_command_that_was_refused(answer: str, expected: str) -> None:
    with pytest.raises(ProxyRefused) as refused:
        parse_done("the command", answer, expected)
    assert (refused.value.command, refused.value.answer) == ("the command", answer.strip())


@pytest.mark.parametrize(
    ("answer", "deleted"),
    [
        ("Server deleted.\n\n", True),
        ("No such server.\n\n", True),
        ("Server still has connections attached to it, cannot remove it.\n\n", False),
    ],
)
def test_a_server_that_is_to_be_deleted(answer: str, *, deleted: bool) -> None:
    assert parse_deleted("del server cells/cell-1", answer) is deleted


def test_a_server_that_cannot_be_deleted() -> None:
    with pytest.raises(ProxyRefused, match="Only servers in maintenance mode can be deleted"):
        parse_deleted("del server cells/cell-1", "Only servers in maintenance mode can be deleted.\n\n")
