"""Give the manager what was built: by its path where both are on one machine, or else as an archive."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

from gridiron.bundles.digest import hash_file
from gridiron.bundles.pack import pack
from gridiron.cli.client import ManagerClient
from gridiron.cli.edge import ManagerRefused
from gridiron.errors import SourceMissing, SourceOutsideRoots, SourceUnreadable
from gridiron.manager.api import Activated, ActivateRequest

NOT_OURS = frozenset({SourceMissing.code, SourceOutsideRoots.code, SourceUnreadable.code})
"""Codes of a manager that does not see this machine's files, or may not."""


class Sender:
    """Activates bundles that are directories of this machine. It is for one thread at a time, and blocks."""

    def __init__(self, manager: ManagerClient, limit: timedelta) -> None:
        self._manager = manager
        self._limit = limit
        self._shares_files = manager.is_local

    def activate(self, request: ActivateRequest, bundle: Path) -> Activated:
        """Activate a bundle. Raises what `ManagerClient.activate` and `pack` raise."""
        if self._shares_files:
            try:
                return self._activate(request.model_copy(update={"source": bundle.as_uri()}))
            except ManagerRefused as error:
                if error.problem.code not in NOT_OURS:
                    raise
                self._shares_files = False
        with tempfile.TemporaryDirectory(prefix="gridiron-") as work:
            archive = Path(work) / "bundle.tar.gz"
            pack(bundle, archive)
            sha256 = hash_file(archive)
            self._manager.upload(archive, sha256, self._limit, _pass_over)
            return self._activate(request.model_copy(update={"source": f"bundle:{sha256}", "sha256": sha256}))

    def _activate(self, request: ActivateRequest) -> Activated:
        return self._manager.activate(request, self._limit, _pass_over)


def _pass_over(*_: object) -> None:
    """Show nothing: it is over in a moment."""
