from __future__ import annotations

import pytest

from gridiron.bundles.git import ENVIRONMENT, parse_status, plan_environment, plan_settings
from gridiron.model import Git

COMMIT = "0123456789abcdef" * 2 + "01234567"
LONG = "0123456789abcdef" * 4
HARMLESS = {"core.fsmonitor": "false", "core.hooksPath": "/dev/null", "protocol.allow": "never"}


def status(oid: str, head: str, *entries: str) -> str:
    lines = (f"# branch.oid {oid}", f"# branch.head {head}", *entries)
    return "".join(f"{line}\0" for line in lines)


@pytest.mark.parametrize(
    ("printed", "others", "git"),
    [
        (status(COMMIT, "main"), "", Git(commit=COMMIT, branch="main", dirty=False)),
        (status(COMMIT, "(detached)"), "", Git(commit=COMMIT, branch=None, dirty=False)),
        (status(LONG, "a/b # c", "# branch.ab +1 -0"), "", Git(commit=LONG, branch="a/b # c", dirty=False)),
        (
            status(COMMIT, "main", "1 .M N... 100644 100644 100644 a b src/index.ts"),
            "",
            Git(commit=COMMIT, branch="main", dirty=True),
        ),
        (status(COMMIT, "main"), "new.ts\0", Git(commit=COMMIT, branch="main", dirty=True)),
        (status("(initial)", "main"), "new.ts\0", None),
        ("", "", None),
    ],
)
def test_what_git_prints(printed: str, others: str, git: Git | None) -> None:
    assert parse_status(printed, others) == git


@pytest.mark.parametrize(
    ("filters", "off"),
    [
        ("", {}),
        (
            "local\0filter.a.clean\0worktree\0filter.b.c.process\0local\0filter.a=b.required\0",
            {"filter.a.clean": "", "filter.b.c.process": "", "filter.a=b.required": ""},
        ),
        ("global\0filter.lfs.clean\0system\0filter.lfs.process\0command\0filter.x.clean\0", {}),
        ("local\0filter.a.smudge\0local\0filter.a.command\0", {}),
    ],
)
def test_the_programs_of_a_repository_are_off(filters: str, off: dict[str, str]) -> None:
    assert plan_settings(filters) == {**HARMLESS, **off}


def test_the_environment_of_git() -> None:
    environment = {
        "HOME": "/home/ada",
        "GIT_DIR": "/other/.git",
        "GIT_INDEX_FILE": "index",
        "LC_ALL": "C.UTF-8",
    }
    assert plan_environment(environment, {"a.b=c.d": "", "e.f": "g"}) == {
        "HOME": "/home/ada",
        **ENVIRONMENT,
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "a.b=c.d",
        "GIT_CONFIG_VALUE_0": "",
        "GIT_CONFIG_KEY_1": "e.f",
        "GIT_CONFIG_VALUE_1": "g",
    }
