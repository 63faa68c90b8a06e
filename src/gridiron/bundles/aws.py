"""Who this node is to S3, and where S3 is: as AWS's own tools find it out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridiron.errors import SourceRefused

if TYPE_CHECKING:
    from obstore.store import S3Credential

DEFAULT_REGION = "us-east-1"
"""What S3 itself takes a bucket without a region for; other servers mostly do not look."""

CREDENTIALS_ADVICE = (
    "the node has no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the manager, "
    "or AWS_PROFILE and a profile in ~/.aws"
)

CREDENTIALS_LAST = timedelta(minutes=5)
"""After this time botocore is asked again; it renews those that expire, and gives the others as they are."""


@dataclass(frozen=True, slots=True)
class Aws:
    """What AWS's tools would use."""

    endpoint: str | None  # None: AWS
    region: str
    credentials: Callable[[], S3Credential] | None  # None: there are none
    authorities: Path | None  # certificates to trust besides; None: none


def read_aws(shown: str, endpoint: str | None) -> Aws:
    """Look up what applies now: environment, files in ~/.aws, the machine's own service.

    `endpoint` comes before what is looked up; `shown` is the source that an error names. Finding no
    credentials on a machine of no cloud may take two seconds. Raises SourceRefused where what is written
    cannot be used.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - 12 MB, for those who use it
    from botocore.session import get_session  # noqa: PLC0415

    try:
        session = get_session()
        authorities = session.get_config_variable("ca_bundle")
        return Aws(
            endpoint=endpoint or _endpoint(session),
            region=os.environ.get("AWS_REGION") or session.get_config_variable("region") or DEFAULT_REGION,
            credentials=_credentials(session),
            authorities=Path(authorities) if authorities else None,
        )
    except (BotoCoreError, ClientError) as error:
        raise SourceRefused(shown, f"the node's AWS settings cannot be used ({error})") from error


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
