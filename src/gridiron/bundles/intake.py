"""Bring a bundle in from its source: fetched, verified and unpacked beside the stored builds."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from gridiron.bundles.access import Access
from gridiron.bundles.archive import unpack
from gridiron.bundles.digest import hash_file
from gridiron.bundles.disk import storing
from gridiron.bundles.fetch import fetch
from gridiron.bundles.limits import Limits, Meter, Report, report_nothing
from gridiron.bundles.paths import shorten
from gridiron.bundles.scan import check_directory, open_file, open_root, read_some, reading
from gridiron.bundles.signature import TrustedKey, load_trusted_keys, verify
from gridiron.bundles.source import FileSource, HttpSource, S3Source, UploadSource, parse_source
from gridiron.bundles.staging import Staged
from gridiron.bundles.store import STAGING, BundleStore
from gridiron.bundles.uploads import UPLOADS, Uploads
from gridiron.errors import DigestMismatch, SignatureMissing, SourceOutsideRoots, SourcePrivate
from gridiron.model import Build, Signature
from gridiron.settings import Settings


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks for: a bundle, and how it is to be known that it is that one."""

    source: str
    sha256: str | None = None  # of the archive's bytes, or of the directory's content
    signature: str | None = None  # of that digest
    by_admin: bool = False  # whether who asks may do everything here


