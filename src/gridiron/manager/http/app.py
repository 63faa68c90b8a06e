"""The routes of the manager."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import FastAPI, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime

import gridiron
from gridiron.manager.activate import Activator
from gridiron.manager.api import (
    EVENTS_MEDIA_TYPE,
    Activated,
    ActivateRequest,
    DeploymentList,
    DeploymentView,
    Health,
    LogList,
    NodeStatus,
    PruneOutcome,
    PruneRequest,
    PutSecretRequest,
    Released,
    Restarted,
    RollbackRequest,
    SecretChanged,
    SecretList,
    SecretView,
    Uploaded,
)
from gridiron.manager.cluster_control import ClusterControl
from gridiron.manager.context import Context
from gridiron.manager.deployments import Deployments
from gridiron.manager.health import HealthChecker
from gridiron.manager.http.access import add_audit, add_tokens
from gridiron.manager.http.bodies import LimitedBodies
from gridiron.manager.http.cluster import add_cluster
from gridiron.manager.http.description import add_description
from gridiron.manager.http.events import follow
from gridiron.manager.http.guard import Act, Acting, Guard, GuardedRoute
from gridiron.manager.http.metered import MeteredRequests
from gridiron.manager.http.problems import add_problem_handlers, describe_problems
from gridiron.manager.http.request_ids import RequestIds
from gridiron.manager.http.uploads import receive
from gridiron.manager.logs import Logs, render_news
from gridiron.manager.loop import Loop
from gridiron.manager.metrics.exporter import Exporter
from gridiron.manager.node_status import NodeReader
from gridiron.manager.secrets import Change
from gridiron.manager.steps import Report, report_nothing
from gridiron.model import State, check_name, redact_url
from gridiron.secrets.rules import check_key, check_value
from gridiron.secrets.store import SecretStore
from gridiron.workers.cells import CellsPort
from gridiron.workers.logs import Level, Wanted
from gridiron.workers.status import PoolStatus

DESCRIPTION = (
    "Deploys bundles into a Gridiron node, shows what runs, removes what is drained. "
    "Every failure is `application/problem+json` with a stable `code`."
)


NOT_KEPT = {"cache-control": "no-store"}
"""Of answers that hold for this moment only."""


@dataclass(frozen=True, slots=True)
class Control:
    """The parts of the control plane that requests reach."""

    activator: Activator
    loop: Loop
    deployments: Deployments
    logs: Logs
    node: NodeReader
    guard: Guard  # which they come past
    cluster: ClusterControl | None = None  # None: the node is alone


def make_app(
    context: Context, control: Control, health: HealthChecker, exporter: Exporter, tasks: asyncio.TaskGroup
) -> FastAPI:
    """Make the application out of the parts that do the work; `tasks` has what outlives its request."""
    app = FastAPI(
        title="Gridiron manager",
        version=gridiron.__version__,
        description=DESCRIPTION,
        openapi_url=None,  # it needs a token, as the rest does: see `add_description`
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a path that there is not is an error, and errors are problems
    )
    app.router.route_class = GuardedRoute
    app.state.guard = control.guard
    add_description(app)
    add_problem_handlers(app, context.meters.errors)
    app.add_middleware(LimitedBodies)
    app.add_middleware(MeteredRequests, meters=context.meters)
    app.add_middleware(RequestIds)  # the outermost is added last
    _add_commands(app, context, control, tasks)
    _add_bundles(app, context)
    _add_reads(app, control.deployments)
    _add_secrets(app, control.activator, context.secrets)
    _add_logs(app, control.logs)
    _add_workers(app, control.deployments, context.cells)
    _add_node(app, control.node)
    add_cluster(app, control.cluster, health)
    _add_metrics(app, exporter)
    _add_health(app, health)
    add_tokens(app, control.guard)
    add_audit(app, control.guard.audit)
    return app


def _add_commands(app: FastAPI, context: Context, control: Control, tasks: asyncio.TaskGroup) -> None:
    activator = control.activator

    @app.post(
        "/activate",
        status_code=201,
        summary="Deploy a bundle",
        response_model=Activated,
        responses={
            200: {
                "model": Activated,
                "description": "The same content is active already, or a dry run. Or events, where `Accept` "
                "asks for them: `progress` (`Progress`), and in the end `activated` (`Activated`) or "
                "`problem` (`Problem`).",
                "content": {EVENTS_MEDIA_TYPE: {"schema": {"type": "string"}}},
            },
            **describe_problems(409, 422, 500, 502, 503),
        },
    )
    async def activate(
        request: ActivateRequest, response: Response, act: Acting, accept: Annotated[str, Header()] = ""
    ) -> Activated | Response:
        act.check(request.name)

        async def run(report: Report) -> Activated:
            change = act.change(
                name=request.name,
                version=request.version,
                source=redact_url(request.source),
                breaking=_yes(request.breaking),
                takeover=_yes(request.takeover),
                dry_run=_yes(request.dry_run),
            )
            async with change as about:
                activated = await activator.activate(request, act.caller, report)
                about["build_id"] = activated.build_id
                return activated

        if EVENTS_MEDIA_TYPE in accept:
            events = follow(run, context.meters.errors, tasks)
            return StreamingResponse(events, media_type=EVENTS_MEDIA_TYPE)
        activated = await run(report_nothing)
        if activated.outcome != "activated":
            response.status_code = 200
        return activated

    @app.post(
        "/rollback",
        status_code=201,
        summary="Make an earlier build's code active again",
        responses={
            200: {"model": Activated, "description": "That content is active already."},
            **describe_problems(404, 409, 422, 500, 502, 503),
        },
    )
    async def rollback(request: RollbackRequest, response: Response, act: Acting) -> Activated:
        act.check(request.name)
        async with act.change(name=request.name, to=request.build_id) as about:
            activated = await activator.rollback(request)
            about["build_id"] = activated.build_id
        if activated.outcome != "activated":
            response.status_code = 200
        return activated

    @app.post(
        "/prune",
        summary="Remove one build, or all that are drained",
        responses=describe_problems(404, 409, 422, 500, 502, 503),
    )
    async def prune(request: PruneRequest, act: Acting) -> PruneOutcome:
        if request.build_id is None:
            act.caller.check_deploy_all()
        else:
            await _check_build(act, control.deployments, request.build_id)
        change = act.change(
            build_id=request.build_id or "all that are drained",
            force=_yes(request.force),
            dry_run=_yes(request.dry_run),
        )
        async with change as about:
            outcome = await control.loop.prune(request)
            if outcome.pruned and not outcome.dry_run:
                about["pruned"] = " ".join(pruned.build_id for pruned in outcome.pruned)
            return outcome


def _yes(flag: bool) -> str | None:  # noqa: FBT001 - the flag is all of it
    return "yes" if flag else None


def _add_bundles(app: FastAPI, context: Context) -> None:
    @app.put(
        "/bundles/{sha256}",
        status_code=201,
        summary="Send an archive, to be activated",
        description="The body is a `.tar.gz` or `.zip`. It is kept for an hour.",
        responses={
            200: {"model": Uploaded, "description": "It was here already."},
            **describe_problems(422, 500, 503),
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def upload(
        sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="Of the body.")],
        request: Request,
        response: Response,
        act: Acting,
    ) -> Uploaded:
        async with act.change(sha256=sha256), context.admission.upload():
            if not await receive(request, context.intake, sha256):
                response.status_code = 200
        return Uploaded(sha256=sha256, source=f"bundle:{sha256}")


def _add_reads(app: FastAPI, deployments: Deployments) -> None:
    @app.get(
        "/deployments",
        summary="List builds",
        response_model=DeploymentList,
        responses=describe_problems(422, 500),
    )
    async def list_deployments(
        name: Annotated[str | None, Query(description="Only builds of this name.")] = None,
        state: Annotated[State | None, Query(description="Only builds in this state.")] = None,
        cursor: Annotated[
            str | None, Query(pattern="^[0-9]{1,20}$", description="`next` of the page before.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="Builds on a page.")] = 100,
    ) -> Response:
        page = await deployments.fetch_page(name, state, cursor, limit)
        return Response(page.model_dump_json(), media_type="application/json")  # a long page is checked once

    @app.get("/deployments/{build_id}", summary="Show one build", responses=describe_problems(404, 500))
    async def show_deployment(build_id: str) -> DeploymentView:
        return await deployments.fetch(build_id)


def _add_secrets(app: FastAPI, activator: Activator, secrets: SecretStore) -> None:
    problems = describe_problems(404, 409, 422, 500, 502, 503)

    @app.get(
        "/secrets/{name}",
        summary="List the secrets of a name, without values",
        responses=describe_problems(422, 500, 502, 503),
    )
    async def list_secrets(name: str) -> SecretList:
        times = await asyncio.to_thread(secrets.fetch_times, name)
        views = tuple(SecretView(key=key, set_at=set_at) for key, set_at in times.items())
        return SecretList(name=name, secrets=views)

    @app.put("/secrets/{name}/{key}", summary="Set a secret, and renew the active build", responses=problems)
    async def put_secret(name: str, key: str, request: PutSecretRequest, act: Acting) -> SecretChanged:
        act.check(name)
        change = Change(check_name(name), check_key(key), check_value(request.value.get_secret_value()))
        async with act.change(name=name, key=key):
            return await activator.change_secret(change)

    @app.delete(
        "/secrets/{name}/{key}", summary="Remove a secret, and renew the active build", responses=problems
    )
    async def delete_secret(name: str, key: str, act: Acting) -> SecretChanged:
        act.check(name)
        change = Change(check_name(name), check_key(key), None)
        async with act.change(name=name, key=key):
            return await activator.change_secret(change)


def _add_logs(app: FastAPI, logs: Logs) -> None:
    @app.get(
        "/deployments/{build_id}/logs",
        summary="Read, or follow, what a build prints",
        response_model=LogList,
        responses={
            200: {
                "description": "What is kept. With `follow`: server-sent events, each a `LogEvent`, until "
                "the build is retired or gone; then one of the type `end`, a `LogEnd`.",
                "content": {EVENTS_MEDIA_TYPE: {"schema": {"type": "string"}}},
            },
            **describe_problems(404, 422, 500),
        },
    )
    async def show_logs(
        *,
        build_id: str,
        follow: Annotated[bool, Query(description="Go on with what is printed from now on.")] = False,
        level: Annotated[Level, Query(description="Only this and what is graver.")] = "debug",
        since: Annotated[AwareDatetime | None, Query(description="Only what is not older.")] = None,
        limit: Annotated[int, Query(ge=0, le=10_000, description="The newest so many.")] = 1000,
    ) -> LogList | StreamingResponse:
        wanted = Wanted(level, since)
        if not follow:
            return await logs.fetch(build_id, wanted, limit)
        followed = await logs.follow(build_id, wanted, limit)

        async def stream() -> AsyncIterator[str]:
            async for news in followed:
                yield render_news(news)

        return StreamingResponse(stream(), media_type=EVENTS_MEDIA_TYPE, headers=NOT_KEPT)


def _add_workers(app: FastAPI, deployments: Deployments, cells: CellsPort) -> None:
    @app.get("/workers", summary="Show the cells", responses=describe_problems(503))
    async def show_workers() -> PoolStatus:
        return await cells.fetch_pool()

    @app.post(
        "/workers/restart", summary="Replace every cell, losing no call", responses=describe_problems(503)
    )
    async def restart_workers(act: Acting) -> Restarted:
        async with act.change():
            return Restarted(cells=await cells.restart())

    @app.post(
        "/deployments/{build_id}/release",
        summary="Take a build out of quarantine",
        responses=describe_problems(404, 500, 503),
    )
    async def release(build_id: str, act: Acting) -> Released:
        await _check_build(act, deployments, build_id)
        async with act.change(build_id=build_id):
            return await deployments.release(build_id)


async def _check_build(act: Act, deployments: Deployments, build_id: str) -> None:
    """Raise ScopeMissing unless a build is the caller's to change, or BuildNotFound."""
    if not act.caller.is_admin:  # else nobody has to look
        act.check(await deployments.fetch_name(build_id))


