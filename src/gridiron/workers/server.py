"""The pool's socket: what it says of itself, and the orders that it takes. Only this user reaches it."""

from __future__ import annotations

from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gridiron.errors import GridironError
from gridiron.process.serving import InnerServer
from gridiron.workers.pool import Pool
from gridiron.workers.sockets import POOL_SOCKET
from gridiron.workers.status import PoolCell, PoolQuarantined, PoolStatus
from gridiron.workers.watchdog import Reason


async def serve_pool(pool: Pool, run_dir: Path) -> None:
    """Answer on the pool's socket until cancelled; it is gone then."""
    config = uvicorn.Config(
        make_pool_app(pool),
        uds=str(run_dir / POOL_SOCKET),
        log_config=None,
        access_log=False,
        lifespan="off",
    )
    try:
        await InnerServer(config).serve()
    finally:
        (run_dir / POOL_SOCKET).unlink(missing_ok=True)


def make_pool_app(pool: Pool) -> Starlette:
    """Make the application.

    GET /                            PoolStatus
    GET /traffic                     PoolTraffic
    POST /restart                    {"cells": how many were replaced}, when all are
    POST /logs/{key}                 {"silent": [cells that do not answer]}, when the log of a build has all
    DELETE /quarantine/{key}         {"released": whether it was in quarantine}

    A failure is answered with 500, its code and its sentence.
    """

    async def status(_request: Request) -> JSONResponse:
        return JSONResponse(render_status(pool).model_dump(mode="json"))

    async def traffic(_request: Request) -> JSONResponse:
        return JSONResponse(pool.traffic.render(await pool.fetch_proxy()).model_dump(mode="json"))

    async def restart(_request: Request) -> JSONResponse:
        return JSONResponse({"cells": await pool.replace_cells(Reason.ORDER)})

    async def collect(request: Request) -> JSONResponse:
        return JSONResponse({"silent": await pool.collect_log(request.path_params["key"])})

    async def release(request: Request) -> JSONResponse:
        return JSONResponse({"released": await pool.release(request.path_params["key"])})

    async def fail(_request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, GridironError):  # registered for GridironError only
            raise error
        return JSONResponse({"code": error.code, "detail": str(error)}, status_code=500)

    return Starlette(
        routes=[
            Route("/", status, methods=["GET"]),
            Route("/traffic", traffic, methods=["GET"]),
            Route("/restart", restart, methods=["POST"]),
            Route("/logs/{key:path}", collect, methods=["POST"]),
            Route("/quarantine/{key:path}", release, methods=["DELETE"]),
        ],
        exception_handlers={GridironError: fail},
    )


def render_status(pool: Pool) -> PoolStatus:
    """Say how a pool is."""
    own = {cell.purpose.own: cell.name for cell in pool.cells if pool.is_serving(cell)}
    return PoolStatus(
        size=pool.size,
        cells=tuple(
            PoolCell(
                cell=cell.name,
                pid=cell.pid,
                serving=pool.is_serving(cell),
                own=None if cell.purpose.own is None else f"/{cell.purpose.own}",
                own_in_flight=cell.loaded.get(f"/{cell.purpose.own}", {}).get("in_flight"),
                uptime_seconds=cell.uptime.total_seconds(),
                memory=cell.memory,
                memory_limit=cell.purpose.limits.memory,
                loaded=len(cell.loaded),
            )
            for cell in pool.cells
        ),
        quarantined=tuple(
            PoolQuarantined(path=f"/{key}", since=entry.since, reason=entry.reason, cell=own.get(key))
            for key, entry in pool.quarantine.builds.items()
        ),
        restarts={reason.value: count for reason, count in pool.restarts.items()},
    )
