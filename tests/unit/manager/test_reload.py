"""Settings that are written anew while the manager runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gridiron.bundles.signature import create_key
from gridiron.errors import ActivationFailed, SignatureMissing, SourceTooLarge
from gridiron.lifecycle.plan import Policy
from gridiron.manager.reload import reload
from tests.unit.manager.conftest import GRACE, Manager, make_settings


def reloaded(manager: Manager, **written: Any) -> list[dict[str, Any]]:
    """Write settings and have them read; give what is logged."""
    with capture_logs() as logged:
        reload(manager.context, lambda: make_settings(manager.directory, **written))
    return list(logged)


def test_live_settings_are_taken_up_and_others_are_named(manager: Manager) -> None:
    logged = reloaded(manager, retain=1, source_mib=2, cells=7)
    assert manager.context.policy == Policy(grace=GRACE, retain=1)
    assert manager.context.settings.cells == 0
    assert logged == [
        {"event": "settings.reloaded", "log_level": "info", "changed": ["source_mib", "retain"]},
        {"event": "settings.need_restart", "log_level": "warning", "changed": ["cells"]},
    ]
    assert reloaded(manager, retain=1, source_mib=2) == [
        {"event": "settings.reloaded", "log_level": "info", "changed": []}
    ]


async def test_the_next_bundle_is_held_to_the_new_limits(manager: Manager, tmp_path: Path) -> None:
    large = manager.bundle("// offers demo\n" + "x" * 1024 * 1024)
    await manager.activate_source(large, "1")
    reloaded(manager, source_mib=1)
    with pytest.raises(SourceTooLarge):
        manager.context.intake.uploads.receive("0" * 64, announced=1024 * 1024 + 1)
    trusted = tmp_path / "release.pub"
    trusted.write_bytes(create_key().public)
    reloaded(manager, trusted_keys=str(trusted), require_signature=True)
    with pytest.raises(ActivationFailed) as caught:
        await manager.activate("2")
    assert isinstance(caught.value.cause, SignatureMissing)


@pytest.mark.parametrize(
    ("written", "code"), [({"retain": -1}, "settings_invalid"), ({"trusted_keys": "/no.pem"}, "key_invalid")]
)
def test_what_cannot_be_used_changes_nothing(manager: Manager, written: dict[str, Any], code: str) -> None:
    before, policy = manager.context.settings, manager.context.intake.policy
    (logged,) = reloaded(manager, sweep_seconds=1, **written)
    assert (logged["event"], logged["log_level"], logged["code"]) == ("settings.not_reloaded", "error", code)
    assert (manager.context.settings, manager.context.intake.policy) == (before, policy)
