"""A mesh under load while something befalls it, and the proof that nobody noticed but by waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import httpx2

from tests.acceptance.mesh.load import IN_FLIGHT, Load, under_load
from tests.acceptance.mesh.rig import Mesh
from tests.harness import wait_until

STEADY = "steady"
"""The service that is under load, in one version for all tests."""

VERSION = "1"


@contextmanager
def steady_load(
    mesh: Mesh, what: str, tell: Callable[[str], None], urls: Sequence[str] = ()
) -> Iterator[Load]:
    """Keep invocations in flight in the block, and see afterwards that each was answered as it should be.

    They are sent to `urls`, or to the nodes themselves.

    The mesh is to be whole again at the end of the block.
    """
    if not mesh.nodes[0].answers(STEADY, VERSION):
        mesh.deploy(mesh.nodes[0], STEADY, VERSION)
    with under_load(urls or mesh.urls, STEADY, mesh.is_starting) as load:
        wait_until(lambda: count_in_flight(load, mesh) >= IN_FLIGHT, 60, "they are in flight")
        yield load
    tell(f"{what}: {load.describe()}")
    judge(load, mesh)


def judge(load: Load, mesh: Mesh) -> None:
    """Assert that no call was lost, made twice or answered by a wrong version."""
    assert load.failures == [], f"{len(load.failures)} failures, such as {load.failures[0]}"
    assert len(load.outcomes) == load.sent, f"{load.sent - len(load.outcomes)} of {load.sent} calls are lost"
    wrong = load.wrong(VERSION)
    assert wrong == [], f"{len(wrong)} wrong answers, such as {wrong[0]}"
    for counter, values in load.counted().items():
        assert values == list(range(1, len(values) + 1)), f"{counter} has answered {values}"
        kept = mesh.nodes[0].client.call(f"{STEADY}-counter/{counter}", "read")
        assert kept == {"begun": VERSION, "ended": VERSION, "value": len(values)}, f"{counter} has {kept}"
    invocations = count_invocations(load, mesh)
    assert invocations == {"completed": load.sent}, f"{load.sent} calls are {invocations}"


def count_invocations(load: Load, mesh: Mesh) -> dict[str, int]:
    """How many invocations Restate has of a load, by their status."""

    def ask() -> tuple[dict[str, int]] | None:
        try:
            rows = mesh.nodes[0].query(
                "select status, count(*) as invocations from sys_invocation "  # noqa: S608 - a name of ours
                f"where idempotency_key like '{load.name}-%' group by status"
            )
        except httpx2.HTTPStatusError as error:
            if error.response.status_code == 500:  # a partition changes its leader
                return None
            raise
        return ({row["status"]: row["invocations"] for row in rows},)

    (found,) = wait_until(ask, 60, "all partitions answer")
    return found  # type: ignore[no-any-return]


def count_in_flight(load: Load, mesh: Mesh) -> int:
    return sum(number for status, number in count_invocations(load, mesh).items() if status != "completed")


def last(seconds: float) -> None:
    """Let something go on for a time: how long it lasts is what the test is about."""
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > until, seconds + 10)
