"""What the test tells the processes of a node that it wants to kill: see `injected/sitecustomize.py`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness import wait_until

INJECTED = Path(__file__).parent / "injected"


class Trap:
    """The control file of one node, which its manager looks at before each durable step."""

    def __init__(self, directory: Path) -> None:
        self._control = directory / "trap.json"
        self._recorded = directory / "recorded"

    def inject(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have the nodes that are made from here on look at this trap."""
        monkeypatch.setenv("PYTHONPATH", str(INJECTED))
        monkeypatch.setenv("KILL_POINTS_CONTROL", str(self._control))

    @contextmanager
    def recording(self) -> Iterator[list[str]]:
        """Fill the list at the end with the kill points that were passed meanwhile, in order."""
        points: list[str] = []
        self._recorded.write_text("")
        self._write({"record": str(self._recorded)})
        yield points
        # a client may have its answer before the point behind it is written down
        wait_until(lambda: not self._recorded.read_text().endswith("(before)\n"))
        self.disarm()
        points += self._recorded.read_text().splitlines()

    def arm(self, point: str, pid: int) -> None:
        """Have a process killed when the manager comes to a point."""
        self._write({"kill_at": point, "pid": pid})

    @property
    def sprung(self) -> bool:
        """Whether the manager came to the point; from then on the trap is not armed any more."""
        return not self._control.exists()

    def disarm(self) -> None:
        """Let the manager be. Safe to repeat."""
        self._control.unlink(missing_ok=True)

    def _write(self, orders: dict[str, object]) -> None:
        written = self._control.with_suffix(".partial")
        written.write_text(json.dumps({"run": str(uuid.uuid4()), **orders}))
        written.replace(self._control)
