"""The file that a backup is: a tar archive, packed with gzip.

    manifest.json        what it is a backup of: see Manifest
    {part}/…             directories and files of the node, with their modes, owners and times
    SHA256SUMS           of these files, in their order, as sha256sum(1) writes and checks it

Both ways it is a stream, and takes little memory whatever its size. The sums come last: without them, it is
not whole. So it can be read with Python's `tarfile`, which takes a damaged header for the end of an archive.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from grp import getgrgid
from pwd import getpwuid
from typing import Annotated, BinaryIO, Literal

from pydantic import BaseModel, Field, ValidationError

from gridiron.backup.snapshot import CHUNK_SIZE, Item, Snapshot
from gridiron.errors import BackupInvalid, BackupMismatch
from gridiron.model import Value, describe_validation
from gridiron.process.files import SHARED_MODE

FORMAT: Literal[1] = 1
MANIFEST, SUMS = "manifest.json", "SHA256SUMS"
MAX_MANIFEST_SIZE = 64 * 1024
COMPRESSION = 1
"""Of gzip's nine levels: more would take several times as long, and little off RocksDB's packed files."""

OnBytes = Callable[[int], None]
"""Gets how many bytes of files have come through since the last time."""


class Access(Value):
    """Who may do what with a directory or file."""

    mode: Annotated[int, Field(ge=0, le=0o7777)]  # its permissions
    user: str  # by name, or a number without one
    group: str


class Manifest(Value):
    """What a backup says of itself, before all else."""

    format: Literal[1] = FORMAT
    gridiron: str  # the version that made it
    restate: str  # the version that wrote Restate's data
    node_name: str
    workers_port: int  # that the builds are registered with
    created_at: datetime  # the moment that it is a picture of
    size: int  # bytes of all files
    directory: Access | None = None  # the data directory's; older backups do not say


class _Format(BaseModel):
    """Of the manifest of any backup, also of a newer one."""

    format: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A directory or file that is read from a backup."""

    path: str  # relative, without `.` and `..`, below one of the parts
    is_directory: bool
    access: Access
    modified_at: int  # seconds since 1970
    chunks: Iterator[bytes]  # of a file's content; what is not taken is passed over


def write_archive(file: BinaryIO, manifest: Manifest, snapshot: Snapshot, on_bytes: OnBytes) -> None:
    """Write a snapshot. Raises BackupFailed, and OSError of `file`."""
    sums = io.StringIO()
    with gzip.GzipFile("", "wb", COMPRESSION, file, manifest.created_at.timestamp()) as packed:
        _write_text(packed, MANIFEST, manifest.model_dump_json(indent=2) + "\n", manifest)
        for item in snapshot.items:
            packed.write(_header_of(item).tobuf(tarfile.PAX_FORMAT))
            if item.content is not None:
                digest = hashlib.sha256()
                for chunk in item.read_chunks():
                    digest.update(chunk)
                    packed.write(chunk)
                    on_bytes(len(chunk))
                packed.write(_padding(item.size))
                sums.write(_sum_line(digest.hexdigest(), item.path))
        _write_text(packed, SUMS, sums.getvalue(), manifest)
        packed.write(bytes(2 * tarfile.BLOCKSIZE))  # the end of an archive


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


def _header_of(item: Item) -> tarfile.TarInfo:
    header = tarfile.TarInfo(item.path)
    status = item.status
    header.type = tarfile.DIRTYPE if item.content is None else tarfile.REGTYPE
    header.size = item.size
    header.mtime = int(status.st_mtime)
    header.uid, header.gid = status.st_uid, status.st_gid
    access = access_of(status)
    header.mode, header.uname, header.gname = access.mode, access.user, access.group
    return header


def access_of(status: os.stat_result) -> Access:
    """Say who may do what with a directory or file."""
    mode = stat.S_IMODE(status.st_mode)
    return Access(mode=mode, user=_user_name(status.st_uid), group=_group_name(status.st_gid))


@cache
def _user_name(uid: int) -> str:
    try:
        return getpwuid(uid).pw_name
    except KeyError:  # a number without a name, as in a container: kept as it is
        return str(uid)


@cache
def _group_name(gid: int) -> str:
    try:
        return getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _write_text(packed: gzip.GzipFile, name: str, text: str, manifest: Manifest) -> None:
    content = text.encode()
    header = tarfile.TarInfo(name)
    header.size, header.mode = len(content), 0o600
    header.mtime = int(manifest.created_at.timestamp())
    packed.write(header.tobuf() + content + _padding(len(content)))


