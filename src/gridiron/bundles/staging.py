"""Copy a bundle beside the stored builds, checking and hashing it on the way."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from gridiron.bundles.digest import digest_of_bundle, hash_file
from gridiron.bundles.disk import storing
from gridiron.bundles.limits import Meter
from gridiron.bundles.modules import ChosenModule, find_bundle
from gridiron.bundles.scan import UNLIMITED, Root, open_file, open_root, read_chunks
from gridiron.model import Manifest, Module, Signature


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
    remove. Raises what `open_root` and `find_bundle` raise, and StorageFailed; with a meter also what that
    raises.
    """
    with open_root(source) as root:
        if meter is None:
            found = find_bundle(root)
        else:
            found = find_bundle(root, UNLIMITED if ours else meter.limits.files, meter.check_time)
        with storing("Writing", directory):
            directory.mkdir(parents=True)  # not synced: staging is worth nothing after a crash
        if ours:
            modules = tuple(_move_module(source, module, directory) for module in found.modules)
        else:
            modules = tuple(_copy_module(root, module, directory, meter) for module in found.modules)
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in found.manifest_files.items()}
    sha256 = digest_of_bundle(modules, digests)
    return Staged(directory, sha256, found.manifest, modules, found.ignored, digests)


def _copy_module(root: Root, module: ChosenModule, directory: Path, meter: Meter | None) -> Module:
    file = module.file
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
    return Module(name=file.path, kind=module.kind, size=file.size, sha256=digest.hexdigest())


def _move_module(source: Path, module: ChosenModule, directory: Path) -> Module:
    file = module.file
    target = directory / file.path
    with storing("Writing", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        sha256 = hash_file(source / file.path)
        (source / file.path).rename(target)
    return Module(name=file.path, kind=module.kind, size=file.size, sha256=sha256)
