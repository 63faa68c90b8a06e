"""What Linux says of processes, for tests and benches."""

from __future__ import annotations

from pathlib import Path


def descendants(pid: int) -> list[int]:
    """Give the processes below one, itself included."""
    found, todo = [], [pid]
    while todo:
        current = todo.pop()
        found.append(current)
        try:
            tasks = list(Path(f"/proc/{current}/task").iterdir())
            todo += [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):  # it has just ended, before or during the read
            continue
    return found


def fetch_program(pid: int) -> str:
    """Name the program of a process, with its verb where it is `gridiron`; empty when it has ended."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    if "gridiron" in arguments:
        return " ".join(arguments[arguments.index("gridiron") :]).strip()
    return Path(arguments[0]).name
