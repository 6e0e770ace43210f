"""Backups are hurt on the running platform, and each time somebody is told; afterwards everything is as it was.

What is planted is real: bytes of a repository, a key, a certificate, a disk, a timer. What is waited for is the alert
in Prometheus. Alerts that take an hour by their nature are decided by promtool, in molecule/prometheus.
"""

from __future__ import annotations

import datetime
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import pytest
import urllib3
from ansible_collections.gym.platform.plugins.module_utils.secret_store import SecretStore
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from tests.end_to_end.platform_access import DATABASES, PREFIX, STATE, leader, on_host, sql, wait_for

KEEPER, STORE = "backup-1", "store-1"
REPOSITORY = "/var/lib/pgbackrest"
CERTIFICATE = "/etc/ssl/gym/host.pem"
ALERTS = ("BackupRepositoryUnreachable", "BackupRepositoryDamaged", "BackupRepositoryEmpty", "WalArchiveStalled")
# What a rule waits itself, two minutes at most; metrics are told each minute and read each 15 s; a store that is away
# is asked several times.
TOLD_SECONDS = 300.0
# For the test of a full disk, instead of the five minutes of the platform.
SHORT_LAG_SECONDS = 30
# Ttl of the leader's key, promotion, and the hand-over of what the old leader has left.
TAKEOVER_SECONDS = 120.0
HANDED_OVER_SECONDS = 120.0


def shell(host: str, script: str, *, check: bool = True) -> str:
    """Run a script as root on a host."""
    return on_host(host, "bash", "-ec", script, check=check)


def firing(name: str, /, **labels: str) -> bool:
    """Tell whether an alert fires."""
    answer = urllib3.PoolManager().request("GET", "http://127.0.0.1:9090/api/v1/alerts")
    assert answer.status == 200, answer.data
    alerts: list[dict[str, Any]] = answer.json()["data"]["alerts"]
    return any(
        alert["state"] == "firing" and {"alertname": name, **labels}.items() <= alert["labels"].items()
        for alert in alerts
    )


def told(name: str, /, **labels: str) -> None:
    """Wait until an alert fires."""
    wait_for(lambda: firing(name, **labels), TOLD_SECONDS, f"{name} fires")


@contextmanager
def forgotten(name: str, /, **labels: str) -> Iterator[None]:
    """What is done within makes an alert end."""
    yield
    wait_for(lambda: not firing(name, **labels), TOLD_SECONDS, f"{name} ends")


def verify(repository: str) -> int:
    """Verify a repository as its timer does; return how that ended."""
    done = shell(KEEPER, f"systemctl start backup-verify-{repository}.service && echo 0 || echo 1", check=False)
    return int(done.splitlines()[-1])


@pytest.fixture(autouse=True)
def well() -> Iterator[None]:
    """Begin with nothing that fires, so that what fires is what was planted; what the test before set off may end."""
    possible = list(product(ALERTS, ("1", "2")))
    wait_for(lambda: not any(firing(name, repository=one) for name, one in possible), TOLD_SECONDS, "nothing fires")
    yield
    assert leader()


@contextmanager
def kept_aside(host: str, path: str) -> Iterator[None]:
    """Put a file back as it was."""
    shell(host, f"cp --preserve=all {path} /root/kept-aside")
    try:
        yield
    finally:
        shell(host, f"mv /root/kept-aside {path}")


@pytest.mark.parametrize("where", ["archive/gym/15-1/*/*-*", "backup/gym/*F/bundle/1"], ids=["wal", "backup"])
@pytest.mark.parametrize(
    "harm",
    ["truncate --size=-100 $file", "printf x | dd of=$file conv=notrunc bs=1 seek=600 status=none"],
    ids=["truncated", "flipped byte"],
)
def test_damage_in_the_repository(where: str, harm: str) -> None:
    file = shell(KEEPER, f"ls {REPOSITORY}/{where} | head -1")
    with forgotten("BackupRepositoryDamaged", repository="1"):
        with kept_aside(KEEPER, file):
            shell(KEEPER, f"file={file}; {harm}")
            assert verify("1") != 0
            told("BackupRepositoryDamaged", repository="1")
        assert verify("1") == 0


@contextmanager
def key_revoked() -> Iterator[None]:
    """The object store does not know the key any more."""
    configuration = "/etc/swift/proxy-server.conf"
    secret = SecretStore(STATE).get("object_store/secret_key")
    try:
        with kept_aside(STORE, configuration):
            shell(STORE, f"sed -i 's/{secret}/revoked/' {configuration} && systemctl restart object-store@proxy")
            yield
    finally:
        shell(STORE, "systemctl restart object-store@proxy")


@contextmanager
def certificate_expired() -> Iterator[None]:
    """The object store shows a certificate of yesterday."""
    secrets = SecretStore(STATE)
    authority = x509.load_pem_x509_certificate(secrets.get("certificate_authority/certificate").encode())
    key = serialization.load_pem_private_key(secrets.get("certificate_authority/key").encode(), None)
    current = x509.load_pem_x509_certificate(shell(STORE, f"cat {CERTIFICATE}").encode())
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(current.subject)
        .issuer_name(authority.subject)
        .public_key(current.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now - datetime.timedelta(days=1))
    )
    for extension in current.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    text = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()  # type: ignore[arg-type]
    try:
        with kept_aside(STORE, CERTIFICATE):
            shell(STORE, f"printf %s '{text}' > {CERTIFICATE} && systemctl reload object-store-endpoint")
            yield
    finally:
        shell(STORE, "systemctl reload object-store-endpoint")


