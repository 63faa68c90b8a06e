"""What git says of a directory. Git reads only, and starts no program that the repository names."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from gridiron.model import Git

LIMIT = timedelta(seconds=10)
"""How long one call of git may take: a large repository on a cold disk takes a few seconds."""

ENVIRONMENT: Mapping[str, str] = {
    "GIT_OPTIONAL_LOCKS": "0",  # write no index, so run no hook after that
    "GIT_NO_LAZY_FETCH": "1",  # ask no server for what a partial clone lacks
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
_OF_A_HOOK = frozenset(
    ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")
)
"""Variables that say which repository is meant. While git runs a hook, they name that of the hook."""

# settings by which a repository has git start a program
_HARMLESS = {"core.fsmonitor": "false", "core.hooksPath": "/dev/null", "protocol.allow": "never"}
_OF_THE_REPOSITORY = frozenset(("local", "worktree"))
_FILTER = re.compile(r"filter\..+\.(clean|process|required)", re.DOTALL)
_STATUS = re.compile(r"# branch\.oid (?P<commit>[0-9a-f]{40,64})\0# branch\.head (?P<branch>[^\0]+)\0")
DETACHED = "(detached)"


def fetch_git(directory: Path) -> Git | None:
    """Give the commit that a directory stands on, and whether it differs from that.

    It differs where a tracked file of the repository does, or where there is an untracked one below the
    directory that is not ignored. None where git is not installed, takes too long, or knows of no commit
    here. Blocks for as long as git needs.
    """
    if not _is_in_repository(directory):
        return None
    names = ("config", "-z", "--show-scope", "--name-only", "--get-regexp", r"^filter\.")
    off = plan_settings(_run(directory, _HARMLESS, *names) or "")
    changed = ("status", "--porcelain=v2", "--branch", "-z", "-uno", "--ignore-submodules=dirty")
    new = ("ls-files", "-z", "--others", "--exclude-standard", "--directory", "--", ".")
    status, others = (_run(directory, off, *arguments) for arguments in (changed, new))
    return None if status is None or others is None else parse_status(status, others)


def fetch_repository_name(directory: Path) -> str | None:
    """Give the name of the directory that a repository is checked out in; None where there is none."""
    if not _is_in_repository(directory):
        return None
    printed = _run(directory, _HARMLESS, "rev-parse", "--show-toplevel")
    return Path(printed.removesuffix("\n")).name if printed else None


def plan_settings(filters: str) -> dict[str, str]:
    """Say which settings keep git from starting programs that the repository names.

    `filters` is what git prints of its settings for filters: scope and name in turn. The user's own filters
    stay: without that of Git LFS, for one, every large file would seem to differ.
    """
    words = filters.split("\0")
    names = [
        name
        for scope, name in zip(words[::2], words[1::2], strict=False)  # there is one more NUL than words
        if scope in _OF_THE_REPOSITORY and _FILTER.fullmatch(name)
    ]
    return {**_HARMLESS, **dict.fromkeys(names, "")}


def plan_environment(environment: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """Give git's environment: ours, with settings that win over those of the repository."""
    kept = {name: value for name, value in environment.items() if name not in _OF_A_HOOK}
    given = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings.items()):
        given |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return {**kept, **ENVIRONMENT, **given}


def parse_status(status: str, others: str) -> Git | None:
    """Read what `git status` and `git ls-files --others` print; None where there is no commit yet."""
    match = _STATUS.search(status)
    if match is None:
        return None
    branch = None if match["branch"] == DETACHED else match["branch"]
    changes = [line for line in status.split("\0") if line and not line.startswith("# ")]
    return Git(commit=match["commit"], branch=branch, dirty=bool(changes or others))


def _is_in_repository(directory: Path) -> bool:
    """Tell whether it is worth asking git."""
    resolved = directory.resolve()
    return any(os.path.lexists(above / ".git") for above in (resolved, *resolved.parents))


def _run(directory: Path, settings: Mapping[str, str], *arguments: str) -> str | None:
    """Run git in a directory; None where it cannot be run or says no."""
    try:
        done = subprocess.run(
            ["git", *arguments],  # noqa: S607 - the user's git, wherever it is
            cwd=directory,
            env=plan_environment(os.environ, settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT.total_seconds(),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
