"""Servers of sources on free ports, and retries without pauses."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina
import trustme

from gridiron.bundles.transfer import ATTEMPTS
from tests.integration.sources.origin import Origin, serving
from tests.seaweed import Seaweed, running_seaweed


@pytest.fixture(autouse=True)
def no_pauses() -> Iterator[None]:
    with stamina.set_testing(True, attempts=ATTEMPTS):
        yield


@pytest.fixture
def origin() -> Iterator[Origin]:
    with serving() as found:
        yield found


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """An authority that this process trusts, by the variable that OpenSSL reads."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return authority


@pytest.fixture
def secure_origin(authority: trustme.CA) -> Iterator[Origin]:
    """A server whose certificate is for bundles.example and other.example."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("bundles.example", "other.example").configure_cert(context)
    with serving(tls=context) as found:
        yield found


@pytest.fixture(scope="session")
def seaweed() -> Iterator[Seaweed]:
    with running_seaweed() as found:
        yield found
