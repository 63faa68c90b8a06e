"""A client of the manager's HTTP API."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar
from urllib.parse import quote

import httpx2
from pydantic import ValidationError

from gridiron.access.audit import Entry
from gridiron.bundles.scan import reading
from gridiron.cli.credentials import Way
from gridiron.cli.doors import Doors, reason_of
from gridiron.cli.edge import ManagerRefused
from gridiron.errors import ManagerUnavailable
from gridiron.manager.api import (
    EVENTS_MEDIA_TYPE,
    PROBLEM_MEDIA_TYPE,
    Activated,
    ActivateRequest,
    AuditPage,
    CreateTokenRequest,
    DeploymentList,
    DeploymentView,
    Health,
    LogEnd,
    LogList,
    NodeStatus,
    Problem,
    Progress,
    PruneOutcome,
    PruneRequest,
    PutSecretRequest,
    Released,
    Restarted,
    RollbackRequest,
    SecretChanged,
    SecretList,
    TokenCreated,
    TokenList,
    TokenView,
    Uploaded,
)
from gridiron.manager.cluster_api import ClusterStatus, Grown, NodeChanged, NodeRemoved
from gridiron.model import State, Value, describe_validation
from gridiron.workers.logs import LogEvent, Wanted
from gridiron.workers.status import PoolStatus

BEAT_LIMIT_SECONDS = 30.0
"""How long a manager may be silent that is followed: it gives a sign of life every ten seconds."""

EVERYTHING = Wanted()

PAGE = 500
"""Builds that are asked for at once; the manager gives up to 1000."""

AUDIT_PAGE = 1000
"""Entries of the audit log that are asked for at once."""

REMOVAL_LIMIT = timedelta(minutes=20)
"""How long a node may take to leave the cluster: snapshots of all partitions are stored, three times at the
most, in five minutes each."""

PIECE = 256 * 1024
"""Bytes of an archive that are sent at once."""

V = TypeVar("V", bound=Value)


class ManagerClient:
    """One manager, or the first of several that can be reached; a context manager. Reads may be repeated.

    Every method raises ManagerUnavailable when the manager cannot be reached or what answers is not one, and
    ManagerRefused with the problem that it answered.
    """

    def __init__(
        self, way: Way, transport: httpx2.BaseTransport | None = None, others: Sequence[Way] = ()
    ) -> None:
        """Take the way to the manager; `others` lead to those of the same cluster, see Doors."""
        self._doors = Doors((way, *others), transport)

    def __enter__(self) -> Self:
        self._doors.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._doors.__exit__()

    @property
    def url(self) -> str:
        """As it may be shown: without the user that may be in it."""
        return self._doors.url

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine, whichever of several is asked."""
        return self._doors.are_local

    def upload(
        self, archive: Path, sha256: str, limit: timedelta, on_progress: Callable[[int, int], None]
    ) -> Uploaded:
        """Send an archive with this digest. Safe to repeat. `on_progress` is told the bytes sent, and all.

        Raises SourceUnreadable where the file cannot be read.
        """
        with reading(str(archive)), archive.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return self._send(
                "PUT",
                f"/bundles/{sha256}",
                Uploaded,
                content=_read_pieces(file, size, on_progress),
                headers={"content-length": str(size)},
                timeout=limit.total_seconds(),
            )

    def activate(
        self, request: ActivateRequest, limit: timedelta, on_progress: Callable[[Progress], None]
    ) -> Activated:
        """Activate a bundle; wait up to `limit` between one report of progress and the next."""
        try:
            with self._doors.stream(
                "POST",
                "/activate",
                json=_body(request),
                headers={"accept": EVENTS_MEDIA_TYPE},
                timeout=limit.total_seconds(),
            ) as response:
                if _media_type(response) != EVENTS_MEDIA_TYPE:
                    response.read()
                    return self._read(response, Activated)
                with self._understanding(response):
                    return self._follow(response, on_progress)
        except httpx2.RequestError as error:
            raise ManagerUnavailable(self.url, reason_of(error)) from error

    def _follow(self, response: httpx2.Response, on_progress: Callable[[Progress], None]) -> Activated:
        """Read the events of an activation to the last."""
        kind = ""
        for line in response.iter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                kind = value
            elif field == "data" and kind == "progress":
                on_progress(Progress.model_validate_json(value))
            elif field == "data" and kind == "activated":
                return Activated.model_validate_json(value)
            elif field == "data" and kind == "problem":
                raise ManagerRefused(Problem.model_validate_json(value))
        raise ManagerUnavailable(self.url, "it ended its answer before the activation had an outcome")

    def rollback(self, request: RollbackRequest, limit: timedelta) -> Activated:
        """Make an earlier build active again; wait up to `limit` for the answer."""
        return self._send("POST", "/rollback", Activated, json=_body(request), timeout=limit.total_seconds())

    def prune(self, request: PruneRequest) -> PruneOutcome:
        """Remove one build, or all that are drained."""
        return self._send("POST", "/prune", PruneOutcome, json=_body(request))

    def fetch_deployment(self, build_id: str) -> DeploymentView:
        """Read one build."""
        return self._send("GET", f"/deployments/{quote(build_id, safe='')}", DeploymentView)

    def fetch_deployments(
        self, name: str | None = None, state: State | None = None
    ) -> tuple[DeploymentView, ...]:
        """Read all builds, or those of a name or in a state, oldest first; follows the pages."""
        found: list[DeploymentView] = []
        given = {"name": name, "state": state.value if state else None, "cursor": None, "limit": str(PAGE)}
        while True:
            params = {key: value for key, value in given.items() if value is not None}
            page = self._send("GET", "/deployments", DeploymentList, params=params)
            found.extend(page.deployments)
            if page.next is None:
                return tuple(found)
            if page.next == given["cursor"]:  # it would go on for ever
                raise ManagerUnavailable(self.url, "it answers the same page again and again")
            given["cursor"] = page.next

    def fetch_secrets(self, name: str) -> SecretList:
        """Read which secrets a name has."""
        return self._send("GET", f"/secrets/{quote(name, safe='')}", SecretList)

    def put_secret(self, name: str, key: str, request: PutSecretRequest, limit: timedelta) -> SecretChanged:
        """Set a secret of a name; wait up to `limit` for the answer: the new build is active then."""
        limits = {"timeout": limit.total_seconds()}
        return self._send("PUT", _secret_path(name, key), SecretChanged, json=_body(request), **limits)

    def delete_secret(self, name: str, key: str, limit: timedelta) -> SecretChanged:
        """Remove a secret of a name; wait as `put_secret` does."""
        return self._send("DELETE", _secret_path(name, key), SecretChanged, timeout=limit.total_seconds())

    def fetch_log(self, build_id: str, wanted: Wanted = EVERYTHING, limit: int | None = None) -> LogList:
        """Read the newest of what a build printed; without a limit, as much as the manager thinks fit."""
        return self._send("GET", _log_path(build_id), LogList, params=_log_query(wanted, limit))

    def follow_log(
        self, build_id: str, wanted: Wanted = EVERYTHING, limit: int | None = None
    ) -> Iterator[LogEvent | LogEnd]:
        """Follow what a build prints, from the newest that it printed on, until it will print no more."""
        query = {"follow": "true", **_log_query(wanted, limit)}
        try:
            with self._doors.stream(
                "GET", _log_path(build_id), params=query, timeout=BEAT_LIMIT_SECONDS
            ) as response:
                if not response.is_success:
                    response.read()
                    raise self._failure(response)
                with self._understanding(response):
                    for event in _read_events(response.iter_lines()):
                        if isinstance(event, LogEnd) and event.again:
                            raise ManagerUnavailable(self.url, "it is stopping")
                        yield event
        except httpx2.RequestError as error:
            raise ManagerUnavailable(self.url, reason_of(error)) from error

    def release(self, build_id: str) -> Released:
        """Take a build out of quarantine."""
        return self._send("POST", f"/deployments/{quote(build_id, safe='')}/release", Released)

    def restart_workers(self, limit: timedelta) -> Restarted:
        """Replace every cell; wait up to `limit` for the answer, which comes when all are replaced."""
        return self._send("POST", "/workers/restart", Restarted, timeout=limit.total_seconds())

    def create_token(self, request: CreateTokenRequest) -> TokenCreated:
        """Make a token. Its text is in the answer, and nowhere else."""
        return self._send("POST", "/tokens", TokenCreated, json=_body(request))

    def fetch_tokens(self) -> TokenList:
        """Read which tokens there are."""
        return self._send("GET", "/tokens", TokenList)

    def revoke_token(self, token_id: str) -> TokenView:
        """Have a token be good for nothing any more."""
        return self._send("DELETE", f"/tokens/{quote(token_id, safe='')}", TokenView)

    def fetch_audit(self, limit: int) -> tuple[Entry, ...]:
        """Read the newest entries of the audit log, newest first; follows the pages."""
        found: list[Entry] = []
        cursor = None
        while len(found) < limit:
            params = {"limit": str(min(limit - len(found), AUDIT_PAGE))}
            page = self._send(
                "GET", "/audit", AuditPage, params={**params, **({"cursor": cursor} if cursor else {})}
            )
            found.extend(page.entries)
            cursor = page.next
            if cursor is None:
                break
        return tuple(found)

    def fetch_health(self) -> Health:
        """Ask whether every component is usable."""
        response = self._doors.request("GET", "/health/ready")
        with self._understanding(response):
            if response.status_code in {200, 503} and _media_type(response) == "application/json":
                return Health.model_validate_json(response.content)
        raise self._failure(response)

    def fetch_node(self) -> NodeStatus:
        """Read what the node says of itself."""
        return self._send("GET", "/node", NodeStatus)

    def fetch_cluster(self) -> ClusterStatus:
        """Read how the cluster is that the node belongs to."""
        return self._send("GET", "/cluster", ClusterStatus)

    def drain_node(self, node: str) -> NodeChanged:
        """Have a node of the cluster lead nothing. Safe to repeat."""
        return self._send("POST", f"{_node_path(node)}/drain", NodeChanged)

    def activate_node(self, node: str) -> NodeChanged:
        """Let a node of the cluster lead again. Safe to repeat."""
        return self._send("POST", f"{_node_path(node)}/activate", NodeChanged)

    def remove_node(self, node: str) -> NodeRemoved:
        """Take a node that is down out of the cluster. Where that is not done yet, it is safe to repeat."""
        return self._send("DELETE", _node_path(node), NodeRemoved, timeout=REMOVAL_LIMIT.total_seconds())

    def grow(self) -> Grown:
        """Have everything kept on as many nodes as the settings of the manager's node say. Safe to repeat."""
        return self._send("POST", "/cluster/grow", Grown, timeout=REMOVAL_LIMIT.total_seconds())

    def fetch_pool(self) -> PoolStatus:
        """Read how the cells are."""
        return self._send("GET", "/workers", PoolStatus)

    def _send(self, method: str, path: str, answer: type[V], **request: Any) -> V:  # noqa: ANN401 - httpx2's
        """Send a request and read the answer."""
        return self._read(self._doors.request(method, path, **request), answer)

    def _read(self, response: httpx2.Response, answer: type[V]) -> V:
        """Read a whole answer."""
        if not response.is_success:
            raise self._failure(response)
        with self._understanding(response):
            return answer.model_validate_json(response.content)

    def _failure(self, response: httpx2.Response) -> ManagerRefused | ManagerUnavailable:
        """Read the problem out of an answer that is a failure."""
        if _media_type(response) != PROBLEM_MEDIA_TYPE:
            reason = f"HTTP {response.status_code} with no problem in it: another program may listen there"
            return ManagerUnavailable(self.url, reason)
        with self._understanding(response):
            return ManagerRefused(Problem.model_validate_json(response.content))

    @contextmanager
    def _understanding(self, response: httpx2.Response) -> Iterator[None]:
        """Raise ManagerUnavailable for an answer of another form than this version knows."""
        try:
            yield
        except ValidationError as error:
            problems = describe_validation(list(error.errors(include_url=False))[:3])
            reason = (
                f"its answer to {response.request.url.path} is not understood; of another version? {problems}"
            )
            raise ManagerUnavailable(self.url, reason) from error


