"""Fetch sources from S3, or what speaks its protocol.

obstore carries the bytes. It takes memory, so it is imported when the first source of this kind is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from gridiron.bundles.access import Access
from gridiron.bundles.disk import storing
from gridiron.bundles.limits import Meter
from gridiron.bundles.listing import Listed, plan_tree
from gridiron.bundles.paths import Part, part_of
from gridiron.bundles.source import S3Source
from gridiron.bundles.transfer import (
    CONNECT_SECONDS,
    READ_SECONDS,
    Interrupted,
    check_status,
    save,
    transfer,
)
from gridiron.errors import SourceRefused
from gridiron.objects.aws import CREDENTIALS_ADVICE, AwsUnusable, open_s3, read_aws

if TYPE_CHECKING:
    from obstore import GetResult, ObjectMeta
    from obstore.store import ClientConfig, S3Store

PAGE = 1000
"""Objects of a listing at once: as many as S3 gives."""

_STATUS = re.compile(r"Server returned non-2xx status code: (\d{3})")


def open_bucket(source: S3Source, access: Access, meter: Meter) -> Bucket:
    """Look up where the bucket is and what gives access to it; it is not connected to.

    Raises SourceRefused where the node's settings for S3 cannot be used.
    """
    try:
        aws = read_aws(access.s3_endpoint)
        store = open_s3(aws, source.bucket, "", _limits(meter))  # `transfer` repeats what may be
    except AwsUnusable as error:
        raise SourceRefused(f"s3://{source.bucket}/{source.key}", str(error)) from error
    return Bucket(source, store, aws.credentials is None, meter)


def _limits(meter: Meter) -> ClientConfig:
    meter.check_time()
    left = timedelta(seconds=max(meter.seconds_left, 1))
    return {
        "connect_timeout": min(timedelta(seconds=CONNECT_SECONDS), left),
        "read_timeout": min(timedelta(seconds=READ_SECONDS), left),
        "timeout": left,
    }


@dataclass(frozen=True, slots=True)
class Bucket:
    """A source in a bucket, for one transfer."""

    source: S3Source
    store: S3Store
    is_anonymous: bool
    meter: Meter

    @property
    def shown(self) -> str:
        """The source, as an error shows it."""
        return f"s3://{self.source.bucket}/{self.source.key}"

    def fetch_archive(self, target: Path) -> bool:
        """Fetch the object that has the key of the source; False where there is none.

        A key with a slash at its end names no object. Raises SourceRefused, SourceUnreachable,
        SourceTooLarge, SourceTooSlow, StorageFailed.
        """

        def attempt() -> bool:
            with self._errors():
                try:
                    found = self.store.get(self.source.key)
                except FileNotFoundError:
                    return False
                self.meter.begin(found.meta["size"])
            save(self._chunks(found), target, self.meter)
            return True

        return not self.source.key.endswith("/") and transfer(self.shown, self.meter, attempt)

    def fetch_directory(self, directory: Path) -> None:
        """Fetch all objects below the key of the source, but what a bundle passes over, into `directory`.

        Raises as `fetch_archive`, and SourceHasTooManyFiles, BundlePathInvalid and its like.
        """
        files = plan_tree(transfer(self.shown, self.meter, self._list))
        if not files:
            raise SourceRefused(self.shown, "there is no such object, and none below it")
        self.meter.begin(sum(each.size or 0 for each in files))
        for each in files:
            self._fetch_file(each.path, directory)

    def _list(self) -> list[Listed]:
        self.meter.begin()
        found: list[Listed] = []
        with self._errors():
            for page in self.store.list(self.source.key, chunk_size=PAGE):
                for each in page:
                    self.meter.add_file()
                    found += self._listed(each)
        return found

    def _listed(self, found: ObjectMeta) -> list[Listed]:
        """Give what an object is below the key; nothing for what stands for a directory."""
        path = found["path"].removeprefix(self.source.key.rstrip("/")).removeprefix("/")
        # a directory looks like an empty object that is named as it is
        is_directory = found["size"] == 0 and part_of(path) is Part.NONE
        return [] if is_directory else [Listed(path, found["size"])]

    def _fetch_file(self, path: str, directory: Path) -> None:
        key, target = f"{self.source.key.rstrip('/')}/{path}", directory / path
        with storing("Writing", target):
            target.parent.mkdir(parents=True, exist_ok=True)

        def attempt() -> None:
            with self._errors():
                found = self.store.get(key)
            save(self._chunks(found), target, self.meter)

        transfer(self.shown, self.meter, attempt)

    def _chunks(self, found: GetResult) -> Iterator[bytes]:
        with self._errors():
            for chunk in found.stream(min_chunk_size=1):  # as they come, so that the meter sees each
                yield bytes(chunk)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the errors of obstore into SourceRefused, or Interrupted where they may pass."""
        from obstore.exceptions import BaseError, InvalidPathError  # noqa: PLC0415 - see above

        try:
            yield
        except (ValueError, InvalidPathError) as error:
            raise SourceRefused(self.shown, "the key of an object there is no path") from error
        except FileNotFoundError as error:
            raise SourceRefused(self.shown, "an object went away meanwhile") from error
        except BaseError as error:
            self._check_message(str(error).partition("\n")[0])
            raise Interrupted(_reason(error)) from error

    def _check_message(self, message: str) -> None:
        """Raise where the message of obstore has a status: it gives it in no other way."""
        found = _STATUS.search(message)
        status = int(found[1]) if found else 200
        if status == 404:
            raise SourceRefused(self.shown, "there is no such bucket")
        if status in {401, 403} and self.is_anonymous:
            raise SourceRefused(self.shown, f"it is not public, and {CREDENTIALS_ADVICE}")
        check_status(status, self.shown)


def _reason(error: Exception) -> str:
    """Give what an error of obstore says was wrong, without the request."""
    return str(error).partition("\n")[0].rpartition(" - ")[2]
