"""What a node lets its sources be."""

from __future__ import annotations

from dataclasses import dataclass

from gridiron.bundles.connections import Resolve, resolve_host
from gridiron.egress import Range
from gridiron.settings import Settings


@dataclass(frozen=True, slots=True)
class Access:
    """Where the sources of a node may be."""

    http: bool = False  # whether http:// will do
    allowed: tuple[Range, ...] = ()  # beside public addresses, of http and https sources
    redirects: int = 5
    s3_endpoint: str | None = None  # None: what the AWS tools' own settings say
    resolve: Resolve = resolve_host

    @classmethod
    def of(cls, settings: Settings) -> Access:
        """Give what the settings of a node say."""
        return cls(
            http=settings.source_http,
            allowed=settings.source_allow,
            redirects=settings.source_redirects,
            s3_endpoint=settings.s3_endpoint,
        )
