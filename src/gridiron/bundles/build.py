"""Build a wrangler project, with the wrangler of the toolchain and nothing of Cloudflare's."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from gridiron.bundles.wrangler import Wrangler
from gridiron.errors import BuildStepFailed

BUILD_LIMIT = timedelta(minutes=5)
"""How long a project may take to build: wrangler itself takes seconds, a command of the project's more."""

MAX_OUTPUT_LINES = 40
"""Lines of a failed build's output that are told: wrangler's account of a mistake is shorter."""

# of wrangler: send nothing, write no logs into the home directory, do not look for updates
WRANGLER_ENVIRONMENT: Mapping[str, str] = {
    "WRANGLER_SEND_METRICS": "false",
    "WRANGLER_SEND_ERROR_REPORTS": "false",
    "WRANGLER_WRITE_LOGS": "false",
    "WRANGLER_HIDE_BANNER": "true",
}

# ECMA-48: control sequences (colours), operating system commands (links, titles), other escapes
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-Z\\^-~])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class WranglerToolchain(Protocol):
    """What is needed of the toolchain; it is asked only when there is something to build."""

    def wrangler_command(self) -> tuple[str, ...]:
        """Give the command that is wrangler, to add arguments to: Node first."""


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """A call of wrangler."""

    command: tuple[str, ...]  # Node first
    out: Path  # what it writes into; absolute

    @property
    def shown(self) -> str:
        """The call as people would type it."""
        arguments = self.command[self.command.index("deploy") :]
        return " ".join(("wrangler", *arguments))


def plan_build(file: str, wrangler: Wrangler, toolchain: WranglerToolchain, out: Path) -> BuildPlan:
    """Say how a project is built into `out`, by the wrangler file named `file` and for no environment of it.

    The compatibility date is given as we understood it: wrangler builds nothing without one.
    """
    date = wrangler.compatibility.date.isoformat()
    where = ("--config", file, "--env=", "--outdir", str(out.absolute()))
    arguments = ("deploy", "--dry-run", *where, "--compatibility-date", date)
    return BuildPlan((*toolchain.wrangler_command(), *arguments), out.absolute())


def plan_environment(environment: Mapping[str, str], node: str) -> dict[str, str]:
    """Give wrangler's environment: ours, quiet, and with our Node for build commands where there is none."""
    path = os.pathsep.join(filter(None, (environment.get("PATH"), str(Path(node).parent))))
    return {**environment, **WRANGLER_ENVIRONMENT, "PATH": path}


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
            env=plan_environment(os.environ, plan.command[0]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # wrangler starts others: they end together
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
        raise BuildStepFailed(plan.shown, _plain(printed) or f"It ended with {process.returncode}.")
    return _plain(printed)


def _plain(printed: bytes) -> str:
    return plain_lines(printed.decode(errors="replace"))
