from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from typer.testing import Result

Run = Callable[..., Result]
Make = Callable[..., dict[str, Any]]


def test_ls_is_a_table(run: Run, manager: Any, make_view: Make) -> None:
    draining = make_view(
        build_id="greeter-0.9.0-0",
        state="draining",
        services=[{"name": "greeter", "active": False}, {"name": "farewell", "active": True}],
        created_at="2026-10-29T12:00:00Z",
    )
    unknown = make_view(
        build_id="counter-1.0.0-7", state="unknown", invocations=None, nodes=None, services=[]
    )
    manager.on("GET /deployments", {"deployments": [draining, make_view(), unknown], "next": None})
    result = run("ls")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "BUILD            STATE     SERVICES            IN FLIGHT  AGE    SIZE  LOADED",
        "greeter-0.9.0-0  draining  greeter, farewell*          3   3d  1.6 MB  yes",
        "greeter-1.0.0-1  active    greeter*                    3   5m  1.6 MB  yes",
        "counter-1.0.0-7  unknown                               ?   5m  1.6 MB  ?",
    ]


def test_ls_of_several_nodes_counts_them(run: Run, manager: Any, make_view: Make) -> None:
    nodes = [{"node": f"n{n}", "loaded": n == 1, "cells": []} for n in (1, 2, 3)]
    manager.on("GET /deployments", {"deployments": [make_view(nodes=nodes)], "next": None})
    assert run("ls").stdout.splitlines()[1].endswith("  1/3 nodes")


def test_ls_as_json_is_what_the_manager_says_on_all_pages(run: Run, manager: Any, make_view: Make) -> None:
    first, second = make_view(), make_view(build_id="greeter-1.1.0-2", invocations=None)
    manager.on(
        "GET /deployments", {"deployments": [first], "next": "1"}, {"deployments": [second], "next": None}
    )
    result = run("ls", "--json", "--name", "greeter", "--state", "active")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"deployments": [first, second], "next": None}
    assert manager.asked[0] == ("GET /deployments?name=greeter&state=active&limit=500", None)


def test_ls_of_nothing_says_what_to_do(run: Run, manager: Any) -> None:
    manager.on("GET /deployments", {"deployments": [], "next": None})
    assert run("ls").stdout == "No builds yet. `gridiron deploy DIR` makes one.\n"
    assert run("ls", "--name", "x").stdout == "No builds match.\n"
    assert json.loads(run("ls", "--json").stdout) == {"deployments": [], "next": None}


def test_show_names_the_commit(run: Run, manager: Any, make_view: Make) -> None:
    commit = "a1b2c3d4e5f6" + "0" * 28
    gits = (
        {"commit": commit, "branch": "main", "dirty": True},
        {"commit": commit, "branch": None, "dirty": False},
    )
    manager.on("GET /deployments/greeter-1.0.0-1", *(make_view(git=git) for git in gits))
    lines = [run("show", "greeter-1.0.0-1").stdout.splitlines() for _ in gits]
    assert [[line for line in page if line.startswith("commit ")] for page in lines] == [
        ["commit      a1b2c3d4e5f6 on main, with uncommitted changes"],
        ["commit      a1b2c3d4e5f6"],
    ]


def test_show_is_a_page(run: Run, manager: Any, make_view: Make) -> None:
    view = make_view(
        services=[{"name": "greeter", "active": True}, {"name": "farewell", "active": False}],
        drained_at="2026-11-01T11:59:30Z",
    )
    manager.on("GET /deployments/greeter-1.0.0-1", view)
    result = run("show", "greeter-1.0.0-1")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "build       greeter-1.0.0-1",
        "state       active",
        "because     newest for greeter",
        "path        /greeter/1.0.0-1",
        "deployment  dp_1",
        "protocol    BidiStream",
        "services    greeter  takes new invocations",
        "            farewell  takes none",
        "in flight   2 pinned, 1 being attempted",
        "loaded      n1: in cell-0 (2 in flight)",
        "size        1.6 MB",
        f"sha256      {'0' * 64}",
        "source      file:///greeter",
        "created     2026-11-01 11:55:00 UTC, 5m ago",
        "activated   2026-11-01 11:55:01 UTC, 4m ago",
        "drained     2026-11-01 11:59:30 UTC, 30s ago",
        "steps       stage 1.5 ms, in all 20.0 ms",
    ]


def test_show_says_what_is_unknown(run: Run, manager: Any, make_view: Make) -> None:
    view = make_view(
        state="unknown",
        reason="Restate does not answer",
        deployment_id=None,
        protocol=None,
        services=[],
        invocations=None,
        nodes=None,
        activated_at=None,
        timings_ms={},
    )
    manager.on("GET /deployments/greeter-1.0.0-1", view)
    assert run("show", "greeter-1.0.0-1").stdout.splitlines() == [
        "build      greeter-1.0.0-1",
        "state      unknown",
        "because    Restate does not answer",
        "path       /greeter/1.0.0-1",
        "in flight  unknown",
        "loaded     unknown: the cells do not answer",
        "size       1.6 MB",
        f"sha256     {'0' * 64}",
        "source     file:///greeter",
        "created    2026-11-01 11:55:00 UTC, 5m ago",
    ]


def holder(number: int, **more: Any) -> dict[str, Any]:
    return {
        "invocation_id": f"inv_{number}",
        "target": "greeter/greet",
        "status": "backing-off",
        "pinned": True,
        "created_at": "2026-11-01T11:00:00Z",
        "attempts": 14,
        "failure": "[500] no such table\nat line 1",
        "ways_out": {"cancel": "curl cancel", "kill": "curl kill", "resume": "curl resume"},
        **more,
    }


