"""Where the bucket of a cluster is: in S3 or what speaks its protocol, at Google, at Azure.

What a cluster relies on, the writes that are made on a condition, was tried with S3's protocol (SeaweedFS).
With Google Cloud Storage and Azure Blob Storage it rests on obstore's own conditional writes, and was not
tried. What is imported here takes memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore

from gridiron import __version__
from gridiron.errors import BucketRefused
from gridiron.objects.aws import AwsUnusable, open_s3, read_aws
from gridiron.objects.port import KEY

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore

SETTING_ADVICE = "Make it, or correct the cluster's setting `bucket`; all nodes need the same."
AWS_ADVICE = "Give the node access: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws."
GOOGLE_ADVICE = "Give the node access: GOOGLE_APPLICATION_CREDENTIALS, or a service account of its machine."
AZURE_ADVICE = (
    "Give the node access: AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or an identity."
)

FORMS = "s3://BUCKET, gs://BUCKET or az://CONTAINER, with /PREFIX or without"
_URL = re.compile(
    rf"(?P<scheme>s3|gs|az)://(?P<name>[a-z0-9][a-z0-9._-]{{1,220}}[a-z0-9])(/(?P<prefix>{KEY.pattern}))?"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket, and a prefix of the keys in it."""

    url: str  # without a slash at its end
    opener: Callable[[ClientConfig], ObjectStore]
    version: Literal["e_tag", "version"]  # what a write on a condition names of the object that is there
    access_advice: str  # for a node that may not use it

    def open_store(self, limits: ClientConfig) -> ObjectStore:
        """Give the objects below the prefix, with time limits of a request, which is never repeated.

        Nothing is connected to. Raises BucketRefused where the settings of this node cannot be used.
        """
        try:
            return self.opener(limits)
        except (AwsUnusable, BaseError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise BucketRefused(self.url, reason, self.access_advice) from error


def find_place(url: str, s3_endpoint: str | None) -> Place:
    """Look up where a bucket is, and who this node is to it: see `open_bucket`. Raises BucketRefused."""
    shown = url.rstrip("/")
    match = _URL.fullmatch(shown)
    if match is None:
        raise BucketRefused(shown, f"it is no URL of a bucket ({FORMS})", SETTING_ADVICE)
    name, prefix = match["name"], match["prefix"] or ""
    if match["scheme"] == "gs":
        return Place(shown, partial(_open_google, name, prefix), "version", GOOGLE_ADVICE)
    if match["scheme"] == "az":
        return Place(shown, partial(_open_azure, name, prefix), "e_tag", AZURE_ADVICE)
    try:
        aws = read_aws(s3_endpoint)
    except AwsUnusable as error:
        raise BucketRefused(shown, str(error), AWS_ADVICE) from error
    return Place(shown, partial(open_s3, aws, name, prefix), "e_tag", AWS_ADVICE)


def _open_google(bucket: str, prefix: str, limits: ClientConfig) -> ObjectStore:
    return GCSStore(
        bucket, prefix=prefix or None, client_options=_options(limits), retry_config={"max_retries": 0}
    )


def _open_azure(container: str, prefix: str, limits: ClientConfig) -> ObjectStore:
    return AzureStore(
        container, prefix=prefix or None, client_options=_options(limits), retry_config={"max_retries": 0}
    )


def _options(limits: ClientConfig) -> ClientConfig:
    return {"user_agent": f"gridiron/{__version__}", **limits}
