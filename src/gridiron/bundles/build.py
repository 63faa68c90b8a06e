"""Call the program that builds a project, and tell what went wrong."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from gridiron.errors import BuildStepFailed
from gridiron.toolchain.programs import Program

BUILD_LIMIT = timedelta(minutes=5)
"""How long a project may take to build: wrangler itself takes seconds, a command of the project's more."""

MAX_OUTPUT_LINES = 40
"""Lines of a failed build's output that are told: an account of a few mistakes is shorter."""

# ECMA-48: control sequences (colours), operating system commands (links, titles), other escapes
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-Z\\^-~])")
_UNRESOLVED = re.compile(r'Could not resolve "(?P<package>[^./"][^"]*)"')
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class BuildToolchain(Protocol):
    """What is needed of the toolchain; it is asked only when there is something to build."""

    def wrangler_command(self) -> tuple[str, ...]:
        """Give the command that is wrangler, to add arguments to: Node first."""

    def esbuild(self) -> Program:
        """Give esbuild."""

    def sdk_entries(self) -> Mapping[str, Path]:
        """Give the file of each entry of the Restate SDK, by what scripts import."""


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """A call of the program that builds."""

    command: tuple[str, ...]
    shown: str  # the call as people would type it
    out: Path  # what it writes into; absolute
    environment: Mapping[str, str] = field(default_factory=dict)  # besides ours
    tools: Path | None = None  # programs for commands of the project's; None: those beside the program


def plan_environment(environment: Mapping[str, str], plan: BuildPlan) -> dict[str, str]:
    """Give the environment of a build: ours, and our Node for build commands where there is none."""
    tools = plan.tools or Path(plan.command[0]).parent
    path = os.pathsep.join(filter(None, (environment.get("PATH"), str(tools))))
    return {**environment, **plan.environment, "PATH": path}


def plan_advice(output: str) -> str:
    """Say what to do about what a failed build printed; empty where there is nothing to add."""
    match = _UNRESOLVED.search(output)
    return (
        "" if match is None else f"\nIs {match['package']} installed? `npm install` in the project does it."
    )


def plain_lines(output: str) -> str:
    """Give the last lines of a program's output as plain text: no colours, no empty lines at either end."""
    text = _CONTROL.sub("", _ANSI.sub("", output)).strip("\n")
    return "\n".join(line.rstrip() for line in text.splitlines()[-MAX_OUTPUT_LINES:])


def run_build(directory: Path, plan: BuildPlan, limit: timedelta = BUILD_LIMIT) -> str:
    """Run a build in the directory of its project; give what it printed, as plain text.

    Raises BuildStepFailed when it fails, or has not ended after `limit`. Nothing that it started is left
    running then, nor when this process is interrupted.
    """
    try:
        process = subprocess.Popen(
            plan.command,
            cwd=directory,
            env=plan_environment(os.environ, plan),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # it may start others: they end together
        )
    except OSError as error:
        raise BuildStepFailed(plan.shown, error.strerror or str(error)) from error
    try:
        printed, _ = process.communicate(timeout=limit.total_seconds())
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):  # all have ended meanwhile
            os.killpg(process.pid, signal.SIGKILL)
        printed, _ = process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            ended = f"It was stopped: it had not ended after {limit.total_seconds():.0f} s."
            raise BuildStepFailed(plan.shown, f"{_plain(printed)}\n{ended}".lstrip()) from error
        raise
    if process.returncode != 0:
        output = _plain(printed) or f"It ended with {process.returncode}."
        raise BuildStepFailed(plan.shown, output + plan_advice(output))
    return _plain(printed)


def _plain(printed: bytes) -> str:
    return plain_lines(printed.decode(errors="replace"))
