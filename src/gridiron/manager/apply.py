"""A changed generated configuration reaches the workers.

The text is the same before and after a deployment; it changes with its template, a setting, or a program's
version. Under `gridiron up`, that process sees the file change and tells the workers; where runit runs them
(`workers_service`), `sv hup` does. The workers compare with what their cells were started with, so telling
them once too often does nothing.
"""

from __future__ import annotations

import asyncio

import structlog

from gridiron.errors import ConfigNotApplied
from gridiron.settings import Settings
from gridiron.toolchain.programs import Toolchain
from gridiron.workers.config import ensure_config

log = structlog.get_logger()


class ConfigApplier:
    """Renders the workers' configuration and has it applied; what failed is tried again the next time."""

    def __init__(self, settings: Settings, toolchain: Toolchain) -> None:
        self._settings = settings
        self._toolchain = toolchain
        self._pending = True  # a manager before this one may have died between the two

    async def apply(self) -> None:
        """Render, and tell the workers when something changed. Safe to repeat.

        Raises TemplateInvalid, SettingsInvalid, StorageFailed, or ConfigNotApplied when `sv` fails.
        """
        if await asyncio.to_thread(self._render):
            log.info("config.rendered", path=str(self._settings.workerd_config_path))
            self._pending = True
        if self._pending and self._settings.workers_service is not None:
            await _hang_up(str(self._settings.workers_service))
        self._pending = False

    def _render(self) -> bool:
        return ensure_config(self._settings.read_anew(), self._toolchain)


async def _hang_up(service: str) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            "sv", "hup", service, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except OSError as error:
        raise ConfigNotApplied(service, str(error)) from error
    output, _ = await process.communicate()
    if process.returncode:
        raise ConfigNotApplied(service, output.decode(errors="replace").strip())
