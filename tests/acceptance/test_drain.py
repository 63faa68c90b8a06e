"""What a build that was replaced still has to do, for each state that an invocation can be in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.acceptance.world import World
from tests.harness import wait_until

CANCELLED = KILLED = 409  # as callers get it


@dataclass(frozen=True)
class Case:
    """A state of an invocation, and how one is brought there."""

    handler: str
    status: str  # as Restate has it
    pinned: bool
    by_hand: bool = False  # it is paused by hand, while it backs off
    delay: str | None = None

    def bring(self, world: World, service: str) -> str:
        params = {"delay": self.delay} if self.delay else {}
        status = "backing-off" if self.by_hand else self.status
        invocation_id = world.bring(service, self.handler, status, pinned=self.pinned, **params)
        if self.by_hand:
            world.change(invocation_id, "pause")
            world.await_invocation(invocation_id, self.status, pinned=self.pinned)
        return invocation_id


HOLDING = {
    "runs": Case("runs", "running", pinned=False),
    "runs-after-a-step": Case("runsAfterAStep", "running", pinned=True),
    "sleeps-in-its-attempt": Case("sleeps", "running", pinned=True),
    "is-suspended": Case("isSuspended", "suspended", pinned=True),
    "backs-off": Case("failsSeldom", "backing-off", pinned=False),
    "backs-off-after-a-step": Case("failsSeldomAfterAStep", "backing-off", pinned=True),
    "is-paused-after-a-step": Case("isPausedAfterAStep", "paused", pinned=True),
    "is-paused-after-a-step-by-hand": Case("failsSeldomAfterAStep", "paused", pinned=True, by_hand=True),
}
FREE = {
    "is-paused": Case("isPaused", "paused", pinned=False),
    "is-paused-by-hand": Case("failsSeldom", "paused", pinned=False, by_hand=True),
    "is-scheduled": Case("version", "scheduled", pinned=False, delay="1h"),
    "is-completed": Case("version", "completed", pinned=True),
}
PINNED = {what: case for what, case in HOLDING.items() if case.pinned}


@dataclass(frozen=True)
class Replaced:
    """A build that was replaced while an invocation was on it."""

    old: Mapping[str, Any]  # as the activation answered
    new: Mapping[str, Any]
    invocation_id: str

    @property
    def ids(self) -> tuple[str, str]:
        return self.old["build_id"], self.new["build_id"]


def replace_under(world: World, name: str, case: Case) -> Replaced:
    old = world.deploy(name, "1")
    invocation_id = case.bring(world, name)
    return Replaced(old, world.deploy(name, "2"), invocation_id)


def ways_of(case: Case) -> set[str]:
    """What is told to lead out of it: what is not pinned goes to the newest build by itself."""
    return {"cancel", "kill", "resume"} if case.pinned else {"cancel", "kill"}


def take(way: str, world: World, replaced: Replaced) -> None:
    """Type in what is told to lead out of it."""
    (holder,) = world.client.show(replaced.old["build_id"])["held_by"]
    subprocess.run(["bash", "-c", holder["ways_out"][way]], check=True, capture_output=True, timeout=30)


def await_drained(world: World, replaced: Replaced) -> None:
    old, new = replaced.ids
    name = str(replaced.new["services"][0])
    wait_until(lambda: world.states(name=name) == {old: "drained", new: "active"}, what=name)


def prune_exactly(world: World, build_id: str) -> None:
    """Prune a build, and see that it goes, files and all, and nothing else does."""
    states, registered = world.states(), world.registered()
    response = world.prune(build_id)
    gone = {"build_id": build_id, "unregistered": True, "files_removed": True}
    assert response.json() == {"dry_run": False, "pruned": [gone], "kept": []}
    assert world.states() == {each: state for each, state in states.items() if each != build_id}
    left = {key: each for key, each in registered.items() if each != build_id}
    assert world.registered() == left
    stored = {path.name for path in world.node.settings.bundles_dir.iterdir() if path.name[0] != "."}
    assert stored == set(left.values())


# -- the sweep -------------------------------------------------------------------------------------------


def test_the_sweep_retires_what_nothing_needs_and_leaves_what_something_does(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    holding = {what: replace_under(world, what, case) for what, case in HOLDING.items()}
    free = {what: replace_under(world, what, case) for what, case in FREE.items()}
    last, newest = (world.deploy("last", version)["build_id"] for version in "12")
    wait_until(lambda: world.client.show(last)["state"] == "retired")  # so all others had their time
    active = {replaced.ids[1] for replaced in (*holding.values(), *free.values())} | {newest}
    retired = {replaced.ids[0] for replaced in free.values()} | {last}
    draining = {replaced.ids[0] for replaced in holding.values()}
    expected = {"active": active, "retired": retired, "draining": draining}
    assert by_state(world) == expected
    assert set(world.registered().values()) == active | draining
    for replaced in holding.values():
        take("kill", world, replaced)
    wait_until(lambda: by_state(world) == {"active": active, "retired": retired | draining})
    assert set(world.registered().values()) == active


def by_state(world: World) -> dict[str, set[str]]:
    states = world.states()
    return {state: {each for each in states if states[each] == state} for state in set(states.values())}


# -- which state a build is in ---------------------------------------------------------------------------


def test_the_newest_build_is_active_whatever_it_does(shared_world: World) -> None:
    world = shared_world
    build = world.deploy("newest", "1")["build_id"]
    world.bring("newest", "runsAfterAStep", "running", pinned=True)
    shown = world.client.show(build)
    assert (shown["state"], shown["reason"], shown["services"], shown["invocations"]) == (
        "active",
        "newest for newest; 1 invocation is pinned to it",
        [{"name": "newest", "active": True}],
        {"pinned": 1, "attempting": 0},
    )
    refused = world.prune(build)
    assert (refused.status_code, refused.json()["code"], refused.json()["invocations"]) == (
        409,
        "build_in_use",
        1,
    )
    assert world.states(name="newest") == {build: "active"}
    assert world.newest()["newest"] == build


@pytest.mark.parametrize("what", HOLDING)
def test_an_invocation_that_holds_its_build(what: str, shared_world: World) -> None:
    world, case = shared_world, HOLDING[what]
    replaced = replace_under(world, what, case)
    old, new = replaced.ids
    assert world.states(name=what) == {old: "draining", new: "active"}
    shown = world.client.show(old)
    doing = "pinned to it" if case.pinned else "being attempted on it"
    assert (shown["state"], shown["reason"], shown["services"], shown["invocations"]) == (
        "draining",
        f"1 invocation is {doing}",
        [{"name": what, "active": False}],
        {"pinned": int(case.pinned), "attempting": int(not case.pinned)},
    )
    (holder,) = shown["held_by"]
    told = {key: holder[key] for key in ("invocation_id", "target", "status", "pinned")}
    assert told == {
        "invocation_id": replaced.invocation_id,
        "target": f"{what}/{case.handler}",
        "status": case.status,
        "pinned": case.pinned,
    }
    assert set(holder["ways_out"]) == ways_of(case)
    assert world.client.show(new)["held_by"] == []
    refused = world.prune(old).json()
    assert (refused["status"], refused["code"], refused["build_id"], refused["invocations"]) == (
        409,
        "build_in_use",
        old,
        1,
    )
    assert world.states(name=what) == {old: "draining", new: "active"}
    world.change(replaced.invocation_id, "kill")
    await_drained(world, replaced)
    prune_exactly(world, old)


@pytest.mark.parametrize("what", FREE)
def test_an_invocation_that_does_not_hold_its_build(what: str, shared_world: World) -> None:
    world, case = shared_world, FREE[what]
    replaced = replace_under(world, what, case)
    old, new = replaced.ids
    assert world.states(name=what) == {old: "drained", new: "active"}
    shown = world.client.show(old)
    assert (shown["reason"], shown["invocations"], shown["held_by"]) == (
        "nothing needs it",
        {"pinned": 0, "attempting": 0},
        [],
    )
    prune_exactly(world, old)
    assert world.invocation(replaced.invocation_id) == (case.status, case.pinned)
    if case.status == "paused":
        world.open(replaced.new)
        world.change(replaced.invocation_id, "resume")
        assert world.attach(replaced.invocation_id) == {"ended": "2"}
    if case.status == "completed":
        assert world.attach(replaced.invocation_id) == "1"


def test_what_was_scheduled_runs_on_the_newest_build(shared_world: World) -> None:
    world = shared_world
    replaced = replace_under(world, "later", Case("version", "scheduled", pinned=False, delay="5s"))
    await_drained(world, replaced)
    assert world.attach(replaced.invocation_id) == "2"


def test_a_retry_before_the_first_step_goes_to_the_newest_build(shared_world: World) -> None:
    world = shared_world
    replaced = replace_under(world, "retried", Case("fails", "backing-off", pinned=False))
    await_drained(world, replaced)
    assert world.client.show(replaced.ids[1])["invocations"] == {"pinned": 0, "attempting": 1}
    world.open(replaced.new)
    assert world.attach(replaced.invocation_id) == {"ended": "2"}


def test_a_retry_after_a_step_stays(shared_world: World) -> None:
    world = shared_world
    replaced = replace_under(world, "kept", Case("failsAfterAStep", "backing-off", pinned=True))
    world.open(replaced.new)

    def attempts() -> int:
        (holder,) = world.client.show(replaced.ids[0])["held_by"]
        return int(holder["attempts"])

    before = attempts()
    wait_until(lambda: attempts() >= before + 2)  # they were on the old build
    world.open(replaced.old)
    assert world.attach(replaced.invocation_id) == {"begun": "1", "ended": "1"}
    await_drained(world, replaced)


@pytest.mark.parametrize("handler", ["runs", "runsAfterAStep"])
def test_what_runs_ends_where_it_runs(handler: str, shared_world: World) -> None:
    world = shared_world
    case = Case(handler, "running", pinned=handler == "runsAfterAStep")
    replaced = replace_under(world, f"ends-{handler.lower()}", case)
    world.open(replaced.old)
    begun = {"begun": "1"} if case.pinned else {}
    assert world.attach(replaced.invocation_id) == {**begun, "ended": "1"}
    await_drained(world, replaced)


# -- what leads out --------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", HOLDING)
def test_kill_ends_it_at_once(what: str, shared_world: World) -> None:
    world = shared_world
    replaced = replace_under(world, f"kill-{what}", HOLDING[what])
    take("kill", world, replaced)
    await_drained(world, replaced)
    assert world.attach(replaced.invocation_id) == KILLED


@pytest.mark.parametrize("what", [what for what in PINNED if what != "runs-after-a-step"])
def test_cancel_has_it_end(what: str, shared_world: World) -> None:
    world = shared_world
    replaced = replace_under(world, f"cancel-{what}", PINNED[what])
    take("cancel", world, replaced)
    await_drained(world, replaced)
    assert world.attach(replaced.invocation_id) == CANCELLED


@pytest.mark.parametrize("what", ["runs", "runs-after-a-step"])
def test_cancel_has_it_end_at_its_next_step(what: str, shared_world: World) -> None:
    world = shared_world
    replaced = replace_under(world, f"cancel-{what}", HOLDING[what])
    take("cancel", world, replaced)
    world.open(replaced.old)
    await_drained(world, replaced)
    assert world.attach(replaced.invocation_id) == CANCELLED


@pytest.mark.parametrize("what", [what for what in PINNED if what != "runs-after-a-step"])
def test_resume_moves_it_to_the_newest_build(what: str, shared_world: World) -> None:
    world = shared_world
    replaced = replace_under(world, f"resume-{what}", PINNED[what])
    take("resume", world, replaced)
    await_drained(world, replaced)
    (holder,) = world.client.show(replaced.ids[1])["held_by"]
    assert (holder["invocation_id"], holder["pinned"]) == (replaced.invocation_id, True)


@pytest.mark.parametrize("what", ["is-paused-after-a-step", "is-paused-after-a-step-by-hand"])
def test_what_was_moved_ends_with_the_code_of_the_newest_build(what: str, shared_world: World) -> None:
    world = shared_world
    replaced = replace_under(world, f"moved-{what}", PINNED[what])
    world.open(replaced.new)
    take("resume", world, replaced)
    assert world.attach(replaced.invocation_id) == {"begun": "1", "ended": "2"}
    await_drained(world, replaced)


def test_a_way_out_that_restate_refuses_fails(shared_world: World) -> None:
    """What awaits nothing of Restate's is not paused, and so not moved: its command must say so."""
    world = shared_world
    replaced = replace_under(world, "busy", HOLDING["runs-after-a-step"])
    with pytest.raises(subprocess.CalledProcessError):
        take("resume", world, replaced)
    assert world.states(name="busy") == dict(zip(replaced.ids, ("draining", "active"), strict=True))


def test_the_command_line_shows_what_holds_a_build_and_what_leads_out(shared_world: World) -> None:
    world, case = shared_world, HOLDING["is-paused-after-a-step"]
    replaced = replace_under(world, "shown", case)
    old = replaced.old["build_id"]
    view = world.client.show(old)
    assert world.node.run("show", old) == view
    lines = [line.strip() for line in run_gridiron(world, "show", old).stdout.splitlines()]
    ways = view["held_by"][0]["ways_out"]
    assert [re.split(r"\s{2,}", line) for line in lines if "curl" in line] == [
        ["clean up and end", ways["cancel"]],
        ["end at once", ways["kill"]],
        ["go on with the newest build", ways["resume"]],
    ]
    (held_by,) = (line for line in lines if line.startswith("held by"))
    assert held_by.split()[2:5] == [replaced.invocation_id, f"shown/{case.handler}", "paused"]
    refused = run_gridiron(world, "prune", old)
    assert (refused.returncode, refused.stderr.split()[-1]) == (1, "[build_in_use]")


def run_gridiron(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "gridiron", *arguments],
        env={**os.environ, **world.node.settings.environment()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
