from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from gridiron.errors import ActivationFailed, WorkersUnavailable
from gridiron.lifecycle.draining import track_draining
from gridiron.lifecycle.observation import Demand, Inventory
from gridiron.lifecycle.states import statuses_of
from gridiron.manager.api import Component, Health
from gridiron.manager.health import HealthChecker
from gridiron.manager.metrics.exporter import Exporter
from gridiron.manager.metrics.families import MOST_BUILDS, MOST_NAMES, REST, collect
from gridiron.manager.metrics.meters import Durations, Meters
from gridiron.manager.metrics.recent import STALE, Recent
from gridiron.manager.metrics.seen import ClusterSeen, Seen
from gridiron.manager.sweep import _attempt
from gridiron.model import Build
from gridiron.process.disk import Disk
from gridiron.workers.status import (
    BackendCounts,
    BuildTraffic,
    PoolQuarantined,
    PoolStatus,
    PoolTraffic,
    ProxyCounts,
)
from gridiron.workers.traffic import MOST_BUILDS as MOST_BUILDS_OF_TRAFFIC
from tests.unit.manager.conftest import Clock, Manager, make_cell
from tests.values import NOW, make_build, make_observation, make_registration

ROOT = Path(__file__).parents[3]
NOTHING = Seen(now=NOW, meters=Meters(), sweep_seconds=30, versions={})

Values = dict[tuple[str, ...], float]


def families(seen: Seen) -> dict[str, Metric]:
    return {metric.name: metric for metric in collect(seen)}


def values(metrics: Iterable[Metric], name: str) -> Values:
    """The samples of one name, by the values of their labels in the order of these."""
    return {
        tuple(sample.labels.values()): sample.value
        for metric in metrics
        for sample in metric.samples
        if sample.name == name
    }


def make_traffic(path: str) -> BuildTraffic:
    return BuildTraffic(
        path=path, in_flight=2, outcomes={"ok": 3, "cut": 1}, durations=(1, 2, 0, 0, 0, 0, 0, 1), seconds=70
    )


def test_what_a_pool_says_of_its_cells() -> None:
    pool = PoolStatus(
        size=4,
        cells=(make_cell("cell-1"), make_cell("cell-2", serving=False), make_cell("cell-3", own="/demo/1-1")),
        quarantined=(PoolQuarantined(path="/demo/1-1", since=NOW, reason="hung", cell="cell-3"),),
        restarts={"hung": 3, "order": 2},
    )
    seen = list(collect(replace(NOTHING, pool=pool)))
    assert values(seen, "gridiron_cells_wanted") == {(): 4}
    assert values(seen, "gridiron_cells_serving") == {("shared",): 1, ("quarantine",): 1}
    for name, value in (("memory_bytes", 7000), ("memory_limit_bytes", 9000), ("loaded_builds", 3)):
        assert values(seen, f"gridiron_cell_{name}") == {(f"cell-{number}",): value for number in (1, 2, 3)}
    reasons = (
        "died",
        "killed",
        "hung",
        "memory_exhausted",
        "memory",
        "evictions",
        "empty",
        "config",
        "order",
    )
    none = {(reason,): 0.0 for reason in reasons}  # all of them, so that a first one is seen to be a rise
    assert values(seen, "gridiron_cell_restarts_total") == {**none, ("hung",): 3, ("order",): 2}
    assert values(seen, "gridiron_builds_quarantined") == {**none, ("hung",): 1}