@dataclass(frozen=True, slots=True)
class Policy:
    """What a node takes bundles from, how much of it, and who has to vouch for them."""

    roots: tuple[Path, ...]  # of file:// sources
    admin_roots: tuple[Path, ...]  # the same, where an admin asks
    private: tuple[Path, ...]  # what no source may lie in, or hold
    private_bucket: str | None  # the same of s3:// sources: the bucket of the cluster, with the prefix
    access: Access
    limits: Limits
    keys: tuple[TrustedKey, ...]
    signed_only: bool  # whether a bundle has to be signed

    @classmethod
    def of(cls, settings: Settings) -> Policy:
        """Read it out of the settings, and the keys that they name. Raises KeyInvalid."""
        limits = Limits(
            size=settings.source_mib * 1024 * 1024,
            files=settings.source_files,
            time=timedelta(seconds=settings.source_seconds),
        )
        keys = load_trusted_keys(settings.trusted_keys) if settings.trusted_keys else ()
        return cls(
            roots=settings.source_roots,
            admin_roots=settings.source_roots or ((Path("/"),) if settings.source_anywhere else ()),
            private=settings.private_paths,
            private_bucket=settings.cluster.bucket if settings.cluster else None,
            access=Access.of(settings),
            limits=limits,
            keys=keys,
            signed_only=settings.require_signature,
        )


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched from elsewhere, and nobody has looked into."""

    work: Path  # the workplace that it lies in
    found: Path  # an archive or a directory


class Intake:
    """Where bundles come in. Its methods block, and may be called by several threads."""

    def __init__(self, store: BundleStore, policy: Policy) -> None:
        self.policy = policy
        self.uploads = Uploads(store.directory / UPLOADS, store.directory / STAGING, policy.limits)
        self._store = store
        self._stopping = threading.Event()

    def take_up(self, policy: Policy) -> None:
        """Hold what comes in from now on to another policy. Safe to repeat."""
        self.policy = policy
        self.uploads.limits = policy.limits

    def stop(self) -> None:
        """Have all that is coming in break off, as the process is to end: ManagerStopping. Safe to repeat."""
        self._stopping.set()

    def fetch(self, source: HttpSource | S3Source, report: Report = report_nothing) -> Fetched:
        """Fetch a source that is elsewhere, for `take_in`; `drop` it in the end.

        Nothing is left when it fails. Raises what `gridiron.bundles.fetch.fetch` raises, and SourcePrivate.
        """
        if isinstance(source, S3Source) and _overlap(source, self.policy.private_bucket):
            raise SourcePrivate(f"s3://{source.bucket}/{source.key}")
        meter = Meter(self.policy.limits, report, self._stopping)
        work = self._store.make_workplace()
        try:
            return Fetched(work, fetch(source, work, self.policy.access, meter))
        except BaseException:
            self._store.remove_workplace(work)
            raise

    def drop(self, fetched: Fetched) -> None:
        """Remove what was fetched, as far as it is still there. Safe to repeat."""
        self._store.remove_workplace(fetched.work)

    def take_in(
        self, wanted: Wanted, report: Report = report_nothing, fetched: Fetched | None = None
    ) -> Staged:
        """Verify and stage a bundle; `publish` or `discard` at the store what this gives.

        One from elsewhere has to be `fetched`, and is used up. Nothing is left when it fails. An archive is
        compared with the digest and the signature before it is unpacked, a directory before it is stored.
        Raises what `unpack` and `BundleStore.stage` do, SourceOutsideRoots, SourcePrivate, UploadNotFound,
        DigestMismatch, SignatureMissing, SignatureInvalid.
        """
        meter = Meter(self.policy.limits, report, self._stopping)
        with self._store.workplace() as work:
            found = self._bring(wanted, work, meter) if fetched is None else fetched.found
            if not found.is_dir():
                return self._stage_archive(found, work, wanted, meter)
            staged = self._store.stage(found, meter, ours=fetched is not None)
            try:
                return replace(staged, signature=self._verify(wanted, staged.sha256))
            except BaseException:
                self._store.discard(staged)
                raise

    def check_again(self, build: Build) -> None:
        """See whether a stored build may be activated again.

        Where bundles have to be signed, a key that is trusted now has to vouch for it. Raises
        SignatureMissing, SignatureInvalid.
        """
        if self.policy.signed_only:
            text = build.signature.text if build.signature else None
            self._verify_signature(text, build.archive_sha256 or build.sha256)

    def _stage_archive(self, archive: Path, work: Path, wanted: Wanted, meter: Meter) -> Staged:
        with storing("Reading", archive):
            sha256 = hash_file(archive)
        signature = self._verify(wanted, sha256)
        tree = work / "unpacked"
        unpack(archive, tree, meter)
        return replace(self._store.stage(tree, meter, ours=True), archive_sha256=sha256, signature=signature)

    def _verify(self, wanted: Wanted, sha256: str) -> Signature | None:
        if wanted.sha256 not in {None, sha256}:
            raise DigestMismatch(str(wanted.sha256), sha256)
        return self._verify_signature(wanted.signature, sha256)

    def _verify_signature(self, text: str | None, sha256: str) -> Signature | None:
        if text is None:
            if self.policy.signed_only:
                raise SignatureMissing(sha256)
            return None
        return Signature(key_id=verify(text, sha256, self.policy.keys), text=text)

    def _bring(self, wanted: Wanted, work: Path, meter: Meter) -> Path:
        """Give the path of an archive of ours, or of a directory."""
        match parse_source(wanted.source):
            case FileSource(path):
                return self._bring_local(path, work, meter, by_admin=wanted.by_admin)
            case UploadSource(sha256):
                archive = work / "archive"
                with storing("Reading", archive):
                    archive.hardlink_to(self.uploads.find(sha256))  # it may be removed meanwhile
                return archive
            case _:
                raise AssertionError("a source that is elsewhere is fetched first")

    def _bring_local(self, path: Path, work: Path, meter: Meter, *, by_admin: bool) -> Path:
        shown = shorten(str(path))
        with reading(shown):
            real = _resolve(path)
            roots = [_resolve(root) for root in (self.policy.admin_roots if by_admin else self.policy.roots)]
            private = [_resolve(each) for each in self.policy.private]
        if not any(real.is_relative_to(root) for root in roots):
            raise SourceOutsideRoots(shown)
        if any(real.is_relative_to(each) or each.is_relative_to(real) for each in private):
            raise SourcePrivate(shown)
        with reading(shown):
            is_file = real.is_file()
        if is_file:
            return _copy(real, work / "archive", meter)
        check_directory(real)
        return real


def _overlap(source: S3Source, private: str | None) -> bool:
    """Tell whether a source lies in a private part of a bucket, or holds some of it."""
    if private is None:
        return False
    own, given = f"{private.rstrip('/')}/", f"s3://{source.bucket}/{source.key}"
    return given.startswith(own) or own.startswith(f"{given.rstrip('/')}/")


def _resolve(path: Path) -> Path:
    """Give the path with no link in it, of what need not be there. Raises OSError."""
    try:
        return path.resolve()
    except RuntimeError as error:  # what Python 3.11 and 3.12 call links that lead to each other
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from error


def _copy(path: Path, target: Path, meter: Meter) -> Path:
    """Copy a file, which others may change meanwhile, to where only we do."""
    with (
        open_root(path.parent) as root,
        open_file(root, path.name) as opened,
        storing("Writing", target),
        target.open("xb") as copy,
    ):
        meter.begin()
        while chunk := read_some(opened, path.name):
            copy.write(chunk)
            meter.add(len(chunk))
    return target