def _sum_line(digest: str, path: str) -> str:
    return f"{digest}  {path}\n"  # no path of a node has a line end or a backslash, which would be escaped


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn what a damaged archive makes Python's readers raise into BackupInvalid; `name` is the file's."""
    try:
        yield
    except EOFError as error:
        raise BackupInvalid(name, "it is cut off") from error
    except (gzip.BadGzipFile, zlib.error, tarfile.TarError, UnicodeDecodeError) as error:
        raise BackupInvalid(name, f"it is damaged, or something else ({error})") from error


class ArchiveReader:
    """A backup that is read: its manifest, then its entries."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        """Read the manifest. Raises BackupInvalid, and OSError of `file`, as each method does."""
        self._name = name
        self._packed = gzip.GzipFile(fileobj=file, mode="rb")
        with reading(name):
            self._tar = tarfile.open(fileobj=self._packed, mode="r|", bufsize=CHUNK_SIZE)  # noqa: SIM115 - see close
            self.manifest = self._read_manifest()

    def read_entries(self, on_bytes: OnBytes) -> Iterator[Entry]:
        """Give the entries, directories before what is in them; compare the sums at the end.

        Nothing that came is to be believed before this has ended.
        """
        sums = io.StringIO()
        with reading(self._name):
            while (member := self._next()).name != SUMS:
                digest = hashlib.sha256()
                yield self._entry_of(member, digest, on_bytes)
                if member.isreg():
                    sums.write(_sum_line(digest.hexdigest(), member.name))
            if self._read_text(member, len(sums.getvalue().encode())) != sums.getvalue():
                raise BackupInvalid(self._name, "its files are not those that it says it has")
            while self._packed.read(CHUNK_SIZE):  # to gzip's own sum
                pass

    def _read_manifest(self) -> Manifest:
        member = self._next()
        if member.name != MANIFEST:
            raise BackupInvalid(self._name, f"it does not begin with {MANIFEST}")
        text = self._read_text(member, MAX_MANIFEST_SIZE)
        try:
            stated = _Format.model_validate_json(text).format
            if stated > FORMAT:
                mend = "A newer Gridiron made it: install that one."
                raise BackupMismatch("format", str(stated), str(FORMAT), mend)
            return Manifest.model_validate_json(text)
        except ValidationError as error:
            raise BackupInvalid(self._name, f"{MANIFEST}: {describe_validation(error.errors())}") from error

    def _next(self) -> tarfile.TarInfo:
        member = self._tar.next()
        self._tar.members.clear()  # type: ignore[attr-defined] # typeshed leaves it out; it would keep them all
        if member is None:
            raise BackupInvalid(self._name, "it is cut off or damaged")
        return member

    def _read_text(self, member: tarfile.TarInfo, limit: int) -> str:
        file = self._tar.extractfile(member) if member.isreg() and member.size <= limit else None
        if file is None:
            raise BackupInvalid(self._name, f"its {member.name} is damaged")
        return file.read().decode()

    def _entry_of(self, member: tarfile.TarInfo, digest: hashlib._Hash, on_bytes: OnBytes) -> Entry:
        if not (member.isreg() or member.isdir()):
            raise BackupInvalid(self._name, f"{member.name} in it is neither a file nor a directory")
        if any(step in {"", ".", ".."} for step in member.name.split("/")):
            raise BackupInvalid(self._name, f"{member.name!r} in it is no path of a node")
        return Entry(
            path=member.name,
            is_directory=member.isdir(),
            access=Access(
                mode=member.mode & (SHARED_MODE | 0o777 if member.isdir() else 0o777),
                user=member.uname or str(member.uid),
                group=member.gname or str(member.gid),
            ),
            modified_at=int(member.mtime),
            chunks=self._read_chunks(member, digest, on_bytes),
        )

    def _read_chunks(
        self, member: tarfile.TarInfo, digest: hashlib._Hash, on_bytes: OnBytes
    ) -> Iterator[bytes]:
        with reading(self._name):
            file = self._tar.extractfile(member)
            while file is not None and (chunk := file.read(CHUNK_SIZE)):
                digest.update(chunk)
                on_bytes(len(chunk))
                yield chunk
