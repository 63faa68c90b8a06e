"""A node that takes signed bundles only, and what it had before that was so."""

from __future__ import annotations

from pathlib import Path

import pytest

from gridiron.bundles.signature import KeyPair, create_key, sign
from gridiron.ed25519 import parse_private_key
from gridiron.errors import ActivationFailed, SignatureMissing
from gridiron.manager.api import RollbackRequest
from gridiron.manager.secrets import Change
from tests.unit.manager.conftest import Manager, make_settings


@pytest.fixture
def key() -> KeyPair:
    return create_key()


@pytest.fixture
def before(tmp_path: Path) -> Manager:
    """The manager as it was when it took any bundle."""
    return Manager(tmp_path, make_settings(tmp_path))


@pytest.fixture
def manager(before: Manager, key: KeyPair) -> Manager:
    trusted = before.directory / "release.pub"
    trusted.write_bytes(key.public)
    settings = make_settings(before.directory, trusted_keys=str(trusted), require_signature=True)
    return Manager(before.directory, settings, before.restate, before.cells, before.clock)


async def test_what_was_active_without_a_signature_gets_one_by_activating_it_again(
    before: Manager, manager: Manager, key: KeyPair
) -> None:
    unsigned = await before.activate("1")
    source = before.bundle("// demo 1\n// offers demo")
    signature = sign(parse_private_key("release", key.private), unsigned.sha256)
    with pytest.raises(ActivationFailed) as caught:
        await manager.activate_source(source, "1")
    assert isinstance(caught.value.cause, SignatureMissing)
    change = Change("demo", "KEY", "value")
    with pytest.raises(ActivationFailed) as caught:
        await manager.activator.change_secret(change)
    assert isinstance(caught.value.cause, SignatureMissing)

    signed = await manager.activate_source(source, "1", signature=signature)
    assert signed.outcome == "activated"
    again = await manager.activate_source(source, "1", signature=signature)
    assert (again.outcome, again.build_id) == ("unchanged", signed.build_id)
    changed = await manager.activator.change_secret(change)
    assert changed.activated is not None
    assert (await manager.deployments.fetch(changed.activated.build_id)).signed_by == key.key_id


async def test_nothing_unsigned_is_rolled_back_to(before: Manager, manager: Manager, key: KeyPair) -> None:
    unsigned = await before.activate("1")
    content = "// demo 2\n// offers demo"
    digest = (await before.activate("2")).sha256
    signature = sign(parse_private_key("release", key.private), digest)
    await manager.activate_source(before.bundle(content), "2", signature=signature)
    with pytest.raises(ActivationFailed) as caught:
        await manager.activator.rollback(RollbackRequest(name="demo", build_id=unsigned.build_id))
    assert isinstance(caught.value.cause, SignatureMissing)
