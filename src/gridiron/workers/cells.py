"""The cells of this node as the manager sees them, from another process: through their control sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx2
from pydantic import ValidationError

from gridiron.errors import StorageFailed, WorkersUnavailable
from gridiron.workers.control import ANSWER_LIMIT, ask_once
from gridiron.workers.sockets import POOL_SOCKET, control_socket, list_cells
from gridiron.workers.status import PoolCell, PoolStatus, PoolTraffic

V = TypeVar("V", PoolStatus, PoolTraffic)

DISCOVERY_TYPES = ", ".join(
    f"application/vnd.restate.endpointmanifest.v{version}+json" for version in (4, 3, 2, 1)
)
"""What Restate asks an endpoint for; an SDK that is asked for something else complains in its log."""
RESTART_LIMIT = timedelta(hours=1)
"""How long replacing all cells may take; each may drain for two minutes."""

NO_ANSWER = "no_answer"
"""The code of the problem that there was no whole answer in time: the build loads, and keeps it back."""


@dataclass(frozen=True, slots=True)
class LoadedBuild:
    """A build that a cell has loaded."""

    path: str  # as Address.path gives it
    in_flight: int  # requests that it is answering


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is no answer of a build."""

    status: int  # of HTTP: 404, 502 or 503; 504 for NO_ANSWER
    code: str  # of the router's problems, or NO_ANSWER
    detail: str


@dataclass(frozen=True, slots=True)
class ProblemAnswer:
    """What one cell says of a build."""

    known: bool  # it has met the build: loaded it, or tried to
    problem: Problem | None


class CellsPort(Protocol):
    """What the control plane asks of the data plane. Cells does it, and FakeCells of gridiron.testing.

    Every method raises WorkersUnavailable when it cannot be said how things are.
    """

    async def fetch_loaded(self) -> Mapping[str, tuple[LoadedBuild, ...]]:
        """Give the builds that each cell has loaded, by the cell's name; without cells, nothing."""

    async def unload(self, path: str) -> None:
        """Unload a build from every cell. Safe to repeat.

        What it goes on with has ended then, but for answers whose clients are still there. The next request
        for it loads it again, so nothing may send it any when this is called.
        """

    async def fetch_problem(self, path: str) -> Problem | None:
        """Ask why a build does not answer its discovery; None when it does answer, whatever it says."""

    async def collect_log(self, path: str) -> tuple[str, ...]:
        """Have what a build has printed until now written into its log; name the cells that do not answer.

        Nothing is loaded for this, and without a pool there is nothing to write. Of a build that prints more
        than anybody reads, some may be written later.
        """

    async def fetch_pool(self) -> PoolStatus:
        """Give what the pool says of its cells and of quarantined builds; without a pool, nothing."""

    async def fetch_traffic(self) -> PoolTraffic:
        """Give what the pool has counted since it started; without a pool, nothing."""

    async def release(self, path: str) -> bool:
        """Have a quarantined build served by the cells of all again; False when it was in no quarantine."""

    async def restart(self) -> int:
        """Replace every cell without losing a call; give how many there were, when all are replaced."""


