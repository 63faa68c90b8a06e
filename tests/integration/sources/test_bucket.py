"""Sources in S3: from a real server, and from one that breaks off."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import trustme

from gridiron.bundles.access import Access
from gridiron.bundles.fetch import fetch
from gridiron.bundles.limits import Limits, Meter
from gridiron.bundles.source import S3Source, parse_source
from gridiron.bundles.transfer import ATTEMPTS
from gridiron.errors import (
    BundlePathInvalid,
    GridironError,
    SourceHasTooManyFiles,
    SourceRefused,
    SourceTooLarge,
    SourceTooSlow,
    SourceUnreachable,
)
from tests.integration.sources.memory import growth
from tests.integration.sources.origin import (
    Answer,
    Origin,
    body,
    cut,
    drip,
    hang_up,
    in_turn,
    serving,
    silence,
    status,
)
from tests.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed

CONTENT = bytes(range(256)) * 1000
LIMITS = Limits(size=1_000_000, files=10, time=timedelta(seconds=20))
FILES = {"index.js": b"main", "lib/grüße & 100%?+.txt": b"hello", "README.md": b"read", "empty.txt": b""}


@pytest.fixture(autouse=True)
def no_aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing of this machine's own settings into a test."""
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def bucket(seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch) -> Seaweed:
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)
    return seaweed


