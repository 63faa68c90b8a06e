from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gridiron.bundles.git import fetch_git, fetch_repository_name
from gridiron.model import Git


def run(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=directory, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with one commit, of two projects."""
    directory = tmp_path / "shop"
    for project in ("cart", "orders"):
        (directory / project).mkdir(parents=True)
        (directory / project / "index.js").write_text("export default {};")
    run(directory, "init", "--quiet", "--initial-branch", "main")
    run(directory, "add", ".")
    run(directory, "commit", "--quiet", "--message", "Begin")
    return directory


def test_a_commit_and_its_branch(checkout: Path) -> None:
    commit = run(checkout, "rev-parse", "HEAD")
    clean = Git(commit=commit, branch="main", dirty=False)
    assert [fetch_git(checkout), fetch_git(checkout / "cart")] == [clean, clean]
    assert [fetch_repository_name(checkout / each) for each in (".", "cart")] == ["shop", "shop"]
    run(checkout, "checkout", "--quiet", "--detach")
    assert fetch_git(checkout) == Git(commit=commit, branch=None, dirty=False)


def test_what_differs_from_a_commit(checkout: Path) -> None:
    commit = run(checkout, "rev-parse", "HEAD")
    (checkout / "orders" / "new.js").write_text("")
    dirty = {each: fetch_git(checkout / each) for each in (".", "orders", "cart")}
    assert {each: git and git.dirty for each, git in dirty.items()} == {
        ".": True,
        "orders": True,
        "cart": False,
    }
    (checkout / ".gitignore").write_text("new.js\n")
    run(checkout, "add", ".gitignore")
    assert fetch_git(checkout / "cart") == Git(commit=commit, branch="main", dirty=True)
    run(checkout, "commit", "--quiet", "--message", "Ignore")
    assert (fetch_git(checkout) or Git(commit=commit, dirty=True)).dirty is False


def test_where_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))  # no repository above counts
    plain, empty = tmp_path / "plain", tmp_path / "empty"
    plain.mkdir()
    empty.mkdir()
    run(empty, "init", "--quiet")
    assert [fetch_git(plain), fetch_git(empty), fetch_git(tmp_path / "none")] == [None, None, None]
    assert fetch_repository_name(plain) is None
    monkeypatch.setenv("PATH", str(plain))
    assert fetch_git(empty) is None


def test_nothing_that_a_repository_names_is_run(checkout: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung-$1\ncat\n")
    trap.chmod(0o755)
    for kind in ("clean", "process", "smudge"):
        run(checkout, "config", f"filter.a=b.{kind}", f"{trap} {kind}")
    run(checkout, "config", "filter.a=b.required", "true")
    run(checkout, "config", "core.fsmonitor", f"{trap} fsmonitor")
    (checkout / ".git" / "info" / "attributes").write_text("* filter=a=b\n")
    (checkout / ".git" / "hooks" / "post-index-change").symlink_to(trap)
    for file in checkout.glob("*/index.js"):
        file.write_bytes(file.read_bytes())  # as large as before, and younger: git reads it again
    assert fetch_git(checkout) == Git(commit=run(checkout, "rev-parse", "HEAD"), branch="main", dirty=False)
    assert list(tmp_path.glob("sprung-*")) == []

    subprocess.run(["git", "status"], cwd=checkout, capture_output=True, check=False)
    assert list(tmp_path.glob("sprung-*")) != []  # it is set
