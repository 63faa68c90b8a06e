"""`gridiron backup` and `gridiron restore`: a node as one file. They work on its directories."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from gridiron.cli.options import DataDir, Json, PortOffset
from gridiron.cli.output import Progress, print_json, print_text, warn
from gridiron.cli.words import render_count, render_size

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.backup.create import Made

verbs = typer.Typer()

EPILOG = """Examples:

gridiron backup node-1.tar.gz

gridiron backup - | ssh elsewhere 'umask 077; cat > node-1.tar.gz'"""

RESTORE_EPILOG = """Examples:

gridiron restore node-1.tar.gz --data-dir /var/lib/gridiron

ssh elsewhere cat node-1.tar.gz | gridiron restore - --data-dir /var/lib/gridiron"""

SECRECY = "Keep it as a secret: it holds the keys and tokens of the node, and all of its data."
STREAM = "-"
MOST_SHOWN = 5
"""Paths that a warning names; `--json` has all."""


@verbs.command(epilog=EPILOG)
def backup(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What to write; `-` is standard output.")],
    data_dir: DataDir = None,
    port_offset: PortOffset = None,
    as_json: Json = False,
) -> None:
    """Write a backup of the node in a data directory, whether it runs or not. Nothing is overwritten.

    Run it as the node's user, or as root where its roles have users of their own.
    """
    from gridiron.backup.create import make_backup  # noqa: PLC0415 - see gridiron.cli.edge
    from gridiron.settings import load_settings  # noqa: PLC0415 - the same

    if file == STREAM and (as_json or sys.stdout.isatty()):
        raise typer.BadParameter(
            "standard output is for the backup alone: give a file, or a pipe without --json"
        )
    settings = load_settings(data_dir=data_dir, port_offset=port_offset)
    path = None if file == STREAM else Path(file).absolute()
    with Progress(quiet=as_json) as progress:
        made = make_backup(settings, path, _saying(progress, "packing"))
    if made.skipped:
        warn(_describe_skipped(made.skipped))
    if as_json and path is not None:
        print_json(_report(made, path))
    elif path is not None:
        print_text(f"{_describe(made)} are in {path} ({render_size(path.stat().st_size)}). {SECRECY}")
    else:
        warn(SECRECY)


@verbs.command(epilog=RESTORE_EPILOG)
def restore(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="What `gridiron backup` wrote; `-` is standard input.")
    ],
    data_dir: DataDir = None,
    port_offset: PortOffset = None,
    as_json: Json = False,
) -> None:
    """Make the node of a backup in an empty data directory. Stop the other one: it may run in one place only.

    Run it as the user that is to run the node, or as root where its roles have users of their own.
    """
    from gridiron.backup.restore import restore_backup  # noqa: PLC0415 - see gridiron.cli.edge
    from gridiron.settings import load_settings  # noqa: PLC0415 - the same

    settings = load_settings(data_dir=data_dir, port_offset=port_offset)
    with Progress(quiet=as_json) as progress, _opened(file) as opened:
        manifest = restore_backup(settings, opened, file, _saying(progress, "restoring"))
    if as_json:
        print_json({**manifest.model_dump(mode="json"), "data_dir": str(settings.data_dir)})
    else:
        print_text(
            f"{settings.data_dir} holds the node {manifest.node_name} as it was at "
            f"{manifest.created_at:%Y-%m-%d %H:%M:%S %Z}. What ran then goes on as soon as it is started."
        )


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    from gridiron.bundles.disk import storing  # noqa: PLC0415 - see gridiron.cli.edge

    if file == STREAM:
        yield sys.stdin.buffer
        return
    with storing("Reading", Path(file)), Path(file).open("rb") as opened:
        yield opened


def _saying(progress: Progress, doing: str) -> Callable[[int, int], None]:
    progress.say(f"{doing} …")
    return lambda done, size: progress.say_often(f"{doing} … {render_size(done)} of {render_size(size)}")


def _report(made: Made, path: Path) -> dict[str, object]:
    return {
        "path": str(path),
        "size": path.stat().st_size,
        "taken_at": made.taken_at.isoformat(),
        "files": made.files,
        "files_size": made.size,
        "manager_paused_ms": round(made.manager_paused.total_seconds() * 1000, 1),
        "restate_paused_ms": round(made.restate_paused.total_seconds() * 1000, 1),
        "skipped": list(made.skipped),
    }


def _describe_skipped(paths: Sequence[str]) -> str:
    shown = ", ".join(repr(path) for path in paths[:MOST_SHOWN])  # quoted: others than this user named them
    more = f" and {len(paths) - MOST_SHOWN} more" if len(paths) > MOST_SHOWN else ""
    return f"Not in it, as links, pipes and the like are no part of a node: {shown}{more}."


def _describe(made: Made) -> str:
    pause = made.restate_paused.total_seconds() * 1000
    stood = f", for which Restate stood still for {pause:.0f} ms" if pause else ""
    files = render_count(made.files, "file")
    return f"{files} ({render_size(made.size)}) as of {made.taken_at:%Y-%m-%d %H:%M:%S %Z}{stood},"