def _add_node(app: FastAPI, node: NodeReader) -> None:
    @app.get("/node", summary="Show the node: versions, ports, its disk, settings that wait")
    async def show_node() -> NodeStatus:
        return await node.fetch()


def _add_metrics(app: FastAPI, exporter: Exporter) -> None:
    media_types: dict[str, Any] = {"text/plain": {}, "application/openmetrics-text": {}}

    @app.get(
        "/metrics",
        summary="Metrics, in Prometheus' text format or in that of OpenMetrics",
        response_class=Response,
        responses={200: {"content": media_types, "description": "The metrics. What is unknown is left out."}},
    )
    async def metrics(accept: Annotated[str, Header()] = "") -> Response:
        content, media_type = exporter.render(accept)
        return Response(content, headers={"content-type": media_type})


def _add_health(app: FastAPI, health: HealthChecker) -> None:
    """Add what probes ask. HEAD is answered as GET is: some load balancers send nothing else."""

    @app.head("/health/live", include_in_schema=False)
    @app.get("/health/live", summary="Is the process alive?")
    async def live(response: Response) -> dict[str, str]:
        response.headers.update(NOT_KEPT)
        return {"status": "alive"}

    @app.head("/health/ready", include_in_schema=False)
    @app.get(
        "/health/ready",
        summary="Is every component usable?",
        description="Answers from what was last seen of each component, once a second.",
        responses={503: {"model": Health, "description": "One of them is not; it says why."}},
    )
    async def ready(response: Response) -> Health:
        response.headers.update(NOT_KEPT)
        seen = health.read()
        if not seen.ready:
            response.status_code = 503
        return seen
