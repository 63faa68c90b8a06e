"""From the save of a source to the first answer of what was saved: `gridiron dev` against `wrangler dev`."""

from __future__ import annotations

from typing import Any

from bench.harness import Bars, Outcome, Row, at_most, ratios_of, spread_of, take_turns
from bench.session import Session
from bench.subjects.developing import (
    SERVICE,
    Project,
    Question,
    running_gridiron_dev,
    running_wrangler_dev,
)
from bench.subjects.node import running_node

OURS, WRANGLER = "gridiron dev", "wrangler dev"
PARTS = ("noticed", "built", "activated")


def measure(session: Session) -> Outcome:
    """Save in turn in two projects of the same content; ask each from then on until it answers anew."""
    saves = session.choose(full=20, quick=2)
    packages = session.toolchain.node_modules
    own, other = (Project(session.work / name, packages) for name in ("own", "other"))
    with (
        running_node(session, "data", drain_grace_seconds=3600) as node,
        running_gridiron_dev(session, node, own) as told,
        running_wrangler_dev(session, other) as question,
    ):
        call = Question(node.ingress_port, "POST", f"/{SERVICE}/says")
        session.say(f"{saves} saves in each")
        millis = take_turns(
            {OURS: lambda: own.time_save(call), WRANGLER: lambda: other.time_save(question)}, saves
        )
        lives = [event for event in told() if event["event"] == "live"][-saves:]
    return _summarize(millis, lives)


def _summarize(millis: dict[str, tuple[float, ...]], lives: list[dict[str, Any]]) -> Outcome:
    ours, theirs = (spread_of(millis[name]) for name in (OURS, WRANGLER))
    parts = {part: tuple(live["spent_ms"][part] for live in lives) for part in PARTS}
    unbuilt = tuple(live["spent_ms"]["total"] - live["spent_ms"]["built"] for live in lives)
    split = ", ".join(f"{part} {spread_of(figures).median:.0f}" for part, figures in parts.items())
    return Outcome(
        rows=(
            Row(
                title="from a save to the first new answer",
                figure=spread_of(ratios_of(millis[OURS], millis[WRANGLER])),
                unit="×",
                target=at_most(0.5),
                baseline=f"{WRANGLER}: {ours.median:.0f} ms here, {theirs.median:.0f} ms there",
            ),
            Row(
                title="from a save to live, without the build",
                figure=spread_of(unbuilt),
                unit="ms",
                target=None,
                baseline=f"as `gridiron dev` says: {split} ms",
            ),
        ),
        plots=(
            Bars(
                name="save-to-live",
                title="From a save to the first new answer",
                y_title="milliseconds",
                groups=("save",),
                series={OURS: (ours,), WRANGLER: (theirs,)},
            ),
        ),
        series={
            **{f"{name}, milliseconds": figures for name, figures in millis.items()},
            **{f"{part}, milliseconds": figures for part, figures in parts.items()},
        },
    )
