from __future__ import annotations

from ipaddress import ip_network

import pytest

from gridiron.bundles.access import Access
from gridiron.settings import load_settings


def test_by_default_sources_are_public_and_https() -> None:
    assert Access.of(load_settings()) == Access(http=False, allowed=(), redirects=5, s3_endpoint=None)


def test_settings_open_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDIRON_SOURCE_HTTP", "true")
    monkeypatch.setenv("GRIDIRON_SOURCE_ALLOW", "127.0.0.0/8,fd12::/16")
    monkeypatch.setenv("GRIDIRON_SOURCE_REDIRECTS", "0")
    monkeypatch.setenv("GRIDIRON_S3_ENDPOINT", "http://storage.internal:9000")
    assert Access.of(load_settings()) == Access(
        http=True,
        allowed=(ip_network("127.0.0.0/8"), ip_network("fd12::/16")),
        redirects=0,
        s3_endpoint="http://storage.internal:9000",
    )
