"""The bucket of a cluster as it is: see gridiron.objects.place for what it may be.

obstore carries the bytes; import this where there is a cluster only, since it takes memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import stamina
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from gridiron.errors import (
    BucketRefused,
    BucketUnavailable,
    ObjectChanged,
    ObjectDamaged,
    ObjectExists,
    ObjectMissing,
)
from gridiron.objects.failure import TRANSIENT_CODES, Verdict, parse_failure
from gridiron.objects.place import SETTING_ADVICE, Place, find_place
from gridiron.objects.port import Found, Listed, check_key, check_prefix
from gridiron.objects.transfer import (
    LEAST_RATE,
    REQUEST_LIMIT,
    Interrupted,
    limit_of,
    map_file,
    remove,
    save,
)

if TYPE_CHECKING:
    from obstore import GetResult, PutMode
    from obstore.store import ObjectStore

ATTEMPTS = 3
"""Of a request. What a second or third attempt does not pass (a connection that was closed meanwhile, a 503
of a server that is busy or changes its leader) is an outage, and whoever asks has a user or a lease waiting.
The pauses between them are 0.2 to 0.5 and 0.4 to 0.7 s: Google takes one write of an object in a second."""

CONNECT_LIMIT = timedelta(seconds=2)
BEGIN_LIMIT = timedelta(seconds=6)
"""After this time no further attempt at a small request begins: it ends within 11 s in all, or 16 s where an
attempt finds its object there already and reads it."""

SMALL = LEAST_RATE * int(REQUEST_LIMIT.total_seconds())
"""Bytes that take REQUEST_LIMIT at the least rate. They go over a connection that is there, which takes 5 ms
instead of 13."""

LONGEST = timedelta(hours=1)
"""Of a download whose size is not known yet; `limit_of` bounds it when it is."""

PAGE = 1000
"""Objects of a listing at once: as many as each of the providers gives."""

SERVER_ADVICE = (
    "Correct the cluster's setting `bucket` or the region; a server that does not take conditional writes "
    "(If-None-Match, If-Match) will not do."
)

T = TypeVar("T")

# whoever asked is told what came of it; stamina would log each attempt at a bucket that is away
stamina.instrumentation.set_on_retry_hooks(())


def open_bucket(url: str, s3_endpoint: str | None = None) -> Bucket:
    """Give the objects of a cluster; the bucket is not connected to.

    `url` is `s3://bucket`, `gs://bucket` or `az://container`, with `/prefix` or without. Who this node is say
    the variables and files of the provider's own tools; `s3_endpoint` is where S3 is, None: where AWS's tools
    take it to be. Finding no credentials may take two seconds. Raises BucketRefused where any of it cannot be
    used.
    """
    return Bucket(find_place(url, s3_endpoint))


class Bucket:
    """The objects of a cluster in a real bucket; an Objects (gridiron.objects.port). Threads may share it."""

    def __init__(self, place: Place) -> None:
        """Take where the bucket is. Raises BucketRefused where what leads to it cannot be used."""
        self._place = place
        self._store = place.open_store({"connect_timeout": CONNECT_LIMIT, "timeout": REQUEST_LIMIT})

    @property
    def url(self) -> str:
        """The bucket with the prefix, as an error shows it."""
        return self._place.url

    def get(self, key: str, limit: int) -> Found:
        """Read a small object: see Objects. Takes 11 s at the most."""
        check_key(key)
        return self._try(lambda _: self._read(key, limit))

    def fetch(self, key: str, path: Path, sha256: str) -> None:
        """Write an object into a file: see Objects."""
        check_key(key)

        def attempt(_: bool) -> None:  # noqa: FBT001 - as `_try` calls it
            actual = save(self._find(self._downloads, key), path)
            if actual != sha256:
                raise ObjectDamaged(self.url, key, f"its sha256 is {actual}, and should be {sha256}")

        try:
            self._try(attempt, within=None)
        except BaseException:
            remove(path)
            raise

    def create(self, key: str, content: bytes) -> str:
        """Make an object where there is none, and give its ETag: see Objects. Takes 16 s at the most."""
        check_key(key)

        def attempt(again: bool) -> str:  # noqa: FBT001 - as `_try` calls it
            try:
                return self._write(key, content, "create")
            except AlreadyExistsError as error:
                _check_ended(error)
                written = self._find_own(key, content) if again else None
                if written is None:
                    raise ObjectExists(self.url, key) from error
                return written

        return self._try(attempt)

    def create_from(self, key: str, path: Path) -> None:
        """Make an object of a file where there is none: see Objects.

        Nobody may make the file shorter meanwhile: its pages are sent as the disk has them.
        """
        check_key(key)
        content = map_file(path)
        store = self._open_for(len(content))

        def attempt(_: bool) -> None:  # noqa: FBT001 - as `_try` calls it
            try:
                store.put(key, content, mode="create")
            except AlreadyExistsError as error:
                _check_ended(error)
                raise ObjectExists(self.url, key) from error

        self._try(attempt, within=None)

    def replace(self, key: str, content: bytes, etag: str) -> str:
        """Replace an object that has this ETag; give the new one: see Objects. Takes 16 s at the most."""
        check_key(key)

        def attempt(again: bool) -> str:  # noqa: FBT001 - as `_try` calls it
            try:
                return self._write(key, content, self._condition(etag))
            except AlreadyExistsError as error:  # a 409: of Amazon, where two writes meet
                raise Interrupted("another write of the object had not ended") from error
            except (PreconditionError, FileNotFoundError) as error:
                self._check_missing(error)
                written = self._find_own(key, content) if again else None
                if written is None:
                    raise ObjectChanged(self.url, key) from error
                return written

        return self._try(attempt)

    def put(self, key: str, content: bytes) -> str:
        """Make or replace an object; give its ETag: see Objects. Takes 11 s at the most."""
        check_key(key)
        return self._try(lambda _: self._write(key, content, "overwrite"))

    def delete(self, key: str) -> None:
        """Remove an object, if there is one: see Objects. Takes 11 s at the most."""
        check_key(key)

        def attempt(_: bool) -> None:  # noqa: FBT001 - as `_try` calls it
            try:
                self._store.delete(key)
            except FileNotFoundError as error:
                self._check_missing(error)

        self._try(attempt)

    def list(self, prefix: str) -> tuple[Listed, ...]:
        """Give all objects below a prefix, in order of their keys: see Objects.

        Takes 5 s at the most for a page of a thousand, and begins anew up to twice.
        """
        check_prefix(prefix)
        return self._try(lambda _: tuple(sorted(self._list(prefix), key=lambda each: each.key)))

    # -- one attempt ---------------------------------------------------------------------------------------

    @cached_property
    def _downloads(self) -> ObjectStore:
        return self._place.open_store(
            {"connect_timeout": CONNECT_LIMIT, "read_timeout": REQUEST_LIMIT, "timeout": LONGEST}
        )

    def _open_for(self, size: int) -> ObjectStore:
        """Give what writes so many bytes: a large object needs a limit, and so a connection, of its own."""
        if size <= SMALL:
            return self._store
        return self._place.open_store({"connect_timeout": CONNECT_LIMIT, "timeout": limit_of(size)})

    def _find(self, store: ObjectStore, key: str) -> GetResult:
        try:
            return store.get(key)
        except FileNotFoundError as error:
            if parse_failure(str(error)).verdict is Verdict.MISSING:
                raise ObjectMissing(self.url, key) from error
            raise

    def _read(self, key: str, limit: int) -> Found:
        found = self._find(self._store, key)
        if found.meta["size"] > limit:
            raise ObjectDamaged(self.url, key, f"it has more than {limit} bytes")
        return Found(bytes(found.bytes()), self._known(found.meta[self._place.version]))

    def _find_own(self, key: str, content: bytes) -> str | None:
        """Give the ETag of an object that has this very content; None: it has another, or is gone."""
        try:
            found = self._read(key, len(content))
        except (ObjectMissing, ObjectDamaged):
            return None
        return found.etag if found.content == content else None

    def _write(self, key: str, content: bytes, mode: PutMode) -> str:
        written = self._store.put(key, content, mode=mode, use_multipart=False)
        return self._known(written[self._place.version])

    def _list(self, prefix: str) -> Iterator[Listed]:
        for page in self._store.list(prefix or None, chunk_size=PAGE):
            for each in page:
                yield Listed(each["path"], each["size"], self._known(each["e_tag"]), each["last_modified"])

    def _known(self, etag: str | None) -> str:
        if etag is None:
            raise BucketRefused(self.url, "its server gives no ETags", SERVER_ADVICE)
        return etag

    def _condition(self, etag: str) -> PutMode:
        return {"version": etag} if self._place.version == "version" else {"e_tag": etag}

    def _check_missing(self, error: FileNotFoundError | PreconditionError) -> None:
        """Raise an error again that says another thing than that an object is missing, or another."""
        if isinstance(error, FileNotFoundError) and parse_failure(str(error)).verdict is not Verdict.MISSING:
            raise error

    # -- attempts ------------------------------------------------------------------------------------------

    def _try(self, attempt: Callable[[bool], T], within: timedelta | None = BEGIN_LIMIT) -> T:
        """Give what `attempt` gives, which is told whether one before it may have done it.

        None begins later than `within` after the first. Raises BucketUnavailable, BucketRefused, and what
        an attempt raises.
        """
        try:
            for each in stamina.retry_context(
                on=Interrupted, attempts=ATTEMPTS, timeout=within, wait_initial=0.2, wait_jitter=0.3
            ):
                with each, self._errors():
                    return attempt(each.num > 1)
        except Interrupted as error:
            raise BucketUnavailable(self.url, str(error)) from error
        raise AssertionError(self.url)  # an attempt returns or raises

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what obstore raises into BucketRefused, or Interrupted where it may pass."""
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            raise self._translate(str(error)) from error

    def _translate(self, text: str) -> Interrupted | BucketRefused:
        failure = parse_failure(text)
        match failure.verdict:
            case Verdict.NO_BUCKET:
                return BucketRefused(self.url, "there is no such bucket", SETTING_ADVICE)
            case Verdict.DENIED:
                return BucketRefused(self.url, failure.reason, self._place.access_advice)
            case Verdict.REFUSED:
                return BucketRefused(self.url, failure.reason, SERVER_ADVICE)
        return Interrupted(failure.reason)


def _check_ended(error: AlreadyExistsError) -> None:
    """Raise Interrupted where an object may not be there: another write of it had not ended."""
    if parse_failure(str(error)).code in TRANSIENT_CODES:
        raise Interrupted("another write of the object had not ended") from error
