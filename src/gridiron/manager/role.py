"""The manager as a process: the HTTP API and the sweep, until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import httpx2
import structlog
from fastapi import FastAPI

import gridiron
from gridiron.access.audit import AuditLog
from gridiron.access.note import Note, leave_note, take_note_back
from gridiron.access.restraint import Rates
from gridiron.access.tls import Certificate, plan_trust
from gridiron.access.tokens import ADMIN_FILE
from gridiron.bundles.intake import Intake, Policy
from gridiron.bundles.store import BundleStore
from gridiron.egress import is_loopback
from gridiron.errors import BucketRefused, BucketUnavailable, PortTaken
from gridiron.manager.activate import Activator
from gridiron.manager.admission import Admission
from gridiron.manager.apply import ConfigApplier
from gridiron.manager.cluster_control import make_cluster_control
from gridiron.manager.context import Context
from gridiron.manager.deployments import Deployments
from gridiron.manager.execute import Executor
from gridiron.manager.fetching import serve_fetching
from gridiron.manager.health import HealthChecker
from gridiron.manager.http.app import Control, make_app
from gridiron.manager.http.connections import raise_file_limit
from gridiron.manager.http.guard import Guard
from gridiron.manager.http.serving import Server, make_config
from gridiron.manager.logs import Logs
from gridiron.manager.looks import CELLS, PROXY, judge_workers, looking
from gridiron.manager.loop import Loop
from gridiron.manager.metrics.exporter import Exporter
from gridiron.manager.node_status import NodeReader
from gridiron.manager.observe import Observer
from gridiron.manager.peers.builds import OwnBuilds
from gridiron.manager.peers.client import Peers
from gridiron.manager.peers.running import opened_peers, serving_peers
from gridiron.manager.peers.server import OwnNode
from gridiron.manager.peers.spread import spread
from gridiron.manager.registry import Registry
from gridiron.manager.reload import reload_forever
from gridiron.manager.stopping import CUT_LIMIT, INTAKE_LIMIT, end_in_time
from gridiron.manager.stores import make_secret_store, make_token_store
from gridiron.manager.sweep import Part, sweep_forever, watch_lag
from gridiron.manager.tokens import TokenWatch
from gridiron.manager.tolerate import tolerating
from gridiron.manager.traces import NoTracer, Tracer
from gridiron.manager.turns import Turns
from gridiron.membership import check_membership, keep_membership
from gridiron.process.lock import lock_directory
from gridiron.restate.admin import RestateAdmin, Starts
from gridiron.restate.incarnation import NodePort
from gridiron.settings import Settings, local_host, user_data_dir
from gridiron.toolchain.programs import fetch_versions, find_toolchain
from gridiron.workers.cells import Cells
from gridiron.workers.sockets import fetch_socket

if TYPE_CHECKING:
    from gridiron.manager.copies import Copies
    from gridiron.manager.mesh import Mesh

log = structlog.get_logger()

SETTLE_INTERVAL = timedelta(seconds=1)
"""Between two attempts to see what is half done, where a cluster's bucket is away."""

BUNDLES_LOCK = ".lock"
"""In the bundle directory, where it is no build."""

AUDIT_FILE = "audit.jsonl"
"""In the manager's state directory."""

NOT_ENCRYPTED = (
    "Tokens and secrets go over the network as they are, unless something before the manager speaks TLS: "
    "set GRIDIRON_TLS_CERT and GRIDIRON_TLS_KEY, or GRIDIRON_MANAGER_HOST to loopback."
)


