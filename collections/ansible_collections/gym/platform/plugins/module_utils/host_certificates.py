"""Certificates of hosts: what they have to say, whether one does, and how one is signed.

Works with the `cryptography` of the hosts (38, Debian 12) and of the controller. The private key of the host never
leaves the host, the one of the authority never leaves the controller: only a request and a certificate travel.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

# On a host, base_host installs it; before that, the module has to be able to say so.
try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID

    HAS_CRYPTOGRAPHY = True
except ImportError:
    HAS_CRYPTOGRAPHY = False

ARGUMENTS: dict[str, dict[str, Any]] = {
    "directory": {"type": "path", "default": "/etc/ssl/gym"},
    "name": {"type": "str", "default": "host"},
    "names": {"type": "list", "elements": "str", "required": True},
    "addresses": {"type": "list", "elements": "str", "default": []},
    "ca_certificate": {"type": "str", "required": True},
    "ca_private_key": {"type": "str", "no_log": True},
    "valid_days": {"type": "int", "default": 397},
    "renew_before_days": {"type": "int", "default": 30},
    "group": {"type": "str", "default": "ssl-cert"},
    "units": {"type": "list", "elements": "str", "default": []},
    "certificate": {"type": "str"},
    "pending_directory": {"type": "path", "default": "/run/gym-platform"},
}

# Of the host's clock and the controller's, either may be the one that is behind.
_CLOCK_DIFFERENCE = datetime.timedelta(hours=1)
_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")


class CertificateError(ValueError):
    """A certificate that cannot be made or used; the message is for a person."""


@dataclass(frozen=True)
class Wanted:
    """What a certificate has to say."""

    names: tuple[str, ...]
    addresses: tuple[str, ...]
    valid_days: int
    renew_before_days: int


def parse_wanted(
    names: Sequence[str], addresses: Sequence[str], valid_days: int = 397, renew_before_days: int = 30
) -> Wanted:
    """Read the options; the order of names matters, because the first one is the subject."""
    if not names:
        raise CertificateError("`names` is empty: give the host's own name first, then its others.")
    lowered = tuple(dict.fromkeys(name.lower() for name in names))
    for name in lowered:
        if not _NAME.fullmatch(name) or len(name) > 253:
            raise CertificateError(
                f"'{name}' in `names` is not a DNS name: letters, digits, hyphens and dots only; "
                f"addresses belong in `addresses`."
            )
    parsed: dict[str, None] = {}
    for address in addresses:
        try:
            parsed[str(ipaddress.ip_address(address))] = None
        except ValueError as error:
            raise CertificateError(
                f"'{address}' in `addresses` is not an IP address; names belong in `names`."
            ) from error
    if not 0 <= renew_before_days < valid_days:
        raise CertificateError(
            f"renew_before_days is {renew_before_days} and valid_days is {valid_days}: "
            f"it must be at least 0 and less than valid_days, or each run would make a new certificate."
        )
    return Wanted(lowered, tuple(parsed), valid_days, renew_before_days)


def load_certificate(pem: str | bytes, what: str) -> x509.Certificate:
    """Read a certificate."""
    try:
        return x509.load_pem_x509_certificate(pem.encode() if isinstance(pem, str) else pem)
    except ValueError as error:
        raise CertificateError(f"{what} is not a certificate in PEM ({error}).") from error


def load_key(pem: str | bytes, what: str) -> Any:
    """Read a private key; the message never has any of it."""
    try:
        return serialization.load_pem_private_key(pem.encode() if isinstance(pem, str) else pem, password=None)
    except (ValueError, TypeError) as error:
        raise CertificateError(f"{what} is not an unencrypted private key in PEM.") from error


def expiry(certificate: x509.Certificate) -> datetime.datetime:
    """Tell when a certificate ends; the attribute with a time zone came with cryptography 42."""
    aware: datetime.datetime | None = getattr(certificate, "not_valid_after_utc", None)
    return aware or certificate.not_valid_after.replace(tzinfo=datetime.UTC)


def alternative_names(certificate: x509.Certificate) -> tuple[set[str], set[str]]:
    """Tell for which names and addresses a certificate was made."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set(), set()
    return set(found.get_values_for_type(x509.DNSName)), {str(ip) for ip in found.get_values_for_type(x509.IPAddress)}


