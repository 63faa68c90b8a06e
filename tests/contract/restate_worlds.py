"""The two worlds that the contract holds in: one with FakeRestate, one with real servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Protocol

import httpx2

from gridiron.lifecycle.routing import Service
from gridiron.restate.admin import RestateAdmin
from gridiron.restate.ingress import Ingress
from gridiron.restate.port import RestatePort
from gridiron.testing.restate import FakeRestate, Phase, Refusal, fake_service
from tests.contract.restate_servers import Servers

WAIT_SECONDS = 20


async def becomes(expected: object, read: Callable[[], Awaitable[object]]) -> None:
    """Wait until what is read is as expected."""
    seen: object = None
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                seen = await read()
                if seen == expected:
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        assert seen == expected, f"{seen} is not {expected}"


@dataclass(frozen=True)
class Act:
    """A way for an invocation to be, and how one is brought there."""

    handler: str  # of the real worker
    status: str  # as sys_invocation has it then
    pinned: bool


class Doing(Enum):
    """What an invocation does while a test looks."""

    RUNNING = Act("run", "running", pinned=False)
    RUNNING_PINNED = Act("pin", "running", pinned=True)
    SLEEPING = Act("sleep", "running", pinned=True)
    SUSPENDED = Act("suspend", "suspended", pinned=True)
    WAITING = Act("wait", "suspended", pinned=False)
    BACKING_OFF = Act("fail", "backing-off", pinned=False)
    BACKING_OFF_PINNED = Act("pinThenFail", "backing-off", pinned=True)
    PAUSED = Act("failThenPause", "paused", pinned=False)
    PAUSED_PINNED = Act("pinThenPause", "paused", pinned=True)
    PAUSED_BACKING_OFF = Act("fail", "paused", pinned=False)  # by somebody, while it waits for its retry
    COMPLETED = Act("answer", "completed", pinned=True)
    SCHEDULED = Act("answer", "scheduled", pinned=False)


class Ending(Enum):
    """How an endpoint that has no services answers a discovery."""

    BAD_STATUS = Refusal("META0003", "Body: boom")
    NO_RESTATE = Refusal("META0013", "Bad content type header")


def probe(name: str) -> Service:
    """A service with a handler for each thing that an invocation can do."""
    return fake_service(name, *{doing.value.handler for doing in Doing}, "refuse")


class World(Protocol):
    """Restate, what it calls, and what its callers do."""

    restate: RestatePort
    down: RestatePort  # one that cannot be reached

    def uri(self, path: str) -> str: ...
    async def serve(self, path: str, *services: Service, protocol: str = "BidiStream") -> str: ...
    async def end(self, path: str, ending: Ending) -> str: ...
    async def start(self, service: str, doing: Doing) -> str: ...
    async def let_retry(self, invocation_id: str) -> None: ...
    async def resume_on_newest(self, invocation_id: str) -> None: ...


class FakeWorld:
    """The world in memory."""

    def __init__(self) -> None:
        self.restate = FakeRestate()
        self.down = FakeRestate()
        self.down.down = "connection refused"

    def uri(self, path: str) -> str:
        return f"http://fake-workers{path}"

    async def serve(self, path: str, *services: Service, protocol: str = "BidiStream") -> str:
        self.restate.serve(self.uri(path), *services, protocol=protocol)
        return self.uri(path)

    async def end(self, path: str, ending: Ending) -> str:
        self.restate.refuse(self.uri(path), ending.value)
        return self.uri(path)

    async def start(self, service: str, doing: Doing) -> str:
        scheduled = doing is Doing.SCHEDULED
        invocation_id = self.restate.start(service, Phase.SCHEDULED if scheduled else Phase.RUNNING)
        if doing.value.pinned:
            self.restate.pin(invocation_id)
        match Phase(doing.value.status):
            case Phase.BACKING_OFF:
                self.restate.back_off(invocation_id)
            case Phase.PAUSED:
                self.restate.pause(invocation_id)
            case Phase.SUSPENDED:
                self.restate.suspend(invocation_id)
            case Phase.COMPLETED:
                self.restate.complete(invocation_id)
        return invocation_id

    async def let_retry(self, invocation_id: str) -> None:
        self.restate.retry(invocation_id)

    async def resume_on_newest(self, invocation_id: str) -> None:
        self.restate.resume_on_newest(invocation_id)


class RealWorld:
    """The world of real servers, which other tests were in before."""

    def __init__(self, servers: Servers, restate: RestateAdmin, down: RestateAdmin, ingress: Ingress) -> None:
        self.restate: RestatePort = restate
        self.down: RestatePort = down
        self.ingress = ingress
        self._servers = servers
        self._http = httpx2.AsyncClient(trust_env=False, timeout=WAIT_SECONDS)

    def uri(self, path: str) -> str:
        return f"{self._servers.endpoint_url}{path}"

    async def serve(self, path: str, *services: Service, protocol: str = "BidiStream") -> str:
        described = [asdict(service) for service in services]
        return await self._tell({"path": path, "services": described, "protocol": protocol})

    async def end(self, path: str, ending: Ending) -> str:
        refusals = {
            Ending.BAD_STATUS: {"status": 502, "type": "text/plain", "body": "boom"},
            Ending.NO_RESTATE: {"status": 200, "type": "text/html", "body": "<html>"},
        }
        return await self._tell({"path": path, "refusal": refusals[ending]})

    async def start(self, service: str, doing: Doing) -> str:
        params = {"delay": "1h"} if doing is Doing.SCHEDULED else {}
        url = f"{self._servers.ingress_url}/{service}/{doing.value.handler}/send"
        response = await self._http.post(url, params=params)
        invocation_id = str(response.raise_for_status().json()["invocationId"])
        if doing is Doing.PAUSED_BACKING_OFF:
            await self._wait_for(invocation_id, Doing.BACKING_OFF.value)
            await self._change(invocation_id, "pause")
        await self._wait_for(invocation_id, doing.value)
        return invocation_id

    async def let_retry(self, invocation_id: str) -> None:
        """Restate does by itself, after at most a second."""

    async def resume_on_newest(self, invocation_id: str) -> None:
        await self._change(invocation_id, "resume?deployment=latest")

    async def _change(self, invocation_id: str, how: str) -> None:
        url = f"{self._servers.admin_url}/invocations/{invocation_id}/{how}"
        (await self._http.patch(url)).raise_for_status()

    async def close(self) -> None:
        """Leave nothing for the test that comes next."""
        for row in await self._query("select id from sys_invocation where status <> 'completed'"):
            url = f"{self._servers.admin_url}/invocations/{row['id']}/kill"
            await self._http.patch(url)  # one that has just completed is refused, which is as good
        await becomes([], lambda: self._query("select id from sys_invocation where status <> 'completed'"))
        for registration in await self.restate.fetch_registrations():
            await self.restate.unregister(registration.deployment_id)
        await self._http.aclose()

    async def _tell(self, endpoint: Mapping[str, Any]) -> str:
        response = await self._http.post(self._servers.control_url, content=json.dumps(endpoint))
        response.raise_for_status()
        return self.uri(endpoint["path"])

    async def _wait_for(self, invocation_id: str, act: Act) -> None:
        query = f"""
            select status, pinned_deployment_id is not null as pinned
            from sys_invocation where id = '{invocation_id}'
        """  # noqa: S608 - an id that Restate gave
        await becomes([{"status": act.status, "pinned": act.pinned}], lambda: self._query(query))

    async def _query(self, sql: str) -> list[dict[str, Any]]:
        response = await self._http.post(
            f"{self._servers.admin_url}/query",
            json={"query": sql},
            headers={"accept": "application/json"},
        )
        rows: list[dict[str, Any]] = response.raise_for_status().json()["rows"]
        return rows
