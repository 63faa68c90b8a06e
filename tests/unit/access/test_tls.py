from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from gridiron.access.tls import NO_TLS, Certificate, plan_trust, trust, trust_only
from gridiron.errors import CertificateInvalid


def issue(directory: Path, name: str, *authorities: trustme.CA) -> tuple[Path, Path]:
    """Write a pair for a name, vouched for by an authority; give its files."""
    pair = (authorities[0] if authorities else trustme.CA()).issue_cert(name)
    chain, key = directory / "cert.pem", directory / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in pair.cert_chain_pems))
    key.write_bytes(pair.private_key_pem.bytes())
    return chain, key


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None) -> str:
    """Connect in memory; give the name in the certificate that the client was shown."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    serving = server.wrap_bio(to_server, to_client, server_side=True)
    asking = client.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(3):
        for side in (asking, serving):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    shown = asking.getpeercert()
    assert shown
    return str(dict(shown)["subjectAltName"][0][1])  # type: ignore[index]


def test_a_changed_pair_is_taken_up_and_a_broken_one_is_not(tmp_path: Path) -> None:
    authority = trustme.CA()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    certificate = Certificate(*issue(tmp_path, "one.example", authority))
    assert shake_hands(certificate.context, trusting, "one.example") == "one.example"

    issue(tmp_path, "two.example", authority)
    assert shake_hands(certificate.context, trusting, "one.example") == "one.example"
    certificate.refresh()
    assert shake_hands(certificate.context, trusting, "two.example") == "two.example"

    (tmp_path / "cert.pem").write_text("no certificate")
    certificate.refresh()
    assert shake_hands(certificate.context, trusting, "two.example") == "two.example"
    (tmp_path / "cert.pem").unlink()
    certificate.refresh()
    assert shake_hands(certificate.context, trusting, "two.example") == "two.example"

    issue(tmp_path, "three.example", authority)
    certificate.refresh()
    assert shake_hands(certificate.context, trusting, "three.example") == "three.example"


def test_a_chain_with_anothers_key_is_not_taken_up(tmp_path: Path) -> None:
    authority = trustme.CA()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    chain, key = issue(tmp_path, "one.example", authority)
    certificate = Certificate(chain, key)
    other = authority.issue_cert("two.example")
    chain.write_bytes(b"".join(blob.bytes() for blob in other.cert_chain_pems))
    certificate.refresh()  # the key is still to come
    assert shake_hands(certificate.context, trusting, "one.example") == "one.example"
    key.write_bytes(other.private_key_pem.bytes())
    certificate.refresh()
    assert shake_hands(certificate.context, trusting, "two.example") == "two.example"


def test_the_machine_itself_trusts_this_certificate_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    chain, key = issue(tmp_path, "public.example")
    trusting = trust_only(chain)
    assert shake_hands(Certificate(chain, key).context, trusting, "localhost") == "public.example"
    another = Certificate(*issue(tmp_path / "other", "public.example"))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(another.context, trusting, "localhost")


def test_what_is_no_pair_is_told(tmp_path: Path) -> None:
    chain, key = issue(tmp_path, "one.example")
    with pytest.raises(CertificateInvalid, match="No such file"):
        Certificate(chain, tmp_path / "missing")
    with pytest.raises(CertificateInvalid, match="no certificate or crl found"):
        trust(key)
    (tmp_path / "empty").write_text("")
    with pytest.raises(CertificateInvalid):
        Certificate(tmp_path / "empty", key)


def test_authorities_are_read_by_who_asks_for_something_encrypted() -> None:
    plain, encrypted = "http://127.0.0.1:9070", "https://restate.example.org"
    assert plan_trust(plain, "http://127.0.0.1:8081") is NO_TLS
    assert plan_trust(plain, encrypted) is True
    assert plan_trust(encrypted) is True
    assert not NO_TLS.get_ca_certs()
    assert (NO_TLS.verify_mode, NO_TLS.check_hostname) == (ssl.CERT_REQUIRED, True)
