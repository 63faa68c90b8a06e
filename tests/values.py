"""Values that tests of several rooms need: a build, its registration."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gridiron.lifecycle.observation import STORE_KEY, Inventory, Observation, Registration
from gridiron.model import Address, Build, Compatibility

STORE = "here"  # the identity of the bundle directory
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
        metadata={"build_id": str(address), STORE_KEY: STORE} if address else {},
    )


def make_observation(builds: tuple[Build, ...] = (), /, **parts: Any) -> Observation:
    """An observation of builds with nothing registered; `parts` are fields of it or of its inventory."""
    own = {field: parts.pop(field) for field in ("damaged", "marks") if field in parts}
    seen = {
        "inventory": Inventory(STORE, builds, **own),
        "activating": frozenset(),
        "registrations": (),
        "newest": {},
        "demand": {},
        "loaded": frozenset(),
    }
    return Observation(**{**seen, **parts})
