"""How long to wait before something that died is started again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Backoff:
    """A delay that grows with each failure and starts afresh after a time without one.

    The defaults bring a component back at once the first time, and keep a broken one from using the machine
    up: after six failures in a row it is tried every ten seconds.
    """

    initial: timedelta = timedelta(milliseconds=100)
    factor: float = 3.0
    ceiling: timedelta = timedelta(seconds=10)
    reset_after: timedelta = timedelta(seconds=30)  # of running well

    def delay(self, failures: int) -> timedelta:
        """Give the wait before the start that follows the `failures`-th failure in a row (1, 2, …)."""
        # the exponent is bounded so that a long row of failures cannot overflow a timedelta
        return min(self.initial * self.factor ** min(failures - 1, 16), self.ceiling)

    def failures_after(self, failures: int, uptime: timedelta) -> int:
        """Count one more failure, or start at one when what died had run well before."""
        return 1 if uptime >= self.reset_after else failures + 1
