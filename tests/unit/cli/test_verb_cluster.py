from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from typer.testing import Result

from gridiron.cli.cluster_grow import describe_partitions

Run = Callable[..., Result]


def member(number: int, **changes: Any) -> dict[str, Any]:
    manager = {
        "reachable": True,
        "reason": "",
        "ready": True,
        "unready": "",
        "version": "1.0.0",
        "clock_ahead_seconds": 0.0,
        "guarding": None,
        "copies": 12,
        "loaded": 3,
    }
    return {
        "name": f"n{number}",
        "node_id": f"N{number}",
        "address": f"http://10.0.0.{number}:5122",
        "alive": True,
        "worker_state": "active",
        "storage_state": "read-write",
        "keeps_metadata": True,
        "leads": [number],
        "manager": manager,
        **changes,
    }


def partition(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "leader": f"n{number}",
        "epoch": "e1",
        "active": True,
        "replicas": ["n1", "n2"],
        "applied_lsn": 1020,
        "archived_lsn": 1000,
        "not_archived": 20,
        "snapshot_at": "2026-11-01T11:56:00Z",
        **changes,
    }


def cluster(*members: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "name": "gridiron",
        "node": "n1",
        "now": "2026-11-01T12:00:00Z",
        "members": members or [member(1), member(2), member(3)],
        "partitions": [partition(1), partition(2)],
        "logs": [{"id": 1, "nodes": ["n1", "n3"], "parts": 1}, {"id": 2, "nodes": ["n2", "n3"], "parts": 4}],
        "replication": 2,
        "wanted_replication": 2,
        "told": 3,
        "bucket": {"url": "s3://b/p", "reachable": True, "reason": ""},
        "warnings": [],
        **changes,
    }


DOWN = {"alive": False, "leads": [], "manager": None}


def changed(node: str, state: str, *, is_new: bool = True) -> dict[str, Any]:
    return {"node": node, "worker_state": state, "changed": is_new}


def test_the_status_of_a_whole_cluster(run: Run, manager: Any) -> None:
    manager.on("GET /cluster", cluster())
    result = run("cluster", "status")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "cluster  gridiron, as n1 sees it",
        "kept on  2 nodes",
        "bucket   s3://b/p, reachable",
        "",
        "NODE  STATE   LEADS  MANAGER  VERSION  BUILDS  LOADED  ADDRESS",
        "n1    active      1  ready    1.0.0        12       3  10.0.0.1:5122",
        "n2    active      1  ready    1.0.0        12       3  10.0.0.2:5122",
        "n3    active      1  ready    1.0.0        12       3  10.0.0.3:5122",
        "",
        "PARTITION  LEADER  STATE   REPLICAS  BEHIND  SNAPSHOT  LOG",
        "1          n1      active  n1 n2         20  4m ago    n1 n3, 1 part",
        "2          n2      active  n1 n2         20  4m ago    n2 n3, 4 parts",
    ]


def test_the_status_of_a_cluster_in_trouble(run: Run, manager: Any) -> None:
    warnings = [
        {"code": "node_down", "detail": "n3 is down.", "node": "n3"},
        {"code": "partition_leaderless", "detail": "Partition 2 has no leader.", "node": None},
    ]
    unreachable = {"reachable": False, "reason": "refused"}
    answer = cluster(
        member(1, worker_state="draining", leads=[]),
        member(2, manager=unreachable),
        member(3, **DOWN),
        partitions=[
            partition(1, active=False, snapshot_at=None),
            partition(2, leader=None, active=False, archived_lsn=None, not_archived=None, snapshot_at=None),
        ],
        logs=None,
        replication=None,
        bucket={"url": "s3://b/p", "reachable": False, "reason": "no answer"},
        warnings=warnings,
    )
    manager.on("GET /cluster", answer)
    result = run("cluster", "status")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "warning: n3 is down.  [node_down]",
        "warning: Partition 2 has no leader.  [partition_leaderless]",
    ]
    assert result.stdout.splitlines() == [
        "cluster  gridiron, as n1 sees it",
        "kept on  ?",
        "bucket   s3://b/p, not reachable: no answer",
        "",
        "NODE  STATE     LEADS  MANAGER      VERSION  BUILDS  LOADED  ADDRESS",
        "n1    draining      0  ready        1.0.0        12       3  10.0.0.1:5122",
        "n2    active        1  unreachable  ?             ?       ?  10.0.0.2:5122",
        "n3    down          0  ?            ?             ?       ?  10.0.0.3:5122",
        "",
        "PARTITION  LEADER  STATE     REPLICAS  BEHIND  SNAPSHOT  LOG",
        "1          n1      starting  n1 n2         20  ?         ?",
        "2          nobody  waiting   n1 n2          ?  none      ?",
    ]


