"""Restate as a process: this one, once its configuration is written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NoReturn

from gridiron.errors import ComponentFailed, RestoreUnfinished, StorageFailed
from gridiron.identity.store import IdentityStore
from gridiron.membership import begin_membership, check_membership
from gridiron.restate.config import ensure_restate_config, restate_arguments
from gridiron.restate.nodelay import hurry
from gridiron.settings import Settings
from gridiron.toolchain.programs import Toolchain


def exec_restate(settings: Settings, toolchain: Toolchain) -> NoReturn:
    """Render the configuration, then become restate-server: same process id, signals and output.

    A process beside it, which ends when Restate listens, has it send without delay.

    Raises RestoreUnfinished, ClusterTableMissing, TemplateInvalid, SettingsInvalid, KeyInvalid,
    StorageFailed, ToolMissing or ToolVersionWrong before, in a cluster BucketRefused, and ComponentFailed
    when the program cannot be started.
    """
    if settings.restoring_dir.exists():
        raise RestoreUnfinished(str(settings.restoring_dir))
    check_membership(settings, settings.restate_dir)
    binary = toolchain.restate_server().path
    ensure_restate_config(settings)
    IdentityStore.of_node(settings).take_up()
    try:
        settings.restate_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFailed("Making", str(settings.restate_dir), error.strerror or str(error)) from error
    begin_membership(settings)
    hurry({settings.ports.fabric, settings.ports.ingress})
    try:
        os.execve(binary, restate_arguments(settings, binary), restate_environment(os.environ))  # noqa: S606 - no shell
    except OSError as error:
        raise ComponentFailed("restate", str(error)) from error


def restate_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave out what restate-server would take over its configuration file: all that begins with RESTATE_."""
    return {name: value for name, value in environment.items() if not name.startswith("RESTATE_")}
