"""Fetch sources over http and https."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpcore2
import httpx2

from gridiron import __version__
from gridiron.bundles.access import Access
from gridiron.bundles.connections import CheckedBackend
from gridiron.bundles.disk import storing
from gridiron.bundles.limits import Meter
from gridiron.bundles.listing import Listed, parse_modules
from gridiron.bundles.manifest import MAX_MANIFEST_SIZE
from gridiron.bundles.paths import METADATA_FILE
from gridiron.bundles.source import HttpSource
from gridiron.bundles.transfer import (
    CONNECT_SECONDS,
    READ_SECONDS,
    Interrupted,
    Saved,
    check_status,
    save,
    transfer,
)
from gridiron.errors import (
    SourceInsecure,
    SourceRedirectsTooOften,
    SourceRefused,
)
from gridiron.model import redact_url

MAX_REASON = 200
"""Characters of what httpcore2 says was wrong, which may hold what a server sent."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})

_HEADERS = (("Accept", "*/*"), ("Accept-Encoding", "identity"), ("User-Agent", f"gridiron/{__version__}"))
_TIMEOUTS = {"connect": CONNECT_SECONDS, "read": READ_SECONDS, "write": READ_SECONDS}


def fetch_archive(source: HttpSource, target: Path, access: Access, meter: Meter) -> None:
    """Fetch the bytes of an archive as its server sends them, into the file `target`.

    Raises what fetching raises: SourceInsecure, SourceAddressRefused, SourceRedirectsTooOften, SourceRefused,
    SourceUnreachable, SourceTooLarge, SourceTooSlow; and StorageFailed. What was written stays then.
    """
    url = parse_url(source.url)

    def attempt() -> None:
        with web.opened(url) as answer:
            meter.begin(answer.size)
            save(answer.response.iter_stream(), target, meter)

    with _web(access, meter) as web:
        transfer(redact_url(source.url), meter, attempt)


def fetch_directory(source: HttpSource, directory: Path, access: Access, meter: Meter) -> None:
    """Fetch metadata.json and the modules that it lists into `directory`, which exists.

    A query of the URL goes along with each file. Raises what `fetch_archive` raises, and ManifestInvalid,
    SourceHasTooManyFiles and what `listing.plan_tree` raises.
    """
    url = parse_url(source.url)
    manifest = directory / METADATA_FILE
    with _web(access, meter) as web:
        meter.begin()
        web.fetch_file(_below(url, METADATA_FILE), manifest, MAX_MANIFEST_SIZE)
        files = parse_modules(manifest.read_bytes())
        sizes = [each.size for each in files if each.size is not None]
        meter.begin(sum(sizes) if len(sizes) == len(files) else None)
        for _ in files:
            meter.add_file()
        for file in files:
            _fetch_module(web, url, file, directory)


def parse_url(url: str) -> httpx2.URL:
    """Read a URL. Raises SourceRefused where it is none."""
    try:
        return httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise SourceRefused(redact_url(url), "it is no URL") from error


def check_url(url: httpx2.URL, *, is_http_allowed: bool) -> None:
    """Raise where a URL, of a source or of a redirect, may not be fetched.

    Its address is checked when it is connected to. Raises SourceInsecure, SourceRefused.
    """
    shown = redact_url(str(url))
    if url.scheme == "http" and not is_http_allowed:
        raise SourceInsecure(shown)
    if url.scheme not in {"http", "https"} or not url.host:
        raise SourceRefused(shown, "it is no https URL")
    if url.userinfo:
        raise SourceRefused(shown, "it has a user in it")


def plan_redirect(url: httpx2.URL, location: str | None) -> httpx2.URL:
    """Give the URL that a redirect leads to, which is yet to be checked. Raises SourceRefused."""
    if not location:
        raise SourceRefused(redact_url(str(url)), "it redirects to nowhere")
    try:
        return url.join(location)
    except httpx2.InvalidURL as error:
        raise SourceRefused(redact_url(str(url)), "it redirects to what is no URL") from error


