"""Who this node is to S3, and where S3 is: as AWS's own tools find it out.

botocore says so, and obstore carries the bytes. Both take memory: they are imported when they are needed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridiron import __version__
from gridiron.model import redact_url

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Credential, S3Store

DEFAULT_REGION = "us-east-1"
"""What S3 itself takes a bucket without a region for; other servers mostly do not look."""

CREDENTIALS_ADVICE = (
    "the node has no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the manager, "
    "or AWS_PROFILE and a profile in ~/.aws"
)

_HOST = r"([\w-]+(\.[\w-]+)*\.?|\[[0-9a-fA-F:.]+\])"
_ENDPOINT = re.compile(rf"https?://{_HOST}(:\d{{1,5}})?(/[\w.~/-]*)?", re.ASCII)

CREDENTIALS_LAST = timedelta(minutes=5)
"""After this time botocore is asked again; it renews those that expire, and gives the others as they are."""


class AwsUnusable(Exception):
    """What is written for AWS's tools cannot be used. Its text says why, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Aws:
    """What AWS's tools would use."""

    endpoint: str  # the URL below which the buckets are
    region: str
    credentials: Callable[[], S3Credential] | None  # None: there are none
    authorities: Path | None  # certificates to trust besides; None: none


def read_aws(endpoint: str | None) -> Aws:
    """Look up what applies now: environment, files in ~/.aws, the machine's own service.

    `endpoint` comes before what is looked up. Finding no credentials on a machine of no cloud may take two
    seconds. Raises AwsUnusable.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - 12 MB, for those who use it
    from botocore.session import get_session  # noqa: PLC0415

    try:
        session = get_session()
        region = os.environ.get("AWS_REGION") or session.get_config_variable("region") or DEFAULT_REGION
        authorities = session.get_config_variable("ca_bundle")
        return Aws(
            endpoint=check_endpoint(endpoint or _endpoint(session) or _of_aws(region)),
            region=region,
            credentials=_credentials(session),
            authorities=Path(authorities) if authorities else None,
        )
    except (BotoCoreError, ClientError, OSError, ValueError, KeyError) as error:
        # the last three: of a process that gives credentials, which is not there or prints something else
        reason = " ".join(str(error).split())
        raise AwsUnusable(f"the node's AWS settings cannot be used ({reason})") from error


def open_s3(aws: Aws, bucket: str, prefix: str, limits: ClientConfig) -> S3Store:
    """Give the objects of a bucket whose keys begin with `prefix/` ("": all); it is not connected to.

    `limits` has the time limits of a request, which is never repeated. Raises AwsUnusable.
    """
    from obstore.exceptions import BaseError  # noqa: PLC0415 - see above
    from obstore.store import S3Store  # noqa: PLC0415

    try:
        return S3Store(
            bucket,
            prefix=prefix or None,
            # by this name, which wins over all variables
            config={"aws_endpoint_url_s3": aws.endpoint},
            region=aws.region,
            virtual_hosted_style_request=False,  # so no bucket's name is part of a host's
            skip_signature=aws.credentials is None,
            credential_provider=aws.credentials,
            client_options={**_client_options(aws), **limits},
            retry_config={"max_retries": 0},
        )
    except (BaseError, ValueError, OSError) as error:
        raise AwsUnusable(f"the node's settings for S3 cannot be used ({error})") from error


def _client_options(aws: Aws) -> ClientConfig:
    options: ClientConfig = {
        "allow_http": aws.endpoint.startswith("http://"),  # the operator wrote it
        "user_agent": f"gridiron/{__version__}",
    }
    if aws.authorities is not None:
        options["root_certificate"] = aws.authorities.read_bytes()
    return options


def check_endpoint(endpoint: str) -> str:
    """Give the URL of a server of S3 back. Raises AwsUnusable where it is none.

    obstore would come to an end on some that are none.
    """
    if not _ENDPOINT.fullmatch(endpoint):
        raise AwsUnusable(f"the node's endpoint for S3, {redact_url(endpoint)!r}, is no URL of a server")
    return endpoint


def _of_aws(region: str) -> str:
    return f"https://s3.{region}.amazonaws.com"


def _endpoint(session: Any) -> str | None:  # noqa: ANN401 - botocore has no types
    from botocore.configprovider import ConfiguredEndpointProvider  # noqa: PLC0415

    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return None
    provider = ConfiguredEndpointProvider(
        full_config=session.full_config, scoped_config=session.get_scoped_config(), client_name="s3"
    )
    return provider.provide()  # type: ignore[no-any-return]


def _credentials(session: Any) -> Callable[[], S3Credential] | None:  # noqa: ANN401 - botocore has no types
    credentials = session.get_credentials()
    if credentials is None:
        return None

    def give() -> S3Credential:
        frozen = credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + CREDENTIALS_LAST,
        }

    give()  # where it fails, it fails here
    return give