def _read_pieces(file: BinaryIO, size: int, on_progress: Callable[[int, int], None]) -> Iterator[bytes]:
    done = 0
    while piece := file.read(PIECE):
        yield piece
        done += len(piece)
        on_progress(done, size)


def _secret_path(name: str, key: str) -> str:
    return f"/secrets/{quote(name, safe='')}/{quote(key, safe='')}"


def _node_path(node: str) -> str:
    return f"/cluster/nodes/{quote(node, safe='')}"


def _log_path(build_id: str) -> str:
    return f"/deployments/{quote(build_id, safe='')}/logs"


def _log_query(wanted: Wanted, limit: int | None) -> dict[str, str]:
    """Write as a query what differs from what the manager does without one."""
    query: dict[str, str] = {} if wanted.level == EVERYTHING.level else {"level": wanted.level}
    query |= {} if wanted.since is None else {"since": wanted.since.isoformat()}
    return query | ({} if limit is None else {"limit": str(limit)})


def _read_events(lines: Iterator[str]) -> Iterator[LogEvent | LogEnd]:
    """Read server-sent events, each of two lines at most. Where they break off, nothing says so."""
    kind = ""
    for line in lines:
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: ") and kind == "end":
            yield LogEnd.model_validate_json(line.removeprefix("data: "))
        elif line.startswith("data: "):
            yield LogEvent.model_validate_json(line.removeprefix("data: "))


def _body(request: Value) -> Any:  # noqa: ANN401 - JSON
    return request.model_dump(mode="json", exclude_defaults=True)


def _media_type(response: httpx2.Response) -> str:
    return response.headers.get("content-type", "").split(";")[0].strip().lower()
