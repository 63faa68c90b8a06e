"""`gridiron init`: make a project that `gridiron deploy` deploys as it is."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gridiron.cli.output import print_text
from gridiron.errors import DirectoryNotEmpty, ProjectNotWritten

verbs = typer.Typer()

EPILOG = """Examples:

gridiron init greeter

gridiron init approvals --kind workflow --dir services/approvals"""


class Kind(StrEnum):
    """What a project can begin as: Restate's three kinds of services."""

    SERVICE = "service"
    OBJECT = "object"
    WORKFLOW = "workflow"


@verbs.command(epilog=EPILOG)
def init(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the bundle and its service: `[a-z][a-z0-9-]{0,62}`.")
    ],
    kind: Annotated[
        Kind, typer.Option("--kind", help="A service, a virtual object with state, or a workflow.")
    ] = Kind.SERVICE,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Where, if not in NAME; it is made, or is empty."),
    ] = None,
) -> None:
    """Make a project in TypeScript, with tests; `gridiron deploy` deploys it as it is."""
    from gridiron.cli.scaffold import (  # noqa: PLC0415 - see gridiron.cli.edge
        fetch_templates,
        fetch_versions,
        plan_scaffold,
    )
    from gridiron.settings import shared_path  # noqa: PLC0415 - the same

    versions = fetch_versions(shared_path("package.json"))
    files = plan_scaffold(name, fetch_templates(kind), versions)
    root = Path(name) if directory is None else directory
    write_project(root, files)
    print_text(render_made(root, files))


def write_project(root: Path, files: Mapping[str, str]) -> None:
    """Write the files of a project into a directory that is made, or is there and empty.

    Raises DirectoryNotEmpty, ProjectNotWritten.
    """
    try:
        if root.is_dir() and any(root.iterdir()):
            raise DirectoryNotEmpty(str(root))
        for path, text in files.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8") as opened:
                opened.write(text)
    except OSError as error:
        raise ProjectNotWritten(str(root), error.strerror or str(error)) from error


def render_made(root: Path, files: Mapping[str, str]) -> str:
    """Say what was made and what comes next."""
    listed = "\n".join(f"  {path}" for path in files)
    return f"Made {root}:\n{listed}\nNext: `gridiron deploy {root}`, and {root / 'README.md'}."
