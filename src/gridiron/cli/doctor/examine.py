"""The whole examination: what is looked at, and in which order it is told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2

from gridiron.cli.doctor.finding import Finding, failure, fine, warning
from gridiron.cli.doctor.machine import (
    ClockReading,
    check_clock,
    check_descriptors,
    check_disk,
    check_memory,
    fetch_now,
    read_disk,
    read_newest_build,
)
from gridiron.cli.doctor.places import check_place, check_shared_place, list_places, read_place
from gridiron.cli.doctor.ports import check_port, find_node, read_ports
from gridiron.cli.doctor.reach import Answer, check_component, check_ready, check_store, fetch_answer
from gridiron.cli.versions import ProgramVersion, fetch_versions
from gridiron.cli.warnings import find_open_ports
from gridiron.errors import ClusterTableMissing, SettingsInvalid, StorageFailed
from gridiron.manager.node_status import list_listeners
from gridiron.membership import check_membership, marked_directories
from gridiron.process.files import is_shared
from gridiron.settings import Settings
from gridiron.workers.config import descriptor_limit
from gridiron.workers.memory import fetch_machine_memory

FOR_PROJECTS = frozenset({"esbuild", "node"})
"""Programs that build projects; a node runs without them."""


def examine(load: Callable[[], Settings], config: Path) -> tuple[Finding, ...]:
    """Look at everything. `config` is the file that `load` reads, where it is there."""
    try:
        settings = load()
    except SettingsInvalid as error:
        mend = f"Mend {config}, the environment or the flag. The rest is looked at after that."
        return (failure("settings", str(error), mend),)
    where = str(config) if config.is_file() else f"defaults and the environment: there is no {config}"
    return (fine("settings", where), *_examine(settings))


def _examine(settings: Settings) -> Iterator[Finding]:
    node = find_node(settings)
    for name, program in fetch_versions(settings).programs.items():
        yield check_program(name, program)
    yield check_cluster(settings)
    yield from _examine_places(settings)
    yield check_memory(
        fetch_machine_memory(), settings.cells, settings.cell_memory_mib, len(os.sched_getaffinity(0))
    )
    yield check_descriptors(descriptor_limit())
    for port in read_ports(settings):
        yield check_port(port, node)
    for sentence in find_open_ports(list_listeners(settings)):
        yield warning("exposure", sentence, "Listen on 127.0.0.1, or put a firewall and TLS before it.")
    with httpx2.Client(trust_env=False) as client:
        yield from _examine_network(settings, client, runs=bool(node))


def _examine_places(settings: Settings) -> Iterator[Finding]:
    apart = _are_apart(settings)
    for place in list_places(settings):
        try:
            reading = read_place(place)
            yield check_shared_place(place, reading) if apart else check_place(place, reading, os.geteuid())
        except OSError as error:
            meaning = f"{place.path} cannot be looked at ({error.strerror})"
            yield failure(place.name, meaning, "Run this as the user who runs the node.")
    for disk in sorted({settings.data_dir, settings.bundles_dir}):
        try:
            yield check_disk(read_disk(disk), settings.source_mib)
        except OSError as error:
            yield failure("disk", f"{disk} does not say how full it is ({error.strerror})", "Mount it anew.")


def _are_apart(settings: Settings) -> bool:
    """Tell whether root looks at a node whose roles are users of their own."""
    try:
        return os.geteuid() == 0 and is_shared(settings.run_dir)
    except OSError:  # it is not there yet
        return False


def _examine_network(settings: Settings, client: httpx2.Client, *, runs: bool) -> Iterator[Finding]:
    restate: Answer | None = None
    if runs:
        restate = fetch_answer(client, f"{settings.restate_admin_url}/version")
        ingress = fetch_answer(client, f"{settings.ingress_urls[0]}/restate/health")
        yield check_component("restate admin", restate, "RESTATE_ADMIN_URL")
        yield check_component("restate ingress", ingress, "GRIDIRON_INGRESS_URL")
        yield check_ready(fetch_answer(client, f"{settings.manager_urls[0]}/health/ready"))
    else:
        yield fine("manager", "no node runs on these directories: what it talks to was not asked")
    newest = read_newest_build(settings.bundles_dir)
    yield check_clock(ClockReading(fetch_now(), newest, restate.clock if restate else None))
    if settings.s3_endpoint is not None:
        yield check_store(fetch_answer(client, settings.s3_endpoint, "HEAD"))


def check_cluster(settings: Settings) -> Finding:
    """Say whether the node is alone, and whether it may be."""
    name = "cluster"
    try:
        check_membership(settings, *marked_directories(settings))
    except ClusterTableMissing as error:
        belongs = f"{error.path} says that this is a node of {error.cluster} with the bucket {error.bucket}"
        mend = "Name its configuration in GRIDIRON_CONFIG, or give it an empty data_dir to be alone."
        return failure(name, f"{belongs}, and the settings have no table [cluster]", mend)
    except StorageFailed as error:
        meaning = f"{error.path} cannot be read ({error.reason})"
        return failure(name, meaning, "Run this as the user who runs the node.")
    if settings.cluster is None:
        return fine(name, "this node is alone")
    return fine(name, f"{settings.cluster.name} with the bucket {settings.cluster.bucket}")


def check_program(name: str, program: ProgramVersion) -> Finding:
    """Judge a program that Gridiron drives. Its problem says what mends it."""
    if program.problem is None:
        return fine(name, f"{program.version} at {program.path}")
    meaning, _, mend = program.problem.partition(". ")
    judge = warning if name in FOR_PROJECTS else failure
    return judge(name, meaning, mend)
