"""Failures as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gridiron.access.tokens import hide_tokens
from gridiron.errors import (
    ActivationFailed,
    BadInput,
    BuildInUse,
    Conflict,
    Environment,
    Forbidden,
    GridironError,
    NotFound,
    PeerClockDiffers,
    PeerUnknown,
    Rejected,
    RequestInvalid,
    RequestTooLarge,
    RequestTooSlow,
    TokenMissing,
    TooMany,
    Unauthenticated,
    Unavailable,
)
from gridiron.manager.api import PROBLEM_MEDIA_TYPE, Problem
from gridiron.manager.http.bodies import BODY_LIMIT, MAX_BODY
from gridiron.manager.http.request_ids import HEADER, fetch_request_id
from gridiron.manager.peers.signing import SCHEME
from gridiron.model import describe_validation

log = structlog.get_logger()

STATUSES: tuple[tuple[type[GridironError], HTTPStatus], ...] = (
    (RequestTooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (RequestTooSlow, HTTPStatus.REQUEST_TIMEOUT),
    (Unauthenticated, HTTPStatus.UNAUTHORIZED),
    (Forbidden, HTTPStatus.FORBIDDEN),
    (TooMany, HTTPStatus.TOO_MANY_REQUESTS),
    (BadInput, HTTPStatus.UNPROCESSABLE_ENTITY),
    (NotFound, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (Rejected, HTTPStatus.BAD_GATEWAY),
    (Environment, HTTPStatus.INTERNAL_SERVER_ERROR),
)


def status_of(error: GridironError) -> HTTPStatus:
    """Choose the HTTP status of a failure; that of an activation is its cause's."""
    if isinstance(error, ActivationFailed):
        return status_of(error.cause)
    return next(status for kind, status in STATUSES if isinstance(error, kind))


def render_problem(error: GridironError) -> Problem:
    """Put a failure into the words of RFC 9457."""
    status = status_of(error)
    cause = error.cause if isinstance(error, ActivationFailed) else error
    return Problem(
        title=cause.code.replace("_", " ").capitalize(),
        status=status.value,
        detail=str(cause),
        code=cause.code,
        build_id=getattr(error, "build_id", None),
        request_id=fetch_request_id(),
        step=error.step if isinstance(error, ActivationFailed) else None,
        invocations=cause.invocations if isinstance(cause, BuildInUse) else None,
    )


def render_unexpected() -> Problem:
    """Say that something went wrong that nobody foresaw; the log has it."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    detail = (
        "The manager failed in a way that it did not foresee; its log has the traceback. Please report it."
    )
    return Problem(
        title=status.phrase,
        status=status.value,
        detail=detail,
        code="internal_error",
        request_id=fetch_request_id(),
    )


class ProblemResponse(JSONResponse):
    """The response that carries a problem, and the id of its request."""

    def __init__(self, problem: Problem) -> None:
        self.code = problem.code
        super().__init__(
            problem.model_dump(exclude_none=True),
            status_code=problem.status,
            media_type=PROBLEM_MEDIA_TYPE,
            # to what crashed, nothing else adds it
            headers={} if problem.request_id is None else {HEADER: problem.request_id},
        )


Answer = Callable[[Request, Exception], Coroutine[None, None, ProblemResponse]]
"""Makes the response to a failed request."""


def describe_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe answers that are problems, for /openapi.json."""
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": "A problem.", "content": content} for status in statuses}


def headers_of(error: GridironError) -> dict[str, str]:
    """Give what an answer says besides: how to log in (RFC 6750), when to come again (RFC 9110)."""
    if isinstance(error, TooMany):
        return {"retry-after": str(error.retry_seconds)}
    if isinstance(error, TokenMissing):
        return {"www-authenticate": 'Bearer realm="gridiron"'}
    if isinstance(error, PeerUnknown | PeerClockDiffers):
        return {"www-authenticate": f'{SCHEME} realm="gridiron"'}
    if isinstance(error, Unauthenticated):
        return {"www-authenticate": 'Bearer realm="gridiron", error="invalid_token"'}
    return {}


def _loggable(path: str) -> str:
    """Cut what names a secret or a token: somebody may have put the secret, or the token, itself there."""
    match hide_tokens(path).split("/", 3):
        case "", "secrets" as room, name, _:
            return f"/{room}/{name}/…"
        case "", "tokens" as room, *_:
            return f"/{room}/…"
        case parts:
            return "/".join(parts)


async def _answer_failure(request: Request, error: Exception) -> ProblemResponse:
    if not isinstance(error, GridironError):  # registered for GridironError only
        raise error
    problem = render_problem(error)
    if not isinstance(error, Unauthenticated | TooMany):  # the audit log has them, and they may be a flood
        tell = log.error if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR else log.info
        about = {"build_id": hide_tokens(problem.build_id)} if problem.build_id else {}
        path = _loggable(request.url.path)
        about |= {"method": request.method, "path": path, "code": problem.code}
        tell("request.failed", status=problem.status, **about)
    response = ProblemResponse(problem)
    response.headers.update(headers_of(error))
    return response


async def _answer_invalid(_request: Request, error: Exception) -> ProblemResponse:
    if not isinstance(error, RequestValidationError):  # registered for RequestValidationError only
        raise error
    return ProblemResponse(render_problem(RequestInvalid(describe_validation(list(error.errors())))))


async def _answer_http(request: Request, error: Exception) -> ProblemResponse:
    """Answer what the framework refuses by itself: no such path, a method that is not allowed.

    No endpoint has counted these two, so that they are counted here.
    """
    if not isinstance(error, HTTPException):  # registered for HTTPException only
        raise error
    status = HTTPStatus(error.status_code)
    if status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return ProblemResponse(render_problem(RequestTooLarge(MAX_BODY)))
    if status is HTTPStatus.REQUEST_TIMEOUT:
        return ProblemResponse(render_problem(RequestTooSlow(round(BODY_LIMIT.total_seconds()))))
    if status is HTTPStatus.BAD_REQUEST:  # a body that is not even text
        return ProblemResponse(render_problem(RequestInvalid(f"body: {error.detail}")))
    try:
        request.app.state.guard.count_stray(request)
    except TooMany as too_many:
        return await _answer_failure(request, too_many)
    code = "path_not_found" if status is HTTPStatus.NOT_FOUND else status.name.lower()
    detail = f"{error.detail}. /openapi.json lists what there is."
    problem = Problem(
        title=status.phrase, status=status.value, detail=detail, code=code, request_id=fetch_request_id()
    )
    response = ProblemResponse(problem)
    response.headers.update(error.headers or {})
    return response


async def _answer_unexpected(request: Request, error: Exception) -> ProblemResponse:
    log.error("request.crashed", method=request.method, path=_loggable(request.url.path), exc_info=error)
    return ProblemResponse(render_unexpected())


def add_problem_handlers(app: FastAPI, errors: Counter[str]) -> None:
    """Make every failure of an app a problem, and count its code in `errors`."""

    def counting(answer: Answer) -> Answer:
        async def answer_and_count(request: Request, error: Exception) -> ProblemResponse:
            response = await answer(request, error)
            errors[response.code] += 1
            return response

        return answer_and_count

    app.add_exception_handler(GridironError, counting(_answer_failure))
    app.add_exception_handler(RequestValidationError, counting(_answer_invalid))
    app.add_exception_handler(HTTPException, counting(_answer_http))
    app.add_exception_handler(Exception, counting(_answer_unexpected))
