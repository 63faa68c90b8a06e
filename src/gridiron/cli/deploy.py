"""`gridiron deploy`: build a project, activate it, and say what became of it."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gridiron.cli.deployed import report
from gridiron.cli.options import Json, PortOffset, Url
from gridiron.cli.output import Progress
from gridiron.cli.outside import Outside, outside_of
from gridiron.errors import IdentityMissing

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.bundles.project import Project
    from gridiron.cli.client import ManagerClient
    from gridiron.manager.api import Activated, ActivateRequest
    from gridiron.settings import Settings

EPILOG = """Examples:

gridiron deploy demo/greeter

gridiron deploy dist --name greeter --version 1.1.0 --wait-drained

gridiron deploy --dry-run --json"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for, beyond the directory."""

    name: str | None
    version: str | None
    variables: dict[str, str]
    dry_run: bool
    wait_drained: bool
    limit: timedelta
    breaking: bool = False
    takeover: bool = False


def deploy(  # noqa: PLR0913, PLR0917 - one for each option
    ctx: typer.Context,
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A built bundle (index.js in it), or a project to build.")
    ] = Path(),
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Default: what the project says.")
    ] = None,
    version: Annotated[
        str | None, typer.Option("--version", metavar="VERSION", help="Default: what the project says.")
    ] = None,
    var: Annotated[
        list[str] | None,
        typer.Option("--var", metavar="KEY=VALUE", help="A binding of the worker, as text. May be repeated."),
    ] = None,
    breaking: Annotated[
        bool,
        typer.Option("--breaking", help="Allow a service or handler less, or one of another type."),
    ] = False,
    takeover: Annotated[
        bool, typer.Option("--takeover", help="Allow services that builds of other names have now.")
    ] = False,
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
    from gridiron.cli.client import ManagerClient  # noqa: PLC0415 - see gridiron.cli.edge
    from gridiron.settings import load_settings  # noqa: PLC0415 - the same

    limit = timedelta(seconds=timeout)
    wanted = Wanted(
        name, version, parse_variables(var or []), dry_run, wait_drained, limit, breaking, takeover
    )
    settings = load_settings(manager_url=url, port_offset=port_offset)
    outside = outside_of(ctx)
    with (
        Progress(quiet=as_json) as progress,
        prepare(directory, settings, progress) as project,
        ManagerClient(settings.manager_url, outside.transport) as manager,
    ):
        request = plan_request(project, directory, wanted)
        progress.say(f"Activating {request.name} {request.version}")
        activated = manager.activate(request, limit)
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


@contextmanager
def prepare(directory: Path, settings: Settings, progress: Progress) -> Iterator[Project]:
    """Build a project into a directory that lives as long as the context, readable by any user.

    A directory that is a bundle already is used as it is. Raises what `prepare_project` raises.
    """
    from gridiron.bundles.project import prepare_project  # noqa: PLC0415 - see gridiron.cli.edge
    from gridiron.toolchain.programs import find_toolchain  # noqa: PLC0415 - the same

    with tempfile.TemporaryDirectory(prefix="gridiron-build-") as out:
        progress.say(f"Preparing {directory}")
        project = prepare_project(directory, find_toolchain(settings), Path(out))
        let_others_read(Path(out))  # the manager may be another user
        yield project


def let_others_read(root: Path) -> None:
    """Let every user read a directory and all in it, as with `chmod -R a+rX`."""
    for path in (root, *root.rglob("*")):
        mode = path.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            path.chmod(mode | 0o555)
        elif stat.S_ISREG(mode):
            path.chmod(mode | 0o444)


def plan_request(project: Project, directory: Path, wanted: Wanted) -> ActivateRequest:
    """Say what to activate: flags win over what the project says.

    Raises IdentityMissing where neither gives a name or version, NameInvalid, VersionInvalid.
    """
    from gridiron.manager.api import ActivateRequest  # noqa: PLC0415 - see gridiron.cli.edge

    name, version = wanted.name or project.name, wanted.version or project.version
    if name is None:
        raise IdentityMissing("name", str(directory))
    if version is None:
        raise IdentityMissing("version", str(directory))
    return ActivateRequest(
        source=project.directory.resolve().as_uri(),
        name=name,
        version=version,
        vars=dict(wanted.variables),
        breaking=wanted.breaking,
        takeover=wanted.takeover,
        git=project.git,
        dry_run=wanted.dry_run,
    )


def wait(
    manager: ManagerClient, activated: Activated, wanted: Wanted, outside: Outside, progress: Progress
) -> dict[str, str] | None:
    """Wait for the drain where that is wanted; None where it is not. Raises DrainUnfinished."""
    from gridiron.cli.drain import await_drained  # noqa: PLC0415 - see gridiron.cli.edge

    if not wanted.wait_drained or wanted.dry_run:
        return None
    progress.say(f"{activated.build_id} is active")
    return await_drained(manager, activated.replaces, wanted.limit, outside, progress.say)
