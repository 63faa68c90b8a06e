"""Killed at any step of what it does, the manager leaves nothing half done.

A step is whatever lasts: a change of the disk, a request to Restate or the workers that changes something, an
answer to a client. Which steps there are is recorded first, so a new one is tried without a change here.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.acceptance.killing import operations
from tests.acceptance.killing.campaign import Campaign, Victim
from tests.acceptance.killing.operations import Operation
from tests.harness import manager_of
from tests.load import constant_load

MANAGER = Victim(
    name="manager",
    find=manager_of,
    load=constant_load,
    excused=lambda response: response is None,
    concerns=lambda point: "audit.jsonl" not in point,  # its lines come before and after everything else
)


@pytest.mark.timeout(1200)  # a new start of a process for each point
@pytest.mark.parametrize("together", operations.ALL, ids=operations.titles_of)
def test_killed_at_any_step_the_manager_does_all_of_it_or_nothing(
    together: tuple[Operation, ...],
    make_campaign: Callable[[tuple[Operation, ...], Victim], Campaign],
    record_property: Callable[[str, str], None],
) -> None:
    outcome = make_campaign(together, MANAGER).run()
    for summary in outcome.summaries:
        record_property("kill points", summary)
    assert not outcome.faults, "\n".join(outcome.faults)
