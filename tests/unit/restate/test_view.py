from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pydantic import ValidationError

from gridiron.restate.view import Member, Partition, View, find_doubt, name_incarnation, parse_view

# as restatectl 1.7.12 prints them for cluster.sql: in no order, and without what is null
ROWS = json.loads("""[
{"kind":"node","id":"N10","generation":"N10:1","name":"n10","address":"http://10.99.0.3:5122/","state":"dead",
 "worker_state":"draining","storage_state":"read-only"},
{"kind":"node","id":"N2","generation":"N2:4","name":"n2","address":"http://10.99.0.2:5122/","state":"alive",
 "worker_state":"active","storage_state":"read-write","metadata_server_state":"member"},
{"kind":"partition","id":"1","replicas":""},
{"kind":"partition","id":"0","generation":"N2:4","epoch":"e6","mode":"Leader","replay":"active","replicas":"N10,N2",
 "applied_lsn":7,"archived_lsn":6},
{"kind":"partition","id":"2","generation":"N2:4","epoch":"e7","mode":"Leader","replay":"catching-up","replicas":"N2",
 "applied_lsn":3},
{"kind":"partition","id":"3","generation":"N10:1","epoch":"e2","replicas":"N10,N2"}
]""")


def test_a_view_is_read() -> None:
    assert parse_view(ROWS) == View(
        members=(
            Member("N2", "N2:4", "n2", "http://10.99.0.2:5122", True, "active", "read-write", True),
            Member("N10", "N10:1", "n10", "http://10.99.0.3:5122", False, "draining", "read-only", False),
        ),
        partitions=(
            Partition(0, "N2:4", "e6", True, ("N10", "N2"), 7, 6),
            Partition(1, None, None, False, (), None, None),
            Partition(2, "N2:4", "e7", False, ("N2",), 3, None),
            Partition(3, "N10:1", "e2", False, ("N10", "N2"), None, None),
        ),
    )


@pytest.mark.parametrize("row", [{"kind": "node", "id": "N2"}, {"kind": "log", "id": "0"}, {}])
def test_a_row_of_another_form_is_not_understood(row: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        parse_view([row])


def member(number: int, *, alive: bool = True, generation: int = 1, keeps_metadata: bool = True) -> Member:
    name = f"N{number}"
    url = f"http://10.0.0.{number}:5122"
    return Member(
        name, f"{name}:{generation}", f"n{number}", url, alive, "active", "read-write", keeps_metadata
    )


def led(*leaders: str, active: bool = True) -> tuple[Partition, ...]:
    """Partitions that these lead, each in epoch 3."""
    return tuple(
        Partition(number, leader, "e3", active, ("N1", "N2"), 5, None)
        for number, leader in enumerate(leaders)
    )


ALL = View((member(1), member(2), member(3)), led("N1:1", "N2:1"))
WITHOUT_3 = View((member(1), member(2), member(3, alive=False)), led("N1:1", "N2:1"))
ALONE = View((member(1), member(2, alive=False), member(3, alive=False)), led("N1:1", "N1:1"))


@pytest.mark.parametrize(
    "views",
    [
        {"N1": ALL, "N2": ALL, "N3": ALL},
        {"N1": WITHOUT_3, "N2": WITHOUT_3},
        {"N1": View((member(1),), led("N1:1"))},
        # what keeps no metadata does not count
        {"N1": View((member(1), member(2, alive=False, keeps_metadata=False)), led("N1:1"))},
        # one of them has not heard yet that the leaders are whole
        {"N1": ALL, "N2": replace(ALL, partitions=led("N1:1", "N2:1", active=False)), "N3": ALL},
    ],
)
def test_views_that_agree_are_believed(views: dict[str, View]) -> None:
    assert find_doubt(views) is None


CUT_OFF = "this node is cut off from the others, or most of them are down"
CHANGING = "its nodes see different leaders: they are changing"


@pytest.mark.parametrize(
    ("views", "doubt"),
    [
        ({"N1": ALONE}, CUT_OFF),
        ({"N1": View((member(1), member(2, alive=False)), led("N1:1"))}, CUT_OFF),
        ({"N1": ALL, "N2": ALL, "N3": replace(ALL, partitions=led("N3:1", "N2:1"))}, CHANGING),
        (
            {"N1": ALL, "N2": ALL, "N3": replace(ALL, partitions=(replace(ALL.partitions[0], epoch="e4"),))},
            CHANGING,
        ),
        (
            {
                "N1": ALL,
                "N2": View((member(1), member(2), member(3, generation=2)), ALL.partitions),
                "N3": ALL,
            },
            "its nodes see different starts of one another",
        ),
        ({"N1": WITHOUT_3, "N2": ALL}, "its nodes do not agree whether n3 is alive"),
        (dict.fromkeys(("N1", "N2", "N3"), replace(ALL, partitions=())), "it has no partitions yet"),
        (
            dict.fromkeys(
                ("N1", "N2", "N3"), replace(ALL, partitions=(replace(ALL.partitions[0], leader=None),))
            ),
            "partition 0 has no leader",
        ),
        # the leader is an earlier start of a node that is there
        (
            dict.fromkeys(
                ("N1", "N2", "N3"), View((member(1), member(2, generation=2), member(3)), ALL.partitions)
            ),
            "partition 1 has no leader",
        ),
        # the leader is down, and nobody has taken over yet
        (
            dict.fromkeys(("N1", "N2"), replace(WITHOUT_3, partitions=led("N1:1", "N3:1"))),
            "partition 1 has no leader",
        ),
        (
            dict.fromkeys(("N1", "N2", "N3"), replace(ALL, partitions=led("N1:1", active=False))),
            "the leader of partition 0 is starting",
        ),
    ],
)
def test_views_that_prove_nothing_are_not_believed(views: dict[str, View], doubt: str) -> None:
    assert find_doubt(views) == doubt


def test_a_state_of_the_cluster_has_a_name() -> None:
    assert name_incarnation("N1:2#1", ALL) == "N1:2#1 0=N1:1/e3 1=N2:1/e3"
