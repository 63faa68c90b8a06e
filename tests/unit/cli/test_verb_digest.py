from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]
DOCUMENT = Path(__file__).parents[3] / "docs" / "bundles.md"


def section(title: str) -> str:
    return re.split(rf"^## {title}$", DOCUMENT.read_text("utf-8"), flags=re.MULTILINE)[1].split("\n## ")[0]


def write_documented_bundle(root: Path) -> str:
    """Write the bundle that docs/bundles.md shows; give the digest that it shows."""
    text = section("The digest")
    files = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|$", text, re.MULTILINE)
    assert len(files) == 4
    for name, content in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n", "utf-8")
    (digest,) = re.findall(r"^([0-9a-f]{64})  -$", text, re.MULTILINE)
    return str(digest)


def test_the_digest_that_the_document_publishes(run: Run, tmp_path: Path) -> None:
    digest = write_documented_bundle(tmp_path / "dist")
    result = run("digest", str(tmp_path / "dist"))
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{digest}\n", "")


def test_what_is_no_part_of_a_bundle_changes_nothing(run: Run, tmp_path: Path) -> None:
    digest = write_documented_bundle(tmp_path)
    (tmp_path / "README.md").write_text("x")
    (tmp_path / ".env").write_text("x")
    assert run("digest", str(tmp_path)).stdout == f"{digest}\n"


def test_json_lists_every_file(run: Run, tmp_path: Path) -> None:
    digest = write_documented_bundle(tmp_path)
    (tmp_path / "README.md").write_text("x")
    names = ["index.js", "lib/worker.mjs", "metadata.json", "grüße.txt"]
    index, worker, metadata, text = (hashed(tmp_path, name) for name in names)
    assert json.loads(run("digest", str(tmp_path), "--json").stdout) == {
        "sha256": digest,
        "modules": [text, index, worker],
        "manifest_files": [metadata],
        "ignored": ["README.md"],
    }


def hashed(root: Path, name: str) -> dict[str, object]:
    content = (root / name).read_bytes()
    return {"path": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_the_digest_of_a_file_is_the_sha256_of_its_bytes(run: Run, tmp_path: Path) -> None:
    (tmp_path / "dist.zip").write_bytes(b"any bytes")
    sha256 = hashlib.sha256(b"any bytes").hexdigest()
    assert run("digest", str(tmp_path / "dist.zip")).stdout == f"{sha256}\n"
    as_json = json.loads(run("digest", str(tmp_path / "dist.zip"), "--json").stdout)
    assert as_json == {"sha256": sha256, "size": 9}


@pytest.mark.parametrize("flags", [(), ("--json",)])
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("none", "source_missing"),
        ("pipe", "source_unreadable"),
        ("empty", "bundle_empty"),
        ("linked", "bundle_has_link"),
    ],
)
def test_what_has_no_digest(name: str, code: str, flags: tuple[str, ...], run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    write_documented_bundle(tmp_path / "linked")
    (tmp_path / "linked" / "a.js").symlink_to("index.js")
    result = run("digest", str(tmp_path / name), *flags)
    assert (result.exit_code, re.findall(r"\[(\w+)\]\n$", result.stderr)) == (1, [code])
