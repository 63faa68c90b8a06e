"""One call and what an attempt at it came to. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from gridiron.model import Value


@dataclass(frozen=True, slots=True)
class Call:
    """A call, which may take several attempts with one idempotency key."""

    key: str  # the idempotency key, and the call's name in the report
    kind: str
    name: str  # of the service that is called
    sent_at: float  # of the first attempt
    value: int | None = None  # that a counter has to answer; None: no counter is called


class Answer(Value):
    """What every handler of the soak answers."""

    begun: str  # the version that it began on
    ended: str  # and ended on
    value: int


@dataclass(frozen=True, slots=True)
class Again:
    """An attempt that says nothing of the call: it is to be repeated."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """An answer that no call may get."""

    reason: str


def parse_attempt(status: int, error_source: str | None, body: bytes) -> Answer | Again | Failed:
    """Tell an answer from a failure, and both from an ingress that cannot serve now."""
    if status == 200:
        try:
            return Answer.model_validate_json(body)
        except ValidationError:
            pass
    elif status >= 500 and error_source != "invocation":
        return Again(f"HTTP {status}")
    return Failed(f"HTTP {status}: {body.decode(errors='replace'):.300}")
