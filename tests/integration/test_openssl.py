"""OpenSSL makes, signs and verifies what `gridiron keys` does, by the very commands of docs/bundles.md."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gridiron.bundles.digest import hash_file
from gridiron.bundles.signature import create_key, load_trusted_keys, sign, verify
from gridiron.ed25519 import parse_private_key

DOCUMENT = Path(__file__).parents[2] / "docs" / "bundles.md"


@pytest.fixture
def room(tmp_path: Path) -> Path:
    if shutil.which("openssl") is None and "CI" not in os.environ:
        pytest.skip("there is no openssl")
    (tmp_path / "dist.tar.gz").write_bytes(b"any bytes")
    (tmp_path / "gridiron").write_text(f'#!/bin/sh\nexec {sys.executable} -m gridiron "$@"\n')
    (tmp_path / "gridiron").chmod(0o755)
    return tmp_path


def documented() -> list[str]:
    """Give the lines of the block with OpenSSL's commands."""
    section = DOCUMENT.read_text("utf-8").split("\n## Signatures\n")[1].split("\n## ")[0]
    (block,) = (block for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) if "openssl" in block)
    return str(block).splitlines()


def sh(room: Path, *lines: str) -> str:
    script = "set -e; PATH=.:$PATH\n" + "\n".join(lines)
    command = ["sh", "-c", script]
    return subprocess.run(command, cwd=room, check=True, capture_output=True, text=True, timeout=60).stdout


def test_a_signature_that_openssl_made_verifies_here(room: Path) -> None:
    shown = sh(room, *documented())
    (key,) = load_trusted_keys(room / "release.key.pub")
    assert shown == f"{key.key_id}\nSignature Verified Successfully\n"
    signature = (room / "dist.sig").read_text()
    assert verify(signature, hash_file(room / "dist.tar.gz"), [key]) == key.key_id
    private = parse_private_key("release.key", (room / "release.key").read_bytes())
    assert sign(private, hash_file(room / "dist.tar.gz")) == signature


def test_a_signature_made_here_verifies_with_openssl(room: Path) -> None:
    pair = create_key()
    (room / "release.key").write_bytes(pair.private)
    (room / "release.key.pub").write_bytes(pair.public)
    private = parse_private_key("release.key", pair.private)
    (room / "dist.sig").write_text(sign(private, hash_file(room / "dist.tar.gz")))
    kept = [
        line
        for line in documented()
        if "genpkey" not in line and "-pubout" not in line and "-sign" not in line
    ]
    assert sh(room, *kept) == f"{pair.key_id}\nSignature Verified Successfully\n"