def test_show_says_what_holds_a_build_and_what_helps(run: Run, manager: Any, make_view: Make) -> None:
    holders = [holder(1), holder(2, status="paused", attempts=0, failure=None)]
    view = make_view(state="draining", held_by=[*holders, *(holder(n) for n in range(3, 8))])
    manager.on("GET /deployments/greeter-1.0.0-1", view)
    lines = run("show", "greeter-1.0.0-1").stdout.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("held by"))
    assert [line[12:] for line in lines[begin : begin + 10]] == [
        "inv_1  greeter/greet  backing-off for 1h, tried 14 times: [500] no such table",
        "inv_2  greeter/greet  paused for 1h",
        *(
            f"inv_{n}  greeter/greet  backing-off for 1h, tried 14 times: [500] no such table"
            for n in (3, 4, 5)
        ),
        "and 2 more: see --json",
        "what helps one that does not end by itself, such as inv_1:",
        "  clean up and end             curl cancel",
        "  end at once                  curl kill",
        "  go on with the newest build  curl resume",
    ]


def test_show_says_nothing_holds_a_build_that_is_to_stay(run: Run, manager: Any, make_view: Make) -> None:
    manager.on("GET /deployments/greeter-1.0.0-1", make_view(held_by=[holder(1)]))
    assert "held by" not in run("show", "greeter-1.0.0-1").stdout


def test_show_of_a_build_that_no_cell_has_loaded(run: Run, manager: Any, make_view: Make) -> None:
    cells = [{"cell": f"cell-{n}", "loaded": False, "in_flight": 0} for n in (0, 1)]
    manager.on(
        "GET /deployments/greeter-1.0.0-1",
        make_view(nodes=[{"node": "n1", "loaded": False, "cells": cells}]),
    )
    assert "loaded      n1: in none of 2 cells" in run("show", "greeter-1.0.0-1").stdout.splitlines()


def make_node(node: str, loaded: bool | None, **more: Any) -> dict[str, Any]:
    cells = [] if loaded is None else [{"cell": "cell-1", "loaded": loaded, "in_flight": 0}]
    return {"node": node, "loaded": loaded, "cells": cells, **more}


def test_a_cluster_is_shown_node_by_node(run: Run, manager: Any, make_view: Make) -> None:
    nodes = [
        make_node("n1", True, present=True, quarantined=False),
        make_node("n2", False, present=False, quarantined=False),
        make_node("n3", True, present=True, quarantined=True),
        make_node("n4", None, reason="it does not answer in time"),
    ]
    view = make_view(nodes=nodes)
    manager.on("GET /deployments", {"deployments": [view], "next": None})
    row = run("ls").stdout.splitlines()[1]
    assert "  active, quarantined  " in row
    assert row.endswith("  2/4 nodes, 1 unknown")
    manager.on("GET /deployments/greeter-1.0.0-1", view)
    lines = run("show", "greeter-1.0.0-1").stdout.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("loaded"))
    assert [line[12:] for line in lines[begin : begin + 4]] == [
        "n1: in cell-1 (0 in flight)",
        "n2: in none of 1 cells, and not on its disk",
        "n3: in cell-1 (0 in flight), quarantined",
        "n4: unknown: it does not answer in time",
    ]


def test_show_as_json_is_what_the_manager_says(run: Run, manager: Any, make_view: Make) -> None:
    manager.on("GET /deployments/greeter-1.0.0-1", make_view())
    assert json.loads(run("show", "greeter-1.0.0-1", "--json").stdout) == make_view()


def test_a_quarantined_build_says_so_and_how_it_gets_out(run: Run, manager: Any, make_view: Make) -> None:
    quarantine = {"since": "2026-11-01T11:59:00Z", "reason": "memory_exhausted", "cell": "cell-9"}
    view = make_view(quarantine=quarantine)
    manager.on("GET /deployments", {"deployments": [view], "next": None})
    assert "active, quarantined" in run("ls").stdout
    manager.on("GET /deployments/greeter-1.0.0-1", view, {**view, "quarantine": {**quarantine, "cell": None}})
    lines = run("show", "greeter-1.0.0-1").stdout.splitlines()
    assert lines[3:6] == [
        (
            "quarantine  since 2026-11-01 11:59:00 UTC, 1m ago: it was in flight in three cells that went "
            "down; the last one: memory exhausted"
        ),
        "            served by cell-9 alone",
        "            deploy a new version, or `gridiron release greeter-1.0.0-1`",
    ]
    assert "its own cell does not serve now" in run("show", "greeter-1.0.0-1").stdout


def test_release(run: Run, manager: Any) -> None:
    route = "POST /deployments/greeter-1.0.0-1/release"
    answers = [{"build_id": "greeter-1.0.0-1", "released": released} for released in (True, False, True)]
    manager.on(route, *answers)
    assert run("release", "greeter-1.0.0-1").stdout == "greeter-1.0.0-1 is released.\n"
    assert run("release", "greeter-1.0.0-1").stdout == "greeter-1.0.0-1 was in no quarantine.\n"
    assert json.loads(run("release", "greeter-1.0.0-1", "--json").stdout) == answers[2]
    manager.refuse("POST /deployments/x/release", 404, "build_not_found", "There is no x.")
    refused = run("release", "x")
    assert (refused.exit_code, "There is no x." in refused.stderr) == (1, True)


def test_restart_of_the_workers(run: Run, manager: Any) -> None:
    manager.on("POST /workers/restart", {"cells": 2}, {"cells": 1}, {"cells": 3})
    assert run("workers", "restart").stdout == "Replaced 2 cells.\n"
    assert run("workers", "restart").stdout == "Replaced 1 cell.\n"
    assert json.loads(run("workers", "restart", "--json").stdout) == {"cells": 3}
