"""The families of metrics, and how each is made of what was seen: pure functions.

Each label has a bounded number of values: builds and names beyond a limit are summed up under `REST`, which
is no name of a build.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from gridiron.errors import GridironError
from gridiron.lifecycle.states import BuildStatus
from gridiron.manager.metrics.meters import Durations, Meters
from gridiron.manager.metrics.seen import ClusterSeen, Seen
from gridiron.model import State
from gridiron.workers.status import BackendCounts, PoolStatus, PoolTraffic, ProxyCounts
from gridiron.workers.traffic import BOUNDS, OTHER
from gridiron.workers.watchdog import Reason

REST = "_other"

MOST_NAMES = 200
"""Names that are told apart: those with the newest builds."""

MOST_BUILDS = 100
"""Builds that are told apart, of those in use: the newest by their invocations, the oldest by their drain."""

Samples = Mapping[Any, float]
"""The values of one family, by a tuple of those of its labels."""

ACTIVATIONS = ("deploy", "rollback", "secret")
ACTIVATION_OUTCOMES = ("activated", "unchanged", "dry_run", "kept", "failed")
GUARD_STATES = ("active", "drained", "drained_by_operator", "unknown")
CHANGES = ("drain", "take_back")
ACTIONS = ("register", "settle", "remove", "unload")
ACTION_OUTCOMES = ("done", "not_needed", "failed")


def collect(seen: Seen) -> Iterator[Metric]:
    """Give every family that something is known of."""
    yield from _about_node(seen)
    if seen.statuses is not None:
        yield from _about_builds(seen, seen.statuses)
    yield from _about_work(seen.meters)
    yield from _about_loop(seen)
    if seen.cluster is not None:
        yield from _about_cluster(seen.cluster)
    if seen.pool is not None:
        yield from _about_cells(seen.pool)
    if seen.traffic is not None:
        yield from _about_traffic(seen.traffic, seen.statuses)
        if seen.traffic.proxy is not None:
            yield from _about_proxy(seen.traffic.proxy)


def _about_node(seen: Seen) -> Iterator[Metric]:
    versions = InfoMetricFamily("gridiron_version", "The program of a component, as it is on disk.")
    for component, version in seen.versions.items():
        versions.add_metric((), {"component": component, "version": version})
    yield versions
    yield _gauge(
        "gridiron_last_seen_timestamp_seconds",
        "When a part of what is told here was last read.",
        ("part",),
        {(part,): at.timestamp() for part, at in seen.seen_at.items()},
    )
    if seen.health is not None:
        yield _gauge(
            "gridiron_component_ready",
            "Whether a component is usable.",
            ("component",),
            {(component.name,): float(component.ready) for component in seen.health.components},
        )
    yield _gauge(
        "gridiron_disk_size_bytes",
        "How large the disk is that a directory lies on.",
        ("directory",),
        {(directory,): disk.total for directory, disk in seen.disks.items()},
    )
    yield _gauge(
        "gridiron_disk_free_bytes",
        "How much room is left on the disk that a directory lies on.",
        ("directory",),
        {(directory,): disk.free for directory, disk in seen.disks.items()},
    )


def _about_builds(seen: Seen, statuses: Collection[BuildStatus]) -> Iterator[Metric]:
    names = _newest_names(statuses)
    states: Counter[tuple[str, ...]] = Counter()
    for status in statuses:
        name = _name_of(status)
        states[name if name in names else REST, status.state.value] += 1
    yield _gauge(
        "gridiron_builds", "Builds, by the state that they were last seen in.", ("name", "state"), states
    )
    labels = ("name", "build_id")
    yield _gauge(
        "gridiron_build_invocations",
        "Invocations that are not completed, by what ties them to a build.",
        (*labels, "tie"),
        _invocations(statuses),
    )
    starts = {
        status.build_id: seen.draining_at[status.build_id]
        for status in statuses
        if status.state is State.DRAINING and status.build_id in seen.draining_at
    }
    oldest = sorted(starts, key=lambda build_id: starts[build_id])[:MOST_BUILDS]
    named = {status.build_id: _name_of(status) for status in statuses}
    yield _gauge(
        "gridiron_build_drain_seconds",
        "For how long a draining build has been so.",
        labels,
        {(named[each], each): (seen.now - starts[each]).total_seconds() for each in oldest},
    )


def _invocations(statuses: Collection[BuildStatus]) -> Samples:
    in_use = [
        status for status in statuses if status.state in {State.ACTIVE, State.DRAINING} and status.demand
    ]
    in_use.sort(key=lambda status: status.timestamp, reverse=True)
    samples: Counter[tuple[str, ...]] = Counter()
    for place, status in enumerate(in_use):
        build = (_name_of(status), status.build_id) if place < MOST_BUILDS else (REST, REST)
        if status.demand is not None:
            samples[*build, "pinned"] += status.demand.pinned
            samples[*build, "attempting"] += status.demand.attempting
    return samples


def _about_work(meters: Meters) -> Iterator[Metric]:
    yield _counter(
        "gridiron_activations",
        "Activations that have ended.",
        ("kind", "outcome"),
        _complete(meters.activations, ACTIVATIONS, ACTIVATION_OUTCOMES),
    )
    yield _histogram(
        "gridiron_activation_duration_seconds",
        "Of activations that made a build active.",
        (),
        {(): meters.activation_seconds},
    )
    yield _histogram(
        "gridiron_activation_step_duration_seconds",
        "Of the steps of activations.",
        ("step",),
        _by_one(meters.step_seconds),
    )
    yield _counter(
        "gridiron_actions",
        "What the loop or a prune did to builds.",
        ("action", "outcome"),
        _complete(meters.actions, ACTIONS, ACTION_OUTCOMES),
    )
    yield _counter(
        "gridiron_errors",
        "Failures that a request was answered with, or that the sweep met.",
        ("code",),
        {(code,): float(meters.errors[code]) for code in sorted({*_codes(GridironError), *meters.errors})},
    )
    yield _counter(
        "gridiron_http_requests",
        "Requests that the manager has answered.",
        ("method", "route", "status"),
        {(method, route, str(status)): count for (method, route, status), count in meters.requests.items()},
    )
    yield _histogram(
        "gridiron_http_request_duration_seconds",
        "Of the requests to the manager, to the end of the answer.",
        ("route",),
        _by_one(meters.request_seconds),
    )


def _about_loop(seen: Seen) -> Iterator[Metric]:
    meters = seen.meters
    yield _gauge("gridiron_loop_interval_seconds", "Between two rounds.", (), {(): seen.sweep_seconds})
    yield _counter("gridiron_loop_rounds", "Rounds of the loop.", ("part", "outcome"), meters.rounds)
    yield _histogram(
        "gridiron_loop_duration_seconds", "Of the rounds.", ("part",), _by_one(meters.round_seconds)
    )
    yield _gauge(
        "gridiron_loop_last_success_timestamp_seconds",
        "When a round last ended without a failure.",
        ("part",),
        {(part,): at.timestamp() for part, at in meters.succeeded_at.items()},
    )
    yield _histogram(
        "gridiron_event_loop_lag_seconds",
        "How much later than it was due the manager came to do something.",
        (),
        {(): meters.lag},
    )


def _about_cluster(cluster: ClusterSeen) -> Iterator[Metric]:
    yield _gauge(
        "gridiron_cluster_node_state",
        "What this node is in its cluster.",
        ("state",),
        {(state,): float(state == cluster.state) for state in GUARD_STATES},
    )
    yield _counter(
        "gridiron_cluster_node_changes",
        "What the guardian of this node did to it.",
        ("change",),
        {(change,): cluster.changes.get(change, 0) for change in CHANGES},
    )
    if cluster.drain_seconds is not None:
        yield _gauge(
            "gridiron_cluster_node_drain_seconds",
            "For how long the guardian has this node drained, or had the last time.",
            (),
            {(): cluster.drain_seconds},
        )
    yield _gauge(
        "gridiron_cluster_members",
        "Nodes of the cluster, as this one sees them.",
        ("state",),
        {(state,): count for state, count in cluster.members.items()},
    )
    if cluster.partitions_led is not None:
        yield _gauge(
            "gridiron_cluster_partitions_led",
            "Partitions that this node leads.",
            (),
            {(): cluster.partitions_led},
        )


def _about_cells(pool: PoolStatus) -> Iterator[Metric]:
    yield _gauge("gridiron_cells_wanted", "Shared cells that there are to be.", (), {(): pool.size})
    serving = Counter("quarantine" if cell.own else "shared" for cell in pool.cells if cell.serving)
    yield _gauge(
        "gridiron_cells_serving",
        "Cells that requests are sent to.",
        ("kind",),
        {(kind,): serving[kind] for kind in ("shared", "quarantine")},
    )
    for what, text, value in (
        ("memory_bytes", "Resident memory of a cell.", "memory"),
        ("memory_limit_bytes", "Memory above which a cell is replaced.", "memory_limit"),
        ("loaded_builds", "Builds that a cell has loaded.", "loaded"),
    ):
        yield _gauge(
            f"gridiron_cell_{what}",
            text,
            ("cell",),
            {(each.cell,): getattr(each, value) for each in pool.cells},
        )
    yield _counter(
        "gridiron_cell_restarts",
        "Cells that were replaced since the workers started.",
        ("reason",),
        {(reason.value,): pool.restarts.get(reason, 0) for reason in Reason},
    )
    held = Counter(each.reason for each in pool.quarantined)
    yield _gauge(
        "gridiron_builds_quarantined",
        "Builds with a cell of their own, by how the last shared one ended.",
        ("reason",),
        {(reason.value,): held[reason] for reason in Reason},
    )


def _about_traffic(traffic: PoolTraffic, statuses: Collection[BuildStatus] | None) -> Iterator[Metric]:
    there = None if statuses is None else {OTHER, *(status.path for status in statuses)}
    builds = {_labels_of(each.path): each for each in traffic.builds if there is None or each.path in there}
    labels = ("name", "build_id")
    yield _counter(
        "gridiron_build_requests",
        "Requests to builds that have ended.",
        (*labels, "outcome"),
        {(*key, outcome): n for key, each in builds.items() for outcome, n in each.outcomes.items()},
    )
    yield _gauge(
        "gridiron_build_requests_in_flight",
        "Requests that builds are answering.",
        labels,
        {key: each.in_flight for key, each in builds.items()},
    )
    durations = HistogramMetricFamily(
        "gridiron_build_request_duration_seconds", "Of invocations' requests to builds.", labels=labels
    )
    for key, each in builds.items():
        durations.add_metric(key, _buckets(BOUNDS, each.durations), each.seconds)
    yield durations
    yield _counter(
        "gridiron_requests_refused",
        "Requests to the workers that no build has answered.",
        ("code",),
        {(code,): count for code, count in traffic.refused.items()},
    )
    yield _counter("gridiron_cell_evictions", "Builds that cells have unloaded.", (), {(): traffic.evictions})


def _about_proxy(proxy: ProxyCounts) -> Iterator[Metric]:
    yield _gauge("gridiron_proxy_connections", "Connections of clients.", (), {(): proxy.connections})
    yield _gauge(
        "gridiron_proxy_connections_limit",
        "Connections that HAProxy takes at most.",
        (),
        {(): proxy.connections_limit},
    )
    yield _counter("gridiron_proxy_requests", "Requests to HAProxy.", (), {(): proxy.requests})
    yield _counter("gridiron_proxy_requests_invalid", "Those that were none.", (), {(): proxy.invalid})
    yield _counter("gridiron_proxy_requests_denied", "Those that a rule refused.", (), {(): proxy.denied})
    yield _counter(
        "gridiron_proxy_responses",
        "Answers of HAProxy.",
        ("class",),
        {(kind,): count for kind, count in proxy.responses.items()},
    )

    def by_backend(value: Callable[[BackendCounts], int]) -> Samples:
        return {(name,): value(backend) for name, backend in proxy.backends.items()}

    label = ("backend",)
    yield _gauge(
        "gridiron_proxy_queued_requests",
        "Requests that wait for a cell.",
        label,
        by_backend(lambda each: each.queued),
    )
    yield _counter(
        "gridiron_proxy_retries",
        "Attempts to reach a cell once more.",
        label,
        by_backend(lambda each: each.retries),
    )
    yield _counter(
        "gridiron_proxy_redispatches",
        "Requests that another cell got than the one that they were meant for.",
        label,
        by_backend(lambda each: each.redispatches),
    )
    yield _counter(
        "gridiron_proxy_connect_errors",
        "Requests that reached no cell.",
        label,
        by_backend(lambda each: each.connect_errors),
    )
    yield _counter(
        "gridiron_proxy_response_errors",
        "Answers of cells that broke off, or were none.",
        label,
        by_backend(lambda each: each.response_errors),
    )


def _newest_names(statuses: Collection[BuildStatus]) -> frozenset[str]:
    newest: dict[str, int] = {}
    for status in statuses:
        name = _name_of(status)
        newest[name] = max(newest.get(name, 0), status.timestamp)
    return frozenset(sorted(newest, key=lambda name: newest[name], reverse=True)[:MOST_NAMES])


def _name_of(status: BuildStatus) -> str:
    return status.address.name if status.address else REST


def _labels_of(path: str) -> tuple[str, str]:
    """Give the name and the id of the build that is served at a path; an empty one stands for the rest."""
    name, _, version = path.removeprefix("/").partition("/")
    return (name, f"{name}-{version}") if path else (REST, REST)


def _codes(kind: type[GridironError]) -> Iterator[str]:
    if "code" in vars(kind):
        yield kind.code
    for narrower in kind.__subclasses__():
        yield from _codes(narrower)


def _complete(counts: Counter[tuple[str, str]], *values: tuple[str, ...]) -> Samples:
    """Give all that can be counted, so that a first one is seen to be a rise."""
    return {(one, other): float(counts[one, other]) for one in values[0] for other in values[1]}


def _by_one(durations: Mapping[str, Durations]) -> Mapping[tuple[str, ...], Durations]:
    return {(label,): each for label, each in durations.items()}


def _gauge(name: str, text: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    return _fill(GaugeMetricFamily(name, text, labels=labels), samples)


def _counter(name: str, text: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    return _fill(CounterMetricFamily(name, text, labels=labels), samples)


def _fill(family: GaugeMetricFamily | CounterMetricFamily, samples: Samples) -> Metric:
    for labels, value in samples.items():
        family.add_metric(labels, value)
    return family


def _histogram(
    name: str, text: str, labels: tuple[str, ...], durations: Mapping[tuple[str, ...], Durations]
) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, each in durations.items():
        family.add_metric(values, _buckets(each.bounds, each.counts), each.seconds)
    return family


def _buckets(bounds: tuple[float, ...], counts: Iterable[int]) -> list[tuple[str, float]]:
    """Give how many are up to each bound, as Prometheus has it."""
    names = [*map(str, bounds), "+Inf"]
    return list(zip(names, accumulate(counts), strict=True))
