"""What each endpoint asks of who calls it. One that is not here cannot be added: see `GuardedRoute`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType

from gridiron.access.scopes import Caller, Kind
from gridiron.errors import ScopeMissing


class Need(Enum):
    """What a caller has to have before a request of his is read."""

    NOTHING = auto()
    READ = auto()
    DEPLOY = auto()  # for some name; which one the request says, and `Act.check` is asked
    ADMIN = auto()


NEEDS: Mapping[str, Need] = MappingProxyType(
    {
        "GET /health/live": Need.NOTHING,
        "HEAD /health/live": Need.NOTHING,
        "GET /health/ready": Need.NOTHING,
        "HEAD /health/ready": Need.NOTHING,
        "GET /openapi.json": Need.READ,
        "GET /metrics": Need.READ,
        "GET /node": Need.READ,
        "GET /workers": Need.READ,
        "GET /deployments": Need.READ,
        "GET /deployments/{build_id}": Need.READ,
        "GET /deployments/{build_id}/logs": Need.READ,
        "GET /secrets/{name}": Need.READ,
        "POST /activate": Need.DEPLOY,
        "POST /rollback": Need.DEPLOY,
        "POST /prune": Need.DEPLOY,
        "PUT /bundles/{sha256}": Need.DEPLOY,
        "PUT /secrets/{name}/{key}": Need.DEPLOY,
        "DELETE /secrets/{name}/{key}": Need.DEPLOY,
        "POST /deployments/{build_id}/release": Need.DEPLOY,
        "POST /workers/restart": Need.ADMIN,
        "GET /cluster": Need.READ,
        "POST /cluster/nodes/{node}/drain": Need.ADMIN,
        "POST /cluster/nodes/{node}/activate": Need.ADMIN,
        "DELETE /cluster/nodes/{node}": Need.ADMIN,
        "POST /cluster/grow": Need.ADMIN,
        "GET /tokens": Need.ADMIN,
        "POST /tokens": Need.ADMIN,
        "DELETE /tokens/{token_id}": Need.ADMIN,
        "GET /audit": Need.ADMIN,
    }
)


def check_need(need: Need, caller: Caller) -> None:
    """Raise ScopeMissing unless a caller has what an endpoint needs. Every token may read."""
    if need is Need.DEPLOY and not caller.may_deploy_some:
        raise ScopeMissing(caller.name, Kind.DEPLOY)
    if need is Need.ADMIN and not caller.is_admin:
        raise ScopeMissing(caller.name, Kind.ADMIN)
