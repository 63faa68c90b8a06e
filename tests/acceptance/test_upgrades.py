"""Upgrades under load: no call is lost, and each is answered by the version that it began on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from gridiron.cli.demo.subject import Subject
from gridiron.testing.probe import ProbeBundles
from tests.harness import Client, manager_of, wait_until
from tests.load import Load, constant_load

UPGRADES = 20


@pytest.fixture(scope="module")
def node(make_shared_node: Callable[..., Subject]) -> Subject:
    """One node for all of these tests; each has a name and a service of its own."""
    return make_shared_node(sweep_seconds=0.5, drain_grace_seconds=0.5)


def crossed(load: Load) -> list[dict[str, Any]]:
    return [answer for answer in load.answers if answer["begun"] != answer["ended"]]


def test_twenty_upgrades_under_a_constant_load(node: Subject, client: Client, bundles: ProbeBundles) -> None:
    client.activate(bundles.make("0", "upgraded"), "0", name="upgraded")
    with constant_load(node.settings.ingress_url, "upgraded") as load:
        for number in range(UPGRADES + 1):
            version = str(number)
            if number > 0:
                client.activate(bundles.make(version, "upgraded"), version, name="upgraded")
            assert client.call("upgraded", "version") == version
            wait_until(lambda v=version: any(a["begun"] == v for a in list(load.answers)), what=version)
    assert load.failures == []
    assert crossed(load) == []
    assert {answer["begun"] for answer in load.answers} >= {str(n) for n in range(UPGRADES + 1)}
    # all but the newest drain and go
    wait_until(lambda: versions_not_retired(client, "upgraded") == [str(UPGRADES)])
    assert {b["protocol"] for b in client.builds(name="upgraded", state="active")} == {"BidiStream"}


def versions_not_retired(client: Client, name: str) -> list[str]:
    return [build["version"] for build in client.builds(name=name) if build["state"] != "retired"]


def test_invocations_do_not_notice_that_the_manager_is_killed(
    node: Subject, client: Client, bundles: ProbeBundles
) -> None:
    first = client.activate(bundles.make("1", "unnoticed"), "1", name="unnoticed")
    second = client.activate(bundles.make("2", "unnoticed"), "2", name="unnoticed")
    with constant_load(node.settings.ingress_url, "unnoticed") as load:
        wait_until(lambda: len(load.answers) > 10)
        killed = manager_of(node)
        os.kill(killed, signal.SIGKILL)
        before = len(load.answers)
        wait_until(lambda: len(load.answers) > before + 10)
        wait_until(lambda: manager_of(node) != killed, what=node.log)
        wait_until(client.is_ready, what=node.log)
        known = {build["build_id"] for build in client.builds(name="unnoticed")}
    assert known == {first["build_id"], second["build_id"]}
    assert load.failures == []
    assert crossed(load) == []


def test_a_slow_call_ends_on_the_version_that_it_began_on_and_keeps_it_draining(
    client: Client, bundles: ProbeBundles
) -> None:
    old = client.activate(bundles.make("1", "slow"), "1", name="slow")["build_id"]
    invocation = client.send("slow", "work", {"millis": 4000})
    wait_until(lambda: client.show(old)["invocations"]["pinned"] == 1)
    client.activate(bundles.make("2", "slow"), "2", name="slow")
    shown = client.show(old)
    assert (shown["state"], shown["reason"]) == ("draining", "1 invocation is pinned to it")
    refused = client.manager.post("/prune", json={"build_id": old})
    assert (refused.status_code, refused.json()["code"], refused.json()["invocations"]) == (
        409,
        "build_in_use",
        1,
    )
    assert client.call("slow", "version") == "2"
    answer = client.ingress.get(f"/restate/invocation/{invocation}/attach").json()
    assert answer == {"begun": "1", "ended": "1"}
    retired = wait_until(lambda: (s := client.show(old))["state"] == "retired" and s)
    assert retired["deployment_id"] is None
    assert [cell["loaded"] for node in retired["nodes"] for cell in node["cells"]] == [False, False]


def test_a_bundle_that_does_not_stream_works_and_says_so(client: Client, bundles: ProbeBundles) -> None:
    activated = client.activate(bundles.make("1", "turns", bidirectional=False), "1", name="turns")
    assert activated["protocol"] == "RequestResponse"
    assert client.call("turns", "work", {"steps": 3}) == {"begun": "1", "ended": "1"}


def test_the_same_content_again_changes_nothing_and_other_variables_make_a_new_build(
    client: Client, bundles: ProbeBundles
) -> None:
    first = client.activate(bundles.make("1", "same"), "1", name="same")
    again = client.activate(bundles.make("1", "same"), "1", name="same")
    assert (again["outcome"], again["build_id"]) == ("unchanged", first["build_id"])
    changed = client.activate(bundles.make("1", "same"), "1", name="same", vars={"COLOUR": "red"})
    assert changed["outcome"] == "activated"
    assert changed["replaces"] == [first["build_id"]]


def test_a_dry_run_checks_everything_and_leaves_nothing(
    node: Subject, client: Client, bundles: ProbeBundles
) -> None:
    dry = client.activate(bundles.make("1", "dry"), "1", name="dry", dry_run=True)
    assert (dry["outcome"], dry["services"], dry["deployment_id"]) == ("dry_run", ["dry"], None)
    assert client.builds(name="dry") == []
    bundles_dir = node.settings.bundles_dir
    assert [entry.name for entry in bundles_dir.iterdir() if entry.name.startswith("dry-")] == []
    assert list((bundles_dir / ".staging").iterdir()) == []


def test_state_json_is_rebuilt_when_it_is_damaged(
    node: Subject, client: Client, bundles: ProbeBundles
) -> None:
    for name in ("noted", "noted-too"):
        client.activate(bundles.make("1", name.replace("-", "_")), "1", name=name)
    for earlier in client.builds(state="active"):
        wait_until(lambda name=earlier["name"]: len(versions_not_retired(client, name)) == 1)
    unchanging = ("build_id", "state", "deployment_id", "services", "sha256", "protocol")
    before = [{key: build[key] for key in unchanging} for build in client.builds()]
    state = node.settings.manager_state_dir / "state.json"
    for damage in (None, b"", b'{"format": 1, "records": ', b'{"format": 99}'):
        node.stop()
        if damage is None:
            state.unlink()
        else:
            state.write_bytes(damage)
        node.start()
        assert [{key: build[key] for key in unchanging} for build in client.builds()] == before
