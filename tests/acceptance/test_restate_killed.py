"""Restate is killed beside a request that changes something in it: the manager says so, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import httpx2
import pytest

from tests.acceptance.killing import operations
from tests.acceptance.killing.campaign import Campaign, Victim
from tests.acceptance.killing.operations import Operation
from tests.harness import pid_of
from tests.load import lasting_load

EXCUSES = {"restate_unavailable", "registration_unknown", "routing_unknown", "drain_unknown"}
"""What the manager may say: Restate is away or starting, or it is not known what it has done."""


def is_excuse(response: httpx2.Response | None) -> bool:
    return (
        response is not None
        and response.headers["content-type"] == "application/problem+json"
        and response.json()["code"] in EXCUSES
    )


RESTATE = Victim(
    name="restate-server",
    find=partial(pid_of, name="restate-server"),
    load=lasting_load,
    excused=is_excuse,
    concerns=lambda point: point.startswith("restate "),
)


@pytest.mark.timeout(1200)  # a new start of a process for each point
@pytest.mark.parametrize("together", operations.OF_RESTATE, ids=operations.titles_of)
def test_killed_beside_any_request_restate_loses_nothing_and_the_manager_goes_on(
    together: tuple[Operation, ...],
    make_campaign: Callable[[tuple[Operation, ...], Victim], Campaign],
    record_property: Callable[[str, str], None],
) -> None:
    outcome = make_campaign(together, RESTATE).run()
    for summary in outcome.summaries:
        record_property("kill points", summary)
    assert not outcome.faults, "\n".join(outcome.faults)
