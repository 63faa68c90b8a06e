from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.sdk.runtimes import Runtime

NOT_PUBLIC = {"code": 400, "message": "the invoked service is not public", "source": "ingress"}


def describe(runtime: Runtime, service: str) -> Any:
    """What Restate learned of a service, without what names the runtime."""
    response = runtime.admin.get(f"/services/{service}.{runtime.name}")
    assert response.status_code == 200, response.text
    described = json.loads(response.text.replace(f".{runtime.name}", ""))
    del described["deployment_id"], described["revision"]
    described["handlers"].sort(key=lambda handler: handler["name"])
    return described


def list_services(runtime: Runtime) -> list[str]:
    response = runtime.admin.get("/services")
    names = (service["name"] for service in response.json()["services"])
    return sorted(name.partition(".")[0] for name in names if name.endswith(f".{runtime.name}"))


def test_restate_learns_the_same_of_both(runtimes: dict[str, Runtime]) -> None:
    services = list_services(runtimes["node"])
    assert len(services) > 10
    assert list_services(runtimes["cells"]) == services
    for service in services:
        assert describe(runtimes["cells"], service) == describe(runtimes["node"], service)


def test_restate_learns_the_options(runtime: Runtime) -> None:
    described = describe(runtime, "Options")
    assert (described["documentation"], described["metadata"]) == ("has every option", {"of": "the service"})
    assert described["journal_retention"] == "1h"
    assert described["idempotency_retention"] == "2h"
    assert described["inactivity_timeout"] == "3h"
    own = next(handler for handler in described["handlers"] if handler["name"] == "own")
    assert own == {
        "name": "own",
        "documentation": "has options of its own",
        "metadata": {"of": "the handler"},
        "idempotency_retention": "3m",
        "journal_retention": "2m",
        "inactivity_timeout": "4s",
        "abort_timeout": "5s",
        "public": True,
        "input_description": "application/json",
        "output_description": "application/json",
        "retry_policy": {
            "initial_interval": "7ms",
            "exponentiation_factor": 8.0,
            "max_attempts": 6,
            "on_max_attempts": "Kill",
        },
    }


@pytest.mark.parametrize("target", ["Options/hidden", "Private/answer"])
def test_what_is_private_is_not_called_from_outside(runtime: Runtime, target: str) -> None:
    assert runtime.request(target).json() == NOT_PUBLIC
    assert runtime.call("Options/callHidden") == "hidden"


def test_the_sdk_for_workers_leaves_some_names_out(runtimes: dict[str, Runtime]) -> None:
    node, cells = (set(runtimes[name].call("Options/names")) for name in ("node", "cells"))
    assert node - cells == {"PauseError", "iface", "implement", "internal", "isRestatePromise", "serve"}
    assert cells - node == set()


def test_the_contexts_console_is_silent_in_a_replay(runtime: Runtime) -> None:
    invocation = runtime.send("Options/log")
    assert invocation.value() is True
    invocation.expect_marks("attempt 1", "attempt 2")
    target = f"[Options.{runtime.name}/log][{invocation.id}]"
    lines = [line for line in runtime.log.read_text().splitlines() if target in line and " the step" in line]
    told = [line.partition(target)[2] for line in lines]
    # the second attempt replays up to the step, and tells nothing before it is past it
    assert told == [" INFO: before the step { attempt: 1 }", " WARN: after the step", " WARN: after the step"]
