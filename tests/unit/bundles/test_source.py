from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridiron.bundles.source import (
    FileSource,
    HttpSource,
    S3Source,
    Source,
    UploadSource,
    parse_source,
)
from gridiron.errors import SourceSchemeUnsupported
from gridiron.model import redact_url


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("file:///srv/greeter", "/srv/greeter"),
        ("FILE:///srv/greeter/", "/srv/greeter"),
        ("file:///with%20space/gr%C3%BC%C3%9Fe", "/with space/grüße"),
        ("file:///with space/grüße", "/with space/grüße"),
        ("file:///a%3Fb%23c%25", "/a?b#c%"),
        ("file:///", "/"),
    ],
)
def test_a_source(source: str, path: str) -> None:
    assert parse_source(source) == FileSource(Path(path))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("https://example.org/a.zip", HttpSource("https://example.org/a.zip", is_secure=True)),
        ("HTTPS://example.org:8443/a?b=c", HttpSource("HTTPS://example.org:8443/a?b=c", is_secure=True)),
        ("http://[fd12::1]/a/", HttpSource("http://[fd12::1]/a/", is_secure=False)),
        ("s3://my-bucket/a/b.tar.gz", S3Source("my-bucket", "a/b.tar.gz")),
        ("s3://my-bucket/some dir/", S3Source("my-bucket", "some dir/")),
        (f"bundle:{'0a' * 32}", UploadSource("0a" * 32)),
    ],
)
def test_a_source_elsewhere(source: str, expected: Source) -> None:
    assert parse_source(source) == expected


@pytest.mark.parametrize(
    ("url", "is_directory"),
    [
        ("https://example.org", False),
        ("https://example.org/", True),
        ("https://example.org/a/?b", True),
        ("https://example.org/a?b/", False),
    ],
)
def test_a_url_names_a_directory_by_its_last_slash(url: str, *, is_directory: bool) -> None:
    assert HttpSource(url, is_secure=True).is_directory is is_directory


@pytest.mark.parametrize(
    "source",
    [
        "",
        "/srv/greeter",
        "./greeter",
        "file:greeter",
        "file:/srv/greeter",
        "file://greeter",
        "file://localhost/srv/greeter",
        "file://./greeter",
        "file:///srv?a=b",
        "file:///srv#part",
        "file:///a%zz",
        "file:///a%",
        "file:///a%ff",
        "file:///a%00b",
        "file:///\ud800",
        " file:///srv",
        "gopher://x",
        "https://",
        "https:///greeter.zip",
        "https://user:secret@example.org/greeter.zip",
        "https://example.org/greeter.zip#part",
        "https://example.org:port/greeter.zip",
        "https://example.org/a b\n",
        "https://[::1/greeter.zip",
        "s3://bucket",
        "s3://bucket/",
        "s3://bucket//key",
        "s3://Bu_cket/key",
        "s3://b/key",
        "s3://bucket/a/../b",
        "s3://bucket/key?versionId=1",
        "bundle:",
        "bundle:abc",
        f"bundle:{'A' * 64}",
        f"bundle:{'a' * 65}",
    ],
)
def test_what_is_no_source(source: str) -> None:
    with pytest.raises(SourceSchemeUnsupported) as caught:
        parse_source(source)
    assert caught.value.source.removesuffix("…") == redact_url(source)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("https://user:secret@example.org/a.zip?sig=secret", "https://example.org/a.zip…"),
        ("https://example.org:port/a.zip?sig=secret", "https://example.org:port/a.zip…"),
        ("ftp://example.org/" + "a" * 2000, "ftp://example.org/" + "a" * 82 + "…"),
    ],
)
def test_what_is_no_source_is_not_repeated_with_what_may_be_a_key(source: str, shown: str) -> None:
    with pytest.raises(SourceSchemeUnsupported) as caught:
        parse_source(source)
    assert caught.value.source == shown


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1), min_size=1))
def test_the_url_of_a_path_reads_back_as_the_path(parts: list[str]) -> None:
    path = "/" + "/".join(parts)
    assert parse_source("file://" + quote(path)) == FileSource(Path(path))


SCHEMES = ["", "file:///", "https://", "http://h/", "s3://bucket/", "bundle:"]


@given(st.sampled_from(SCHEMES), st.text())
def test_any_text_is_a_source_or_refused(begin: str, rest: str) -> None:
    try:
        source = parse_source(begin + rest)
    except SourceSchemeUnsupported:
        return
    str(source).encode()
    assert not isinstance(source, FileSource) or source.path.is_absolute()


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("https://example.org/a.zip", "https://example.org/a.zip"),
        ("https://example.org/a.zip?X-Amz-Signature=secret", "https://example.org/a.zip"),
        ("https://example.org/a/?sig=a?b/@c#d", "https://example.org/a/"),
        ("https://example.org#secret", "https://example.org"),
        ("https://user:secret@example.org/a@b", "https://example.org/a@b"),
        ("https://a@b@example.org/", "https://example.org/"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
        ("file:///srv/a@b", "file:///srv/a@b"),
        (f"bundle:{'0a' * 32}", f"bundle:{'0a' * 32}"),
    ],
)
def test_what_may_be_a_key_is_not_shown(source: str, shown: str) -> None:
    assert redact_url(source) == shown
