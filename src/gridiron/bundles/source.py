"""Where a bundle comes from: the source of an activation, read from its text. Nothing here does I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from gridiron.bundles.paths import shorten
from gridiron.errors import SourceSchemeUnsupported
from gridiron.model import redact_url


@dataclass(frozen=True, slots=True)
class FileSource:
    """A directory or an archive on the manager's machine."""

    path: Path  # absolute


@dataclass(frozen=True, slots=True)
class HttpSource:
    """An archive; with a slash at the end of its path, a directory whose metadata.json lists its modules."""

    url: str
    is_secure: bool  # https

    @property
    def is_directory(self) -> bool:
        """Whether it names a directory."""
        return urlsplit(self.url).path.endswith("/")


@dataclass(frozen=True, slots=True)
class S3Source:
    """An archive, or, where no object has this very key, all objects below it."""

    bucket: str
    key: str  # with no slash at its beginning; one at its end says that it is a directory


@dataclass(frozen=True, slots=True)
class UploadSource:
    """An archive that a client sent before."""

    sha256: str  # of its bytes, lower-case hexadecimal


Source = FileSource | HttpSource | S3Source | UploadSource

_FILE = re.compile(r"file://(?P<path>/(?:[^%?#]|%[0-9a-f]{2})*)", re.IGNORECASE | re.DOTALL)
_S3 = re.compile(
    r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>[^/?#\\][^?#\\]*)", re.IGNORECASE | re.ASCII
)
_UPLOAD = re.compile(r"bundle:(?P<sha256>[0-9a-f]{64})")


def parse_source(source: str) -> Source:
    """Read the source of an activation.

    `file:///absolute/path` (percent-encoded UTF-8, no host), `https://…`, `http://…` (no user, no fragment),
    `s3://bucket/key` (the key as it is), `bundle:{sha256}`. Whether the node may read it is not decided here.
    Raises SourceSchemeUnsupported for everything else.
    """
    scheme = source.partition(":")[0].lower()
    found = _PARSERS[scheme](source) if scheme in _PARSERS else None
    if found is None:
        shown = redact_url(source)
        raise SourceSchemeUnsupported(shorten(shown if shown == source else f"{shown}…"))
    return found


def _parse_file(source: str) -> Source | None:
    match = _FILE.fullmatch(source)
    if match is None:
        return None
    try:
        path = unquote_to_bytes(match["path"]).decode()
    except UnicodeError:  # not UTF-8, or half of a surrogate pair in the URL itself
        return None
    return None if "\0" in path else FileSource(Path(path))


def _parse_http(source: str) -> Source | None:
    try:
        parts = urlsplit(source)
        _ = parts.port  # is a number
        source.encode()
    except ValueError:
        return None
    if not parts.hostname or "@" in parts.netloc or parts.fragment or not source.isprintable():
        return None
    return HttpSource(source, is_secure=parts.scheme == "https")


def _parse_s3(source: str) -> Source | None:
    match = _S3.fullmatch(source)
    if match is None or not source.isprintable() or ".." in match["key"].split("/"):
        return None
    return S3Source(match["bucket"], match["key"])


def _parse_upload(source: str) -> Source | None:
    match = _UPLOAD.fullmatch(source)
    return None if match is None else UploadSource(match["sha256"])


_PARSERS: Mapping[str, Callable[[str], Source | None]] = {
    "file": _parse_file,
    "http": _parse_http,
    "https": _parse_http,
    "s3": _parse_s3,
    "bundle": _parse_upload,
}
