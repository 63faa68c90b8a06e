from __future__ import annotations

import pytest

from gridiron.objects.aws import AwsUnusable, check_endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://s3.eu-central-1.amazonaws.com",
        "http://127.0.0.1:9000",
        "http://localhost:9000/",
        "http://object_store:9000",
        "https://[fd12::1]:9000/storage/s3",
    ],
)
def test_the_url_of_a_server(endpoint: str) -> None:
    assert check_endpoint(endpoint) == endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        *("storage.internal", "storage.internal:9000", "ftp://storage.internal", "https://", "https:///a"),
        *(
            "https://s3.no region.amazonaws.com",
            "https://s3.a/b?c.amazonaws.com",
            "https://a..b",
            "https://ä",
        ),
        *(
            "https://host:port",
            "https://user:secret@host",
            "https://host#a",
            "https://host/a\nb",
            "https://[::1",
        ),
    ],
)
def test_what_is_no_url_of_a_server(endpoint: str) -> None:
    with pytest.raises(AwsUnusable, match="endpoint for S3") as caught:
        check_endpoint(endpoint)
    assert "secret" not in str(caught.value)
