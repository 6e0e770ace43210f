"""A certificate says what is wanted and no more, is replaced in time, and is of the right authority."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils import host_certificates as certificates
from ansible_collections.gym.platform.plugins.module_utils.host_certificates import CertificateError, parse_wanted
from ansible_collections.gym.platform.plugins.module_utils.secret_store import generate_certificate_authority
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

NOW = datetime.datetime.now(datetime.UTC)
WANTED = parse_wanted(["db-1", "db-1.gym.internal", "localhost"], ["10.0.0.1", "127.0.0.1", "::1"])


class Authority:
    """A CA, as the environment's store makes one."""

    def __init__(self) -> None:
        made = generate_certificate_authority()
        self.key, self.pem = made["/key"], made["/certificate"]
        self.certificate = certificates.load_certificate(self.pem, "CA")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def issue(authority: Authority, wanted: certificates.Wanted = WANTED, now: datetime.datetime = NOW) -> tuple[Any, str]:
    key, _ = certificates.make_key()
    return key, certificates.sign(certificates.make_request(key, wanted), wanted, authority.pem, authority.key, now)


def test_a_new_certificate_has_no_problems(authority: Authority) -> None:
    key, pem = issue(authority)
    certificate = certificates.load_certificate(pem, "new")
    assert certificates.problems(WANTED, key, certificate, authority.certificate, NOW) == []
    assert certificates.expiry(certificate) == (NOW + datetime.timedelta(days=397)).replace(microsecond=0)
    assert certificate.subject.rfc4514_string() == "CN=db-1"


def test_a_client_that_looks_closely_accepts_it_in_both_roles(authority: Authority, tmp_path: Path) -> None:
    key, key_pem = certificates.make_key()
    request = certificates.make_request(key, WANTED)
    (tmp_path / "key").write_bytes(key_pem)
    (tmp_path / "cert").write_text(certificates.sign(request, WANTED, authority.pem, authority.key, NOW))
    contexts = {}
    for side, purpose in (("server", ssl.Purpose.CLIENT_AUTH), ("client", ssl.Purpose.SERVER_AUTH)):
        contexts[side] = ssl.create_default_context(purpose, cadata=authority.pem)
        contexts[side].load_cert_chain(tmp_path / "cert", tmp_path / "key")
    contexts["server"].verify_mode = ssl.CERT_REQUIRED
    for name in ("db-1.gym.internal", "127.0.0.1"):
        here, there = socket.socketpair()
        answered: list[bytes] = []

        def serve(there: socket.socket = there, answered: list[bytes] = answered) -> None:
            with contexts["server"].wrap_socket(there, server_side=True) as connection:
                answered.append(connection.recv(2))

        thread = threading.Thread(target=serve)
        thread.start()
        with contexts["client"].wrap_socket(here, server_hostname=name) as connection:
            connection.sendall(b"hi")
            thread.join(10)
        assert answered == [b"hi"]


@pytest.mark.parametrize(
    ("names", "addresses", "reasons"),
    [
        (["db-1", "localhost"], WANTED.addresses, ["name db-1.gym.internal is no longer wanted"]),
        ([*WANTED.names, "api.gym"], WANTED.addresses, ["name api.gym is missing"]),
        (WANTED.names, ["10.0.0.1", "127.0.0.1"], ["address ::1 is no longer wanted"]),
        (WANTED.names, [*WANTED.addresses, "10.0.0.2"], ["address 10.0.0.2 is missing"]),
        (["LOCALHOST", "db-1", "DB-1.gym.internal"], ["0:0::1", "127.0.0.1", "10.0.0.1"], []),
    ],
)
def test_other_names_need_another_certificate(
    authority: Authority, names: list[str], addresses: list[str], reasons: list[str]
) -> None:
    key, pem = issue(authority)
    certificate = certificates.load_certificate(pem, "new")
    wanted = parse_wanted(names, addresses)
    assert certificates.problems(wanted, key, certificate, authority.certificate, NOW) == reasons


def test_another_key_or_authority_needs_another_certificate(authority: Authority) -> None:
    key, pem = issue(authority)
    certificate = certificates.load_certificate(pem, "new")
    other_key, _ = certificates.make_key()
    # Of the same name: only the signature tells them apart.
    other = Authority().certificate
    assert certificates.problems(WANTED, other_key, certificate, authority.certificate, NOW) == [
        "the certificate does not belong to the key"
    ]
    assert certificates.problems(WANTED, key, certificate, other, NOW) == ["the certificate is not of this CA"]


def test_a_certificate_is_replaced_before_it_expires(authority: Authority) -> None:
    key, pem = issue(authority)
    certificate = certificates.load_certificate(pem, "new")
    for days, expected in ((366, 0), (368, 1), (400, 1)):
        later = NOW + datetime.timedelta(days=days)
        assert len(certificates.problems(WANTED, key, certificate, authority.certificate, later)) == expected


