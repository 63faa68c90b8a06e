"""A file that says what the soak did and when, to be read beside the node's own log."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path


class Events:
    """Writes one line an event."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8")

    def note(self, text: str) -> None:
        """Write an event down, with the time as the node's log has it."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._file.write(f"{time} {text}\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
