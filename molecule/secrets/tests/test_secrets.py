"""What the role leaves on the controller can be opened with its password, and with nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.gym.platform.plugins.module_utils.secret_store import SecretStore, SecretStoreError
from testinfra.host import Host

testinfra_hosts = ["local://"]
DIRECTORY = Path(__file__).resolve().parents[3] / ".state" / "molecule" / "secrets"


def test_only_the_owner_reads_it(host: Host) -> None:
    assert host.file(str(DIRECTORY)).mode == 0o700
    for name in ("secrets.yml", "vault_password"):
        assert host.file(str(DIRECTORY / name)).mode == 0o600


def test_the_password_opens_it() -> None:
    assert len(SecretStore(DIRECTORY).get("database/owner")) == 32


def test_another_password_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").write_text("another\n")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(tmp_path / "other"))
    with pytest.raises(SecretStoreError, match="does not open"):
        SecretStore(DIRECTORY).get("database/owner")


def test_the_public_half_of_the_authority_is_beside_it(host: Host) -> None:
    certificate = host.check_output("openssl x509 -noout -subject -in %s", str(DIRECTORY / "ca.pem"))
    assert "gym platform authority" in certificate
