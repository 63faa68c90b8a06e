"""Which files of a source are its bundle: the manifest files, and the modules that these choose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gridiron.bundles.manifest import MAX_MANIFEST_SIZE, parse_manifest
from gridiron.bundles.paths import check_case
from gridiron.bundles.rules import kind_of
from gridiron.bundles.scan import UNLIMITED, Root, ScannedFile, open_file, read_chunks, scan_source
from gridiron.errors import BundleEmpty, BundleTooLarge, MainModuleMissing, ManifestInvalid
from gridiron.model import MAX_MODULES_SIZE, Manifest, ModuleKind


@dataclass(frozen=True, slots=True)
class ChosenModule:
    """A file that is a module."""

    file: ScannedFile
    kind: ModuleKind


@dataclass(frozen=True, slots=True)
class FoundBundle:
    """What a source has of a bundle. Each part is sorted by path."""

    manifest: Manifest
    manifest_files: Mapping[str, bytes]  # by path
    modules: tuple[ChosenModule, ...]
    ignored: tuple[str, ...]  # what is no part of the bundle; a directory ends in a slash


def find_bundle(
    root: Root, max_files: int = UNLIMITED, check_time: Callable[[], None] = lambda: None
) -> FoundBundle:
    """Look through a source, read its manifest, and choose its modules.

    `check_time` is called for each file, as many rules for many files take long. Raises what it raises, and
    `scan_source` and `open_file` do, and ManifestInvalid, BundleTooLarge, BundleEmpty, BundlePathCollides,
    MainModuleMissing.
    """
    scan = scan_source(root, max_files)
    manifest_files = {file.path: _read_manifest(root, file) for file in scan.manifest_files}
    manifest = parse_manifest(manifest_files)
    modules = choose_modules(scan.files, manifest, check_time)
    if not modules:
        raise BundleEmpty(str(root.path))
    check_case(module.file.path for module in modules)
    if manifest.main not in {module.file.path for module in modules}:
        raise MainModuleMissing(manifest.main)
    others = {file.path for file in scan.files} - {module.file.path for module in modules}
    return FoundBundle(manifest, manifest_files, modules, tuple(sorted((*scan.ignored, *others))))


def choose_modules(
    files: tuple[ScannedFile, ...], manifest: Manifest, check_time: Callable[[], None] = lambda: None
) -> tuple[ChosenModule, ...]:
    """Choose by the rules of the manifest. The main module is JavaScript, whatever they say.

    Raises BundleTooLarge, and what `check_time` raises, which is called for each file.
    """
    modules = []
    for file in files:
        check_time()
        kind = ModuleKind.JS if file.path == manifest.main else kind_of(file.path, manifest.rules)
        if kind is not None:
            modules.append(ChosenModule(file, kind))
    size = sum(module.file.size for module in modules)
    if size > MAX_MODULES_SIZE:
        raise BundleTooLarge(size, MAX_MODULES_SIZE)
    return tuple(modules)


def _read_manifest(root: Root, file: ScannedFile) -> bytes:
    if file.size > MAX_MANIFEST_SIZE:
        raise ManifestInvalid(file.path, f"it has {file.size} bytes, and may have {MAX_MANIFEST_SIZE}")
    with open_file(root, file.path) as opened:
        return b"".join(read_chunks(opened, file))
