"""The secrets of one environment, in one file that Ansible Vault encrypts.

The file is a mapping from a name such as ``database/owner`` to a value. It lives outside the repository beside the
password that opens it, or the password comes from the file that ``ANSIBLE_VAULT_PASSWORD_FILE`` names.
"""

from __future__ import annotations

import datetime
import difflib
import os
import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import yaml
from ansible.parsing.vault import AnsibleVaultError, VaultLib, VaultSecret
from ansible_collections.gym.platform.plugins.module_utils.atomic_file import write_atomically

PASSWORD_VARIABLE = "ANSIBLE_VAULT_PASSWORD_FILE"  # noqa: S105 - the name of a variable
# 32 characters of 62: 190 bits, above the 128 of NIST SP 800-57 part 1, and safe in URLs, SQL and INI files.
PASSWORD_LENGTH = 32
PASSWORD_ALPHABET = string.ascii_letters + string.digits
# Ten years. The authority outlives the machines that it signs for; replacing it is a rotation of everything.
AUTHORITY_DAYS = 3650


class SecretStoreError(Exception):
    """A sentence for the person who runs the playbook."""


def generate_password() -> dict[str, str]:
    """Return a random password under the empty suffix."""
    return {"": "".join(secrets.choice(PASSWORD_ALPHABET) for _ in range(PASSWORD_LENGTH))}


def generate_access_key() -> dict[str, str]:
    """Return an identifier in the form of an AWS access key: 20 upper-case letters and digits."""
    alphabet = string.ascii_uppercase + string.digits
    return {"": "".join(secrets.choice(alphabet) for _ in range(20))}


def generate_certificate_authority() -> dict[str, str]:
    """Return ``/key`` and ``/certificate`` of a new authority, both PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gym platform authority")])
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # An hour back, so that a machine whose clock is behind accepts it.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {"/key": private.decode(), "/certificate": certificate.public_bytes(serialization.Encoding.PEM).decode()}


GENERATORS: Mapping[str, Callable[[], dict[str, str]]] = {
    "password": generate_password,
    "access_key": generate_access_key,
    "certificate_authority": generate_certificate_authority,
}


def missing(wanted: Sequence[Mapping[str, str]], stored: Mapping[str, str]) -> dict[str, str]:
    """Return newly generated values for every wanted secret that is not stored, by name.

    Each wanted secret is a mapping with ``name`` and ``kind``. Raises SecretStoreError for an unknown kind.
    """
    new: dict[str, str] = {}
    for secret in wanted:
        kind = secret["kind"]
        if kind not in GENERATORS:
            raise SecretStoreError(
                f"The secret '{secret['name']}' has the kind '{kind}'; the legal kinds are {', '.join(GENERATORS)}."
            )
        present = [name for name in stored if name == secret["name"] or name.startswith(secret["name"] + "/")]
        if not present:
            new |= {secret["name"] + suffix: value for suffix, value in GENERATORS[kind]().items()}
    return new


class SecretStore:
    """The encrypted file ``secrets.yml`` of a directory, and the password beside it."""

    def __init__(self, directory: str | Path) -> None:
        """Open nothing yet; ``directory`` is the environment's state directory."""
        self.file = Path(directory) / "secrets.yml"
        self.password_file = Path(os.environ.get(PASSWORD_VARIABLE) or Path(directory) / "vault_password")

    def read(self) -> dict[str, str]:
        """Return every secret; empty when the file does not exist. Raises SecretStoreError when it cannot be opened."""
        try:
            text = self.file.read_text()
        except FileNotFoundError:
            return {}
        try:
            return dict(_decrypt(text, self._password()))
        except AnsibleVaultError as error:
            raise SecretStoreError(
                f"The password in {self.password_file} does not open {self.file}. Name the file that holds the right "
                f"one in {PASSWORD_VARIABLE}, or restore {self.password_file} from where it is kept."
            ) from error

    def get(self, name: str) -> str:
        """Return one secret. Raises SecretStoreError, naming the nearest name, when there is none."""
        stored = self.read()
        if name in stored:
            return stored[name]
        near = difflib.get_close_matches(name, stored, n=1)
        hint = f" The nearest name there is '{near[0]}'." if near else ""
        raise SecretStoreError(
            f"There is no secret '{name}' in {self.file}.{hint} Declare it in secret_store.generated and run "
            "playbooks/site.yml to have it made, or put it there with ansible-vault edit."
        )

    def write(self, values: Mapping[str, str]) -> None:
        """Replace the whole file, atomically. Makes the directory and the password when they do not exist."""
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.password_file.exists():
            if self.file.exists():
                raise SecretStoreError(
                    f"{self.file} exists, but the password that opens it is not in {self.password_file}. Restore it, "
                    f"or name its file in {PASSWORD_VARIABLE}."
                )
            write_atomically(self.password_file, generate_password()[""] + "\n", mode=0o600)
        clear = yaml.safe_dump(dict(sorted(values.items())))
        write_atomically(self.file, _vault(self._password()).encrypt(clear).decode(), mode=0o600)

    def _password(self) -> bytes:
        try:
            return self.password_file.read_bytes().strip()
        except OSError as error:
            raise SecretStoreError(
                f"{self.file} cannot be opened, because its password is not in {self.password_file} "
                f"({error.strerror}). Restore it, or name its file in {PASSWORD_VARIABLE}."
            ) from error


def _vault(password: bytes) -> VaultLib:
    return VaultLib([("default", VaultSecret(password))])


@lru_cache(maxsize=4)
def _decrypt(text: str, password: bytes) -> dict[str, str]:
    """Open a store once in a process: every variable that names a secret asks for it."""
    return dict(yaml.safe_load(_vault(password).decrypt(text)) or {})
