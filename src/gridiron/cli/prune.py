"""`gridiron prune`: remove one build, or all that are drained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gridiron.cli.options import Json, PortOffset, Url, Yes
from gridiron.cli.output import confirm_removal, print_json, print_table, print_text
from gridiron.cli.outside import connect, outside_of
from gridiron.cli.table import Table
from gridiron.cli.words import render_count
from gridiron.errors import BuildInUse, DrainUnknown

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.cli.client import ManagerClient
    from gridiron.manager.api import Kept, Pruned, PruneOutcome, PruneRequest

verbs = typer.Typer()

EPILOG = """Examples:

gridiron prune --dry-run

gridiron prune greeter-1.0.0-1790000000000"""


@verbs.command(epilog=EPILOG)
def prune(  # noqa: PLR0913, PLR0917 - one for each option
    ctx: typer.Context,
    build_id: Annotated[
        str | None,
        typer.Argument(metavar="BUILD_ID", help="One build, files included. Default: every drained build."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Remove BUILD_ID even when invocations need it: they will not end. Asks first."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, remove nothing.")] = False,
    yes: Yes = False,
    as_json: Json = False,
    url: Url = None,
    port_offset: PortOffset = None,
) -> None:
    """Remove one build with its files, or retire all that are drained (their files go later)."""
    from gridiron.manager.api import PruneRequest  # noqa: PLC0415 - see gridiron.cli.edge

    check_force(build_id, force=force)
    asks = not (dry_run or yes)
    can_ask = outside_of(ctx).can_ask()
    if asks and force and not can_ask:
        raise typer.BadParameter("needs -y where no terminal can be asked.", param_hint="--force")
    request = PruneRequest(build_id=build_id, force=force, dry_run=dry_run)
    with connect(ctx, url, port_offset) as manager:
        if asks and can_ask and not _confirm(manager, request):
            return
        outcome = manager.prune(request)
    check_outcome(build_id, outcome)
    if as_json:
        print_json(outcome.model_dump(mode="json"))
    else:
        _print_outcome(outcome)


def check_force(build_id: str | None, *, force: bool) -> None:
    """Refuse `--force` without a build: it would have no meaning. Raises BadParameter."""
    if force and build_id is None:
        raise typer.BadParameter(
            "needs a BUILD_ID: what is drained goes without force.", param_hint="--force"
        )


def check_outcome(build_id: str | None, outcome: PruneOutcome) -> None:
    """Raise BuildInUse or DrainUnknown where the one build that was to go stayed."""
    for kept in outcome.kept:
        if kept.build_id == build_id and kept.state.value == "unknown":
            raise DrainUnknown(kept.build_id, kept.reason)
        if kept.build_id == build_id:
            raise BuildInUse(kept.build_id, kept.state.value, kept.reason, None)


def _confirm(manager: ManagerClient, request: PruneRequest) -> bool:
    """Show what would go and ask; exits 1 for a no. False: there is nothing to ask about, and it was said."""
    would = manager.prune(request.model_copy(update={"dry_run": True}))
    check_outcome(request.build_id, would)
    _print_outcome(would)
    if not would.pruned:
        return False
    confirm_removal(f"Remove {render_count(len(would.pruned), 'build')}?")
    return True


def _print_outcome(outcome: PruneOutcome) -> None:
    if not outcome.pruned:
        print_text("Nothing is drained; nothing was removed.")
    if outcome.pruned or outcome.kept:
        print_table(render_outcome(outcome))


def render_outcome(outcome: PruneOutcome) -> Table:
    """Make a line for each build that went or would go, then for each that stays, with the reason."""
    verb = "would go" if outcome.dry_run else "removed"
    gone = tuple((pruned.build_id, verb, _describe_pruned(pruned)) for pruned in outcome.pruned)
    stays = tuple((kept.build_id, "kept", _describe_kept(kept)) for kept in outcome.kept)
    return Table((*gone, *stays))


def _describe_pruned(pruned: Pruned) -> str:
    """Say what of a build goes: `registration and files`."""
    if not pruned.files_removed:
        return "registration; its files stay for a rollback"
    return "registration and files" if pruned.unregistered else "files"


def _describe_kept(kept: Kept) -> str:
    return f"{kept.state.value}: {kept.reason}"
