"""The workers as a process: the pool and its socket, until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TextIO

import structlog

from gridiron.errors import GridironError, StorageFailed
from gridiron.identity.store import IdentityStore
from gridiron.process.events import configure_logging, render_foreign
from gridiron.process.lines import LineWriter
from gridiron.process.lock import lock_directory
from gridiron.secrets.key import ensure_key, expect_key
from gridiron.settings import Settings
from gridiron.toolchain.programs import Toolchain
from gridiron.workers.cell import CellPlan, OnOutput
from gridiron.workers.collector import Collector
from gridiron.workers.config import descriptor_limit, ensure_config, haproxy_config_path
from gridiron.workers.log_files import open_logs
from gridiron.workers.memory import MEBIBYTE, fetch_machine_memory, plan_ceiling
from gridiron.workers.pool import Pool, PoolPlan
from gridiron.workers.proxy import ProxyPlan
from gridiron.workers.quarantine import QUARANTINE_FILE, Quarantine
from gridiron.workers.server import serve_pool
from gridiron.workers.sockets import ensure_run_dir, remove_sockets
from gridiron.workers.watchdog import Limits, Reason

log = structlog.get_logger()

QUARANTINE_PATIENCE = 15
"""How many times longer a quarantined build's cell may stay silent: nobody else waits for it."""


async def run_workers(settings: Settings, toolchain: Toolchain) -> None:
    """Run the data plane until SIGTERM or SIGINT; SIGHUP has it take up a changed configuration.

    Raises DirectoryInUse when another process runs it in the same directory, what a broken toolchain, setting
    or template raises, and what `Pool.run` does. Nothing is left running however this ends.
    """
    plan = plan_pool(settings, toolchain)
    ensure_run_dir(settings.run_dir)
    with lock_directory(settings.run_dir):
        remove_sockets(settings.run_dir)
        raise_descriptor_limit()
        _ensure_bundles_dir(settings)
        _ensure_secrets_dir(settings)  # nor without this directory
        IdentityStore.of(settings).prepare()  # nor without that one
        await asyncio.to_thread(ensure_config, settings, toolchain)
        quarantine = Quarantine(settings.workers_dir / QUARANTINE_FILE, settings.bundles_dir)
        quarantine.load()
        collector = Collector(open_logs(settings))
        pool = Pool(plan, quarantine, collector, make_printer(settings, sys.stdout))
        await _run_until_stopped(pool, collector, settings, toolchain)


def make_printer(settings: Settings, stream: TextIO) -> OnOutput:
    """Make what prints the lines of HAProxy and the cells: the console output of the builds, most of all."""
    writer = LineWriter(stream)
    if settings.log_format == "json":
        return lambda component, line: writer.write(render_foreign("workers", line, component))
    return lambda component, line: writer.write(f"{component} | {line}")


def plan_pool(settings: Settings, toolchain: Toolchain) -> PoolPlan:
    """Say what the settings ask for. Raises ToolMissing or ToolVersionWrong."""
    size = settings.cells or os.cpu_count() or 1
    hang = timedelta(seconds=settings.cell_hang_seconds)
    ceiling = settings.cell_memory_mib * MEBIBYTE or plan_ceiling(fetch_machine_memory(), size)
    own_ceiling = settings.quarantine_memory_mib * MEBIBYTE or ceiling
    idle = settings.idle_unload_seconds
    return PoolPlan(
        size=size,
        cell=CellPlan(toolchain.workerd().path, settings.workerd_config_path, settings.run_dir),
        proxy=ProxyPlan(toolchain.haproxy().path, haproxy_config_path(settings), settings.run_dir),
        limits=Limits(hang, ceiling, settings.cell_evictions),
        quarantine_limits=Limits(hang * QUARANTINE_PATIENCE, own_ceiling, settings.cell_evictions),
        idle_limit=timedelta(seconds=idle) if idle else None,
    )


def raise_descriptor_limit() -> None:
    """Let this process and its children have as many files open as the generated configuration counts on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < descriptor_limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptor_limit(), hard))


def _ensure_bundles_dir(settings: Settings) -> None:
    try:
        settings.bundles_dir.mkdir(parents=True, exist_ok=True)  # workerd does not start without it
    except OSError as error:
        raise StorageFailed("Making", str(settings.bundles_dir), error.strerror or str(error)) from error


async def _run_until_stopped(
    pool: Pool, collector: Collector, settings: Settings, toolchain: Toolchain
) -> None:
    ready, hung_up, stopping = asyncio.Event(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, hung_up.set)
    hung_up.set()  # what was written since the settings were read
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(pool.run(ready.set), name="pool"),
            group.create_task(serve_pool(pool, settings.run_dir), name="pool socket"),
            group.create_task(
                collector.tidy(settings.bundles_dir, settings.logs_mib * MEBIBYTE), name="tidy logs"
            ),
            group.create_task(
                _apply_changes(pool, ready, hung_up, lambda: _take_up(settings, toolchain)),
                name="apply changes",
            ),
        ]
        await stopping.wait()
        for task in tasks:
            task.cancel()
    log.info("workers.stopped")


def _take_up(settings: Settings, toolchain: Toolchain) -> None:
    """Go on with the live settings as they are written now. Raises what `ensure_config` does."""
    anew = settings.read_anew()
    configure_logging("workers", anew, sys.stderr)
    ensure_config(anew, toolchain)


async def _apply_changes(
    pool: Pool, ready: asyncio.Event, hung_up: asyncio.Event, take_up: Callable[[], None]
) -> None:
    """Render the configuration anew on each SIGHUP, and replace the cells that run another one.

    Somebody else may have rendered it before, so that nothing changes here: the cells' own digests tell. What
    goes wrong is logged, and the cells that there are go on with what they have.
    """
    await ready.wait()
    log.info("workers.ready")
    while True:
        await hung_up.wait()
        hung_up.clear()
        try:
            await asyncio.to_thread(take_up)
            await pool.replace_cells(Reason.CONFIG)
        except GridironError as error:
            log.error("config.not_applied", code=error.code, reason=str(error))  # noqa: TRY400 - it says it all


def _ensure_secrets_dir(settings: Settings) -> None:
    """Make the directory with the key; that of a cluster is the operator's, or the manager's, to bring."""
    if settings.cluster is None:
        ensure_key(settings.secrets_dir)
    else:
        expect_key(settings.secrets_dir)
