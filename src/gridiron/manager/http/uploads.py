"""Take an archive in over HTTP, piece by piece."""

from __future__ import annotations

import asyncio

from fastapi import Request
from starlette.requests import ClientDisconnect

from gridiron.bundles.intake import Intake
from gridiron.bundles.uploads import Receiving
from gridiron.errors import SourceTooSlow, UploadIncomplete

PIECE = 256 * 1024
"""Bytes that are gathered before a thread writes them: to wait for one takes longer than to write a chunk."""


async def receive(request: Request, intake: Intake, sha256: str) -> bool:
    """Take the body of a request in and keep it; tell whether it was not there yet. Safe to repeat.

    Raises SourceTooLarge, SourceTooSlow, UploadIncomplete, DigestMismatch, StorageFailed.
    """
    limit = intake.policy.limits.time.total_seconds()
    receiving = await asyncio.to_thread(intake.uploads.receive, sha256, _announced(request))
    with receiving:
        try:
            async with asyncio.timeout(limit):
                await _write_all(request, receiving)
        except TimeoutError as error:
            raise SourceTooSlow(round(limit)) from error
        except ClientDisconnect as error:
            raise UploadIncomplete(sha256) from error
        return await asyncio.to_thread(receiving.keep)


async def _write_all(request: Request, receiving: Receiving) -> None:
    gathered = bytearray()
    async for chunk in request.stream():
        gathered += chunk
        if len(gathered) >= PIECE:
            await asyncio.to_thread(receiving.write, bytes(gathered))
            gathered.clear()
    await asyncio.to_thread(receiving.write, bytes(gathered))


def _announced(request: Request) -> int | None:
    """Give the length that the client announced; the server has seen to it that it is a number."""
    length = request.headers.get("content-length")
    return None if length is None else int(length)
