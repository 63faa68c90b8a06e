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


def test_show_of_a_build_that_no_cell_has_loaded(run: Run, manager: Any, make_view: Make) -> None:
    cells = [{"cell": f"cell-{n}", "loaded": False, "in_flight": 0} for n in (0, 1)]
    manager.on(
        "GET /deployments/greeter-1.0.0-1",
        make_view(nodes=[{"node": "n1", "loaded": False, "cells": cells}]),
    )
    assert "loaded      n1: in none of 2 cells" in run("show", "greeter-1.0.0-1").stdout.splitlines()


def test_show_as_json_is_what_the_manager_says(run: Run, manager: Any, make_view: Make) -> None:
    manager.on("GET /deployments/greeter-1.0.0-1", make_view())
    assert json.loads(run("show", "greeter-1.0.0-1", "--json").stdout) == make_view()