def test_what_went_through_the_data_plane() -> None:
    backend = BackendCounts(queued=1, retries=2, redispatches=3, connect_errors=4, response_errors=5)
    proxy = ProxyCounts(
        connections=1,
        connections_limit=99,
        requests=7,
        invalid=2,
        denied=3,
        responses={"2xx": 7},
        backends={"cells": backend},
    )
    traffic = PoolTraffic(
        builds=(make_traffic("/my-app/1.0-2-5"), make_traffic("")),
        refused={"build_not_found": 6},
        evictions=8,
        proxy=proxy,
    )
    seen = list(collect(replace(NOTHING, traffic=traffic)))
    build = ("my-app", "my-app-1.0-2-5")
    assert values(seen, "gridiron_build_requests_total") == {
        (*key, outcome): count for key in (build, (REST, REST)) for outcome, count in (("ok", 3), ("cut", 1))
    }
    assert values(seen, "gridiron_build_requests_in_flight") == {build: 2, (REST, REST): 2}
    buckets = values(seen, "gridiron_build_request_duration_seconds_bucket")
    bounds = {"0.005": 1, "0.025": 3, "0.1": 3, "0.5": 3, "2.5": 3, "10.0": 3, "60.0": 3, "+Inf": 4}
    assert {key[2]: count for key, count in buckets.items() if key[:2] == build} == bounds
    assert values(seen, "gridiron_build_request_duration_seconds_sum")[build] == 70
    assert values(seen, "gridiron_requests_refused_total") == {("build_not_found",): 6}
    assert values(seen, "gridiron_cell_evictions_total") == {(): 8}
    assert values(seen, "gridiron_proxy_requests_total") == {(): 7}
    assert values(seen, "gridiron_proxy_redispatches_total") == {("cells",): 3}


def test_the_node() -> None:
    looked: dict[str, Any] = {"required": True, "since": NOW, "age_seconds": 0.5}
    health = Health(
        ready=False,
        reason="restate admin: no answer",
        since=NOW,
        components=(
            Component(name="haproxy", ready=True, reason="", **looked),
            Component(name="restate admin", ready=False, reason="no answer", **looked),
        ),
    )
    seen = list(
        collect(
            replace(
                NOTHING,
                health=health,
                versions={"workerd": "1.2"},
                disks={"bundles": Disk(total=10, free=4, files_free=None)},
                seen_at={"pool": datetime(1970, 1, 1, 0, 1, tzinfo=UTC)},
            )
        )
    )
    assert values(seen, "gridiron_component_ready") == {("haproxy",): 1, ("restate admin",): 0}
    assert values(seen, "gridiron_version_info") == {("workerd", "1.2"): 1}
    assert values(seen, "gridiron_disk_free_bytes") == {("bundles",): 4}
    assert values(seen, "gridiron_last_seen_timestamp_seconds") == {("pool",): 60}


def see(builds: tuple[Build, ...], active: Build, busy: int = 1) -> Seen:
    """A look at builds that all offer one service, which is newest at one of them; each has invocations."""
    registrations = tuple(
        replace(
            make_registration(build.address, f"dp_{build.build_id}", f"service-{build.name}"),
            created_at=NOW + timedelta(seconds=build.timestamp),
        )
        for build in builds
    )
    seen = make_observation(
        builds,
        registrations=registrations,
        newest={f"service-{build.name}": f"dp_{active.build_id}" for build in builds},
        demand={each.deployment_id: Demand(pinned=busy, attempting=2 * busy) for each in registrations},
    )
    assert isinstance(seen.inventory, Inventory)
    now = NOW + timedelta(seconds=5000)
    statuses = statuses_of(seen.inventory, seen)
    draining_at = track_draining(statuses, registrations, {}, now)
    return replace(NOTHING, now=now, statuses=statuses, draining_at=draining_at)


def test_builds() -> None:
    first, second = make_build("1", 1000), make_build("2", 4000)
    seen = list(collect(see((first, second), active=second)))
    assert values(seen, "gridiron_builds") == {("demo", "draining"): 1, ("demo", "active"): 1}
    assert values(seen, "gridiron_build_invocations") == {
        ("demo", build.build_id, tie): count
        for build in (first, second)
        for tie, count in (("pinned", 1), ("attempting", 2))
    }
    assert values(seen, "gridiron_build_drain_seconds") == {("demo", first.build_id): 1000}


