"""What Restate's admin API answers, read into values.

Each function takes the bytes of an answer and raises pydantic's ValidationError when they have another form.
Fields that are not needed here are ignored: Restate adds some with each release.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Annotated, Generic, TypeVar
from urllib.parse import urlsplit

from pydantic import AliasChoices, AwareDatetime, BaseModel, ConfigDict, Field

from gridiron.lifecycle.observation import Demand, Registration
from gridiron.lifecycle.routing import Handler, Holder, Service
from gridiron.model import Address
from gridiron.restate.port import Discovered, Holding, Registered

R = TypeVar("R", bound=BaseModel)


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Handler(_Answer):
    name: str
    ty: str | None = None


class _Service(_Answer):
    name: str
    ty: str
    handlers: tuple[_Handler, ...]


class _Holder(_Service):
    deployment_id: str


class _Registered(_Answer):
    id: str
    services: tuple[_Service, ...]


class _ServiceName(_Answer):
    name: str


class _Deployment(_Answer):
    id: str
    uri: Annotated[str, Field(validation_alias=AliasChoices("uri", "arn"))]  # arn: a function of AWS Lambda
    created_at: AwareDatetime
    services: tuple[_ServiceName, ...]
    protocol_type: str = ""  # Lambda has none
    metadata: dict[str, str] = Field(default_factory=dict)


class _Deployments(_Answer):
    deployments: tuple[_Deployment, ...]


class _Version(_Answer):
    version: str


class _Rows(_Answer, Generic[R]):
    rows: tuple[R, ...]


class _NewestRow(_Answer):
    name: str
    deployment_id: str


class _DemandRow(_Answer):
    deployment_id: str
    invocations: int


class _HoldingRow(_Answer):
    id: str
    target: str
    status: str
    pinned: bool
    created_at: AwareDatetime
    retry_count: int | None = None
    last_failure: str | None = None


class _Count(_Answer):
    invocations: int


class _CheckRows(_Answer):
    rows: tuple[_Count]  # exactly one


def parse_discovered(body: bytes) -> Discovered:
    """Read the answer to a registration that was only tried."""
    return Discovered(_services(_Registered.model_validate_json(body).services))


def parse_registered(body: bytes, *, created: bool) -> Registered:
    """Read the answer to a registration. It does not say the protocol, so that stays None."""
    answer = _Registered.model_validate_json(body)
    return Registered(answer.id, _services(answer.services), protocol=None, created=created)


def parse_holder(body: bytes) -> Holder:
    """Read the description of a service."""
    holder = _Holder.model_validate_json(body)
    (service,) = _services([holder])
    return Holder(service, holder.deployment_id)


def parse_protocol(body: bytes) -> str:
    """Read how Restate talks to a deployment out of the description of one."""
    return _Deployment.model_validate_json(body).protocol_type


def parse_registrations(body: bytes) -> tuple[Registration, ...]:
    """Read the list of deployments; oldest first, as Restate gives them in no order."""
    deployments = _Deployments.model_validate_json(body).deployments
    return tuple(sorted((_registration(one) for one in deployments), key=_age))


def parse_newest(body: bytes) -> Mapping[str, str]:
    """Read the rows of newest.sql."""
    return {row.name: row.deployment_id for row in _Rows[_NewestRow].model_validate_json(body).rows}


def parse_demand(attempting: bytes, pinned: bytes) -> Mapping[str, Demand]:
    """Join the rows of attempting.sql and pinned.sql."""
    attempts = _counts(attempting)
    pins = _counts(pinned)
    return {
        deployment_id: Demand(pinned=pins.get(deployment_id, 0), attempting=attempts.get(deployment_id, 0))
        for deployment_id in sorted(attempts.keys() | pins.keys())
    }


def parse_holding(body: bytes) -> tuple[Holding, ...]:
    """Read the rows of holding.sql, in their order."""
    return tuple(
        Holding(
            row.id, row.target, row.status, row.pinned, row.created_at, row.retry_count or 0, row.last_failure
        )
        for row in _Rows[_HoldingRow].model_validate_json(body).rows
    )


def parse_check(body: bytes) -> int:
    """Read the row of check.sql: how many invocations are being attempted."""
    return _CheckRows.model_validate_json(body).rows[0].invocations


def parse_version(body: bytes) -> str:
    """Read the version of the server."""
    return _Version.model_validate_json(body).version


def _services(services: Collection[_Service]) -> tuple[Service, ...]:
    """Sort services and handlers by name: Restate gives them in another order each time."""
    return tuple(
        Service(one.name, one.ty, _handlers(one.handlers))
        for one in sorted(services, key=lambda service: service.name)
    )


def _handlers(handlers: Collection[_Handler]) -> tuple[Handler, ...]:
    return tuple(Handler(one.name, one.ty) for one in sorted(handlers, key=lambda handler: handler.name))


def _registration(deployment: _Deployment) -> Registration:
    return Registration(
        deployment_id=deployment.id,
        uri=deployment.uri,
        address=address_of(deployment.uri),
        created_at=deployment.created_at,
        services=tuple(sorted(service.name for service in deployment.services)),
        protocol=deployment.protocol_type,
        metadata=deployment.metadata,
    )


def address_of(uri: str) -> Address | None:
    """Give the build that a deployment's uri names by its path; None when it names none."""
    return Address.parse_path(urlsplit(uri).path)


def _age(registration: Registration) -> tuple[datetime, str]:
    return registration.created_at, registration.deployment_id


def _counts(body: bytes) -> Mapping[str, int]:
    rows = _Rows[_DemandRow].model_validate_json(body).rows
    return {row.deployment_id: row.invocations for row in rows}