@pytest.mark.parametrize("expired", [key_revoked, certificate_expired], ids=["key", "certificate"])
def test_an_expired_key(expired: Any) -> None:
    with forgotten("BackupRepositoryUnreachable", repository="2"), expired():
        told("BackupRepositoryUnreachable", repository="2")
        # It is away and not damaged, and the other repository goes on taking what comes.
        assert verify("2") != 0
        assert not firing("BackupRepositoryDamaged", repository="2")
        segment = sql(leader(), "select pg_walfile_name(pg_switch_wal())")
        path = f"{REPOSITORY}/archive/gym/15-1/{segment[:16]}/{segment}-*"
        wait_for(lambda: bool(shell(KEEPER, f"ls {path}", check=False)), 120, f"repository 1 has {segment}")
    assert verify("2") == 0


@contextmanager
def full_disk() -> Iterator[None]:
    """The disk under the WAL of the first repository has room for what is there already and for nothing else."""
    archive = f"{REPOSITORY}/archive/gym/15-1"
    newest = shell(KEEPER, f"ls -d {archive}/*/* | sort | tail -1")
    directory = newest.rsplit("/", 1)[0]
    try:
        shell(
            KEEPER,
            f"cp -p {newest} /root/newest;"
            f"mount -t tmpfs -o size=20m,mode=0750,uid=postgres,gid=postgres gym {archive};"
            f"install -d -o postgres -g postgres {directory}; cp -p /root/newest {newest};"
            f"dd if=/dev/zero of={archive}/filling bs=4k status=none || true; systemctl restart pgbackrest",
        )
        yield
    finally:
        shell(KEEPER, f"umount {archive} && systemctl restart pgbackrest")


@contextmanager
def impatient() -> Iterator[None]:
    """WAL that waits is told of sooner."""
    settings = "/etc/gym/backup_schedule.json"
    with kept_aside(KEEPER, settings):
        told_now = json.loads(shell(KEEPER, f"cat {settings}")) | {"maximum_lag_seconds": SHORT_LAG_SECONDS}
        shell(KEEPER, f"echo '{json.dumps(told_now)}' > {settings}")
        yield


def test_a_full_disk() -> None:
    with forgotten("WalArchiveStalled", repository="1"), impatient(), full_disk():
        sql(leader(), "select pg_logical_emit_message(true, 'sabotage', 'x'); select pg_switch_wal()")
        told("WalArchiveStalled", repository="1")
        assert not firing("WalArchiveStalled", repository="2")
    # Nothing that waited is lost.
    assert verify("1") == 0


def test_a_stopped_timer() -> None:
    timer = "backup-full-1.timer"
    with forgotten("BackupTimerStopped", name=timer):
        shell(KEEPER, f"systemctl stop {timer}")
        try:
            told("BackupTimerStopped", name=timer)
        finally:
            shell(KEEPER, f"systemctl start {timer}")


def test_a_repository_that_is_silently_empty() -> None:
    with forgotten("BackupRepositoryEmpty", repository="1"):
        shell(KEEPER, f"mv {REPOSITORY}/backup /root/backup-kept")
        try:
            told("BackupRepositoryEmpty", repository="1")
            told("BackupTooOld", repository="1", kind="full")
            assert verify("1") != 0
        finally:
            shell(KEEPER, f"rm -rf {REPOSITORY}/backup && mv /root/backup-kept {REPOSITORY}/backup")
        assert verify("1") == 0


def has_everything(repository: str) -> None:
    """Wait until no moment is missing: a repository lets one process in at a time, and the new leader has two."""
    wait_for(lambda: verify(repository) == 0, HANDED_OVER_SECONDS, f"repository {repository} is whole", every=5)


def test_a_leader_that_dies_under_load_leaves_no_hole() -> None:
    """What it had not handed over, the new leader hands over."""
    lost = leader()
    rows = "select pg_logical_emit_message(false, 'sabotage', repeat(md5(random()::text), 30000))"
    load = threading.Thread(
        target=sql, args=[lost, f"{rows} from generate_series(1, 400)"], kwargs={"check": False}, daemon=True
    )
    before = int(sql(lost, "select count(*) from pg_ls_archive_statusdir() where name like '%.ready'"))
    load.start()
    ready = "select count(*) from pg_ls_archive_statusdir() where name like '%.ready'"
    wait_for(lambda: int(sql(lost, ready)) > before + 2, 60, "more is written than handed over", every=0.05)
    subprocess.run(["docker", "kill", f"{PREFIX}{lost}"], check=True, capture_output=True, timeout=60)
    try:
        others = [host for host in DATABASES if host != lost]
        new = wait_for(
            lambda: next((h for h in others if sql(h, "select not pg_is_in_recovery()", check=False) == "t"), ""),
            TAKEOVER_SECONDS, "another node takes over",
        )  # fmt: skip
        segment = sql(new, "select pg_walfile_name(pg_switch_wal())")
        done = f"/var/lib/postgresql/15/gym/pg_wal/archive_status/{segment}.done"
        wait_for(lambda: "yes" in shell(new, f"test -e {done} && echo yes", check=False), 120, f"{segment} is archived")
        for repository in ("1", "2"):
            has_everything(repository)
            said = shell(
                KEEPER, f"grep wal_complete /var/lib/prometheus/node-exporter/backup_job_verify-{repository}.prom"
            )
            assert said.splitlines()[-1].endswith(" 1"), said
    finally:
        subprocess.run(["docker", "start", f"{PREFIX}{lost}"], check=True, capture_output=True, timeout=60)