def test_json_is_what_the_manager_says(run: Run, manager: Any) -> None:
    manager.on("GET /cluster", cluster())
    assert json.loads(run("cluster", "status", "--json").stdout) == json.loads(json.dumps(cluster()))


def test_a_node_alone(run: Run, manager: Any) -> None:
    manager.refuse("GET /cluster", 404, "node_alone", "This node is alone.")
    result = run("cluster", "status")
    assert (result.exit_code, result.stderr) == (1, "error: This node is alone.  [node_alone]\n")


def test_a_drain_waits_until_the_node_leads_nothing(run: Run, manager: Any, clock: Any) -> None:
    manager.on("POST /cluster/nodes/n2/drain", changed("n2", "draining"))
    manager.on("GET /cluster", cluster(), cluster(member(1), member(2, leads=[])))
    result = run("cluster", "drain", "n2")
    assert (result.exit_code, clock.seconds) == (0, 1.0)
    assert result.stdout == "n2 leads nothing any more. `gridiron cluster activate n2` undoes that.\n"
    assert result.stderr == "n2 still leads 1.\n"


def test_a_drain_that_takes_too_long(run: Run, manager: Any) -> None:
    manager.on("POST /cluster/nodes/n2/drain", changed("n2", "draining", is_new=False))
    manager.on("GET /cluster", cluster())
    result = run("cluster", "drain", "n2", "--timeout", "3", "--json")
    assert (result.exit_code, json.loads(result.stdout)["code"]) == (1, "cluster_unfinished")
    assert "after 3 s: n2 still leads 1." in result.stderr


def test_a_node_is_taken_back(run: Run, manager: Any) -> None:
    answers = changed("n2", "active"), changed("n2", "active", is_new=False)
    manager.on("POST /cluster/nodes/n2/activate", *answers)
    assert run("cluster", "activate", "n2").stdout == "n2 may lead again.\n"
    assert run("cluster", "activate", "n2").stdout == "n2 may lead already.\n"


REMOVE = "DELETE /cluster/nodes/n3"
REMOVED = {"node": "n3", "node_id": "N3"}


IDLE = (
    "In a cluster that nobody uses this ends only once something is written to each partition: some dozens "
    "of calls of any service do that."
)
GONE = (member(1), member(2), member(3, **DOWN))
"""The nodes of a cluster whose third is down."""


def test_a_removal_goes_on_until_it_is_done(run: Run, manager: Any, clock: Any) -> None:
    manager.on("GET /cluster", cluster(*GONE))
    manager.refuse(REMOVE, 502, "cluster_rejected", "partition 1 is not kept elsewhere yet.")
    manager.on(REMOVE, REMOVED)
    result = run("cluster", "remove", "n3", "-y")
    assert (result.exit_code, result.stdout, clock.seconds) == (0, "n3 is removed.\n", 1.0)
    assert result.stderr.splitlines() == [
        "Removing n3: what it kept is moved, and snapshots are stored …",
        f"partition 1 is not kept elsewhere yet. {IDLE}",
    ]


def test_a_removal_that_takes_too_long_says_how_it_ends(run: Run, manager: Any) -> None:
    manager.on("GET /cluster", cluster(*GONE))
    manager.refuse(REMOVE, 502, "cluster_rejected", "no.")
    result = run("cluster", "remove", "n3", "-y", "--timeout", "3")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        f"error: Given up after 3 s: no. {IDLE} Repeat the command: it goes on from there.  "
        "[cluster_unfinished]"
    )


def lose(manager: Any) -> None:
    manager.on(REMOVE, httpx2.ReadError("reset"))


def be_unavailable(manager: Any) -> None:
    manager.refuse(REMOVE, 503, "restate_unavailable", "no answer in time")


