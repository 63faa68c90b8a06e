"""A real server of S3, SeaweedFS, for the time of some tests."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import obstore
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import get_session
from obstore.store import S3Store

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
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

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
            store = S3Store(
                BUCKET,
                endpoint=self.url,
                region="us-east-1",
                access_key_id=ACCESS_KEY,
                secret_access_key=SECRET_KEY,
                client_options={"allow_http": True},
                retry_config={"max_retries": 0},
            )
            obstore.put(store, "ready", b"yes")
        except (obstore.exceptions.BaseError, OSError):
            return False
        return True

    @cached_property
    def _client(self) -> Any:
        return get_session().create_client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )


@contextmanager
def running_seaweed(host: str = "127.0.0.1") -> Iterator[Seaweed]:
    """Run the server on free ports of an address of this machine. It takes about four seconds, and leaves
    nothing."""
    with TemporaryDirectory(prefix="weed-") as name:  # short: it has sockets
        directory = Path(name)
        for each in ("data", "tmp"):
            (directory / each).mkdir()
        (directory / "s3.json").write_text(json.dumps({"identities": [IDENTITY]}))
        ports = iter(_free_ports(8, host))
        s3 = next(ports)
        arguments = [
            *("server", f"-dir={directory / 'data'}", f"-ip={host}", f"-ip.bind={host}"),
            *("-filer", "-s3", f"-s3.port={s3}", f"-s3.config={directory / 's3.json'}"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"),
            *("-volume.max=20", "-master.volumeSizeLimitMB=64", "-volume.minFreeSpace=1"),
            *(f"-{each}.port={next(ports)}" for each in ("master", "volume", "filer")),
            *(f"-{each}.port.grpc={next(ports)}" for each in ("master", "volume", "filer", "s3")),
        ]
        log = directory / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [Path(sys.executable).with_name("weed"), *arguments],
                cwd=directory,
                env={**os.environ, "TMPDIR": str(directory / "tmp"), "HOME": name},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        seaweed = Seaweed(f"http://{host}:{s3}", process.pid, log)
        try:
            wait_until(lambda: _listens(host, s3) or process.poll() is not None, 60, "weed listens")
            assert process.poll() is None, log.read_text()[-2000:]
            wait_until(lambda: _has_bucket(seaweed), 60, "weed has a bucket")
            wait_until(seaweed.is_ready, 60, "weed stores")
            yield seaweed
        finally:
            process.kill()
            process.wait()


def _has_bucket(seaweed: Seaweed) -> bool:
    try:
        seaweed.make_bucket(BUCKET)
    except (BotoCoreError, ClientError):
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
