"""`gridiron demo`: Gridiron's main job as a story, on real servers, in a directory of its own."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gridiron.cli.demo.story import Step, Story
from gridiron.cli.demo.subject import Subject, choose_settings
from gridiron.settings import load_settings, shared_path
from gridiron.toolchain.programs import Toolchain
from gridiron.toolchain.progress import ensure_toolchain

SWEEP, GRACE = 1.0, 1.0
"""Seconds: the demo's node removes a drained version after about one, and not after a minute as usual."""


def run_demo(*, as_json: bool, port_offset: int | None, keep: bool) -> None:
    """Tell the story; print its steps as they hold, and in the end a table of them, or one JSON object.

    Raises whatever the first step that does not hold raised. The node is stopped however it ends. Its
    directory goes after a success, unless `keep`; after a failure it stays, to be looked at.
    """
    console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False)
    began = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="gridiron-demo-"))
    haste: dict[str, Any] = {"sweep_seconds": SWEEP, "drain_grace_seconds": GRACE}
    if port_offset is None:
        settings = choose_settings(work / "data", **haste)
    else:
        settings = load_settings(data_dir=work / "data", port_offset=port_offset, **haste)
    subject = Subject(settings, work)
    toolchain = ensure_toolchain(settings, console)
    story = Story(subject, _copy_projects(work, toolchain), lambda step: _print_step(console, step))
    try:
        story.tell()
    except BaseException:
        console.print(f"the demo's node is kept in {work}")
        raise
    finally:
        subject.stop()
    seconds = time.monotonic() - began
    if as_json:
        print(json.dumps(render_json(story, seconds), indent=2))
    else:
        console.print(render_table(story.steps, seconds))
    if keep:
        console.print(f"the demo's node is kept in {work}")
    else:
        shutil.rmtree(work)


def _copy_projects(work: Path, toolchain: Toolchain) -> Path:
    """Copy the demo projects, so that they may be edited; their packages are those of the toolchain."""
    demo = work / "demo"
    ignored = shutil.ignore_patterns("node_modules", "dist", ".wrangler")
    shutil.copytree(shared_path("demo").resolve(), demo, ignore=ignored)
    (work / "node_modules").symlink_to(toolchain.node_modules)
    return demo


def _print_step(console: Console, step: Step) -> None:
    console.print(
        f"✓ {step.name}  [dim]{step.seconds:.1f} s[/dim]", style="bold green", end="\n", markup=True
    )
    console.print(f"  {step.shown}", markup=False, soft_wrap=True)


def render_table(steps: Sequence[Step], seconds: float) -> Table:
    """Show the steps and their times."""
    table = Table(title="What was shown", show_footer=True)
    table.add_column("step", footer="in all")
    table.add_column("seconds", justify="right", footer=f"{seconds:.1f}")
    for step in steps:
        table.add_row(step.name, f"{step.seconds:.1f}")
    return table


def render_json(story: Story, seconds: float) -> dict[str, Any]:
    """Put the outcome into one object."""
    return {
        "ok": True,
        "answers": story.answers,
        "builds": story.builds,
        "upgrade": {
            "calls": story.tally.calls,
            "failures": len(story.tally.failures),
            "answered_by": story.tally.versions,
        },
        "pruned": story.pruned,
        "steps": [asdict(step) for step in story.steps],
        "seconds": round(seconds, 2),
    }