@pytest.mark.parametrize("fail", [lose, be_unavailable])
def test_a_removal_whose_answer_was_lost_is_one(run: Run, manager: Any, fail: Callable[[Any], None]) -> None:
    manager.on("GET /cluster", cluster(*GONE))
    fail(manager)
    manager.refuse(REMOVE, 404, "node_not_found", "no n3")
    assert run("cluster", "remove", "n3", "-y", "--json").stdout == '{\n  "removed": "n3"\n}\n'


def test_a_name_that_was_never_seen_is_no_removal(run: Run, manager: Any) -> None:
    manager.refuse("GET /cluster", 503, "restate_unavailable", "no answer in time")
    be_unavailable(manager)
    manager.refuse(REMOVE, 404, "node_not_found", "no n9")
    assert "[node_not_found]" in run("cluster", "remove", "n3", "-y").stderr
    manager.on("GET /cluster", cluster(*GONE))
    result = run("cluster", "remove", "n9", "-y")
    assert (result.exit_code, "[node_not_found]" in result.stderr) == (1, True)
    assert manager.asked[-1][0] == "GET /cluster"


@pytest.mark.parametrize("verb", ["remove", "replace"])
def test_where_no_manager_is_nothing_is_waited_for(run: Run, manager: Any, clock: Any, verb: str) -> None:
    manager.on("GET /cluster", httpx2.ConnectError("refused"))
    result = run("cluster", verb, "n3", "-y")
    assert (result.exit_code, "[manager_unavailable]" in result.stderr) == (1, True)
    assert (len(manager.asked), clock.seconds) == (1, 0)


def test_a_removal_that_is_refused(run: Run, manager: Any, clock: Any) -> None:
    manager.on("GET /cluster", cluster(*GONE))
    manager.refuse(REMOVE, 409, "node_needed", "no")
    result = run("cluster", "remove", "n3", "-y")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, "error: no  [node_needed]")
    assert clock.seconds == 0


RUNNING = "n3 is taken for running: that a node has died is noticed within some seconds."


def test_a_node_that_was_just_killed_is_noticed_in_a_while(run: Run, manager: Any, clock: Any) -> None:
    manager.on("GET /cluster", cluster())
    for _ in range(2):
        manager.refuse(REMOVE, 409, "node_running", "n3 is running")
    manager.on(REMOVE, REMOVED)
    result = run("cluster", "remove", "n3", "-y")
    assert (result.exit_code, clock.seconds) == (0, 2)
    assert result.stderr.splitlines()[1:] == [RUNNING]


@pytest.mark.parametrize("limit", [300, 3])
@pytest.mark.parametrize("verb", ["remove", "replace"])
def test_a_node_that_goes_on_running_stays(run: Run, manager: Any, clock: Any, verb: str, limit: int) -> None:
    manager.on("GET /cluster", cluster())
    manager.refuse(REMOVE, 409, "node_running", "n3 is running")
    result = run("cluster", verb, "n3", "-y", "--timeout", str(limit))
    assert (result.exit_code, "[node_running]" in result.stderr, clock.seconds) == (1, True, min(limit, 15))


@pytest.mark.parametrize("verb", ["remove", "replace"])
def test_a_terminal_is_asked_before_a_node_goes(run: Run, manager: Any, verb: str) -> None:
    result = run("cluster", verb, "n3", can_ask=True, typed="n\n")
    assert (result.exit_code, manager.asked) == (1, [])
    assert result.stderr.endswith("Nothing was removed.\n")
    result = run("cluster", verb, "n3")
    assert (result.exit_code, "needs -y" in result.stderr, manager.asked) == (2, True, [])
    manager.on("GET /cluster", cluster(*GONE[:2], member(3, **DOWN, storage_state="read-only")))
    manager.on("POST /cluster/nodes/n3/drain", changed("n3", "draining"))
    manager.on(REMOVE, REMOVED)
    assert run("cluster", verb, "n3", "-y", can_ask=True).exit_code == 0


def replaced(run: Run, manager: Any, *answers: dict[str, Any]) -> Result:
    """Replace n3 while the manager gives these answers; the first is asked for twice."""
    manager.on("GET /cluster", answers[0], *answers)
    manager.on("POST /cluster/nodes/n3/drain", changed("n3", "draining"))
    manager.on(REMOVE, REMOVED)
    return run("cluster", "replace", "n3", "-y", "--timeout", "9")


