from __future__ import annotations

import pytest

from gridiron.errors import ProxyRefused
from gridiron.workers.haproxy import CellStatus, parse_cells, parse_deleted, parse_done

# as HAProxy 2.8 answers, with the columns behind the status left out
STAT = """\
# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,
cells,cell-1,0,0,2,2,,5,0,0,,0,,0,0,0,0,UP,
cells,cell-2,1,1,3,3,,5,0,0,,0,,0,0,0,0,UP 0/2,
cells,cell-3,0,0,1,1,,5,0,0,,0,,0,0,0,0,DRAIN,

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
