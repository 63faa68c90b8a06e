from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from gridiron.bundles.identity import Identity, parse_package
from gridiron.bundles.wrangler import Wrangler, parse_wrangler
from gridiron.cli.init import Kind
from gridiron.cli.scaffold import fetch_templates, fetch_versions, plan_scaffold
from gridiron.errors import NameInvalid
from gridiron.model import Compatibility
from gridiron.settings import shared_path

Run = Callable[..., Result]
VERSIONS = {"@restatedev/restate-sdk-cloudflare-workers": "1.2.3", "typescript": "7.8.9"}
SHARED = {".gitignore", "README.md", "package.json", "src/index.ts", "tsconfig.json", "wrangler.toml"}
OWN = {
    Kind.SERVICE: {"src/greeting.ts", "test/greeting.test.ts"},
    Kind.OBJECT: {"src/tally.ts", "test/tally.test.ts"},
    Kind.WORKFLOW: {"src/claim.ts", "test/claim.test.ts"},
}


def test_places_are_filled_in() -> None:
    templates = {"gitignore": "dist/", "a/b.ts": "@NAME@ @NAME@ @DATE@ @restatedev/x a@b.c @SDK_VERSION@"}
    assert plan_scaffold("my-cart", templates, VERSIONS) == {
        "a/b.ts": "my-cart my-cart 2026-10-01 @restatedev/x a@b.c 1.2.3",
        ".gitignore": "dist/",
    }


@pytest.mark.parametrize("name", ["", "My", "9lives", "a_b", "a" * 64])
def test_a_name_that_no_bundle_can_have(name: str) -> None:
    with pytest.raises(NameInvalid):
        plan_scaffold(name, {}, VERSIONS)


@pytest.mark.parametrize("kind", Kind)
def test_a_project_says_what_it_is(kind: Kind) -> None:
    files = plan_scaffold("my-cart", fetch_templates(kind), fetch_versions(shared_path("package.json")))
    assert files.keys() == SHARED | OWN[kind]
    assert parse_package(files["package.json"].encode()) == Identity("my-cart", "1.0.0")
    assert parse_wrangler("wrangler.toml", files["wrangler.toml"].encode()) == Wrangler(
        name="my-cart", main="src/index.ts", compatibility=Compatibility(), vars={}
    )
    assert 'name: "my-cart",' in files["src/index.ts"]
    assert "bidirectional: true" in files["src/index.ts"]
    assert "@NAME" not in "".join(files.values())


def test_a_project_is_made_where_it_was_asked_for(run: Run, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for directory in (tmp_path / "new" / "cart", empty):
        result = run("init", "cart", "--kind", "object", "--dir", str(directory))
        assert (result.exit_code, result.stderr) == (0, "")
        made = {file.relative_to(directory).as_posix() for file in directory.rglob("*") if file.is_file()}
        assert made == SHARED | OWN[Kind.OBJECT]
        lines = result.stdout.splitlines()
        assert lines[0] == f"Made {directory}:"
        assert {line.strip() for line in lines[1:-1]} == made
        assert lines[-1].startswith(f"Next: `gridiron deploy {directory}`, and ")


def test_a_project_is_made_in_a_directory_of_its_name(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("init", "greeter").exit_code == 0
    assert (tmp_path / "greeter" / "src" / "greeting.ts").is_file()


def test_what_is_there_stays_as_it_is(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    result = run("init", "cart", "--dir", str(tmp_path))
    assert result.exit_code == 1
    assert result.stderr.endswith("[directory_not_empty]\n")
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_a_directory_that_cannot_be_made(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    result = run("init", "cart", "--dir", str(tmp_path / "notes" / "cart"))
    assert (result.exit_code, result.stderr.rpartition("  ")[2]) == (1, "[project_not_written]\n")


def test_a_kind_that_there_is_not(run: Run, tmp_path: Path) -> None:
    result = run("init", "cart", "--kind", "cron", "--dir", str(tmp_path / "cart"))
    assert result.exit_code == 2
    assert not (tmp_path / "cart").exists()