class Cells:
    """The cells whose sockets lie in a directory. A socket that nobody listens on is no cell.

    `client` asks the workers' own URL, where only Restate may ask more than how they are; it stays the
    caller's to close.
    """

    def __init__(self, run_dir: Path, workers_url: str, client: httpx2.AsyncClient) -> None:
        self._run_dir = run_dir
        self._workers_url = workers_url.rstrip("/")
        self._client = client

    async def fetch_loaded(self) -> Mapping[str, tuple[LoadedBuild, ...]]:
        """Give the builds that each cell has loaded, by the cell's name; without cells, nothing.

        What the cell of a quarantined build is doing is what the pool saw last: it may hang for long. Raises
        WorkersUnavailable when another cell is there and does not answer.
        """
        own = await self._fetch_own()
        answers = await self._ask_shared(own, "GET", "/builds")
        shared = {cell: parse_builds(cell, answer) for cell, answer in answers.items()}
        return shared | {name: _describe_own(cell) for name, cell in own.items()}

    async def unload(self, path: str) -> None:
        """Unload a build from every cell, and end its quarantine.

        Safe to repeat. Raises WorkersUnavailable when a cell did not answer; the others have done it then.
        """
        await self._ask_pool("DELETE", f"/quarantine{path}")  # its own cell ends
        with suppress(
            WorkersUnavailable
        ):  # what it printed last goes with it, where nobody can write it down
            await self.collect_log(path)
        await self._ask_shared(await self._fetch_own(), "DELETE", f"/builds{path}")

    async def fetch_problem(self, path: str) -> Problem | None:
        """Ask why a build does not answer its discovery; None when it does answer, whatever it says.

        Takes up to twice `ANSWER_LIMIT`. Raises WorkersUnavailable when the workers do not answer.
        """
        limit = ANSWER_LIMIT.total_seconds()
        try:
            async with asyncio.timeout(limit):
                await self._check_proxy()
                problems = await self._fetch_problems(path)
        except TimeoutError:
            await self.fetch_loaded()  # where a cell is silent, it is not the build's fault
            return Problem(504, NO_ANSWER, f"it gave no whole answer within {limit:g} s")
        return None if None in problems else problems[0]

    async def _check_proxy(self) -> None:
        """Raise WorkersUnavailable where nothing that is sent to the workers' own URL reaches a cell."""
        try:
            response = await self._client.get(f"{self._workers_url}/-/health", timeout=None)
        except httpx2.TransportError as error:
            reason = str(error) or type(error).__name__
            raise WorkersUnavailable(self._workers_url, reason) from error
        if response.status_code != 200:
            raise WorkersUnavailable(self._workers_url, f"HTTP {response.status_code}")

    async def _fetch_problems(self, path: str) -> list[Problem | None]:
        """Ask the cells that have met a build for its problem, or one cell where none has."""
        pool_cells = (await self.fetch_pool()).cells
        own = [cell.cell for cell in pool_cells if cell.own == path]
        others = {cell.cell for cell in pool_cells if cell.own is not None}
        names = own or [name for name in await self._list_cells() if name not in others]
        asking = (self._ask_problem(name, path, known_only=True) for name in names)
        asked = await asyncio.gather(*asking)
        there = [name for name, answer in zip(names, asked, strict=True) if answer is not None]
        met = [answer for answer in asked if answer is not None and answer.known]
        if not met and there and (answer := await self._ask_problem(there[0], path)) is not None:
            met = [answer]
        if not met:
            raise WorkersUnavailable(str(self._run_dir), "no cell is there")
        return [answer.problem for answer in met]

    async def _ask_problem(self, cell: str, path: str, *, known_only: bool = False) -> ProblemAnswer | None:
        """Ask a cell for the problem of a build; None when it is not there (any more)."""
        limit = 2 * ANSWER_LIMIT  # the one that waits for all of this comes first
        body = {"accept": DISCOVERY_TYPES, "known_only": known_only}
        socket = self._run_dir / control_socket(cell)
        answer = await ask_once(socket, "POST", f"/problems{path}", limit, body)
        return None if answer is None else parse_problem(cell, answer)

    async def collect_log(self, path: str) -> tuple[str, ...]:
        """Have what a build has printed until now written into its log; name the cells that do not answer.

        Safe to repeat. Raises WorkersUnavailable when the pool is there and does not answer.
        """
        answer = await self._ask_pool("POST", f"/logs{path}")
        return () if answer is None else tuple(str(cell) for cell in answer["silent"])

    async def fetch_pool(self) -> PoolStatus:
        """Give what the pool says of its cells and of quarantined builds; nothing of either without a pool.

        Raises WorkersUnavailable when it is there and does not answer.
        """
        return await self._read_pool("/", PoolStatus)

    async def fetch_traffic(self) -> PoolTraffic:
        """Give what the pool has counted since it started; nothing without one.

        Raises WorkersUnavailable when it is there and does not answer.
        """
        return await self._read_pool("/traffic", PoolTraffic)

    async def release(self, path: str) -> bool:
        """Have a quarantined build served by the cells of all again; False when it was in no quarantine.

        Safe to repeat. Raises WorkersUnavailable, also when there is no pool.
        """
        answer = await self._ask_pool("DELETE", f"/quarantine{path}")
        return bool(self._check_pool(answer)["released"])

    async def restart(self) -> int:
        """Replace every cell without losing a call; give how many there were, when all are replaced.

        That takes as long as the streams in them do, up to two minutes a cell. Raises WorkersUnavailable.
        """
        return int(self._check_pool(await self._ask_pool("POST", "/restart", RESTART_LIMIT))["cells"])

    async def _read_pool(self, path: str, kind: type[V]) -> V:
        answer = await self._ask_pool("GET", path)
        try:
            return kind() if answer is None else kind.model_validate(answer)
        except ValidationError as error:
            raise WorkersUnavailable(POOL_SOCKET, f"it answered {answer!r:.200}") from error

    async def _ask_pool(
        self, method: str, path: str, limit: timedelta = ANSWER_LIMIT
    ) -> dict[str, Any] | None:
        return await ask_once(self._run_dir / POOL_SOCKET, method, path, limit)

    def _check_pool(self, answer: dict[str, Any] | None) -> dict[str, Any]:
        if answer is None:
            raise WorkersUnavailable(str(self._run_dir / POOL_SOCKET), "nobody listens there")
        return answer

    async def _fetch_own(self) -> dict[str, PoolCell]:
        """Give the cells of quarantined builds, by name: none of them ever has another build loaded."""
        return {cell.cell: cell for cell in (await self.fetch_pool()).cells if cell.own is not None}

    async def _ask_shared(self, own: Collection[str], method: str, path: str) -> dict[str, dict[str, Any]]:
        """Ask every cell but some, side by side; raise the first failure when all have been asked."""
        names = [name for name in await self._list_cells() if name not in own]
        sockets = [self._run_dir / control_socket(name) for name in names]
        answers = await asyncio.gather(
            *(ask_once(socket, method, path) for socket in sockets), return_exceptions=True
        )
        given: dict[str, dict[str, Any]] = {}
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            if answer is not None:
                given[name] = answer
        return given

    async def _list_cells(self) -> list[str]:
        try:
            return await asyncio.to_thread(list_cells, self._run_dir)
        except StorageFailed as error:
            raise WorkersUnavailable(str(self._run_dir), error.reason) from error


def _describe_own(cell: PoolCell) -> tuple[LoadedBuild, ...]:
    """Say what the cell of a quarantined build has loaded: that build or nothing."""
    if cell.own is None or cell.own_in_flight is None:
        return ()
    return (LoadedBuild(cell.own, cell.own_in_flight),)


def parse_builds(cell: str, answer: Mapping[str, Any]) -> tuple[LoadedBuild, ...]:
    """Read a cell's answer to `GET /builds`. Raises WorkersUnavailable when it is none."""
    try:
        return tuple(LoadedBuild(str(each["path"]), int(each["in_flight"])) for each in answer["builds"])
    except (KeyError, TypeError, ValueError) as error:
        raise WorkersUnavailable(cell, f"it answered {answer!r:.200}") from error


def parse_problem(cell: str, answer: Mapping[str, Any]) -> ProblemAnswer:
    """Read a cell's answer to `POST /problems/…`. Raises WorkersUnavailable when it is none."""
    try:
        body = answer["problem"]
        problem = None if body is None else Problem(body["status"], body["code"], body["detail"])
        return ProblemAnswer(bool(answer["known"]), problem)
    except (KeyError, TypeError) as error:
        raise WorkersUnavailable(cell, f"it answered {answer!r:.200}") from error
