"""Try a transfer again where a server is away for a moment or breaks off."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import stamina

from gridiron.bundles.limits import Meter
from gridiron.errors import SourceUnreachable

ATTEMPTS = 5
"""With pauses of up to 0.2, 0.4, 0.8 and 1.6 s between them, each with up to half a second more."""

T = TypeVar("T")


class Interrupted(Exception):
    """An attempt failed in a way that another one may not. Its text says how, and holds no secret."""


def transfer(source: str, meter: Meter, attempt: Callable[[], T]) -> T:
    """Give what `attempt` gives. After an Interrupted it is called again, and has to begin from nothing.

    `source` is what an error shows. Raises SourceUnreachable where each attempt failed, SourceTooSlow where
    the time is over, and whatever else an attempt raises.
    """
    meter.check_time()
    try:
        for each in stamina.retry_context(
            on=Interrupted,
            attempts=ATTEMPTS,
            timeout=max(meter.seconds_left, 0.001),
            wait_initial=0.2,
            wait_jitter=0.5,
        ):
            with each:
                meter.check_time()
                return attempt()
    except Interrupted as error:
        meter.check_time()
        raise SourceUnreachable(source, str(error)) from error
    raise AssertionError(source)  # an attempt returns or raises
