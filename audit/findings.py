"""What the programs that ask advisory services have said. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known of some packages. Both are lines for people."""

    known: Sequence[str] = field(default=())  # against one of them
    unknown: Sequence[str] = field(default=())  # what could not be asked


def parse_pip_audit(output: str, complaint: str) -> Findings:
    """Read what `pip-audit --format json` prints.

    It ends well, too, where it could ask about none of the packages, and says so of each.
    """
    report = _parse(output)
    if "dependencies" not in report:
        return Findings(unknown=(f"pip-audit says nothing: {_last_line(complaint)}",))
    known, skipped = [], []
    for package in report["dependencies"]:
        if "skip_reason" in package:
            skipped.append(package["name"])
        for advisory in package.get("vulns", ()):
            mended = ", ".join(advisory["fix_versions"]) or "no version yet"
            known.append(f"{package['name']} {package['version']}: {advisory['id']}, mended by {mended}")
    unknown = (f"PyPI told nothing of {len(skipped)} packages, such as {skipped[0]}",) if skipped else ()
    return Findings(tuple(known), unknown)


def parse_npm_audit(output: str, complaint: str) -> Findings:
    """Read what `npm audit --json` prints."""
    report = _parse(output)
    if "auditReportVersion" not in report:
        return Findings(unknown=(f"npm says nothing: {report.get('message') or _last_line(complaint)}",))
    return Findings(
        tuple(
            f"{name} {found['range']}: {found['severity']}, by way of {_reasons(found['via'])}"
            for name, found in report["vulnerabilities"].items()
        )
    )


def parse_pip_report(output: str, complaint: str) -> Findings:
    """Read what `pip install --dry-run --report -` prints: which pinned releases were yanked."""
    report = _parse(output)
    if "install" not in report:
        return Findings(unknown=(f"pip says nothing: {_last_line(complaint)}",))
    names = [
        f"{package['metadata']['name']} {package['metadata']['version']}: its authors have yanked it"
        for package in report["install"]
        if package["is_yanked"]
    ]
    return Findings(tuple(names))


def parse_npm_lock(content: str) -> Findings:
    """Read from package-lock.json which locked versions their authors have deprecated."""
    packages = json.loads(content)["packages"]
    return Findings(
        tuple(f"{path}: {entry['deprecated']}" for path, entry in packages.items() if "deprecated" in entry)
    )


def _parse(output: str) -> dict[str, Any]:
    try:
        report = json.loads(output)
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}


def _reasons(via: Sequence[str | dict[str, Any]]) -> str:
    return ", ".join(each if isinstance(each, str) else str(each["url"]) for each in via)


def _last_line(complaint: str) -> str:
    lines = [line for line in complaint.splitlines() if line.strip()]
    return lines[-1] if lines else "and not why"
