from __future__ import annotations

import hashlib
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gridiron.bundles.digest import digest_of, hash_file

FILES = {  # as docs/bundles.md shows them
    "index.js": b'export { default } from "./lib/worker.mjs";\n',
    "lib/worker.mjs": b"export default {};\n",
    "metadata.json": b'{"name": "vector", "version": "1.0.0"}\n',
    "grüße.txt": "grüße\n".encode(),
}
DIGEST = "34a08a65a40c53f5db8bfbbf8c55860243b6a8886cef464b3a89b271c85bf806"  # by coreutils, see there
DOCUMENT = Path(__file__).parents[3] / "docs" / "bundles.md"


def test_the_digest_of_the_documented_bundle(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert digest_of((name, hash_file(tmp_path / name)) for name in FILES) == DIGEST


def test_the_document_shows_this_digest_and_the_lines_that_it_is_made_of() -> None:
    text = DOCUMENT.read_text()
    lines = [f"{hashlib.sha256(FILES[name]).hexdigest()}  {name}" for name in sorted(FILES)]
    assert re.findall(r"^[0-9a-f]{64}  .*$", text, re.MULTILINE) == [*lines, f"{DIGEST}  -"]


def test_the_digest_of_nothing_is_the_sha256_of_nothing() -> None:
    assert digest_of([]) == hashlib.sha256().hexdigest()


def test_paths_are_sorted_by_their_bytes() -> None:
    # "\uffff" comes after "\U00010000" in UTF-16, and before it in UTF-8
    entries = [("b", "2"), ("\U00010000", "5"), ("\uffff", "4"), ("a/b", "1"), ("a", "0"), ("c", "3")]
    lines = "0  a\n1  a/b\n2  b\n3  c\n4  \uffff\n5  \U00010000\n"
    assert digest_of(entries) == hashlib.sha256(lines.encode()).hexdigest()


@given(st.permutations(sorted(FILES)))
def test_the_order_of_the_files_makes_no_difference(names: list[str]) -> None:
    assert digest_of((name, hashlib.sha256(FILES[name]).hexdigest()) for name in names) == DIGEST


def test_a_large_file_is_hashed_whole(tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000
    (tmp_path / "a").write_bytes(content)
    assert hash_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()