async def run_manager(load: Callable[[], Settings]) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP has it `load` its settings anew.

    Raises DirectoryInUse when another manager has the state directory or the bundle directory,
    BundlesElsewhere when the bundle directory is another than before, SecretKeyInvalid, TokensUnreadable,
    CertificateInvalid, ClusterTableMissing, StorageFailed, SettingsInvalid; in a cluster ClusterKeyDiffers,
    ClusterNotGrown, and BucketUnavailable when this node was never part of it.
    """
    hung_up = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up.set)  # before they are read
    settings = load()
    check_membership(settings, settings.manager_state_dir)
    raise_file_limit()
    mesh = await asyncio.to_thread(_make_mesh, settings)
    verify = plan_trust(settings.restate_admin_url, settings.fabric_url, settings.workers_url)
    with lock_directory(settings.manager_state_dir), lock_directory(settings.bundles_dir, BUNDLES_LOCK):
        async with (
            httpx2.AsyncClient(trust_env=False, verify=verify) as client,
            RestateAdmin(settings.restate_admin_url, client, _starts_of(settings, mesh, client)) as restate,
        ):
            store = BundleStore(settings.bundles_dir) if mesh is None else mesh.store
            intake = Intake(store, Policy.of(settings))
            context = Context(
                settings=settings,
                store=store,
                intake=intake,
                admission=Admission(intake),
                restate=restate,
                cells=Cells(settings.run_dir, settings.workers_url, client),
                registry=Registry(settings.manager_state_dir / "state.json"),
                secrets=make_secret_store(settings, mesh.safe if mesh else None),
                tracer=_make_tracer(settings),
                mesh=mesh,
            )
            await asyncio.to_thread(context.secrets.prepare)
            identity = await asyncio.to_thread(store.prepare, context.registry.store)
            # not before: where this node was alone and has not grown, it goes on so
            await asyncio.to_thread(keep_membership, settings, settings.manager_state_dir)
            with tolerating("registry.not_written"):
                context.registry.bind(identity)
            try:
                async with opened_peers(context) as peers:
                    await _serve(context, load, hung_up, peers)
            finally:
                await asyncio.to_thread(context.tracer.close)


def _make_mesh(settings: Settings) -> Mesh | None:
    if settings.cluster is None:
        return None
    from gridiron.manager.mesh import Mesh  # noqa: PLC0415 - costs a node that is alone memory and time

    return Mesh(settings, settings.cluster, find_toolchain(settings))


def _starts_of(settings: Settings, mesh: Mesh | None, client: httpx2.AsyncClient) -> Starts:
    return NodePort(settings.fabric_url, client) if mesh is None else mesh.restate


def _make_tracer(settings: Settings) -> Tracer:
    if settings.traces_endpoint is None:
        return NoTracer()
    from gridiron.manager.otlp import OtlpTracer  # noqa: PLC0415 - costs who has no use for it memory and time

    return OtlpTracer(settings.traces_endpoint, settings.node_name)


async def _serve(
    context: Context, load: Callable[[], Settings], hung_up: asyncio.Event, peers: Peers | None
) -> None:
    mesh, observer = context.mesh, Observer(context)
    turns = Turns() if mesh is None else Turns(mesh.take_turn)
    executor = Executor(context, observer, turns)
    loop = Loop(context, observer, executor)
    activator = Activator(context, observer, executor, turns, loop)
    logs = Logs(context, observer, peers)
    if peers is not None:
        context.spread = partial(spread, peers)
    settings = context.settings
    toolchain = find_toolchain(settings)
    node = NodeReader(context, toolchain, load)
    guard = await asyncio.to_thread(_make_guard, context)
    deployments = Deployments(context, observer, peers)
    control = Control(activator, loop, deployments, logs, node, guard, make_cluster_control(context, peers))
    applier = ConfigApplier(settings, toolchain)
    programs = await asyncio.to_thread(fetch_versions, toolchain)
    versions = {
        "gridiron": gridiron.__version__,
        **{name: found for name, found in programs.items() if found},
    }
    certificate = await asyncio.to_thread(_load_certificate, settings)
    if mesh is None:
        await activator.settle()
    gc.collect()
    gc.freeze()  # what was imported stays for good; looking through it again took milliseconds of a request
    wake = asyncio.Event()
    parts: list[Part] = [
        ("config", applier.apply),
        ("builds", loop.sweep),
        ("uploads", lambda: asyncio.to_thread(context.intake.uploads.remove_old)),
    ]
    copies = None if mesh is None else mesh.copies(observer)
    if copies is not None:
        parts.append(("copies", copies.tend))
    async with looking(context, loop) as looks, _cancelled_at_end() as tasks:
        health = HealthChecker(looks)
        tasks.create_task(health.watch(), name="health")
        sweeping = sweep_forever(context, parts, wake)
        tasks.create_task(sweeping if mesh is None else _settle_before(sweeping, activator), name="sweep")
        if mesh is not None and copies is not None:
            _take_part(tasks, mesh, copies, guard, settings)
            guarding = mesh.guardian.watch(lambda: judge_workers(health.find(PROXY), health.find(CELLS)))
            tasks.create_task(guarding, name="guard the node")
        tasks.create_task(watch_lag(context.meters.lag), name="watch lag")
        tasks.create_task(reload_forever(context, load, hung_up, wake), name="reload")
        if certificate is not None:
            tasks.create_task(certificate.watch(), name="watch certificate")
        exporter = Exporter(context, observer, health, versions)
        exporter.keep_looking(tasks)
        own = OwnNode(
            OwnBuilds(context), logs.own, node, health, lambda: mesh.guardian.state if mesh else None
        )
        async with _ended_in_time() as (activations, limit), serving_peers(context, own) as stop_peers:
            app = make_app(context, control, health, exporter, activations)
            context.tracer.connect(app)
            stops = (end_in_time, health.stop, logs.close, limit, stop_peers)
            await _listen(_make_server(app, settings, certificate), context, stops)


def _take_part(
    tasks: asyncio.TaskGroup, mesh: Mesh, copies: Copies, guard: Guard, settings: Settings
) -> None:
    """Begin what a node does in its cluster, beside sweeping."""
    tasks.create_task(mesh.found(), name="found the cluster")
    tasks.create_task(mesh.members.watch(), name="watch members")
    fetching = serve_fetching(fetch_socket(settings.run_dir), copies.ensure)
    tasks.create_task(fetching, name="fetch builds")
    tokens = TokenWatch(guard.tokens)
    guard.look = tokens.look
    tasks.create_task(tokens.watch(), name="watch tokens")


async def _settle_before(sweeping: Coroutine[None, None, None], activator: Activator) -> None:
    """Sweep, once it is known what a manager before this one has left half done: the bucket may be away."""
    while True:
        try:
            await activator.settle()
            break
        except (BucketUnavailable, BucketRefused) as error:
            log.warning("manager.not_settled", code=error.code, reason=str(error))
            await asyncio.sleep(SETTLE_INTERVAL.total_seconds())
    await sweeping


def _make_guard(context: Context) -> Guard:
    settings = context.settings
    tokens = make_token_store(settings, context.mesh.safe if context.mesh else None)
    tokens.prepare(context.now())
    return Guard(
        tokens=tokens,
        audit=AuditLog(settings.manager_state_dir / AUDIT_FILE),
        rates=Rates(settings.request_rate, settings.request_burst),
        open_loopback=settings.open_loopback,
        now=context.now,
    )


def _load_certificate(settings: Settings) -> Certificate | None:
    """Read what the manager shows to clients; warn of what goes over a network as it is."""
    if settings.tls_cert is not None and settings.tls_key is not None:
        return Certificate(settings.tls_cert, settings.tls_key)
    if not is_loopback(settings.manager_host):
        log.warning("access.not_encrypted", host=settings.manager_host, advice=NOT_ENCRYPTED)
    return None


@asynccontextmanager
async def _cancelled_at_end() -> AsyncIterator[asyncio.TaskGroup]:
    """Make a group of tasks that are cancelled at the end of the block."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
            _end()
    except* _Ended:
        pass


