"""What a manager leaves behind for the command line of its user: how it is reached at a port of this machine.

{user's data directory}/nodes/{port}    no secret, only where one is
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import structlog
from pydantic import ValidationError

from gridiron.model import Value
from gridiron.process.files import replace_file

log = structlog.get_logger()


class Note(Value):
    """How a manager on this machine is reached."""

    url: str
    token_file: Path
    certificate: Path | None  # what it shows, where it speaks TLS


def leave_note(directory: Path, port: int, note: Note) -> None:
    """Write a note. A convenience: where it cannot be written, that is logged and no more."""
    try:
        replace_file(_path_of(directory, port), note.model_dump_json(indent=2).encode() + b"\n", 0o600)
    except OSError as error:
        log.info("access.note_not_written", reason=str(error))


def fetch_note(directory: Path, port: int) -> Note | None:
    """Read the note of a port; None where there is none that can be read."""
    try:
        return Note.model_validate_json(_path_of(directory, port).read_bytes())
    except (OSError, ValidationError):
        return None


def take_note_back(directory: Path, port: int, note: Note) -> None:
    """Remove a note, unless another manager has left its own by now."""
    if fetch_note(directory, port) == note:
        with contextlib.suppress(OSError):
            _path_of(directory, port).unlink(missing_ok=True)


def _path_of(directory: Path, port: int) -> Path:
    return directory / "nodes" / str(port)