def test_another_node_takes_the_place(run: Run, manager: Any) -> None:
    result = replaced(run, manager, cluster(), cluster(*GONE), cluster(*GONE, member(4)))
    assert (result.exit_code, result.stdout) == (0, "n3 is removed, and n1, n2, n4 serve.\n")
    assert result.stderr.splitlines() == [
        RUNNING,
        "No node has joined in place of n3 yet: 2 of 3 serve, and none at 10.0.0.3:5122.",
        "n1, n2, n4 serve.",
        "n3 is drained.",
        "Removing n3: what it kept is moved, and snapshots are stored …",
    ]


def test_a_node_at_the_same_address_is_in_the_place(run: Run, manager: Any) -> None:
    members = (member(1), member(3, **DOWN), member(4, address="http://10.0.0.3:5122"))
    assert replaced(run, manager, cluster(*members)).stdout == "n3 is removed, and n1, n4 serve.\n"


def test_nodes_that_the_table_does_not_name_are_in_no_place(run: Run, manager: Any) -> None:
    """They may all have been there before."""
    known = (*GONE, member(4), member(5))
    result = replaced(run, manager, cluster(*known))
    assert (result.exit_code, "4 of 5 serve, and none at 10.0.0.3:5122." in result.stderr) == (1, True)
    assert {route for route, _ in manager.asked} == {"GET /cluster"}
    manager.answers.clear()
    result = replaced(run, manager, cluster(*known), cluster(*known, member(6)))
    assert result.stdout == "n3 is removed, and n1, n2, n4, n5, n6 serve.\n"


def test_a_node_that_served_before_at_another_address_is_in_the_place(run: Run, manager: Any) -> None:
    result = replaced(run, manager, cluster(*GONE, member(4)))
    assert result.stdout == "n3 is removed, and n1, n2, n4 serve.\n"


def test_what_was_begun_goes_on(run: Run, manager: Any) -> None:
    members = (*GONE[:2], member(3, **DOWN, storage_state="read-only"), member(4))
    assert replaced(run, manager, cluster(*members)).stdout == "n3 is removed, and n1, n2, n4 serve.\n"


def test_nothing_takes_the_place(run: Run, manager: Any) -> None:
    manager.on("GET /cluster", cluster(*GONE))
    result = run("cluster", "replace", "n3", "-y", "--timeout", "2")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "error: Given up after 2 s: No node has joined in place of n3 yet: 2 of 3 serve, and none at "
        "10.0.0.3:5122. Start one with an empty data directory, the cluster's key and table, and a name that "
        "no node had. Where one serves already at another address, or to go on with fewer, `gridiron cluster "
        "remove n3`.  [cluster_unfinished]"
    )
    assert [route for route, _ in manager.asked] == ["GET /cluster"] * 4


def test_a_node_that_there_is_not_cannot_be_replaced(run: Run, manager: Any) -> None:
    manager.on("GET /cluster", cluster())
    result = run("cluster", "replace", "n9", "-y")
    assert (result.exit_code, "[node_not_found]" in result.stderr, len(manager.asked)) == (1, True, 1)


@pytest.mark.parametrize("verb", ["drain", "replace", "grow"])
@pytest.mark.parametrize("is_lost", [True, False])
def test_what_is_away_for_a_moment_is_waited_for(run: Run, manager: Any, verb: str, is_lost: bool) -> None:
    new = member(4, address="http://10.0.0.3:5122")
    gone = cluster(member(1), member(2, leads=[]), member(3, **DOWN), new)
    manager.on("POST /cluster/nodes/n2/drain", changed("n2", "draining"))
    manager.on("POST /cluster/grow", TOO_FEW, GROWN)
    manager.on("GET /cluster", *[gone] * (verb == "replace"))
    if is_lost:
        manager.on("GET /cluster", httpx2.ReadError("reset"))
    else:
        manager.refuse("GET /cluster", 503, "restate_unavailable", "no answer in time")
    manager.on("GET /cluster", gone)
    manager.refuse("POST /cluster/nodes/n3/drain", 503, "restate_unavailable", "no answer in time")
    manager.on("POST /cluster/nodes/n3/drain", changed("n3", "draining"))
    manager.on(REMOVE, REMOVED)
    arguments = {"drain": ("n2",), "replace": ("n3", "-y"), "grow": ()}
    assert run("cluster", verb, *arguments[verb]).exit_code == 0


