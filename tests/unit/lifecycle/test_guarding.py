"""Whole histories of a node's workers, second by second, and what its guardian does in each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from gridiron.lifecycle.guarding import (
    WINDOW,
    Course,
    Decision,
    Past,
    Place,
    Step,
    back_off,
    find_recent,
    follow,
    plan_guard,
)

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
LOOKS = {"s": True, "d": False, "?": None}
"""How a second of a history goes: cells serve, are down, or nobody knows."""


@dataclass
class Story:
    """A node whose guardian's wishes come true at once."""

    others: int = 2
    worker_state: str | None = "active"
    past: Past = field(default_factory=Past)
    course: Course = field(default_factory=Course)
    second: int = 0
    drained_second: int | None = None

    def __post_init__(self) -> None:
        self.begun_at: list[datetime] = []
        self.told: list[str] = []
        self.reason = ""

    def live(self, history: str) -> None:
        for look in history:
            self.course = follow(self.course, LOOKS[look], self.second)
            recent = find_recent(self.begun_at, START + timedelta(seconds=self.second))
            ago = None if self.drained_second is None else self.second - self.drained_second
            self.past = replace(self.past, drains=len(recent), drained_ago=ago)
            place = Place(self.worker_state, self.others)
            decision = plan_guard(self.course, place, self.past, self.second)
            self.take(decision)
            self.second += 1

    def take(self, decision: Decision) -> None:
        self.reason = decision.reason
        if decision.step is Step.DRAIN:
            self.worker_state = "draining"
            if not self.past.drained:
                self.begun_at.append(START + timedelta(seconds=self.second))
                self.drained_second = self.second
            self.past = Past(True, len(self.begun_at))
        if decision.step is Step.TAKE_BACK:
            self.worker_state = "active"
            self.past = replace(self.past, drained=False)
        if decision.step is not Step.NOTHING:
            self.told.append(f"{decision.step} at {self.second}")


@pytest.mark.parametrize(
    ("history", "told"),
    [
        ("s" * 30, []),
        ("?" * 30, []),
        ("sss" + "ddd" + "s" * 30, []),
        ("sss" + "ddddd" + "s" * 30, []),
        ("s" + "ds" * 30, []),
        ("sss" + "d" * 30, ["drain at 8"]),
        ("d" * 30, ["drain at 5"]),  # they never came
        ("d" * 5 + "?" * 30, []),  # nothing follows from an unknown
        ("d" * 4 + "?" * 3 + "d" * 30, ["drain at 7"]),
        ("d" * 10 + "s" * 30, ["drain at 5", "take_back at 15"]),
        ("d" * 10 + "sss" + "d" + "s" * 30, ["drain at 5", "take_back at 19"]),
        ("d" * 10 + "sss" + "?" + "s" * 30, ["drain at 5", "take_back at 19"]),
        ("d" * 10 + "?" * 30, ["drain at 5"]),
        (
            "d" * 10 + "s" * 6 + "d" * 10 + "s" * 11,
            ["drain at 5", "take_back at 15", "drain at 21", "take_back at 36"],
        ),
    ],
)
def test_what_a_guardian_does(history: str, told: list[str]) -> None:
    story = Story()
    story.live(history)
    assert story.told == told


def test_the_last_node_that_can_lead_is_not_drained_until_another_can() -> None:
    story = Story(others=0)
    story.live("d" * 20)
    assert (story.told, story.reason) == ([], "no cell has served for 19 s, and no other node can lead")
    story.others = 1
    story.live("d")
    assert story.told == ["drain at 20"]


def test_a_node_that_alone_can_lead_is_taken_back_though_its_cells_are_down() -> None:
    story = Story()
    story.live("d" * 20)
    story.others = 0
    story.live("d" * 20)
    assert (story.told, story.worker_state) == (["drain at 5", "take_back at 20"], "active")
    story.others = 1
    story.live("d")
    assert story.told == ["drain at 5", "take_back at 20", "drain at 40"]


@pytest.mark.parametrize("worker_state", ["draining", "disabled", "provisioning", None])
def test_what_the_guardian_has_not_drained_is_left_alone(worker_state: str | None) -> None:
    story = Story(worker_state=worker_state)
    story.live("s" * 30 + "d" * 30 + "s" * 30)
    story.others = 0
    story.live("s" * 30 + "d" * 30)
    assert (story.told, story.worker_state) == ([], worker_state)


@pytest.mark.parametrize("worker_state", ["disabled", "provisioning", None])
def test_a_drain_of_its_own_is_not_undone_where_the_state_is_another_by_now(worker_state: str | None) -> None:
    story = Story(worker_state=worker_state, past=Past(drained=True))
    story.live("s" * 30 + "d" * 30)
    assert (story.told, story.past.drained) == ([], True)


@pytest.mark.parametrize(
    ("history", "told"), [("d" * 30, ["drain at 5"]), ("s" * 30, ["take_back at 5"]), ("ddds", [])]
)
def test_a_drain_that_was_about_to_be_made_is_made_or_forgotten(history: str, told: list[str]) -> None:
    story = Story(past=Past(drained=True))  # written down, and the node is active
    story.live(history)
    assert story.told == told


def test_workers_that_come_and_go_are_waited_for_longer_each_time() -> None:
    story, hour = Story(), int(WINDOW.total_seconds())
    while story.second < 3 * hour:
        story.live("s" if story.worker_state == "draining" else "d")
    drains = [int(each.split()[-1]) for each in story.told if each.startswith("drain")]
    in_an_hour = [sum(begun <= each < begun + hour for each in drains) for begun in drains]
    assert (in_an_hour[0], max(in_an_hour)) == (12, 12)
    assert [back_off(number).total_seconds() for number in range(10)] == [
        *(5, 5, 10, 20, 40, 80, 160, 320, 600, 600)
    ]


def test_other_nodes_that_come_and_go_have_it_drained_less_often_each_time() -> None:
    story, hour = Story(), int(WINDOW.total_seconds())
    while story.second < 3 * hour:
        story.others = story.second // 10 % 2
        story.live("d")
    drains = [int(each.split()[-1]) for each in story.told if each.startswith("drain")]
    assert drains[:7] == [10, 30, 50, 70, 110, 190, 350]
    assert max(sum(begun <= each < begun + hour for each in drains) for begun in drains) <= 12


def test_it_says_when_it_may_drain_again() -> None:
    story = Story(past=Past(drains=4), drained_second=0)
    story.begun_at = [START] * 4
    story.live("d" * 12)
    assert (story.told, story.reason) == ([], "no cell has served for 11 s; it may be drained again in 29 s")
    story.live("d" * 40)
    assert story.told == ["drain at 40"]


def test_after_a_quiet_hour_workers_are_trusted_again() -> None:
    story = Story()
    story.live("d" * 6 + "s" * 6 + "d" * 6 + "s" * int(WINDOW.total_seconds()))
    story.told.clear()
    story.live("d" * 10 + "s" * 6)
    begun = story.second - 16
    assert story.told == [f"drain at {begun + 5}", f"take_back at {begun + 15}"]


def test_a_drain_counts_for_an_hour_also_when_the_clock_was_set_back() -> None:
    at = [START - WINDOW, START - timedelta(minutes=59), START + timedelta(hours=3)]
    assert find_recent(at, START) == (START - timedelta(minutes=59), START)


def test_it_says_what_it_waits_for() -> None:
    story = Story()
    story.live("ddd")
    assert story.reason == "no cell has served for 2 s"
    story.live("d" * 5 + "ss")
    assert story.reason == "cells serve; it is taken back in 4 s"
