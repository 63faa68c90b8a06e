from __future__ import annotations

import httpx2
import pytest

from gridiron.bundles.transfer import Interrupted, check_status
from gridiron.bundles.web import check_url, parse_url, plan_redirect
from gridiron.errors import GridironError, SourceInsecure, SourceRefused

HERE = httpx2.URL("https://example.org/a/b?c")


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://other.example/x?y", "https://other.example/x?y"),
        ("http://other.example/x", "http://other.example/x"),
        ("/x", "https://example.org/x"),
        ("x", "https://example.org/a/x"),
        ("../x?y", "https://example.org/x?y"),
        ("//other.example:8443/x", "https://other.example:8443/x"),
        ("?d", "https://example.org/a/b?d"),
        ("/ü", "https://example.org/%C3%BC"),
        ("file:///etc/passwd", "file:/etc/passwd"),
        ("ftp://example.org/", "ftp://example.org/"),
    ],
)
def test_a_redirect(location: str, target: str) -> None:
    assert str(plan_redirect(HERE, location)) == target


@pytest.mark.parametrize("location", [None, "", "https://example.org:port/", "https://a\0b/"])
def test_a_redirect_to_nowhere(location: str | None) -> None:
    with pytest.raises(SourceRefused) as caught:
        plan_redirect(HERE, location)
    assert caught.value.source == "https://example.org/a/b"


@pytest.mark.parametrize("url", ["https://example.org", "HTTPS://example.org:8443/", "https://[::1]/"])
def test_https_is_taken(url: str) -> None:
    check_url(parse_url(url), is_http_allowed=False)


def test_http_is_taken_where_a_setting_says_so() -> None:
    check_url(parse_url("http://example.org/"), is_http_allowed=True)


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://example.org/a?token=secret", SourceInsecure),
        ("file:///etc/passwd", SourceRefused),
        ("ftp://example.org/", SourceRefused),
        ("javascript:alert(1)", SourceRefused),
        ("https:///a", SourceRefused),
        ("https://user:secret@example.org/", SourceRefused),
    ],
)
def test_a_url_that_is_not_taken(url: str, error: type[GridironError]) -> None:
    with pytest.raises(error) as caught:
        check_url(parse_url(url), is_http_allowed=False)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_a_status_that_passes(status: int) -> None:
    with pytest.raises(Interrupted):
        check_status(status, "https://example.org/")


@pytest.mark.parametrize("status", [204, 206, 300, 304, 400, 401, 403, 404, 410, 416, 418])
def test_a_status_that_stays(status: int) -> None:
    with pytest.raises(SourceRefused):
        check_status(status, "https://example.org/")
