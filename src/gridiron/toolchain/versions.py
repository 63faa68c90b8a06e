"""How the programs say which version they are."""

from __future__ import annotations

import re

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}|\d+(?:\.\d+)+")
_WORKERD_RELEASE = re.compile(r"\d+\.(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})\.\d+")

OLDEST_HAPROXY = (2, 8)
"""The long-term version that the workers are tested with."""


def parse_version(output: str) -> str | None:
    """Find the version in what a program prints about itself; None when it prints none."""
    found = _VERSION.search(output)
    return found[0] if found else None


def printed_version(program: str, release: str) -> str:
    """Give what a program of a release prints: workerd prints the date in its release, others the release."""
    dated = _WORKERD_RELEASE.fullmatch(release) if program == "workerd" else None
    return f"{dated['year']}-{dated['month']}-{dated['day']}" if dated else release


def is_haproxy_new_enough(version: str) -> bool:
    """Tell whether a version of HAProxy, as `parse_version` gives it, is one that the workers can use."""
    major, minor = version.split(".")[:2]
    return (int(major), int(minor)) >= OLDEST_HAPROXY
