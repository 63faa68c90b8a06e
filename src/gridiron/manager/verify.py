"""Verify: compare the modules of the stored builds with what was stored, a bit in each round of the loop."""

from __future__ import annotations

import asyncio

import structlog

from gridiron.errors import ObjectDamaged, SecretKeyInvalid, SecretsUnreadable, StorageFailed
from gridiron.manager.context import Context
from gridiron.manager.observe import Look, Observer
from gridiron.model import Build

log = structlog.get_logger()

MAX_BYTES = 64 * 1024 * 1024
"""That are read in one round: 0.1 s of one core. A cell compares a module itself before it loads it."""


class Verifier:
    """Looks at each build once, and again for as long as something is wrong with it.

    What it finds is in `observer.damage`. Nothing follows from that but that people are told: the files may
    be put right again.
    """

    def __init__(self, context: Context, observer: Observer) -> None:
        self._context = context
        self._observer = observer
        self._verified: set[str] = set()

    async def verify_some(self, look: Look) -> None:
        """Verify the builds that were not yet, newest first, until enough was read; at least one."""
        builds = {status.build_id: status.build for status in look.statuses if status.build is not None}
        self._verified &= builds.keys()
        for build_id in self._observer.damage.keys() - builds.keys():
            del self._observer.damage[build_id]
        read = 0
        for build in reversed(builds.values()):
            if build.build_id in self._verified:
                continue
            if read and read + build.size > MAX_BYTES:
                break
            await self._verify(build)
            read += build.size

    async def _verify(self, build: Build) -> None:
        problem = await find_damage(self._context, build)
        if problem:
            if self._observer.damage.get(build.build_id) != problem:
                log.error("build.damaged", build_id=build.build_id, reason=problem)
            self._observer.damage[build.build_id] = problem
        else:
            self._observer.damage.pop(build.build_id, None)
            self._verified.add(build.build_id)


async def find_damage(context: Context, build: Build) -> str:
    """Say how the files of a build differ from what was stored; empty where they do not."""
    try:
        await asyncio.to_thread(context.store.verify, build)
        if build.secrets:
            await asyncio.to_thread(_check_secrets, context, build.build_id)
    except StorageFailed as error:
        return f"{error.path} is not as it was stored: {error.reason}"
    except (SecretsUnreadable, SecretKeyInvalid, ObjectDamaged) as error:
        return str(error)
    return ""


def _check_secrets(context: Context, build_id: str) -> None:
    context.secrets.check_snapshot(build_id, context.store.fetch_sealed(build_id))
