"""`gridiron deploy`: build a project, activate it, and say what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gridiron.cli.deployed import report
from gridiron.cli.options import Json, PortOffset, ProjectName, Takeover, Url, Variables
from gridiron.cli.output import Progress
from gridiron.cli.outside import Outside, connect_by, outside_of
from gridiron.cli.parcel import Parcel, Vouching, prepare, vouch
from gridiron.cli.words import render_size
from gridiron.errors import IdentityMissing

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.cli.client import ManagerClient
    from gridiron.manager import api
    from gridiron.manager.api import Activated, ActivateRequest

verbs = typer.Typer()

EPILOG = """Examples:

gridiron deploy demo/greeter

gridiron deploy dist --name greeter --version 1.1.0 --wait-drained

gridiron deploy --dry-run --json

gridiron deploy https://example.org/greeter.tar.gz --name greeter --version 1.1.0 --sha256 5f2b…"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for, beyond the bundle."""

    name: str | None
    version: str | None
    variables: dict[str, str]
    dry_run: bool
    wait_drained: bool
    limit: timedelta
    breaking: bool = False
    takeover: bool = False
    vouching: Vouching = field(default_factory=Vouching)


@verbs.command(epilog=EPILOG)
def deploy(  # noqa: PLR0913, PLR0917 - one for each option
    ctx: typer.Context,
    given: Annotated[
        str,
        typer.Argument(
            metavar="DIR|ARCHIVE|URL",
            help="A project to build, a built bundle, a .tar.gz or .zip of one; or https://…, "
            "s3://bucket/key or file:///… for the manager to fetch.",
        ),
    ] = ".",
    name: ProjectName = None,
    version: Annotated[
        str | None, typer.Option("--version", metavar="VERSION", help="Default: what the project says.")
    ] = None,
    var: Variables = None,
    breaking: Annotated[
        bool,
        typer.Option("--breaking", help="Allow a service or handler less, or one of another type."),
    ] = False,
    takeover: Takeover = False,
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", metavar="HEX", help="Refuse an archive or URL that has another digest."),
    ] = None,
    signature: Annotated[
        Path | None,
        typer.Option("--signature", metavar="FILE", help="The signature of the archive's or URL's digest."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="Sign with this private key.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Go through every check, say what would change, then leave all as it was."
        ),
    ] = False,
    wait_drained: Annotated[
        bool, typer.Option("--wait-drained", help="Wait until the builds that it replaces have drained.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=1,
            help="How long the activation, and after it the drain, may take each.",
        ),
    ] = 600,
    as_json: Json = False,
    url: Url = None,
    port_offset: PortOffset = None,
) -> None:
    """Deploy a bundle: new invocations go to it, those in flight end on the build that they began on."""
    from gridiron.settings import load_settings  # noqa: PLC0415 - see gridiron.cli.edge

    limit = timedelta(seconds=timeout)
    vouching, variables = Vouching(sha256, signature, key), parse_variables(var or [])
    wanted = Wanted(name, version, variables, dry_run, wait_drained, limit, breaking, takeover, vouching)
    settings = load_settings(manager_url=url, port_offset=port_offset)
    outside = outside_of(ctx)
    with (
        Progress(quiet=as_json) as progress,
        prepare(given, settings, progress) as parcel,
        connect_by(ctx, settings, url) as manager,
    ):
        request = plan_request(parcel, given, wanted)
        send(manager, parcel, limit, progress)
        doing = f"Activating {request.name} {request.version}"
        progress.say(doing)
        activated = manager.activate(
            request, limit, lambda seen: progress.say_often(f"{doing}: {describe_progress(seen)}")
        )
        activated = activated.model_copy(update={"ignored": (*parcel.ignored, *activated.ignored)})
        drained = wait(manager, activated, wanted, outside, progress)
    report(activated, drained, as_json=as_json)
    if activated.refusals:
        raise typer.Exit(1)


def parse_variables(given: Sequence[str]) -> dict[str, str]:
    """Read `KEY=VALUE` texts; the last of a key wins. Raises BadParameter."""
    variables = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE.", param_hint="--var")
        variables[key] = value
    return variables


def plan_request(parcel: Parcel, given: str, wanted: Wanted) -> ActivateRequest:
    """Say what to activate: flags win over what the project says.

    Raises IdentityMissing where neither gives a name or version, NameInvalid, VersionInvalid, and as `vouch`
    does.
    """
    from gridiron.manager.api import ActivateRequest  # noqa: PLC0415 - see gridiron.cli.edge

    name, version = wanted.name or parcel.name, wanted.version or parcel.version
    if name is None:
        raise IdentityMissing("name", given)
    if version is None:
        raise IdentityMissing("version", given)
    sha256, signature = vouch(parcel, wanted.vouching)
    return ActivateRequest(
        source=parcel.source,
        name=name,
        version=version,
        sha256=sha256,
        signature=signature,
        vars=dict(wanted.variables),
        breaking=wanted.breaking,
        takeover=wanted.takeover,
        git=parcel.git,
        dry_run=wanted.dry_run,
    )


def send(manager: ManagerClient, parcel: Parcel, limit: timedelta, progress: Progress) -> None:
    """Send the archive of a parcel, where it has one."""
    if parcel.archive is None:
        return

    def on_progress(done: int, total: int) -> None:
        progress.say_often(f"Sending {render_size(done)} of {render_size(total)}")

    manager.upload(parcel.archive, str(parcel.sha256), limit, on_progress)


def describe_progress(progress: api.Progress) -> str:
    """`stage, 12.0 of 60.0 MB`: the step, and how much of it has come."""
    if progress.done is None:
        return progress.step
    total = "" if progress.total is None else f" of {render_size(progress.total)}"
    return f"{progress.step}, {render_size(progress.done)}{total}"


def wait(
    manager: ManagerClient, activated: Activated, wanted: Wanted, outside: Outside, progress: Progress
) -> dict[str, str] | None:
    """Wait for the drain where that is wanted; None where it is not. Raises DrainUnfinished."""
    from gridiron.cli.drain import await_drained  # noqa: PLC0415 - see gridiron.cli.edge

    if not wanted.wait_drained or wanted.dry_run:
        return None
    progress.say(f"{activated.build_id} is active")
    return await_drained(manager, activated.replaces, wanted.limit, outside, progress.say)