@asynccontextmanager
async def _ended_in_time() -> AsyncIterator[tuple[asyncio.TaskGroup, Callable[[], None]]]:
    """Make a group of tasks that may end by themselves after the block, and what sets them a limit."""
    try:
        async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as tasks:
            yield (
                tasks,
                lambda: limit.reschedule(asyncio.get_running_loop().time() + CUT_LIMIT.total_seconds()),
            )
    except TimeoutError:
        log.warning("activations.cut")


class _Ended(Exception):
    pass


def _end() -> None:
    raise _Ended


def _make_server(app: FastAPI, settings: Settings, certificate: Certificate | None) -> Server:
    port = settings.ports.manager

    def tell() -> None:
        leave_note(user_data_dir(), port, _note_of(settings))
        log.info("manager.ready", port=port)

    context = None if certificate is None else certificate.context
    return Server(make_config(app, settings.manager_host, port, context), tell)


def _note_of(settings: Settings) -> Note:
    """Say to clients on this machine where the manager is, and its admin's token."""
    host = local_host(settings.manager_host)
    return Note(
        url=f"{'http' if settings.tls_cert is None else 'https'}://{host}:{settings.ports.manager}",
        token_file=settings.manager_state_dir / ADMIN_FILE,
        certificate=settings.tls_cert,
    )


async def _listen(server: Server, context: Context, stops: Iterable[Callable[[], None]]) -> None:
    """Serve the HTTP API until SIGTERM or SIGINT, see gridiron.manager.stopping. Raises PortTaken."""
    settings = context.settings
    events = asyncio.get_running_loop()

    def stop() -> None:
        for each in stops:
            each()
        events.call_later(INTAKE_LIMIT.total_seconds(), context.intake.stop)
        server.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        events.add_signal_handler(number, stop)
    try:
        await server.serve()
        log.info("manager.stopped")
    except SystemExit as error:  # uvicorn's way to say that it cannot listen
        raise PortTaken(settings.ports.manager, "the manager", "MANAGER_PORT") from error
    finally:
        take_note_back(user_data_dir(), settings.ports.manager, _note_of(settings))
