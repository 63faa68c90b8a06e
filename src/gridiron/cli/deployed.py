"""What `gridiron deploy` says when the manager has answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gridiron.cli.output import print_json, print_table, print_text, warn
from gridiron.cli.table import Table, fields
from gridiron.cli.words import render_size, render_timings

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.manager.api import Activated, ChangeView

STREAMING = "BidiStream"
"""What Restate calls a deployment that it streams with in both directions."""


def report(activated: Activated, drained: Mapping[str, str] | None, *, as_json: bool) -> None:
    """Print the outcome; warnings go to standard error."""
    for sentence in plan_warnings(activated, drained):
        warn(sentence)
    if as_json:
        print_json({**activated.model_dump(mode="json"), "drained": drained})
        return
    print_text(render_headline(activated))
    print_table(render_activated(activated, drained))


def plan_warnings(activated: Activated, drained: Mapping[str, str] | None) -> list[str]:
    """Find what the user should know although it worked."""
    warnings = []
    if activated.protocol not in {None, STREAMING}:
        warnings.append(
            f"{activated.build_id} runs in request-response mode, which is much slower: "
            "pass `bidirectional: true` to createEndpointHandler."
        )
    warnings.extend(
        f"{copy.node} does not have its files ({copy.reason}): it fetches them when it is first called."
        for copy in activated.copies
        if not copy.present
    )
    warnings.extend(f"{refusal.detail}  [{refusal.code}]" for refusal in activated.refusals)
    warnings.extend(
        f"{build_id} goes on: it takes new invocations of services that the new build does not have."
        for build_id, end in (drained or {}).items()
        if end == "active"
    )
    return warnings


def render_headline(activated: Activated) -> str:
    """Say what happened in one line."""
    match activated.outcome:
        case "activated":
            return f"{activated.build_id} is active."
        case "unchanged":
            return f"{activated.build_id} is active already, with the same content: nothing was changed."
        case "dry_run" if activated.refusals:
            return f"Dry run: {activated.build_id} would be refused. Nothing was changed."
        case "dry_run":
            return f"Dry run: {activated.build_id} would become active. Nothing was changed."


def render_activated(activated: Activated, drained: Mapping[str, str] | None) -> Table:
    """Make the lines that follow the headline."""
    return fields(
        ("path", activated.path),
        ("services", ", ".join(activated.services)),
        ("deployment", activated.deployment_id or ""),
        ("protocol", activated.protocol or ""),
        ("size", render_size(activated.size)),
        ("left out", ", ".join(activated.ignored)),
        ("steps", render_timings(activated.timings_ms)),
        ("changes", "\n".join(_describe_change(change) for change in activated.changes)),
        ("takes over", "\n".join(f"{name} from {owner}" for name, owner in activated.takes_over.items())),
        ("replaces", "\n".join(_describe_replaced(activated, drained or {}))),
        ("besides it", "\n".join(f"{each.build_id} serves {each.service}" for each in activated.keeps)),
    )


def _describe_change(change: ChangeView) -> str:
    return f"{change.detail} (breaking)" if change.breaking else change.detail


def _describe_replaced(activated: Activated, drained: Mapping[str, str]) -> list[str]:
    """Say of each replaced build what becomes of it."""
    keeping = {each.build_id for each in activated.keeps}
    drains = "would drain" if activated.outcome == "dry_run" else "drains: what is in flight on it ends there"
    lines = []
    for build_id in activated.replaces:
        going = "stays active" if build_id in keeping else drains
        lines.append(f"{build_id}, which {_past(drained.get(build_id)) or going}")
    return lines


def _past(end: str | None) -> str | None:
    """Say how a wait for a build ended."""
    return {None: None, "active": "stays active", "gone": "is gone"}.get(end, f"is {end}")
