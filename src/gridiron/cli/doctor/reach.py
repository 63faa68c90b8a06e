"""What a node talks to: whether it answers."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

import httpx2

from gridiron.cli.doctor.finding import Finding, failure, fine, warning

LIMIT_SECONDS = 4.0
"""How long each may take to answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody answered."""

    url: str
    status: int | None  # of HTTP; None: there was no answer
    problem: str = ""  # why there was none
    distrusted: bool = False  # there was somebody, with a certificate that is not trusted here
    reason: str = ""  # of a manager that is not ready
    clock: datetime | None = None  # whoever answered has it


def fetch_answer(client: httpx2.Client, url: str, method: str = "GET") -> Answer:
    """Ask somebody, with no credentials."""
    try:
        response = client.request(method, url, timeout=LIMIT_SECONDS)
    except (httpx2.RequestError, httpx2.InvalidURL) as error:
        problem = "no answer in time" if isinstance(error, httpx2.TimeoutException) else str(error)
        return Answer(url, None, problem or type(error).__name__, distrusted=_is_distrusted(error))
    return Answer(url, response.status_code, reason=_read_reason(response), clock=_read_clock(response))


def _is_distrusted(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


def _read_reason(response: httpx2.Response) -> str:
    if response.headers.get("content-type") != "application/json":
        return ""
    body = response.json()
    return str(body.get("reason", "")) if isinstance(body, dict) else ""


def _read_clock(response: httpx2.Response) -> datetime | None:
    date = response.headers.get("date")
    try:
        return None if date is None else parsedate_to_datetime(date)
    except ValueError:
        return None


def check_component(name: str, answer: Answer, setting: str) -> Finding:
    """Judge a component of a node that runs."""
    if answer.status is None:
        meaning = f"{answer.url} does not answer ({answer.problem})"
        return failure(name, meaning, f"Start it, or set {setting} to where it is.")
    if answer.status != 200:
        meaning = f"{answer.url} answers HTTP {answer.status}"
        return failure(name, meaning, "Look into its log; another program may listen there.")
    return fine(name, f"{answer.url} answers")


def check_ready(answer: Answer) -> Finding:
    """Judge what a manager says of its node."""
    if answer.status == 503 and answer.reason:
        return failure("manager", f"the node is not ready: {answer.reason}", "`gridiron status` says more.")
    return check_component("manager", answer, "GRIDIRON_MANAGER_URL")


def check_store(answer: Answer) -> Finding:
    """Judge an object store: whatever it says to somebody without credentials, it is there."""
    if answer.distrusted:
        mend = "Name the authority's certificate in AWS_CA_BUNDLE, where the node's environment does not yet."
        return warning("object store", f"{answer.url} has a certificate that is not trusted here", mend)
    if answer.status is None:
        meaning = f"{answer.url} does not answer ({answer.problem})"
        return failure("object store", meaning, "Start it, or set GRIDIRON_S3_ENDPOINT to where it is.")
    if answer.status >= 500:
        meaning = f"{answer.url} answers HTTP {answer.status}"
        return warning("object store", meaning, "Look into its log.")
    return fine("object store", f"{answer.url} answers")