@pytest.fixture
def imposter(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> Origin:
    """A server that does what a test says, in the place of S3."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", origin.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    return origin


def take(source: str, directory: Path, limits: Limits = LIMITS, access: Access | None = None) -> Path:
    parsed = parse_source(source)
    assert isinstance(parsed, S3Source)
    directory.mkdir(exist_ok=True)
    return fetch(parsed, directory, access or Access(), Meter(limits))


def tree(root: Path) -> dict[str, bytes]:
    return {str(each.relative_to(root)): each.read_bytes() for each in root.rglob("*") if each.is_file()}


# -- a real server ---------------------------------------------------------------------------------------


def test_an_archive(bucket: Seaweed, tmp_path: Path) -> None:
    bucket.put("some dir/grüße+1.0.tar.gz", CONTENT)
    found = take("s3://bundles/some dir/grüße+1.0.tar.gz", tmp_path / "in")
    assert found == tmp_path / "in" / "archive"
    assert found.read_bytes() == CONTENT


@pytest.mark.parametrize("key", ["tree", "tree/"])
def test_all_objects_below_a_key(bucket: Seaweed, tmp_path: Path, key: str) -> None:
    bucket.put_tree("tree", FILES)
    bucket.put_tree(
        "tree", {"": b"", "lib/": b"", "nothing/": b"", ".git/config": b"x", "node_modules/a.js": b"x"}
    )
    bucket.put("trees/other.js", b"not this one")
    found = take(f"s3://bundles/{key}", tmp_path / "in")
    assert found == tmp_path / "in" / "tree"
    assert tree(found) == FILES


def test_a_whole_page_of_objects_and_more(bucket: Seaweed, tmp_path: Path) -> None:
    names = {f"{number:04}.txt": b"" for number in range(1010)}
    bucket.put_tree("many", names)
    found = take("s3://bundles/many", tmp_path / "in", replace(LIMITS, files=1010))
    assert tree(found) == names
    with pytest.raises(SourceHasTooManyFiles):
        take("s3://bundles/many", tmp_path / "out", replace(LIMITS, files=1009))
    assert tree(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("s3://bundles/nothing.tar.gz", "no such object"),
        ("s3://bundles/nothing/", "no such object"),
        ("s3://no-such-bucket/a", "no such bucket"),
        ("s3://no-such-bucket/a/", "no such bucket"),
        ("s3://bundles/a//b", "is no path"),
    ],
)
def test_what_is_not_there(bucket: Seaweed, tmp_path: Path, source: str, reason: str) -> None:
    with pytest.raises(SourceRefused, match=reason) as caught:
        take(source, tmp_path / "in")
    assert caught.value.source == source
    assert bucket.is_ready()


@pytest.mark.parametrize("source", ["s3://bundles/a", "s3://bundles/a/"])
@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials(
    bucket: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, variable: str
) -> None:
    bucket.put("a", CONTENT)
    monkeypatch.setenv(variable, "wrong")
    with pytest.raises(SourceRefused, match="status 403"):
        take(source, tmp_path / "in")


@pytest.mark.parametrize("source", ["s3://bundles/a", "s3://bundles/a/"])
def test_no_credentials(
    bucket: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    bucket.put("a", CONTENT)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(SourceRefused, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        take(source, tmp_path / "in")


def profile(bucket: Seaweed) -> str:
    return f"[profile p]\nendpoint_url = {bucket.url}\nregion = eu-central-1\n"


def keys(bucket: Seaweed) -> str:
    assert bucket.url
    return f"aws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"


def process(bucket: Seaweed) -> str:
    answer = f'{{"Version": 1, "AccessKeyId": "{ACCESS_KEY}", "SecretAccessKey": "{SECRET_KEY}"}}'
    assert bucket.url
    return f"credential_process = echo '{answer}'\n"


@pytest.mark.parametrize("credentials", [keys, process])
def test_a_profile(
    seaweed: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, credentials: Callable[[Seaweed], str]
) -> None:
    seaweed.put("a", CONTENT)
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(profile(seaweed) + credentials(seaweed))
    monkeypatch.setenv("AWS_PROFILE", "p")
    assert take("s3://bundles/a", tmp_path / "in").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "config",
    [
        "",
        "garbage [[[",
        "[profile p]\naws_access_key_id = a\n",
        "[profile p]\ncredential_process = echo garbage\n",
        "[profile p]\ncredential_process = false\n",
        "[profile p]\ncredential_process = /no/such/program\n",
        "[profile p]\nrole_arn = arn\nsource_profile = q\n",
    ],
)
def test_a_profile_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(config)
    monkeypatch.setenv("AWS_PROFILE", "p")
    with pytest.raises(SourceRefused, match="AWS settings"):
        take("s3://bundles/a", tmp_path / "in")


def test_the_setting_comes_before_the_variables(
    bucket: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("a", CONTENT)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    found = take("s3://bundles/a", tmp_path / "in", access=Access(s3_endpoint=bucket.url))
    assert found.read_bytes() == CONTENT


def test_an_object_that_is_too_large(bucket: Seaweed, tmp_path: Path) -> None:
    bucket.put("large", bytes(LIMITS.size + 1))
    with pytest.raises(SourceTooLarge):
        take("s3://bundles/large", tmp_path / "in")
    assert not (tmp_path / "in" / "archive").exists()


def test_objects_that_are_too_large_together(bucket: Seaweed, tmp_path: Path) -> None:
    bucket.put_tree("heavy", {"a.bin": bytes(LIMITS.size), "b.bin": b"x"})
    with pytest.raises(SourceTooLarge):
        take("s3://bundles/heavy", tmp_path / "in")
    assert tree(tmp_path / "in") == {}


def test_a_large_object_is_never_in_memory(bucket: Seaweed, tmp_path: Path) -> None:
    bucket.put("huge", bytes(60 << 20))
    take("s3://bundles/ready", tmp_path / "first")  # loads what it needs
    with growth() as grown:
        found = take("s3://bundles/huge", tmp_path / "in", replace(LIMITS, size=60 << 20))
    assert found.stat().st_size == 60 << 20
    assert grown() < 20 << 20


# -- a server that misbehaves ----------------------------------------------------------------------------

LISTING = """<?xml version="1.0"?><ListBucketResult><Name>bundles</Name><IsTruncated>false</IsTruncated>
{contents}</ListBucketResult>"""


def listing(**sizes: int) -> Answer:
    contents = "".join(
        f"<Contents><Key>{key}</Key><Size>{size}</Size><ETag>&quot;a&quot;</ETag>"
        "<LastModified>2026-10-01T00:00:00Z</LastModified></Contents>"
        for key, size in sizes.items()
    )
    return body(LISTING.format(contents=contents).encode(), Content_Type="application/xml")


def whole(content: bytes) -> Answer:
    return body(content, Last_Modified="Thu, 01 Oct 2026 00:00:00 GMT", ETag='"a"')


def broken(content: bytes, at: int) -> Answer:
    return cut(content, at, Last_Modified="Thu, 01 Oct 2026 00:00:00 GMT", ETag='"a"')


@pytest.mark.parametrize(
    "failure", [status(500), status(503), status(429), broken(CONTENT, 100_000), hang_up]
)
def test_a_server_that_breaks_off_is_asked_again(imposter: Origin, tmp_path: Path, failure: Answer) -> None:
    imposter.answers["/bundles/a"] = in_turn(*[failure] * (ATTEMPTS - 1), whole(CONTENT))
    limits = replace(LIMITS, size=len(CONTENT))
    assert take("s3://bundles/a", tmp_path / "in", limits).read_bytes() == CONTENT


@pytest.mark.parametrize("failure", [status(500), broken(CONTENT, 100_000), hang_up])
def test_a_server_that_breaks_off_each_time_is_given_up(
    imposter: Origin, tmp_path: Path, failure: Answer
) -> None:
    imposter.answers["/bundles/a"] = failure
    with pytest.raises(SourceUnreachable) as caught:
        take("s3://bundles/a", tmp_path / "in")
    assert caught.value.source == "s3://bundles/a"
    assert SECRET_KEY not in str(caught.value)
    assert len(imposter.seen) == ATTEMPTS


@pytest.mark.parametrize("answer", [drip, silence])
def test_a_server_that_takes_its_time(imposter: Origin, tmp_path: Path, answer: Answer) -> None:
    imposter.answers["/bundles/a"] = answer
    with pytest.raises(SourceTooSlow):
        take("s3://bundles/a", tmp_path / "in", replace(LIMITS, time=timedelta(seconds=1)))


def test_a_directory_whose_server_breaks_off(imposter: Origin, tmp_path: Path) -> None:
    url = "/bundles?list-type=2&prefix=d%2F"
    imposter.answers[url] = in_turn(status(500), listing(**{"d/index.js": 4, "d/a.txt": len(CONTENT)}))
    imposter.answers["/bundles/d/index.js"] = in_turn(hang_up, whole(b"main"))
    imposter.answers["/bundles/d/a.txt"] = in_turn(broken(CONTENT, 9), whole(CONTENT))
    limits = replace(LIMITS, size=len(CONTENT) + 4)
    assert tree(take("s3://bundles/d/", tmp_path / "in", limits)) == {"index.js": b"main", "a.txt": CONTENT}


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("d/../../etc/passwd", SourceRefused),
        ("d/a&#10;b.js", SourceRefused),
        ("d/a\\b.js", BundlePathInvalid),
        ("d/__gridiron.js", BundlePathInvalid),
        (f"d/{'a' * 256}.js", BundlePathInvalid),
    ],
)
def test_keys_that_are_no_paths(
    imposter: Origin, tmp_path: Path, key: str, error: type[GridironError]
) -> None:
    imposter.answers["/bundles?list-type=2&prefix=d%2F"] = listing(**{key: 4})
    with pytest.raises(error):
        take("s3://bundles/d/", tmp_path / "in")
    assert imposter.seen == ["/bundles?list-type=2&prefix=d%2F"]


def test_https_by_the_authorities_of_aws(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    monkeypatch.delenv("SSL_CERT_FILE")
    with serving(tls=context) as secure:
        secure.answers["/bundles/a"] = whole(CONTENT)
        access = Access(s3_endpoint=secure.url)
        with pytest.raises(SourceUnreachable):
            take("s3://bundles/a", tmp_path / "in", access=access)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        assert take("s3://bundles/a", tmp_path / "in", access=access).read_bytes() == CONTENT