@dataclass(frozen=True, slots=True)
class _Answer:
    """The answer of a server whose body is yet to be read."""

    response: httpcore2.Response
    headers: Mapping[str, str]  # by names in lower case

    @property
    def size(self) -> int | None:
        """Bytes of its body, where they are announced; httpcore2 has seen that they are digits."""
        return int(self.headers["content-length"]) if "content-length" in self.headers else None


@dataclass(frozen=True, slots=True)
class _Web:
    """A client for one transfer."""

    pool: httpcore2.ConnectionPool
    access: Access
    meter: Meter

    @contextmanager
    def opened(self, asked: httpx2.URL) -> Iterator[_Answer]:
        """Give the answer to a GET, after redirects, each checked as the first URL. Raises Interrupted."""
        url, shown = asked, redact_url(str(asked))
        for _ in range(self.access.redirects + 1):
            check_url(url, is_http_allowed=self.access.http)
            with _interruptions(), self._get(url) as response:
                headers = {
                    name.lower().decode(): value.decode(errors="replace") for name, value in response.headers
                }
                if response.status not in REDIRECTS:
                    check_status(response.status, shown)
                    yield _Answer(response, headers)
                    return
            url = plan_redirect(url, headers.get("location"))
        raise SourceRedirectsTooOften(shown, self.access.redirects)

    def _get(self, url: httpx2.URL) -> AbstractContextManager[httpcore2.Response]:
        return self.pool.stream(
            "GET",
            httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=_HEADERS,
            extensions={"timeout": _TIMEOUTS},
        )

    def fetch_file(self, url: httpx2.URL, target: Path, limit: int | None = None) -> Saved:
        """Fetch one file of a directory, of up to `limit` bytes (ManifestInvalid)."""
        shown = redact_url(str(url))

        def attempt() -> Saved:
            with self.opened(url) as answer:
                encoding = answer.headers.get("content-encoding", "identity")
                if encoding != "identity":
                    raise SourceRefused(shown, f"its server sends it as {encoding} only")
                return save(answer.response.iter_stream(), target, self.meter, limit)

        return transfer(shown, self.meter, attempt)


@contextmanager
def _web(access: Access, meter: Meter) -> Iterator[_Web]:
    backend = CheckedBackend(access.resolve, access.allowed, meter)
    with httpcore2.ConnectionPool(
        ssl_context=httpcore2.default_ssl_context(), max_connections=1, network_backend=backend
    ) as pool:
        yield _Web(pool, access, meter)


@contextmanager
def _interruptions() -> Iterator[None]:
    """Turn the errors of a connection into Interrupted."""
    try:
        yield
    except (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError) as error:
        raise Interrupted(_reason(error)) from error


def _reason(error: Exception) -> str:
    if isinstance(error, httpcore2.TimeoutException):
        return "its server does not answer in time"
    return str(error)[:MAX_REASON] or type(error).__name__


def _fetch_module(web: _Web, url: httpx2.URL, file: Listed, directory: Path) -> None:
    target = directory / file.path
    with storing("Writing", target):
        target.parent.mkdir(parents=True, exist_ok=True)
    below = _below(url, file.path)
    saved = web.fetch_file(below, target)
    if file.size not in {None, saved.size}:
        raise SourceRefused(
            redact_url(str(below)), f"it has {saved.size} bytes, and {file.size} in {METADATA_FILE}"
        )
    if file.sha256 not in {None, saved.sha256}:
        raise SourceRefused(
            redact_url(str(below)), f"its sha256 is {saved.sha256}, and another in {METADATA_FILE}"
        )


def _below(url: httpx2.URL, path: str) -> httpx2.URL:
    """Give the URL of a file in the directory at `url`."""
    before, mark, query = url.raw_path.partition(b"?")
    return url.copy_with(raw_path=before + quote(path).encode() + mark + query)