def test_many_builds_make_few_series_in_little_time() -> None:
    builds = tuple(make_build("1", 1000 + number, f"name-{number // 2}") for number in range(1000))
    traffic = tuple(make_traffic(build.address.path) for build in builds[:MOST_BUILDS_OF_TRAFFIC])
    whole = replace(see(builds, active=builds[-1]), traffic=PoolTraffic(builds=(*traffic, make_traffic(""))))
    began = time.process_time()
    seen = list(collect(whole))
    assert time.process_time() - began < 1  # it takes 10 ms, and blocks the manager meanwhile
    by_name = values(seen, "gridiron_builds")
    assert len({name for name, _ in by_name}) == MOST_NAMES + 1
    assert sum(by_name.values()) == 1000
    assert ("name-499", "active") in by_name  # of the newest build
    invocations = values(seen, "gridiron_build_invocations")
    assert len(invocations) == 2 * (MOST_BUILDS + 1)
    assert sum(invocations.values()) == 3 * 1000
    assert len(values(seen, "gridiron_build_drain_seconds")) == MOST_BUILDS
    assert sum(len(metric.samples) for metric in seen) < 3000


def test_a_build_that_is_gone_is_not_told_of() -> None:
    build = make_build("1", 1000)
    traffic = PoolTraffic(builds=tuple(make_traffic(path) for path in (build.address.path, "/demo/0-1", "")))
    for seen, paths in (
        (see((build,), active=build), {build.build_id, REST}),
        (NOTHING, {build.build_id, "demo-0-1", REST}),  # which builds there are is unknown
    ):
        told = values(collect(replace(seen, traffic=traffic)), "gridiron_build_requests_in_flight")
        assert {build_id for _, build_id in told} == paths


def test_what_is_unknown_is_left_out() -> None:
    told = families(NOTHING)
    assert not {
        name for name in told if name.startswith(("gridiron_build", "gridiron_cell", "gridiron_proxy"))
    }
    assert "gridiron_component_ready" not in told
    assert "gridiron_activations" in told


def test_a_duration_is_counted_once() -> None:
    durations = Durations((0.1, 1.0))
    for seconds in (0.1, 0.5, 1.0, 7.0):
        durations.add(seconds)
    assert (durations.counts, durations.seconds) == ([1, 2, 1], 8.6)


async def test_a_reading_is_given_until_it_is_too_old_or_failed() -> None:
    clock, failing = Clock(), False

    async def read() -> int:
        if failing:
            raise WorkersUnavailable("the pool", "gone")
        return 7

    recent = Recent(read, clock)
    assert recent.last is None
    await recent.renew()
    clock.now += STALE
    assert recent.last is not None
    assert recent.last.value == 7
    clock.now += timedelta(seconds=1)
    assert recent.last is None
    clock.now -= STALE
    failing = True
    await recent.renew()
    assert recent.last is None


async def fetch(client: httpx2.AsyncClient) -> list[Metric]:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    return list(text_string_to_metric_families(answer.text))


async def test_what_the_manager_does_is_counted(manager: Manager, tmp_path: Path) -> None:
    async with manager.serve() as client:
        first = await manager.activate("1")
        await manager.activate("2")
        with pytest.raises(ActivationFailed):
            await manager.activate_source((tmp_path / "nowhere").as_uri(), "3")
        await client.post("/rollback", json={"name": "demo", "build_id": first.build_id})
        await client.put("/secrets/other/A", json={"value": "x"})
        await client.get("/deployments/nothing-1-1")
        await client.get("/made/up")
        await client.request("BREW", "/deployments")
        told = await fetch(client)
    activations = {key: n for key, n in values(told, "gridiron_activations_total").items() if n}
    assert activations == {
        ("deploy", "activated"): 2,
        ("deploy", "failed"): 1,
        ("rollback", "activated"): 1,
        ("secret", "kept"): 1,
    }
    steps = values(told, "gridiron_activation_step_duration_seconds_count")
    assert steps == {
        ("stage",): 4,
        ("check",): 2,  # a rollback has none
        **{(step,): 3 for step in ("store", "discover", "compare", "register")},
    }
    assert values(told, "gridiron_activation_duration_seconds_count") == {(): 3}
    errors = {key: n for key, n in values(told, "gridiron_errors_total").items() if n}
    assert errors == {("build_not_found",): 1, ("path_not_found",): 1, ("method_not_allowed",): 1}
    assert values(told, "gridiron_http_requests_total") == {
        ("POST", "/rollback", "201"): 1,
        ("PUT", "/secrets/{name}/{key}", "200"): 1,
        ("GET", "/deployments/{build_id}", "404"): 1,
        ("GET", REST, "404"): 1,
        (REST, "/deployments", "405"): 1,
    }


