"""The operations that are cut short, and what there may be afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.acceptance.killing.scene import Scene
from tests.acceptance.killing.world import Builds

ACTIVE, DRAINED, RETIRED = frozenset({"active"}), frozenset({"drained"}), frozenset({"retired"})
SUPERSEDED = frozenset({"draining", "drained"})

NEVER = 3600
"""Seconds of a grace, or between sweeps, so that nothing else happens while an operation is under way."""

QUIET = {"sweep_seconds": NEVER, "drain_grace_seconds": NEVER}
SOON = 0.1


@dataclass(frozen=True)
class Operation:
    """One thing to ask of a manager, or that it does by itself."""

    title: str
    arrange: Callable[[Scene], None]
    act: Callable[[Scene], httpx2.Response | None]
    undone: tuple[Builds, ...]  # what there may be, beside `done`, where nobody was told that it is done
    done: Builds
    accepted: frozenset[int] = frozenset({200, 201})  # statuses that say that it is done
    repeated: frozenset[int] = frozenset({200, 201})  # statuses of doing it once more; none: nobody can
    redone: tuple[Builds, ...] = ()  # what there may be after that, where it is not what was there before
    called: bool = True  # whether the service may be called all the time and loses nothing
    begins_at: str | None = None  # the first point that no other operation comes to in the same state
    together: bool = True  # whether attempts that were not repeated yet leave the next ones alone
    settings: Mapping[str, Any] = field(default_factory=lambda: QUIET)


def _one_active(scene: Scene) -> None:
    scene.prepare("1")
    scene.send("1")


def _one_drained(scene: Scene) -> None:
    scene.prepare("1", "2")
    scene.send("2")
    scene.wait_for("drained", "1")


def _two_drained(scene: Scene) -> None:
    scene.prepare("1", "2", "3")
    scene.send("3")
    scene.wait_for("drained", "1")
    scene.wait_for("drained", "2")


def _one_superseded(scene: Scene) -> None:
    _one_active(scene)
    scene.prepare("2")


def _both_in_use(scene: Scene) -> None:
    _one_superseded(scene)
    scene.send("2")


def _held_by_one_call(scene: Scene) -> None:
    scene.prepare("1")
    scene.send("1", millis=NEVER * 1000)
    scene.prepare("2")
    scene.send("2")


def _let_go(scene: Scene) -> None:
    scene.cancel("1")
    scene.wait_until_deleted("1")


ACTIVATE_SECOND = Operation(
    title="activate a second version",
    arrange=_one_active,
    act=lambda scene: scene.activate("2"),
    undone=((("1", ACTIVE),),),
    done=(("1", SUPERSEDED), ("2", ACTIVE)),
)
ACTIVATE_BROKEN = Operation(
    title="activate what does not load",
    arrange=_one_active,
    act=lambda scene: scene.activate_broken("2"),
    undone=(),
    done=(("1", ACTIVE),),
    accepted=frozenset({422}),
    repeated=frozenset({422}),
    begins_at="restate POST /deployments as a dry run (sent)",  # nobody has looked into the script until then
)
PRUNE = Operation(
    title="prune a drained build",
    arrange=_one_drained,
    act=lambda scene: scene.prune("1"),
    undone=((("1", DRAINED), ("2", ACTIVE)),),
    done=(("2", ACTIVE),),
    repeated=frozenset({200, 404}),
)
PRUNE_DRAINED = Operation(
    title="prune all that is drained",
    arrange=_two_drained,
    act=lambda scene: scene.prune_drained(),
    undone=((("1", DRAINED | RETIRED), ("2", DRAINED | RETIRED), ("3", ACTIVE)),),  # each for itself
    done=(("1", RETIRED), ("2", RETIRED), ("3", ACTIVE)),
    together=False,
)
PRUNE_FORCED = Operation(
    title="prune the active build by force",
    arrange=_one_superseded,
    act=lambda scene: scene.prune("2", force=True),
    undone=((("1", SUPERSEDED), ("2", ACTIVE)),),
    done=(("1", ACTIVE),),
    repeated=frozenset({200, 404}),
    called=False,
)
RETIRE = Operation(
    title="retire what is drained",
    arrange=_held_by_one_call,
    act=_let_go,
    undone=(),
    done=(("2", ACTIVE),),
    repeated=frozenset(),
    together=False,
    settings={"sweep_seconds": SOON, "drain_grace_seconds": SOON, "retain": 0},
)
ROLL_BACK = Operation(
    title="roll back",
    arrange=_both_in_use,
    act=lambda scene: scene.roll_back(),
    undone=((("1", SUPERSEDED), ("2", ACTIVE)),),
    done=(("1", SUPERSEDED), ("2", SUPERSEDED), ("1", ACTIVE)),
    redone=((("1", SUPERSEDED), ("2", SUPERSEDED), ("1", SUPERSEDED), ("2", ACTIVE)),),
)
SET_SECRET = Operation(
    title="set a secret",
    arrange=_one_active,
    act=lambda scene: scene.set_secret(),
    undone=((("1", ACTIVE),),),
    done=(("1", SUPERSEDED), ("1", ACTIVE)),
)

ALL = (
    (ACTIVATE_SECOND, ROLL_BACK),
    (ACTIVATE_BROKEN, PRUNE, PRUNE_FORCED),
    (PRUNE_DRAINED,),
    (RETIRE,),
    (SET_SECRET,),
)
"""By the nodes that they share. What a manager was registering when it died, the next leaves alone for 15 s,
which is waited for once on each node."""

OF_RESTATE = ((ACTIVATE_SECOND, ROLL_BACK, PRUNE, PRUNE_FORCED),)
"""Those whose requests to Restate are all that there are."""


def titles_of(operations: Sequence[Operation]) -> str:
    """Name several operations."""
    return ", ".join(operation.title for operation in operations)
