"""A real server of S3, SeaweedFS, for the time of some tests."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import get_session

from tests.harness import wait_until

ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key"  # noqa: S105 - of a server that is gone after the tests
BUCKET = "bundles"
IDENTITY = {
    "name": "test",
    "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
    "actions": ["Admin", "Read", "Write", "List", "Tagging"],
}


@dataclass(frozen=True)
class Seaweed:
    """A running server with the bucket `bundles` in it, for one identity."""

    url: str
    pid: int
    log: Path

    @property
    def host(self) -> str:
        return str(urlsplit(self.url).hostname)

    @property
    def port(self) -> int:
        return int(urlsplit(self.url).port or 80)

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which AWS's tools use this server, and ask for nothing on the network beside it."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def put(self, key: str, content: bytes) -> None:
        """Store an object; a key with a slash at its end is that of a directory."""
        self._client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def put_tree(self, prefix: str, files: Mapping[str, bytes]) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self.put, (f"{prefix}/{path}" for path in files), files.values()))

    def make_bucket(self, name: str) -> None:
        self._client.create_bucket(Bucket=name)

    def is_ready(self) -> bool:
        """Whether it stores and gives back."""
        try:
            self._prober.put_object(Bucket=BUCKET, Key="ready", Body=b"yes")
        except (BotoCoreError, ClientError):
            return False
        return True

    @cached_property
    def _client(self) -> Any:
        return self._make_client(Config())

    @cached_property
    def _prober(self) -> Any:
        return self._make_client(Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5))

    def _make_client(self, config: Config) -> Any:
        return get_session().create_client(
            "s3",
            config=config,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )


@contextmanager
def running_seaweed(host: str = "127.0.0.1") -> Iterator[Seaweed]:
    """Run the server on free ports of an address of this machine; takes four seconds, and leaves nothing."""
    with TemporaryDirectory(prefix="weed-") as name:  # short: it has sockets
        directory = Path(name)
        ports = _free_ports(8, host)
        log = directory / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                prepare_seaweed(directory, host, ports),
                cwd=directory,
                env={**os.environ, **own_directories(directory)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        seaweed = Seaweed(f"http://{host}:{ports[0]}", process.pid, log)
        try:
            await_seaweed(seaweed, process)
            yield seaweed
        finally:
            process.kill()
            process.wait()
            remove_sockets(ports)


def prepare_seaweed(directory: Path, host: str, ports: Sequence[int]) -> tuple[str, ...]:
    """Make what the server needs in a directory; give the command that runs it there.

    It keeps what is stored. The first of the eight ports is that of S3. Safe to repeat.
    """
    for each in ("data", "tmp"):
        (directory / each).mkdir(parents=True, exist_ok=True)
    (directory / "s3.json").write_text(json.dumps({"identities": [IDENTITY]}))
    s3, *others = ports
    others_of = iter(others)
    return (
        str(Path(sys.executable).with_name("weed")),
        *("server", f"-dir={directory / 'data'}", f"-ip={host}", f"-ip.bind={host}"),
        *("-filer", "-s3", f"-s3.port={s3}", f"-s3.config={directory / 's3.json'}"),
        # by default they have names of their port only, and servers of other networks may have the same
        *(f"-filer.localSocket={directory / 'filer.sock'}", f"-s3.localSocket={directory / 's3.sock'}"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"),
        *("-volume.max=20", "-master.volumeSizeLimitMB=64", "-volume.minFreeSpace=1"),
        *(f"-{each}.port={next(others_of)}" for each in ("master", "volume", "filer")),
        *(f"-{each}.port.grpc={next(others_of)}" for each in ("master", "volume", "filer", "s3")),
    )


def own_directories(directory: Path) -> dict[str, str]:
    """Give the variables by which the server keeps to its directory."""
    return {"TMPDIR": str(directory / "tmp"), "HOME": str(directory)}


def await_seaweed(seaweed: Seaweed, process: subprocess.Popen[bytes]) -> None:
    """Wait until it stores, with the bucket `bundles` in it."""

    def has_ended() -> bool:
        return process.poll() is not None

    try:
        wait_until(lambda: _listens(seaweed.host, seaweed.port) or has_ended(), 60, "weed listens")
        assert not has_ended(), "weed has ended"
        wait_until(lambda: _has_bucket(seaweed), 60, "weed has a bucket")
        wait_until(seaweed.is_ready, 60, "weed stores")
    except AssertionError as error:
        raise AssertionError(f"{error}:\n{seaweed.log.read_text()[-8000:]}") from error


def remove_sockets(ports: Sequence[int]) -> None:
    """Remove the sockets that a server has left in /tmp, wherever its temporary directory is."""
    for port in ports:
        for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 - it uses no other
            path.unlink(missing_ok=True)


def _has_bucket(seaweed: Seaweed) -> bool:
    try:
        seaweed.make_bucket(BUCKET)
    except ClientError as error:
        return error.response["Error"]["Code"] in {"BucketAlreadyExists", "BucketAlreadyOwnedByYou"}
    except BotoCoreError:
        return False
    return True


def _listens(host: str, port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex((host, port)) == 0


def _free_ports(count: int, host: str) -> list[int]:
    sockets = [socket.create_server((host, 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
