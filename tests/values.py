"""Values that tests of several rooms need: a build, its registration."""

from __future__ import annotations

from datetime import UTC, datetime

from gridiron.lifecycle.observation import Registration
from gridiron.model import Address, Build, Compatibility

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def make_build(version: str, timestamp: int, name: str = "demo") -> Build:
    return Build(
        name=name,
        version=version,
        timestamp=timestamp,
        created_at=NOW,
        source="file:///demo",
        sha256="0" * 64,
        main="index.js",
        modules=(),
        compatibility=Compatibility(),
        vars={},
    )


def make_registration(address: Address | None, deployment_id: str, *services: str) -> Registration:
    return Registration(
        deployment_id=deployment_id,
        uri=f"http://localhost:9080{address.path if address else '/by-hand'}",
        address=address,
        created_at=NOW,
        services=services,
        protocol="BidiStream",
        metadata={},
    )
