"""The Restate SDK for a project that has not installed it: the version that Gridiron was tested with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gridiron.bundles.build import BuildToolchain
from gridiron.toolchain.packages import PACKAGE_FILE, SDK_PACKAGE


def fetch_sdk(directory: Path, toolchain: BuildToolchain) -> Mapping[str, Path]:
    """Give the file of each entry of the SDK, by what scripts import, for the project in `directory`.

    None at all for a project that has the SDK in its `node_modules`, or in those of a directory above. Raises
    what the toolchain raises.
    """
    resolved = directory.resolve()
    for above in (resolved, *resolved.parents):
        if (above / "node_modules" / SDK_PACKAGE / PACKAGE_FILE).is_file():
            return {}
    return toolchain.sdk_entries()
