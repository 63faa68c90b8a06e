"""`gridiron version`: which Gridiron, which Python, which programs."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import typer

import gridiron
from gridiron.cli.options import Json
from gridiron.cli.output import print_json, print_table
from gridiron.cli.table import Table
from gridiron.errors import ToolMissing, ToolVersionWrong

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.settings import Settings
    from gridiron.toolchain.programs import Program, Toolchain

verbs = typer.Typer()

MISSING = "missing"


@dataclass(frozen=True, slots=True)
class ProgramVersion:
    """One program that Gridiron drives, as it was found."""

    version: str | None  # None: it is missing, or cannot be used
    path: str | None  # the same
    problem: str | None  # what is wrong, and what mends it


@dataclass(frozen=True, slots=True)
class Versions:
    """All versions that matter when something goes wrong."""

    gridiron: str
    python: str
    programs: Mapping[str, ProgramVersion]


@verbs.command()
def version(as_json: Json = False) -> None:
    """Show the versions of Gridiron, Python and the programs that it drives; a missing one is no error."""
    from gridiron.settings import load_settings  # noqa: PLC0415 - see gridiron.cli.edge

    versions = fetch_versions(load_settings())
    if as_json:
        print_json(asdict(versions))
    else:
        print_table(render_versions(versions))


def fetch_versions(settings: Settings) -> Versions:
    """Find every program and its version. Never raises for one that is missing or wrong."""
    from gridiron.toolchain.programs import find_toolchain  # noqa: PLC0415 - see gridiron.cli.edge

    toolchain = find_toolchain(settings)
    programs = {name: _fetch_program(find) for name, find in programs_of(toolchain).items()}
    return Versions(gridiron.__version__, platform.python_version(), programs)


def programs_of(toolchain: Toolchain) -> Mapping[str, Callable[[], Program]]:
    """Give how to find each program, by its name."""
    return {
        "restate-server": toolchain.restate_server,
        "restatectl": toolchain.restatectl,
        "workerd": toolchain.workerd,
        "haproxy": toolchain.haproxy,
        "esbuild": toolchain.esbuild,
        "node": toolchain.node,
    }


def _fetch_program(find: Callable[[], Program]) -> ProgramVersion:
    try:
        program = find()
    except (ToolMissing, ToolVersionWrong) as error:
        return ProgramVersion(None, None, str(error))
    return ProgramVersion(program.version, str(program.path), None)


def render_versions(versions: Versions) -> Table:
    """Make a line for each: the name, the version or `missing`, the path or what is wrong."""
    own = (("gridiron", versions.gridiron, ""), ("python", versions.python, ""))
    programs = (
        (name, program.version or MISSING, program.path or program.problem or "")
        for name, program in versions.programs.items()
    )
    return Table((*own, *programs))
