"""The store keeps what it has, makes what is missing, and says plainly why it cannot be opened."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from ansible_collections.gym.platform.plugins.module_utils.secret_store import (
    GENERATORS,
    SecretStore,
    SecretStoreError,
    missing,
)
from cryptography import x509

WANTED = [
    {"name": "authority", "kind": "certificate_authority"},
    {"name": "database/owner", "kind": "password"},
]


def test_what_is_stored_is_never_made_again() -> None:
    stored = missing(WANTED, {})
    assert set(stored) == {"authority/key", "authority/certificate", "database/owner"}
    assert missing(WANTED, stored) == {}
    assert set(missing([*WANTED, {"name": "new", "kind": "password"}], stored)) == {"new"}


def test_two_passwords_differ_and_are_long_enough() -> None:
    first, second = GENERATORS["password"](), GENERATORS["password"]()
    assert first != second
    assert len(first[""]) == 32


def test_the_authority_signs_certificates_and_nothing_else() -> None:
    pair = GENERATORS["certificate_authority"]()
    certificate = x509.load_pem_x509_certificate(pair["/certificate"].encode())
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert constraints.ca
    assert constraints.path_length == 0
    assert usage.key_cert_sign
    assert not usage.key_encipherment
    life = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(days=3649) < life <= datetime.timedelta(days=3650)


def test_a_written_store_is_encrypted_private_and_read_back(tmp_path: Path) -> None:
    store = SecretStore(tmp_path / "state")
    store.write({"database/owner": "planted-value"})
    assert store.read() == {"database/owner": "planted-value"}
    assert "planted-value" not in store.file.read_text()
    assert {store.file.stat().st_mode & 0o777, store.password_file.stat().st_mode & 0o777} == {0o600}
    assert sorted(path.name for path in store.file.parent.iterdir()) == ["secrets.yml", "vault_password"]


def test_a_missing_secret_names_the_nearest(tmp_path: Path) -> None:
    store = SecretStore(tmp_path)
    store.write({"database/owner": "x"})
    with pytest.raises(SecretStoreError, match=r"no secret 'databse/owner' .* nearest name there is 'database/owner'"):
        store.get("databse/owner")


def test_a_lost_password_is_not_replaced_by_a_new_one(tmp_path: Path) -> None:
    store = SecretStore(tmp_path)
    store.write({"a": "b"})
    encrypted = store.file.read_text()
    store.password_file.unlink()
    with pytest.raises(SecretStoreError, match="Restore it, or name its file in ANSIBLE_VAULT_PASSWORD_FILE"):
        store.write({"a": "c"})
    with pytest.raises(SecretStoreError, match="cannot be opened, because its password is not in"):
        store.read()
    assert store.file.read_text() == encrypted


def test_a_wrong_password_is_said(tmp_path: Path) -> None:
    store = SecretStore(tmp_path)
    store.write({"a": "b"})
    store.password_file.write_text("wrong\n")
    with pytest.raises(SecretStoreError, match="does not open"):
        store.read()


def test_the_password_may_be_kept_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("a password from a password manager\n")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(elsewhere))
    store = SecretStore(tmp_path / "state")
    store.write({"a": "b"})
    assert store.read() == {"a": "b"}
    assert not (tmp_path / "state" / "vault_password").exists()


def test_an_unknown_kind_names_the_legal_ones() -> None:
    with pytest.raises(SecretStoreError, match="kind 'pasword'; the legal kinds are password, access_key"):
        missing([{"name": "a", "kind": "pasword"}], {})
