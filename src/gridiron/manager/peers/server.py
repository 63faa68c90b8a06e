"""What a manager answers to those of the cluster's other nodes: what its own node alone has and does."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, Query
from fastapi.responses import StreamingResponse

from gridiron.errors import BuildNotFound, StorageFailed
from gridiron.manager.api import Guarding, LogList
from gridiron.manager.health import HealthChecker
from gridiron.manager.http.bodies import LimitedBodies
from gridiron.manager.http.problems import add_problem_handlers
from gridiron.manager.http.request_ids import RequestIds
from gridiron.manager.node_status import NodeReader
from gridiron.manager.own_logs import OwnLogs, Printed
from gridiron.manager.peers.api import NEWS_MEDIA_TYPE, Copied, LogNews, LogQuery, NodeBuilds, NodeHealth
from gridiron.manager.peers.builds import CELLS_LIMIT, OwnBuilds
from gridiron.manager.peers.guard import PeerGuard, PeerRoute
from gridiron.model import Address
from gridiron.workers.logs import Wanted


@dataclass(frozen=True, slots=True)
class OwnNode:
    """What other nodes reach of this one."""

    builds: OwnBuilds
    logs: OwnLogs
    node: NodeReader
    health: HealthChecker
    fetch_guarding: Callable[[], Guarding | None] = lambda: None


def make_peer_app(own: OwnNode, guard: PeerGuard, errors: Counter[str]) -> FastAPI:
    """Make the application; `errors` counts the codes of the problems that it answers."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.router.route_class = PeerRoute
    app.state.guard = guard
    add_problem_handlers(app, errors)
    app.add_middleware(LimitedBodies)
    app.add_middleware(RequestIds)
    _add_builds(app, own.builds)
    _add_logs(app, own.logs)
    _add_node(app, own)
    return app


async def _find_address(name: str, rest: str) -> Address:
    """Read the address of a build out of a path that ends like one. Raises BuildNotFound."""
    address = Address.parse_path(f"/{name}/{rest}")
    if address is None:
        raise BuildNotFound(f"{name}-{rest}")
    return address


def _add_builds(app: FastAPI, builds: OwnBuilds) -> None:
    @app.get("/builds")
    async def show_builds() -> NodeBuilds:
        return await builds.fetch(CELLS_LIMIT)

    @app.post("/builds/{name}/{rest}/copy")
    async def copy_build(
        address: Annotated[Address, Depends(_find_address)], after: BackgroundTasks
    ) -> Copied:
        after.add_task(builds.load, address)
        return await builds.copy(address)


def _add_logs(app: FastAPI, logs: OwnLogs) -> None:
    """Serve what was printed here. The build may be gone: who asks has looked."""

    @app.get("/builds/{name}/{rest}/logs", response_model=LogList)
    async def show_logs(
        address: Annotated[Address, Depends(_find_address)], asked: Annotated[LogQuery, Query()]
    ) -> LogList | StreamingResponse:
        wanted = Wanted(asked.level, asked.since)
        if not asked.follow:
            return await logs.fetch(address.path, wanted, asked.limit)
        printed = logs.follow(address.path, wanted, asked.limit, asked.place)
        return StreamingResponse(_render(printed), media_type=NEWS_MEDIA_TYPE)


async def _render(following: AsyncGenerator[Printed, None]) -> AsyncIterator[str]:
    """Write what is printed, each look as a line of JSON."""
    try:
        async with aclosing(following) as looks:
            async for printed in looks:
                yield _line(LogNews(events=printed.events, place=dict(printed.place)))
    except StorageFailed as error:
        yield _line(LogNews(problem=str(error)))


def _line(news: LogNews) -> str:
    return f"{news.model_dump_json()}\n"


def _add_node(app: FastAPI, own: OwnNode) -> None:
    @app.get("/node")
    async def show_node() -> NodeHealth:
        status = await own.node.fetch()
        return NodeHealth(status=status, health=own.health.read(), guarding=own.fetch_guarding())
