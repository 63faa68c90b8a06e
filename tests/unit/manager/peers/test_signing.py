from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import httpx2
import pytest

from gridiron.errors import PeerClockDiffers, PeerUnknown
from gridiron.manager.peers.signing import EMPTY, Asked, Signature, check, derive_key, sign

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SECRET = bytes(range(32))
KEY = derive_key(SECRET)
ASKED = Asked("GET", "/builds/demo/1-2/logs?level=warn&limit=10")
"""The golden values below were computed with `openssl kdf` and `openssl dgst -sha256 -hmac`."""


def test_a_key_is_derived_as_openssl_does() -> None:
    assert KEY.hex() == "b435ce8ddcef41620e85507c46a4cd3f9d95a2c44a1e66adf279f049bcbef001"


def test_a_request_is_signed_as_openssl_does() -> None:
    mac = "fec49d476302d3bcd0287d509210de415d65092fef57b3b80c515d6878eb23ab"
    assert sign(KEY, "n1", NOW, ASKED) == f"Gridiron-Peer n1;1793534400;{mac}"


def test_who_signs_is_known() -> None:
    assert check(KEY, sign(KEY, "n1", NOW, ASKED), NOW, ASKED) == "n1"


@pytest.mark.parametrize(
    "asked",
    [
        Asked("POST", ASKED.target),
        Asked("GET", "/builds/demo/1-2/logs?level=warn&limit=11"),
        Asked("GET", "/builds/demo/1-2/logs"),
        Asked("GET", ASKED.target, sha256(b"a").hexdigest()),
    ],
)
def test_a_signature_is_good_for_its_request_alone(asked: Asked) -> None:
    with pytest.raises(PeerUnknown):
        check(KEY, sign(KEY, "n1", NOW, ASKED), NOW, asked)


SIGNED = sign(KEY, "n1", NOW, ASKED)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer gridiron_0badcafe_x",
        SIGNED.replace("n1;", "n2;"),
        SIGNED.replace(";1793534400;", ";1793534401;"),
        SIGNED.replace(";1793534400;", ";01793534400;"),
        SIGNED[:-1],
        SIGNED.upper(),
        f"{SIGNED}\n",
        sign(derive_key(bytes(32)), "n1", NOW, ASKED),
        sign(SECRET, "n1", NOW, ASKED),
    ],
)
def test_what_is_no_signature_of_the_cluster_is_refused(header: str | None) -> None:
    with pytest.raises(PeerUnknown):
        check(KEY, header, NOW, ASKED)


@pytest.mark.parametrize("apart", [timedelta(seconds=60), timedelta(seconds=-60), timedelta(0)])
def test_clocks_may_be_a_minute_apart(apart: timedelta) -> None:
    assert check(KEY, SIGNED, NOW + apart, ASKED) == "n1"


@pytest.mark.parametrize("apart", [timedelta(seconds=61), timedelta(seconds=-61)])
def test_clocks_that_are_further_apart_are_named(apart: timedelta) -> None:
    with pytest.raises(PeerClockDiffers) as caught:
        check(KEY, SIGNED, NOW + apart, ASKED)
    assert str(caught.value) == (
        "The clock of n1 is 61 s from this node's, and 60 s is the most. "
        "Have all nodes of the cluster keep their clocks, as with chrony or systemd-timesyncd."
    )


def test_a_client_signs_what_it_sends() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        asked = Asked(request.method, "/a%20b?c=d%2Fe&f=%22", sha256(request.content).hexdigest())
        return httpx2.Response(200, text=check(KEY, request.headers["authorization"], NOW, asked))

    signature = Signature(SECRET, "n3", lambda: NOW)
    with httpx2.Client(transport=httpx2.MockTransport(answer), auth=signature) as client:
        response = client.post("http://n1.test/a b", params={"c": "d/e", "f": '"'}, content=b"body")
    assert response.text == "n3"
    assert sha256(b"").hexdigest() == EMPTY
