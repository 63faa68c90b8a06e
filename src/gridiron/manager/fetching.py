"""The socket at which the cells of this node ask for a build that its disk lacks. Each is fetched once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gridiron.errors import BuildNotFound, GridironError, ManagerStopping, StorageFailed
from gridiron.manager.api import MAX_BUILD_ID
from gridiron.manager.http.problems import ProblemResponse, render_problem
from gridiron.model import Address
from gridiron.process.serving import InnerServer
from gridiron.workers.sockets import ensure_own_dir

log = structlog.get_logger()

Ensure = Callable[[Address], Awaitable[bool]]
"""Sees to it that a build lies in the bundle directory, whole. True: it does now; False: there is no build.

It is asked as well where a file of the build is missing or is not what was stored, so that it has to compare
what is there with the digests. It ends by itself, and raises GridironError where the build cannot be had now.
"""

FETCHES = 4
"""Builds that are fetched at once: each may be 64 MiB, and the manager has other work."""

CONNECTIONS = 256
"""At once. A cell has one for each build that it waits for; more are answered 503."""

END_LIMIT_SECONDS = 1
"""How long answers may take at the end; those that wait for a build are given one then."""


async def serve_fetching(path: Path, ensure: Ensure) -> None:
    """Answer on a socket until cancelled; it is gone then, and nothing is being fetched any more.

    Its directory, which is made where it is missing, says who may use it. A socket that a crash has left is
    replaced. Raises StorageFailed where there can be none.
    """
    fetching = Fetching(ensure)
    config = uvicorn.Config(
        make_fetching_app(fetching),
        http="h11",
        headers=[("connection", "close")],  # a question is rare; none shall meet a connection that just ends
        limit_concurrency=CONNECTIONS,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=END_LIMIT_SECONDS,
    )
    server = InnerServer(config)
    with _listening(path) as listener:
        try:
            await server.serve([listener])
        finally:
            await fetching.stop()
            if server.started:
                await server.shutdown([listener])


class Fetching:
    """Fetches builds: a few at once, and each once for all who ask for it meanwhile."""

    def __init__(self, ensure: Ensure) -> None:
        self._ensure = ensure
        self._turns = asyncio.Semaphore(FETCHES)
        self._under_way: dict[Address, asyncio.Task[bool | GridironError]] = {}
        self._stopped = False

    async def __call__(self, address: Address) -> bool:
        """Say whether a build is there now; False where there is none.

        Who gives up leaves it to the others, and to those who come again. Raises what `ensure` raised,
        ManagerStopping where it was stopped.
        """
        if self._stopped:
            raise ManagerStopping
        if address not in self._under_way:
            fetch = asyncio.create_task(self._fetch(address), name=f"fetch {address}")
            self._under_way[address] = fetch
            fetch.add_done_callback(lambda _: self._under_way.pop(address))
        fetch = self._under_way[address]
        await asyncio.wait({fetch})
        if fetch.cancelled():
            raise ManagerStopping
        outcome = fetch.result()
        if isinstance(outcome, GridironError):
            raise outcome
        return outcome

    async def stop(self) -> None:
        """Break off what is being fetched, and begin nothing more. Safe to repeat."""
        self._stopped = True
        fetches = tuple(self._under_way.values())
        for fetch in fetches:
            fetch.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)  # whoever waits for one is told how it ended

    async def _fetch(self, address: Address) -> bool | GridironError:
        async with self._turns:
            try:
                return await self._ensure(address)
            except GridironError as error:  # told to all who wait, and here: perhaps nobody does any more
                log.warning("build.not_fetched", build_id=str(address), code=error.code, reason=str(error))
                return error


def make_fetching_app(fetching: Fetching) -> Starlette:
    """Make the application.

    POST /builds/{name}/{version}-{timestamp}    200 when the build is there, 404 where there is none,
                                                 503 where it cannot be had now

    All but 200 are problems. What is no address is the address of no build.
    """

    async def fetch(request: Request) -> Response:
        path = f"/{request.path_params['path']}"
        address = Address.parse_path(path) if len(path) <= MAX_BUILD_ID else None
        if address is None or not await fetching(address):
            return ProblemResponse(render_problem(BuildNotFound(path.removeprefix("/"))))
        return Response()

    async def fail(_request: Request, error: Exception) -> Response:
        if not isinstance(error, GridironError):  # registered for GridironError only
            raise error
        # whatever it is: the build may be there, so that this must not be taken for a 404
        return ProblemResponse(render_problem(error).model_copy(update={"status": 503}))

    return Starlette(
        routes=[Route("/builds/{path:path}", fetch, methods=["POST"])],
        exception_handlers={GridironError: fail},
    )


@contextlib.contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    """Make a socket, and remove it in the end. Nobody is accepted before its mode is right."""
    ensure_own_dir(path.parent)
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            path.unlink(missing_ok=True)
            listener.bind(str(path))
            path.chmod(0o666)
        except OSError as error:
            raise StorageFailed("Making", str(path), error.strerror or str(error)) from error
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)
