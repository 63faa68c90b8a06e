"""What failed and is not tried again at once: it waits for twice as many rounds of the loop each time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

MAX_ROUNDS = 64
"""Rounds that a failure is waited out at most: half an hour of sweeps."""


@dataclass(slots=True)
class _Failure:
    reason: str
    rounds: int  # that it was held off for
    left: int  # of them


class HoldOff:
    """Failures, by build id or path. Rounds and not times, so that no clock has a say in it."""

    def __init__(self) -> None:
        self._failures: dict[str, _Failure] = {}

    @property
    def reasons(self) -> dict[str, str]:
        """What failed with each the last time."""
        return {subject: failure.reason for subject, failure in self._failures.items()}

    @property
    def held_off(self) -> frozenset[str]:
        """Those whose rounds are not over."""
        return frozenset(subject for subject, failure in self._failures.items() if failure.left > 0)

    def fail(self, subject: str, reason: str, *, hold_off: bool = True) -> None:
        """Have one tried again after 1 round, and then after 1, 2, 4 and so on, up to MAX_ROUNDS.

        Without `hold_off`, only the reason is remembered.
        """
        if not hold_off:
            self._failures[subject] = _Failure(reason, 0, 0)
            return
        before = self._failures.get(subject)
        rounds = min(max(before.rounds * 2, 1), MAX_ROUNDS) if before else 0
        self._failures[subject] = _Failure(reason, rounds, rounds)

    def succeed(self, subject: str) -> None:
        """Forget what failed with one. Safe to repeat."""
        self._failures.pop(subject, None)

    def begin_round(self) -> None:
        """Count one round."""
        for failure in self._failures.values():
            failure.left -= 1

    def keep(self, subjects: Collection[str]) -> None:
        """Forget all that is there no more."""
        self._failures = {key: value for key, value in self._failures.items() if key in subjects}
