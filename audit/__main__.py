"""Ask what is known against the pinned packages.

0    nothing is known against any
1    something is: a line for each
69   nothing so far, but not everything could be asked (EX_UNAVAILABLE of sysexits.h): a line for each
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

from audit.findings import Findings, parse_npm_audit, parse_npm_lock, parse_pip_audit, parse_pip_report

ROOT = Path(__file__).parents[1]
PINNED = ROOT / "requirements" / "dev.txt"  # holds all that runtime.txt has
TOOLS = ROOT / ".audit"
FOUND, UNAVAILABLE = 1, 69
LIMIT_SECONDS = 600


def main() -> int:
    """Ask everybody, print what they said, give the exit status."""
    findings = list(ask())
    known = [line for each in findings for line in each.known]
    unknown = [line for each in findings for line in each.unknown]
    lines = [*(f"known: {line}" for line in known), *(f"could not be asked: {line}" for line in unknown)]
    sys.stdout.write("\n".join(lines or ["nothing is known against the pinned packages"]) + "\n")
    return FOUND if known else UNAVAILABLE if unknown else 0


def ask() -> Iterator[Findings]:
    """Ask one after the other."""
    yield parse_npm_lock((ROOT / "package-lock.json").read_text())
    npm = shutil.which("npm") or "npm"
    yield run(parse_npm_audit, npm, "audit", "--json", "--loglevel=error")
    pip, pip_audit = install_tools()
    report = ("--dry-run", "--ignore-installed", "--no-deps", "--require-hashes", "--report", "-")
    yield run(parse_pip_report, pip, "--quiet", "--no-input", "install", *report, "-r", str(PINNED))
    asked = ("--requirement", str(PINNED), "--require-hashes", "--disable-pip", "--format", "json")
    yield run(parse_pip_audit, pip_audit, *asked, "--progress-spinner", "off")


def install_tools() -> tuple[str, str]:
    """Make the environment of pip-audit, and give its pip and pip-audit."""
    pins = ROOT / "requirements" / "audit.txt"
    venv.create(TOOLS, clear=True, with_pip=True)
    pip = str(TOOLS / "bin" / "pip")
    install = (pip, "--quiet", "--no-input", "install", "--require-hashes", "-r", str(pins))
    subprocess.run(install, check=True, timeout=LIMIT_SECONDS)
    return pip, str(TOOLS / "bin" / "pip-audit")


def run(parse: Callable[[str, str], Findings], *command: str) -> Findings:
    """Run a program, and read what it said: its exit status does not tell a finding from a failure."""
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
    )
    return parse(done.stdout, done.stderr)


if __name__ == "__main__":
    sys.exit(main())