def test_a_certificate_does_not_outlive_its_authority(authority: Authority) -> None:
    end = certificates.expiry(authority.certificate)
    now = end - datetime.timedelta(days=100)
    _, pem = issue(authority, now=now)
    assert certificates.expiry(certificates.load_certificate(pem, "new")) == end
    with pytest.raises(CertificateError, match=r"The CA expires on .* within renew_before_days \(30\): make a new CA"):
        issue(authority, now=end - datetime.timedelta(days=30))


def test_a_request_decides_nothing_but_the_key(authority: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "edge-1")]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("edge-1")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = greedy.public_bytes(serialization.Encoding.PEM).decode()
    signed = certificates.load_certificate(certificates.sign(pem, WANTED, authority.pem, authority.key, NOW), "new")
    assert certificates.problems(WANTED, key, signed, authority.certificate, NOW) == []
    assert signed.subject.rfc4514_string() == "CN=db-1"
    assert not signed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_authorities_with_an_rsa_key_sign_too(authority: Authority) -> None:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "old")])
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(NOW).not_valid_after(NOW + datetime.timedelta(days=999))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    host_key, _ = certificates.make_key()
    signed = certificates.sign(certificates.make_request(host_key, WANTED), WANTED, pem, key_pem, NOW)
    new = certificates.load_certificate(signed, "new")
    assert certificates.problems(WANTED, host_key, new, certificate, NOW) == []
    assert not certificates.is_signed_by(new, authority.certificate)


def test_mixed_up_or_broken_input_is_one_sentence_without_any_key(authority: Authority) -> None:
    _, leaf = issue(authority)
    key, _ = certificates.make_key()
    request = certificates.make_request(key, WANTED)
    for pem, key_pem, said in (
        (authority.pem, Authority().key, "`ca_private_key` does not belong to `ca_certificate`"),
        (authority.pem, "secret", "`ca_private_key` is not an unencrypted private key in PEM."),
        ("nonsense", authority.key, "`ca_certificate` is not a certificate in PEM"),
        (leaf, authority.key, "`ca_certificate` is not the certificate of a CA"),
    ):
        with pytest.raises(CertificateError) as refused:
            certificates.sign(request, WANTED, pem, key_pem, NOW)
        assert said in str(refused.value)
        assert "secret" not in str(refused.value)
    # Somebody else's public key, in a request that its owner did not sign.
    der = x509.load_pem_x509_csr(request.encode()).public_bytes(serialization.Encoding.DER)
    mine, theirs = (certificates.public_bytes(one.public_key()) for one in (key, certificates.make_key()[0]))
    forged = x509.load_der_x509_csr(der.replace(mine, theirs)).public_bytes(serialization.Encoding.PEM).decode()
    with pytest.raises(CertificateError, match="not signed by its own key"):
        certificates.sign(forged, WANTED, authority.pem, authority.key, NOW)
    with pytest.raises(CertificateError, match="request for a certificate cannot be read"):
        certificates.sign("nonsense", WANTED, authority.pem, authority.key, NOW)


@pytest.mark.parametrize(
    ("names", "addresses", "days", "said"),
    [
        ([], [], (397, 30), "`names` is empty"),
        (["a b"], [], (397, 30), "'a b' in `names` is not a DNS name"),
        (["-a"], [], (397, 30), "'-a' in `names` is not a DNS name"),
        (["a"], ["10.0.0.300"], (397, 30), "'10.0.0.300' in `addresses` is not an IP address"),
        (["a"], ["db-1"], (397, 30), "names belong in `names`"),
        (["a"], [], (30, 30), "renew_before_days is 30 and valid_days is 30"),
    ],
)
def test_bad_options_are_one_sentence(names: list[str], addresses: list[str], days: tuple[int, int], said: str) -> None:
    with pytest.raises(CertificateError) as refused:
        parse_wanted(names, addresses, *days)
    assert said in str(refused.value)


def test_only_keys_of_the_kind_that_is_made_here_are_kept() -> None:
    key, _ = certificates.make_key()
    assert certificates.is_usable_key(key)
    assert not certificates.is_usable_key(ec.generate_private_key(ec.SECP384R1()))
    assert not certificates.is_usable_key(rsa.generate_private_key(65537, 2048))


def test_a_diff_shows_names_and_expiry(authority: Authority) -> None:
    _, pem = issue(authority)
    shown = certificates.describe(certificates.load_certificate(pem, "new"))
    assert shown == certificates.describe_wanted(WANTED, authority.certificate, NOW)
    assert "name: db-1.gym.internal\n" in shown
    assert "address: ::1\n" in shown
    assert f"expires: {NOW + datetime.timedelta(days=397):%Y-%m-%d}\n" in shown