async def test_what_the_loop_does_is_counted(manager: Manager) -> None:
    async def fail() -> None:
        raise WorkersUnavailable("the workers", "on purpose")

    await manager.activate("1")
    await manager.activate("2")
    await _attempt(manager.context, "config", fail)
    await _attempt(manager.context, "builds", manager.loop.sweep)
    manager.clock.now += timedelta(hours=1)
    await _attempt(manager.context, "builds", manager.loop.sweep)
    async with manager.serve() as client:
        told = await fetch(client)
    rounds = values(told, "gridiron_loop_rounds_total")
    assert rounds == {("failed", "config"): 1, ("done", "builds"): 2}
    succeeded = values(told, "gridiron_loop_last_success_timestamp_seconds")
    assert succeeded == {("builds",): manager.clock.now.timestamp()}
    assert values(told, "gridiron_loop_duration_seconds_count") == {("config",): 1, ("builds",): 2}
    assert values(told, "gridiron_errors_total")["workers_unavailable",] == 1
    done = {key: n for key, n in values(told, "gridiron_actions_total").items() if n}
    assert done == {("remove", "done"): 1}
    seen_at = values(told, "gridiron_last_seen_timestamp_seconds")
    assert seen_at["registrations",] == manager.clock.now.timestamp()


async def test_workers_that_do_not_run_are_left_out(manager: Manager) -> None:
    async def fetch_nothing() -> PoolStatus:
        return PoolStatus()  # which is what nobody's answer is read as

    manager.cells.fetch_pool = fetch_nothing  # type: ignore[method-assign]
    exporter = Exporter(manager.context, manager.observer, HealthChecker(()), versions={})
    await exporter.look()
    content, _ = exporter.render("")
    assert b"gridiron_cell" not in content


async def test_openmetrics_is_given_where_it_is_asked_for(manager: Manager) -> None:
    async with manager.serve() as client:
        plain = await client.get("/metrics")
        asked = await client.get(
            "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
        )
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert asked.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert asked.text.endswith("# EOF\n")


def test_what_a_node_of_a_cluster_tells_is_on_the_page() -> None:
    cluster = ClusterSeen(
        state="drained",
        changes={"drain": 2, "take_back": 1},
        drain_seconds=8.5,
        members={"alive": 2, "down": 1},
        partitions_led=0,
    )
    told = families(replace(NOTHING, cluster=cluster))
    ours = {name: metric for name, metric in told.items() if name.startswith("gridiron_cluster_")}
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in ours.values()
        for sample in metric.samples
    }
    assert samples == {
        ("gridiron_cluster_node_state", "active"): 0,
        ("gridiron_cluster_node_state", "drained"): 1,
        ("gridiron_cluster_node_state", "drained_by_operator"): 0,
        ("gridiron_cluster_node_state", "unknown"): 0,
        ("gridiron_cluster_node_changes_total", "drain"): 2,
        ("gridiron_cluster_node_changes_total", "take_back"): 1,
        ("gridiron_cluster_node_drain_seconds",): 8.5,
        ("gridiron_cluster_members", "alive"): 2,
        ("gridiron_cluster_members", "down"): 1,
        ("gridiron_cluster_partitions_led",): 0,
    }
    page = (ROOT / "docs/metrics.md").read_text()
    documented = set(re.findall(r"^\| `(gridiron_cluster_\w+)` \|", page, re.MULTILINE))
    assert documented == {name for name, *_ in samples}


def test_what_is_not_known_of_a_cluster_is_left_out() -> None:
    cluster = ClusterSeen("unknown", {}, None, {}, None)
    told = families(replace(NOTHING, cluster=cluster))
    assert "gridiron_cluster_partitions_led" not in told
    assert "gridiron_cluster_node_drain_seconds" not in told
    assert told["gridiron_cluster_members"].samples == []
