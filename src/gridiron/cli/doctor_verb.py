"""`gridiron doctor`: is this machine fit for a node, and if not, what mends it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from gridiron.cli.edge import FAILED
from gridiron.cli.options import DataDir, Json, PortOffset
from gridiron.cli.output import print_json, print_table, print_text
from gridiron.cli.table import Table
from gridiron.cli.words import render_count

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.cli.doctor.finding import Finding

verbs = typer.Typer()


@verbs.command()
def doctor(as_json: Json = False, data_dir: DataDir = None, port_offset: PortOffset = None) -> None:
    """Look at this machine: settings, programs, directories, disk, memory, ports, clock, the node that runs.

    Each line says what is so and, where it is not in order, how to mend it. Nothing is changed. Exits 1 when
    a node does not work like that.
    """
    from functools import partial  # noqa: PLC0415 - see gridiron.cli.edge

    from gridiron.cli.doctor.examine import examine  # noqa: PLC0415 - the same
    from gridiron.settings import config_file, load_settings  # noqa: PLC0415 - the same

    findings = examine(partial(load_settings, data_dir=data_dir, port_offset=port_offset), config_file())
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        print_table(render_findings(findings))
        print_text(f"\n{summarize(findings)}")
    if any(finding.state == "failure" for finding in findings):
        raise typer.Exit(FAILED)


def render_findings(findings: tuple[Finding, ...]) -> Table:
    """Make a line for each, and one below for what mends it."""
    return Table(
        tuple(
            (each.state.value, each.check, "\n".join(filter(None, (each.meaning, each.mend))))
            for each in findings
        )
    )


def summarize(findings: tuple[Finding, ...]) -> str:
    """Say in a line how it is."""
    failures = sum(finding.state == "failure" for finding in findings)
    warnings = sum(finding.state == "warning" for finding in findings)
    if not failures and not warnings:
        return "All is in order."
    return f"{render_count(failures, 'failure')}, {render_count(warnings, 'warning')}."