GROWN = {"replication": 2, "wanted_replication": 2, "changed": True, "missing": 0}
TOO_FEW = {"replication": 1, "wanted_replication": 2, "changed": False, "missing": 1}


def test_a_cluster_that_has_its_nodes_keeps_its_copies(run: Run, manager: Any) -> None:
    manager.on("POST /cluster/grow", GROWN)
    assert run("cluster", "grow").stdout == "Everything is kept on 2 nodes.\n"
    assert json.loads(run("cluster", "grow", "--json").stdout) == GROWN


def test_the_nodes_that_are_missing_are_waited_for(run: Run, manager: Any, clock: Any) -> None:
    manager.on("POST /cluster/grow", TOO_FEW, GROWN)
    manager.on("GET /cluster", cluster(member(1)), cluster(member(1), member(2)))
    result = run("cluster", "grow")
    assert (result.exit_code, clock.seconds) == (0, 1.0)
    assert result.stderr.splitlines() == [
        "storing snapshots, with which other nodes begin …",
        "1 of 2 nodes serve that everything is to be kept on.",
    ]


def short(manager: Any) -> None:
    manager.on("POST /cluster/grow", TOO_FEW)


def reject(manager: Any) -> None:
    manager.refuse("POST /cluster/grow", 502, "cluster_rejected", "1 nodes are alive and active")


@pytest.mark.parametrize("fail", [short, reject])
def test_a_node_that_goes_again_is_waited_for(
    run: Run, manager: Any, clock: Any, fail: Callable[[Any], None]
) -> None:
    manager.on("POST /cluster/grow", TOO_FEW)
    fail(manager)
    manager.on("POST /cluster/grow", GROWN)
    manager.on("GET /cluster", cluster(member(1), member(2)))
    result = run("cluster", "grow")
    assert (result.exit_code, result.stdout) == (0, "Everything is kept on 2 nodes.\n")
    assert (result.stderr.splitlines()[1:], clock.seconds) == (
        ["1 of 2 nodes serve that everything is to be kept on."],
        1.0,
    )


def test_nodes_that_do_not_come(run: Run, manager: Any) -> None:
    manager.on("POST /cluster/grow", TOO_FEW)
    manager.on("GET /cluster", cluster(member(1)))
    result = run("cluster", "grow", "--timeout", "2")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "error: Given up after 2 s: 1 of 2 nodes serve that everything is to be kept on. Start them: with "
        "the table, the cluster's key and names of their own they join by themselves.  [cluster_unfinished]"
    )


def test_a_node_alone_that_runs_is_to_be_stopped_first(run: Run, manager: Any) -> None:
    manager.refuse("POST /cluster/grow", 404, "node_alone", "This node is alone.")
    result = run("cluster", "grow")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "error: This node was left as it is, and alone: its manager runs, and knows of no cluster. Write its "
        "table [cluster] into gridiron.toml, stop the node, and run this before you start it.  [grow_refused]"
    )


def test_a_manager_that_was_named_is_not_grown_here(run: Run, manager: Any) -> None:
    manager.on("POST /cluster/grow", httpx2.ConnectError("refused"))
    result = run("cluster", "grow", "--url", "http://n1.test")
    assert (result.exit_code, "[manager_unavailable]" in result.stderr) == (1, True)


def test_a_stopped_node_without_a_table(run: Run, manager: Any) -> None:
    manager.on("POST /cluster/grow", httpx2.ConnectError("refused"))
    result = run("cluster", "grow")
    assert (result.exit_code, "[node_alone]" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("partitions", "said"),
    [
        (None, ()),
        (3, ()),
        (1, ("One partition: only one node will lead at a time, and the others stand in for it.",)),
        (2, ("2 partitions: only 2 nodes will lead at a time, and the others stand in.",)),
    ],
)
def test_fewer_partitions_than_nodes(partitions: int | None, said: tuple[str, ...]) -> None:
    assert describe_partitions(partitions, 3) == said
