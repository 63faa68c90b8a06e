"""What the programs that people make archives with really write is unpacked as it was."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from gridiron.bundles.archive import unpack
from gridiron.bundles.limits import Limits, Meter
from gridiron.errors import GridironError

DOCUMENT = Path(__file__).parents[2] / "docs" / "bundles.md"
LIMITS = Limits(size=64 * 1024 * 1024, files=1000, time=timedelta(minutes=1))
LONG = "/".join(["a-directory-with-a-long-name"] * 5) + "/module.js"  # more than ustar has room for in a name
FILES = {
    "index.js": b"export default {};\n",
    "package.json": b'{"name": "greeter", "version": "1.0.0"}\n',
    "lib/core.wasm": bytes(range(256)) * 3000,
    LONG: b"export {};\n",
    "lib/empty.txt": b"",
}
PASSED_OVER = {"node_modules/a/index.js": b"x", ".env": b"A=b\n"}
GIT = (
    "git init -q . && git add -A && "
    "git -c user.name=a -c user.email=a@example.org commit -q -m x && git archive --prefix=greeter-1.0.0/"
)
NPM = f"PATH={Path(sys.executable).parent}:$PATH npm pack --ignore-scripts --silent --pack-destination .."


def documented() -> str:
    section = DOCUMENT.read_text("utf-8").split("\n## Archives\n")[1].split("\n## ")[0]
    (command,) = re.findall(r"```sh\n(.*?)\n```", section, re.DOTALL)
    return str(command)


@pytest.mark.parametrize(
    "command",
    [
        documented(),
        "tar --format=ustar -czf ../bundle.tar.gz .",
        "tar --format=gnu -czf ../bundle.tar.gz .",
        "tar --format=pax -czf ../bundle.tar.gz *",
        "tar --format=pax -C .. -czf ../bundle.tar.gz project",
        "zip -qr ../bundle.zip .",
        "zip -qr0 ../bundle.zip .",
        "cd .. && zip -qr bundle.zip project",
        f"{GIT} -o ../bundle.tar.gz HEAD",
        f"{GIT} -o ../bundle.zip HEAD",
        NPM,
        f"{sys.executable} -m zipfile -c ../bundle.zip *",
        f"{sys.executable} -m tarfile -c ../bundle.tar.gz *",
    ],
)
def test_an_archive_by_a_real_program(command: str, tmp_path: Path) -> None:
    make(command, tmp_path)
    assert unpacked(tmp_path) == FILES


def test_a_sparse_file_by_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    with (tmp_path / "project" / "a.bin").open("wb") as file:
        file.truncate(10_000_000)
    for sparse in ("--format=gnu", "--format=pax --sparse-version=0.1", "--format=pax --sparse-version=1.0"):
        make(f"tar --sparse {sparse} -czf ../bundle.tar.gz .", tmp_path)
        with pytest.raises(GridironError) as caught:
            unpacked(tmp_path)
        assert caught.value.code == "bundle_has_device"


def make(command: str, root: Path) -> None:
    """Write the files of a project, and run a command in its directory."""
    program = re.findall(r"\b(tar|zip|git|npm|python\S*) ", command)[0]
    is_debians = not program.startswith(("npm", "python"))
    if is_debians and shutil.which(program) is None and "CI" not in os.environ:
        pytest.skip(f"there is no {program}")
    for name, content in {**FILES, **PASSED_OVER}.items():
        path = root / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    subprocess.run(["sh", "-c", command], cwd=root / "project", check=True, timeout=120)


def unpacked(root: Path) -> dict[str, bytes]:
    (archive,) = (path for path in root.iterdir() if path.is_file())
    shutil.rmtree(root / "out", ignore_errors=True)
    unpack(archive, root / "out", Meter(LIMITS))
    files = (path for path in (root / "out").rglob("*") if path.is_file())
    return {str(path.relative_to(root / "out")): path.read_bytes() for path in files}
