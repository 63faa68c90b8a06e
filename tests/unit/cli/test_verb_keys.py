from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from gridiron.bundles.signature import create_key, load_trusted_keys, sign
from gridiron.ed25519 import parse_private_key

Run = Callable[..., Result]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "index.js").write_text("export default {};\n")
    return tmp_path / "dist"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "dist.zip").write_bytes(b"any bytes")
    return tmp_path / "dist.zip"


@pytest.fixture
def key(run: Run, tmp_path: Path) -> Path:
    assert run("keys", "create", str(tmp_path / "release.key")).exit_code == 0
    return tmp_path / "release.key"


def code_of(result: Result) -> tuple[int, list[str]]:
    return result.exit_code, re.findall(r"\[(\w+)\]\n$", result.stderr)


def test_a_key_is_written_for_its_owner_alone(run: Run, tmp_path: Path) -> None:
    result = run("keys", "create", str(tmp_path / "release.key"))
    public = tmp_path / "release.key.pub"
    (trusted,) = load_trusted_keys(public)
    assert result.stdout == (
        f"private key  {tmp_path}/release.key (keep it secret)\n"
        f"public key   {public}\n"
        f"key id       {trusted.key_id}\n"
    )
    modes = {path.name: stat.filemode(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"release.key": "-rw-------", "release.key.pub": "-rw-r--r--"}
    parse_private_key("release.key", (tmp_path / "release.key").read_bytes())


@pytest.mark.parametrize("name", ["release.key", "release.key.pub"])
def test_a_key_overwrites_nothing(name: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to("elsewhere")
    result = run("keys", "create", str(tmp_path / "release.key"))
    assert code_of(result) == (1, ["key_invalid"])
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_key_in_a_directory_that_is_not_there(run: Run, tmp_path: Path) -> None:
    assert code_of(run("keys", "create", str(tmp_path / "none" / "key"))) == (1, ["storage_failed"])


@pytest.mark.parametrize("what", ["bundle", "archive"])
def test_what_was_signed_verifies(
    what: str, run: Run, key: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(what)
    digest = run("digest", str(path)).stdout.strip()
    (trusted,) = load_trusted_keys(tmp_path / "release.key.pub")
    printed = run("keys", "sign", str(path), "--key", str(key))
    assert printed.stdout == sign(parse_private_key("", key.read_bytes()), digest) + "\n"
    written = run("keys", "sign", str(path), "--key", str(key), "--output", str(tmp_path / "sig"))
    assert (written.exit_code, written.stdout) == (0, "")
    assert (tmp_path / "sig").read_text() == printed.stdout
    arguments = ("keys", "verify", str(path), "--signature", str(tmp_path / "sig"), "--key", f"{key}.pub")
    assert run(*arguments).stdout == f"The key {trusted.key_id} signed sha256:{digest}.\n"
    assert json.loads(run(*arguments, "--json").stdout) == {"sha256": digest, "key_id": trusted.key_id}


def test_what_was_changed_does_not_verify(run: Run, key: Path, bundle: Path, tmp_path: Path) -> None:
    signature = tmp_path / "sig"
    run("keys", "sign", str(bundle), "--key", str(key), "--output", str(signature))
    (bundle / "index.js").write_text("export default { };\n")
    result = run(
        "keys", "verify", str(bundle), "--signature", str(signature), "--key", f"{key}.pub", "--json"
    )
    assert code_of(result) == (1, ["signature_invalid"])
    assert json.loads(result.stdout)["code"] == "signature_invalid"


def test_another_key_does_not_verify(run: Run, key: Path, archive: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"any bytes").hexdigest()
    other = create_key()
    (tmp_path / "sig").write_text(sign(parse_private_key("", other.private), digest))
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "a.pub").write_bytes(Path(f"{key}.pub").read_bytes())
    arguments = ("keys", "verify", str(archive), "--signature", str(tmp_path / "sig"))
    assert code_of(run(*arguments, "--key", str(tmp_path / "keys"))) == (1, ["signature_invalid"])
    (tmp_path / "keys" / "b.pub").write_bytes(other.public)
    result = run(*arguments, "--key", str(tmp_path / "keys"))
    assert result.stdout == f"The key {other.key_id} signed sha256:{digest}.\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("sign", "{dist}", "--key", "{root}/none"), "key_invalid"),
        (("sign", "{dist}", "--key", "{key}.pub"), "key_invalid"),
        (("sign", "{root}/none", "--key", "{key}"), "source_missing"),
        (("sign", "{dist}", "--key", "{key}", "--output", "{root}/none/sig"), "storage_failed"),
        (("verify", "{dist}", "--signature", "{root}/none", "--key", "{key}.pub"), "signature_invalid"),
        (("verify", "{dist}", "--signature", "{binary}", "--key", "{key}.pub"), "signature_invalid"),
        (("verify", "{dist}", "--signature", "{key}", "--key", "{key}.pub"), "signature_invalid"),
        (("verify", "{dist}", "--signature", "{key}", "--key", "{key}"), "key_invalid"),
        (("verify", "{dist}", "--signature", "{key}", "--key", "{root}/none"), "key_invalid"),
    ],
)
def test_what_cannot_be_signed_or_verified(
    arguments: tuple[str, ...], code: str, run: Run, key: Path, bundle: Path
) -> None:
    root = bundle.parent
    (root / "binary").write_bytes(b"\xff")
    places = {"dist": bundle, "root": root, "key": key, "binary": root / "binary"}
    assert code_of(run("keys", *(part.format(**places) for part in arguments))) == (1, [code])
