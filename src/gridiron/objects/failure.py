"""What a failure of obstore says: its texts have what its classes do not. Nothing here does I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

_STATUS = re.compile(r"Server returned non-2xx status code: (?P<text>(?P<number>\d{3})[^:\n]*)")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_BULK = re.compile(r"Bulk delete request failed for key .*: (?P<reason>[^:\n]*) \(code: (?P<code>\w+)\)")
_KIND = re.compile(r"HttpError \{\s+kind: (\w+)")
_DETAILS = "\n\nDebug source:"
_REDIRECT = "Received redirect"

MISSING = frozenset({"NoSuchKey", "BlobNotFound"})
"""Codes of S3 and Google, and of Azure, that say that there is no such object."""

NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound"})
DENIED = "AccessDenied"

TRANSIENT_CODES = frozenset({"RequestTimeout", "ConditionalRequestConflict", "OperationAborted"})
"""Codes of S3 that say to come again. The second and third are given to a conditional write that met another
one which had not ended."""

TRANSIENT = frozenset({404, 408, 409, 425, 429})
"""Statuses below 500 that another attempt may not meet. A 404 is of something else than the bucket, a proxy
perhaps: the bucket itself gives one of the codes above with it."""

KINDS = {"Connect": "there is no connection", "Timeout": "there was no answer in time"}


class Verdict(Enum):
    """What a failure means."""

    MISSING = "missing"  # there is no such object
    NO_BUCKET = "no bucket"
    DENIED = "denied"  # whoever this is may not do it
    REFUSED = "refused"  # in another way that will be the same next time
    MAY_PASS = "may pass"  # noqa: S105 - no password; what was to be written may be written, or not


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that failed, as obstore tells it."""

    status: int | None  # None: there was no answer, or none that was understood
    code: str | None  # the bucket's own word
    reason: str  # for people; holds no secret

    @property
    def verdict(self) -> Verdict:
        """Say what it means; unknown is never missing."""
        if self.code in MISSING:
            return Verdict.MISSING
        if self.code in NO_BUCKET:
            return Verdict.NO_BUCKET
        if self.status in {401, 403} or self.code == DENIED:
            return Verdict.DENIED
        return Verdict.MAY_PASS if self._may_pass else Verdict.REFUSED

    @property
    def _may_pass(self) -> bool:
        if self.status is None:
            return not self.reason.startswith(_REDIRECT)
        of_server = self.status >= 500 and self.status != 501  # 501: it has no conditional writes
        return of_server or self.status in TRANSIENT or self.code in TRANSIENT_CODES


def parse_failure(text: str) -> Failure:
    """Read the text of an error of obstore."""
    told, _, details = text.partition(_DETAILS)
    bulk = _BULK.search(told)
    if bulk is not None:
        return _parse_bulk(bulk["code"], bulk["reason"])
    status, code = _STATUS.search(told), _CODE.search(told)
    if status is not None:
        word = code[1] if code else None
        reason = f"it answers {status['text'].strip()}{f' ({word})' if word else ''}"
        return Failure(int(status["number"]), word, reason)
    kind = _KIND.search(details)
    reason = told.partition("\n")[0].rpartition(" - ")[2]  # without the request
    return Failure(None, None, KINDS.get(kind[1], reason) if kind else reason)


def _parse_bulk(code: str, reason: str) -> Failure:
    """Read what the answer to a deletion says of one object: a status (Azure) or a code (S3)."""
    status = int(code) if code.isdecimal() else None
    word = "BlobNotFound" if status == 404 else None if status else code
    return Failure(status, word, f"it answers {reason} ({code})")
