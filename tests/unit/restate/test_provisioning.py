from __future__ import annotations

from itertools import combinations_with_replacement

import pytest

from gridiron.restate.incarnation import Health
from gridiron.restate.provisioning import Stage, Step, plan_provision, stage_of


@pytest.mark.parametrize(
    ("node_id", "status", "stage"),
    [
        (None, "AwaitingProvisioning", Stage.AWAITING),
        (None, "Member", Stage.PROVISIONED),
        (None, "Standby", Stage.PROVISIONED),
        (None, "StartingUp", Stage.UNKNOWN),
        (None, "", Stage.UNKNOWN),
        ("N1:2", "Member", Stage.JOINED),
        ("N4:1", "Standby", Stage.JOINED),
    ],
)
def test_where_a_node_is_by_its_own_word(node_id: str | None, status: str, stage: Stage) -> None:
    assert stage_of(Health(node_id=node_id, age="1s", metadata_server_status=status)) is stage


def test_a_node_provisions_only_where_all_wait_for_that() -> None:
    waiting = Stage.AWAITING
    assert plan_provision(waiting, ()) is Step.PROVISION
    for peers in combinations_with_replacement(Stage, 2):
        expected = Step.PROVISION if set(peers) == {waiting} else Step.WAIT
        assert plan_provision(waiting, peers) is expected


def test_a_node_that_was_in_a_cluster_never_provisions() -> None:
    for peers in combinations_with_replacement(Stage, 2):
        assert plan_provision(Stage.JOINED, peers) is Step.DONE
        assert plan_provision(Stage.PROVISIONED, peers) is Step.WAIT
        assert plan_provision(Stage.UNKNOWN, peers) is Step.WAIT
