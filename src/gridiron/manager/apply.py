"""A changed generated configuration reaches the workers.

The text is the same before and after a deployment; it changes with its template, a setting, or a program's
version. Under `gridiron up`, that process sees the file change and tells the workers; where runit runs them
(`workers_service`), `sv hup` does.
"""

from __future__ import annotations

import asyncio

import structlog

from gridiron.errors import ComponentFailed
from gridiron.settings import Settings
from gridiron.toolchain.programs import Toolchain
from gridiron.workers.config import ensure_config

log = structlog.get_logger()


async def apply_config(settings: Settings, toolchain: Toolchain) -> None:
    """Render the workers' configuration; when it changed, have it applied. Safe to repeat.

    Raises TemplateInvalid, StorageFailed, or ComponentFailed when `sv` fails.
    """
    if not await asyncio.to_thread(ensure_config, settings, toolchain):
        return
    log.info("workers.config_changed", path=str(settings.workerd_config_path))
    if settings.workers_service is not None:
        await _hang_up(str(settings.workers_service))


async def _hang_up(service: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "sv", "hup", service, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise ComponentFailed(f"sv hup {service}", output.decode(errors="replace").strip())
