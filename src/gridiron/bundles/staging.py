"""Copy a bundle beside the stored builds, checking and hashing it on the way."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from gridiron.bundles.digest import digest_of_bundle, hash_file
from gridiron.bundles.disk import storing
from gridiron.bundles.limits import Meter
from gridiron.bundles.manifest import parse_manifest
from gridiron.bundles.scan import UNLIMITED, Root, ScannedFile, open_file, open_root, read_chunks, scan_source
from gridiron.errors import MainModuleMissing, ManifestInvalid
from gridiron.model import Manifest, Module, Signature, module_kind

MAX_MANIFEST_SIZE = 4 * 1024 * 1024
"""Bytes of a manifest file: `vars` may take about 1 MiB, the list of modules of a stored build as much."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A bundle that was copied and checked, and is not stored yet."""

    directory: Path  # its modules, and nothing else
    sha256: str  # of the source's content: see gridiron.bundles.digest
    manifest: Manifest
    modules: tuple[Module, ...]  # by name
    ignored: tuple[str, ...]  # paths of the source that are no part of a bundle
    manifests: dict[str, str]  # manifest files of the source, each with its sha256
    archive_sha256: str | None = None  # of the archive that it came in
    signature: Signature | None = None  # that vouches for it


def stage_bundle(source: Path, directory: Path, meter: Meter | None = None, *, ours: bool = False) -> Staged:
    """Copy the modules of the bundle at `source`, a real path, into `directory`, which is made.

    Modules of a source that is `ours` are moved instead; it has to be on the same disk. Nothing is written
    before the whole source was looked through; when it fails later, what was written stays for the caller to
    remove. Raises what `open_root` and `scan_source` raise, and ManifestInvalid, MainModuleMissing,
    StorageFailed; with a meter also what that raises.
    """
    with open_root(source) as root:
        scan = scan_source(root, UNLIMITED if meter is None else meter.limits.files)
        manifests = {file.path: _read_manifest(root, file) for file in scan.manifest_files}
        manifest = parse_manifest(manifests)
        if manifest.main not in {module.path for module in scan.modules}:
            raise MainModuleMissing(manifest.main)
        with storing("Writing", directory):
            directory.mkdir(parents=True)  # not synced: staging is worth nothing after a crash
        if ours:
            modules = tuple(_move_module(source, file, directory) for file in scan.modules)
        else:
            modules = tuple(_copy_module(root, file, directory, meter) for file in scan.modules)
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in manifests.items()}
    sha256 = digest_of_bundle(modules, digests)
    return Staged(directory, sha256, manifest, modules, scan.ignored, digests)


def _read_manifest(root: Root, file: ScannedFile) -> bytes:
    if file.size > MAX_MANIFEST_SIZE:
        raise ManifestInvalid(file.path, f"it has {file.size} bytes, and may have {MAX_MANIFEST_SIZE}")
    with open_file(root, file.path) as opened:
        return b"".join(read_chunks(opened, file))


def _copy_module(root: Root, file: ScannedFile, directory: Path, meter: Meter | None) -> Module:
    target = directory / file.path
    digest = hashlib.sha256()
    with open_file(root, file.path) as opened, storing("Writing", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as copy:
            for chunk in read_chunks(opened, file):
                digest.update(chunk)
                copy.write(chunk)
                if meter is not None:
                    meter.add(len(chunk))
    return _module_of(file, digest.hexdigest())


def _move_module(source: Path, file: ScannedFile, directory: Path) -> Module:
    target = directory / file.path
    with storing("Writing", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        sha256 = hash_file(source / file.path)
        (source / file.path).rename(target)
    return _module_of(file, sha256)


def _module_of(file: ScannedFile, sha256: str) -> Module:
    kind = module_kind(file.path)
    if kind is None:  # the scan took it for a module because it has a kind
        raise AssertionError(file.path)
    return Module(name=file.path, kind=kind, size=file.size, sha256=sha256)