def public_bytes(public_key: Any) -> bytes:
    """Write a public key in a form that can be compared."""
    encoded: bytes = public_key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Tell whether this authority signed that certificate, by the signature and not only by the name."""
    key, algorithm = authority.public_key(), certificate.signature_hash_algorithm
    if certificate.issuer != authority.subject or algorithm is None:
        return False
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(algorithm))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(certificate.signature, certificate.tbs_certificate_bytes, padding.PKCS1v15(), algorithm)
        else:
            raise CertificateError("The CA's key is neither ECDSA nor RSA: use one of these two.")
    except InvalidSignature:
        return False
    return True


def problems(
    wanted: Wanted, key: Any, certificate: x509.Certificate, authority: x509.Certificate, now: datetime.datetime
) -> list[str]:
    """Say why a certificate has to be replaced; an empty list means that it is good."""
    found: list[str] = []
    if public_bytes(certificate.public_key()) != public_bytes(key.public_key()):
        found.append("the certificate does not belong to the key")
    if not is_signed_by(certificate, authority):
        found.append("the certificate is not of this CA")
    names, addresses = alternative_names(certificate)
    for what, now_has, needs in (("name", names, set(wanted.names)), ("address", addresses, set(wanted.addresses))):
        found += [f"{what} {value} is missing" for value in sorted(needs - now_has)]
        found += [f"{what} {value} is no longer wanted" for value in sorted(now_has - needs)]
    if expiry(certificate) - now < datetime.timedelta(days=wanted.renew_before_days):
        found.append(f"the certificate expires on {expiry(certificate):%Y-%m-%d}")
    return found


def is_usable_key(key: Any) -> bool:
    """Tell whether a host's key is of the kind that is made here."""
    return isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)


def make_key() -> tuple[Any, bytes]:
    """Make a host's key, and its PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key, key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def make_request(key: Any, wanted: Wanted) -> str:
    """Ask for a certificate for this key; what it may say is decided by the one who signs, so nothing is asked for."""
    request = x509.CertificateSigningRequestBuilder().subject_name(_subject(wanted)).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def check_authority(certificate: x509.Certificate, wanted: Wanted, now: datetime.datetime) -> None:
    """Refuse an authority with which no run would ever be at rest."""
    left = expiry(certificate) - now
    if left <= datetime.timedelta(days=wanted.renew_before_days):
        raise CertificateError(
            f"The CA expires on {expiry(certificate):%Y-%m-%d}, which is within renew_before_days "
            f"({wanted.renew_before_days}): make a new CA first."
        )
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = None
    if constraints is None or not constraints.ca:
        raise CertificateError("`ca_certificate` is not the certificate of a CA (basicConstraints has no CA:TRUE).")


def sign(request_pem: str, wanted: Wanted, authority_pem: str, authority_key_pem: str, now: datetime.datetime) -> str:
    """Sign a host's public key for the wanted names; whatever else the request says is not looked at."""
    try:
        request = x509.load_pem_x509_csr(request_pem.encode())
    except ValueError as error:
        raise CertificateError(f"The host's request for a certificate cannot be read ({error}).") from error
    if not request.is_signature_valid:
        raise CertificateError("The host's request for a certificate is not signed by its own key.")
    authority = load_certificate(authority_pem, "`ca_certificate`")
    authority_key = load_key(authority_key_pem, "`ca_private_key`")
    check_authority(authority, wanted, now)
    if public_bytes(authority_key.public_key()) != public_bytes(authority.public_key()):
        raise CertificateError("`ca_private_key` does not belong to `ca_certificate`: give both of the same CA.")
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=False, crl_sign=False, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    # Members of a cluster are clients of each other, with the same certificate.
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())  # type: ignore[arg-type]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_subject(wanted))
        .issuer_name(authority.subject)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_DIFFERENCE)
        .not_valid_after(min(now + datetime.timedelta(days=wanted.valid_days), expiry(authority)))
        .add_extension(x509.SubjectAlternativeName(list(_general_names(wanted))), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(request.public_key()), critical=False)
        .add_extension(issuer_key, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def describe(certificate: x509.Certificate | None) -> str:
    """Show a certificate for Ansible's diff mode; nothing in it is secret."""
    if certificate is None:
        return ""
    names, addresses = alternative_names(certificate)
    return _described(certificate.issuer.rfc4514_string(), names, addresses, f"{expiry(certificate):%Y-%m-%d}")


def describe_wanted(wanted: Wanted, authority: x509.Certificate, now: datetime.datetime) -> str:
    """Show what a new certificate will say."""
    until = min(now + datetime.timedelta(days=wanted.valid_days), expiry(authority))
    return _described(authority.subject.rfc4514_string(), set(wanted.names), set(wanted.addresses), f"{until:%Y-%m-%d}")


def _described(issuer: str, names: set[str], addresses: set[str], until: str) -> str:
    lines = [f"issuer: {issuer}", f"expires: {until}"]
    lines += [f"name: {name}" for name in sorted(names)] + [f"address: {address}" for address in sorted(addresses)]
    return "\n".join(lines) + "\n"


def _subject(wanted: Wanted) -> x509.Name:
    # A common name has at most 64 characters; clients look at the alternative names anyway.
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, wanted.names[0][:64])])


def _general_names(wanted: Wanted) -> Iterable[x509.GeneralName]:
    yield from (x509.DNSName(name) for name in wanted.names)
    yield from (x509.IPAddress(ipaddress.ip_address(address)) for address in wanted.addresses)
