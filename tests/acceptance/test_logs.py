"""What a build prints and what becomes of its calls, from a handler to the reader."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gridiron.cli.demo.subject import Subject
from gridiron.settings import load_settings
from gridiron.testing.probe import ProbeBundles, build_probe
from gridiron.toolchain.programs import find_toolchain
from tests.harness import Client, wait_until

SOURCE = """
import * as restate from "@restatedev/restate-sdk-cloudflare-workers/fetch";
let attempts = 0;
const handlers = {
  greets: async (ctx, name) => { console.log("hello %s", name, { version: "@VERSION@" }); return name; },
  fails: async () => { throw new restate.TerminalError("no luck"); },
  triesAgain: async () => { if (attempts++ < 1) throw new Error("not yet"); },
  waits: restate.handlers.handler({ inactivityTimeout: 50 }, (ctx) => ctx.sleep({ milliseconds: 300 })),
  stepsAndFails: async (ctx) => {
    await ctx.run("step", () => 1);
    throw new restate.TerminalError("after a step");
  },
};
const service = restate.service({ name: "@SERVICE@", handlers });
const bidirectional = JSON.parse("@BIDIRECTIONAL@");
export default { fetch: restate.createEndpointHandler({ services: [service], bidirectional }) };
"""


@pytest.fixture(scope="module")
def printers(tmp_path_factory: pytest.TempPathFactory) -> ProbeBundles:
    directory = tmp_path_factory.mktemp("printer")
    return ProbeBundles(build_probe(find_toolchain(load_settings()), directory, SOURCE), directory / "made")


@pytest.fixture(scope="module")
def node(make_shared_node: Callable[..., Subject]) -> Subject:
    return make_shared_node()


@pytest.fixture(scope="module")
def client(node: Subject) -> Iterator[Client]:
    client = Client(node)
    yield client
    client.close()


def fetch_log(client: Client, build_id: str) -> list[dict[str, Any]]:
    response = client.manager.get(f"/deployments/{build_id}/logs")
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    assert answer["silent"] == []
    return list(answer["events"])


def await_outcomes(client: Client, build_id: str, count: int) -> list[dict[str, Any]]:
    def outcomes() -> list[dict[str, Any]]:
        return [event for event in fetch_log(client, build_id) if event["kind"] == "outcome"]

    return wait_until(lambda: found if len(found := outcomes()) >= count else None)  # type: ignore[no-any-return]


@pytest.mark.parametrize("bidirectional", [True, False])
def test_a_log_says_what_was_printed_and_how_each_attempt_ended(
    client: Client, node: Subject, printers: ProbeBundles, bidirectional: bool
) -> None:
    service = f"printer{bidirectional}"
    bundle = printers.make("1", service, bidirectional=bidirectional)
    build = client.activate(bundle, "1", service.lower())
    assert client.call(service, "greets", "you") == "you"
    assert client.ingress.post(f"/{service}/fails").status_code == 500
    assert client.ingress.post(f"/{service}/triesAgain").status_code == 200
    assert client.ingress.post(f"/{service}/stepsAndFails").status_code == 500
    assert client.ingress.post(f"/{service}/waits").status_code == 200
    outcomes = await_outcomes(client, build["build_id"], 7)
    assert [(each["handler"].split("/")[1], each["outcome"], each["message"]) for each in outcomes] == [
        ("greets", "ok", ""),
        ("fails", "failed", "no luck"),
        ("triesAgain", "retrying", "not yet"),
        ("triesAgain", "ok", ""),
        *([] if bidirectional else [("stepsAndFails", "suspended", "")]),
        ("stepsAndFails", "failed", "after a step"),
        ("waits", "suspended", ""),
        ("waits", "ok", ""),
    ]
    assert all(each["invocation_id"].startswith("inv_") and each["duration_ms"] >= 0 for each in outcomes)
    events = fetch_log(client, build["build_id"])
    printed = [event for event in events if event["kind"] == "log" and event["handler"]]
    assert printed[0] | {"time": None, "cell": None, "invocation_id": None} == {
        "time": None,
        "kind": "log",
        "level": "log",
        "message": 'hello you {"version":"1"}',
        "build_id": build["build_id"],
        "node": None,
        "cell": None,
        "handler": f"{service}/greets",
        "invocation_id": None,
        "outcome": None,
        "duration_ms": None,
    }
    assert printed[0]["invocation_id"] == outcomes[0]["invocation_id"]
    assert any("not yet" in each["message"] and each["level"] == "warn" for each in printed)  # the SDK's own
    wait_until(lambda: "not yet" in node.log)
    for told_otherwise in ("signature", "Starting invocation.", "completed successfully."):
        assert not any(told_otherwise in event["message"] for event in events)
        assert told_otherwise not in node.log


def test_who_follows_a_name_sees_the_build_that_comes_next(
    client: Client, node: Subject, printers: ProbeBundles
) -> None:
    first = client.activate(printers.make("1", "followed"), "1", "followed")
    assert client.call("followed", "greets", "one") == "one"
    arguments = [sys.executable, "-P", "-m", "gridiron", "logs", "followed", "-f", "--json"]
    environment = {**os.environ, **node.settings.environment()}
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert next_message(process.stdout) == (first["build_id"], 'hello one {"version":"1"}')
            second = client.activate(printers.make("2", "followed"), "2", "followed")
            assert client.call("followed", "greets", "two") == "two"
            assert next_message(process.stdout) == (second["build_id"], 'hello two {"version":"2"}')
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 130


def next_message(lines: Iterator[str]) -> tuple[str, str]:
    """The next line that a handler printed."""
    events = map(json.loads, lines)
    return next((event["build_id"], event["message"]) for event in events if event["message"][:5] == "hello")


def test_following_ends_with_the_build_and_with_the_manager_and_a_log_does_not(
    make_node: Callable[..., Subject], printers: ProbeBundles
) -> None:
    node = make_node(retain=0)
    client = Client(node)
    try:
        build_id = client.activate(printers.make("1"), "1", "short")["build_id"]
        assert client.call("probe", "greets", "one") == "one"
        wait_until((node.settings.logs_dir / build_id).is_dir)
        with client.manager.stream("GET", log_path(build_id)) as response:
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            pruned = client.manager.post("/prune", json={"build_id": build_id, "force": True})
            assert pruned.status_code == 200, pruned.text
            assert response.read().decode().splitlines()[-3] == "event: end"
        second = client.activate(printers.make("2"), "2", "short")["build_id"]
        assert client.call("probe", "greets", "two") == "two"
        with client.manager.stream("GET", log_path(second)) as response:
            node.stop()  # fails where it takes long
            assert response.read().decode().endswith('"again":true}\n\n')
        node.start()
        assert fetch_log(client, second)[0]["message"] == 'hello two {"version":"2"}'  # in the run before
        wait_until(lambda: not (node.settings.logs_dir / build_id).exists())
    finally:
        client.close()


def log_path(build_id: str) -> str:
    return f"/deployments/{build_id}/logs?follow=true"


def test_there_is_no_log_of_what_there_is_not(client: Client, node: Subject) -> None:
    for query in ("", "?follow=true"):
        response = client.manager.get(f"/deployments/ghost-1-1/logs{query}")
        assert (response.status_code, response.json()["code"]) == (404, "build_not_found")
    failed = subprocess.run(
        [sys.executable, "-P", "-m", "gridiron", "logs", "ghost"],
        env={**os.environ, **node.settings.environment()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (failed.returncode, failed.stderr.endswith("[build_not_found]\n")) == (1, True)
