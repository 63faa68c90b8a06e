"""The files of a new project, out of the templates beside this module."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from gridiron.model import DEFAULT_COMPATIBILITY_DATE, check_name

TEMPLATES = Path(__file__).parent / "templates"
SHARED = "shared"

RENAMED = {"gitignore": ".gitignore"}
"""Templates that would mean something where they lie."""

_PLACE = re.compile(r"@(?P<key>[A-Z_]+)@")


def fetch_templates(kind: str) -> dict[str, str]:
    """Read the templates of a kind, by their paths in a project."""
    return {
        file.relative_to(root).as_posix(): file.read_text("utf-8")
        for root in (TEMPLATES / SHARED, TEMPLATES / kind)
        for file in sorted(root.rglob("*"))
        if file.is_file()
    }


def fetch_versions(package_json: Path) -> dict[str, str]:
    """Read the versions of npm's packages that Gridiron was tested with."""
    dependencies: dict[str, str] = json.loads(package_json.read_bytes())["dependencies"]
    return dependencies


def plan_scaffold(name: str, templates: Mapping[str, str], versions: Mapping[str, str]) -> dict[str, str]:
    """Give the files of a project, by path. `versions` are those of npm's packages. Raises NameInvalid."""
    values = {
        "NAME": check_name(name),
        "DATE": DEFAULT_COMPATIBILITY_DATE.isoformat(),
        "SDK_VERSION": versions["@restatedev/restate-sdk-cloudflare-workers"],
        "TYPESCRIPT_VERSION": versions["typescript"],
    }
    return {
        RENAMED.get(path, path): _PLACE.sub(lambda match: values[match["key"]], text)
        for path, text in sorted(templates.items())
    }
