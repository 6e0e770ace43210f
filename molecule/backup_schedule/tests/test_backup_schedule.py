"""Backups by timers, and what is told of them: on real repositories, one of them an object store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

from tests.waiting import wait

METRICS = "/var/lib/prometheus/node-exporter"
DATA = "/srv/molecule/data-1"
RESTORED = "/root/restored"
# What is copied, by the name of the copy: a directory, one file, and what the controller has laid down.
COPIES = {"data": DATA, "ledger": "/srv/molecule/ledger.json", "secrets": "/var/lib/gym/controller"}
JOBS = [
    f"backup-{kind}-{name}"
    for name, kinds in (
        ("1", ("full", "differential", "verify")),
        ("2", ("full", "differential", "verify")),
        *((name, ("copy", "verify")) for name in COPIES),
    )
    for kind in kinds
]


class Keeper:
    """The machine that keeps backups, the database and the object store."""

    def __init__(self, inventory: str) -> None:
        """Reach the hosts."""
        self.database, self.host, self.store = (
            testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}", sudo=True)
            for name in ("molecule-4", "molecule-5", "molecule-6")
        )
        self.secrets = Path(inventory).parents[2] / ".state" / "molecule" / "secrets.yml"

    def start(self, job: str) -> int:
        """Run a job as its timer does, to its end; return how that was."""
        return int(self.host.run(f"systemctl start backup-{job}.service").rc)

    def metrics(self) -> dict[str, float]:
        """Read everything that is told."""
        text = self.host.check_output(f"cat {METRICS}/backup_*.prom")
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in lines}

    def metric(self, name: str, **labels: str) -> float | None:
        """Read one of them; None where it is not told."""
        told = ",".join(f'{label}="{value}"' for label, value in labels.items())
        return self.metrics().get(f"gym_{name}{{{told}}}")

    def switch_wal(self) -> None:
        """Write something, and finish a segment of WAL."""
        statement = "SELECT pg_logical_emit_message(true, 'molecule', 'x'); SELECT pg_switch_wal()"
        self.database.check_output(f'runuser -u postgres -- psql -XAtqc "{statement}"')

    def damage(self, file: str) -> None:
        """Keep a file of the first repository aside; what follows may be done to it."""
        self.host.check_output(f"cp --preserve=all {file} /root/kept")

    def repair(self, file: str) -> None:
        """Put it back."""
        self.host.check_output(f"mv /root/kept {file}")


@pytest.fixture(scope="module")
def keeper(request: pytest.FixtureRequest) -> Keeper:
    return Keeper(str(Path(request.config.getoption("--ansible-inventory")).resolve()))


@pytest.fixture
def store_is_away(keeper: Keeper) -> Iterator[None]:
    keeper.store.check_output("systemctl stop object-store-endpoint")
    yield
    keeper.store.check_output("systemctl start object-store-endpoint")
    keeper.host.check_output("systemctl start backup-metrics")


@pytest.mark.parametrize("job", JOBS)
def test_every_job_has_a_timer_that_waits_a_little_and_makes_up(keeper: Keeper, job: str) -> None:
    timer = keeper.host.service(f"{job}.timer")
    assert timer.is_running
    assert timer.is_enabled
    shown = keeper.host.check_output(f"systemctl show {job}.timer -p Persistent -p RandomizedDelayUSec").split()
    assert sorted(shown) == ["Persistent=yes", "RandomizedDelayUSec=10min"]


@pytest.mark.parametrize("repository", ["1", "2"])
@pytest.mark.parametrize("kind", ["full", "differential", "verify"])
def test_a_job_does_what_it_is_for_and_tells(keeper: Keeper, kind: str, repository: str) -> None:
    assert keeper.start(f"{kind}-{repository}") == 0
    labels = {"repository": repository, "kind": kind}
    assert keeper.metric("backup_run_success", **labels) == 1
    last = keeper.metric("backup_last_success_timestamp_seconds", **labels)
    now = float(keeper.host.check_output("date +%s"))
    assert last is not None
    assert now - 120 < last <= now
    if kind == "verify":
        assert keeper.metric("backup_verified", repository=repository) == 1
        assert keeper.metric("backup_wal_complete", repository=repository) == 1
    else:
        size, stored = keeper.metric("backup_size_bytes", **labels), keeper.metric("backup_stored_bytes", **labels)
        assert size
        assert stored
        assert size > stored > 0


def test_runs_do_not_overlap(keeper: Keeper) -> None:
    """Three at once: each waits for the one before it, and none fails."""
    jobs = "backup-differential-1 backup-differential-2 backup-verify-1"
    since = keeper.host.check_output("date +%s")
    keeper.host.check_output(f"systemctl start {jobs}")
    journal = keeper.host.check_output(
        f"journalctl -o cat --since @{since} -u 'backup-differential-*'"
        " | grep -oE '(backup|expire) command (begin|end)'"
    )
    steps = [line.split()[-1] for line in journal.splitlines()]
    assert steps == ["begin", "end"] * 4


def test_wal_that_waits_is_told_and_waits_no_more_when_the_repository_is_back(keeper: Keeper) -> None:
    def lags() -> tuple[float | None, ...]:
        keeper.host.check_output("systemctl start backup-metrics")
        return tuple(keeper.metric("wal_archive_lag_seconds", repository=name) for name in ("1", "2"))

    keeper.switch_wal()
    wait(30, lambda: lags() == (0, 0))
    assert keeper.metric("wal_archive_maximum_lag_seconds", repository="1") == 20
    keeper.host.check_output("systemctl stop pgbackrest")
    try:
        keeper.switch_wal()
        # The other repository gets it a little later than it would.
        wait(120, lambda: (lags()[0] or 0) > 20 and lags()[1] == 0)
    finally:
        keeper.host.check_output("systemctl start pgbackrest")
    wait(120, lambda: lags() == (0, 0))


def test_a_store_that_is_away_is_told_and_is_not_damaged(keeper: Keeper, store_is_away: None) -> None:
    keeper.host.check_output("systemctl start backup-metrics")
    assert keeper.metric("backup_repository_reachable", repository="2") == 0
    assert keeper.metric("backup_repository_reachable", repository="1") == 1
    assert keeper.start("verify-2") != 0
    assert keeper.metric("backup_run_success", repository="2", kind="verify") == 0
    assert keeper.metric("backup_verified", repository="2") == 1
    assert keeper.start("copy-data") != 0
    assert keeper.metric("backup_repository_reachable", repository="data") == 0


@pytest.mark.parametrize("harm", ["truncate --size=-100", "printf x | dd conv=notrunc bs=1 seek=600 status=none of="])
@pytest.mark.parametrize("what", ["archive/backups/15-1/*/*-*", "backup/backups/*F/bundle/1"])
def test_damage_is_found(keeper: Keeper, what: str, harm: str) -> None:
    file = keeper.host.check_output(f"ls /var/lib/pgbackrest/{what} | tail -1")
    keeper.damage(file)
    try:
        keeper.host.check_output(f"{harm}{'' if harm.endswith('=') else ' '}{file}")
        assert keeper.start("verify-1") != 0
        assert keeper.metric("backup_verified", repository="1") == 0
        said = keeper.host.check_output("journalctl -o cat -n 40 -u backup-verify-1")
        assert "backup job verify-1 failed: exit-code, status 3" in said
    finally:
        keeper.repair(file)
    assert keeper.start("verify-1") == 0
    assert keeper.metric("backup_verified", repository="1") == 1


def test_a_repository_that_was_emptied_shows_at_once(keeper: Keeper) -> None:
    keeper.host.check_output("mv /var/lib/pgbackrest/backup /root/backup-kept")
    try:
        keeper.host.check_output("systemctl start backup-metrics")
        assert keeper.metric("backup_count", repository="1") == 0
        assert keeper.metric("backup_last_success_timestamp_seconds", repository="1", kind="full") == 0
        assert keeper.start("verify-1") != 0
    finally:
        keeper.host.check_output("mv /root/backup-kept /var/lib/pgbackrest/backup")
    assert keeper.start("verify-1") == 0


def restore(host: Host, name: str) -> None:
    """Lay the newest copy down elsewhere."""
    program = "/usr/local/lib/gym-platform/backup_copy.py"
    host.check_output(f"rm -rf {RESTORED} && {program} restore {name} --target {RESTORED}")


@pytest.mark.parametrize("name", COPIES)
def test_every_copy_comes_back_with_content_owners_and_modes(keeper: Keeper, name: str) -> None:
    host, path = keeper.host, COPIES[name]
    assert keeper.start(f"copy-{name}") == 0
    assert keeper.metric("backup_last_success_timestamp_seconds", repository=name, kind="copy")
    restore(host, name)
    host.check_output(f"diff --recursive {path} {RESTORED}{path}")
    listed = [f"find {root}{path} -printf '%P %u:%g %m %T@\\n' | sort" for root in ("", RESTORED)]
    assert host.check_output(listed[0]) == host.check_output(listed[1])


def test_the_newest_copy_is_what_comes_back(keeper: Keeper) -> None:
    host = keeper.host
    for word in ("first", "second"):
        host.check_output(f"rm -f {DATA}/prepared && echo {word} > {DATA}/file")
        assert keeper.start("copy-data") == 0
        restore(host, "data")
        assert host.check_output(f"cat {RESTORED}{DATA}/file") == word
        # What `prepare` has made is in it.
        assert host.file(f"{RESTORED}{DATA}/prepared").exists
    assert keeper.start("verify-data") == 0
    assert keeper.metric("backup_verified", repository="data") == 1


def test_the_secrets_are_as_encrypted_as_on_the_controller(keeper: Keeper) -> None:
    restore(keeper.host, "secrets")
    text = keeper.host.check_output(f"cat {RESTORED}{COPIES['secrets']}/secrets.yml")
    assert text.startswith("$ANSIBLE_VAULT;")
    assert text == keeper.secrets.read_text().strip()


def test_copies_are_encrypted(keeper: Keeper) -> None:
    keeper.host.check_output(f"echo needle-in-the-copy > {DATA}/file")
    assert keeper.start("copy-data") == 0
    assert keeper.store.run("grep -r needle-in-the-copy /var/lib/object-store").rc == 1


@pytest.fixture
def impatient(keeper: Keeper) -> Iterator[None]:
    """A copy that failed is tried again at once."""
    settings = "/run/systemd/system/backup-copy-data.service.d"
    keeper.host.check_output(f"mkdir -p {settings} && printf '[Service]\\nRestartSec=1\\n' > {settings}/retry.conf")
    keeper.host.check_output("systemctl daemon-reload")
    yield
    keeper.host.check_output(f"rm -r {settings} && systemctl daemon-reload")


@pytest.mark.usefixtures("impatient")
def test_a_path_that_is_gone_is_a_failure_until_it_is_back(keeper: Keeper) -> None:
    keeper.host.check_output("mv /srv/molecule/data-1 /srv/molecule/away")
    try:
        assert keeper.start("copy-data") != 0
        assert keeper.metric("backup_run_success", repository="data", kind="copy") == 0
    finally:
        keeper.host.check_output("mv /srv/molecule/away /srv/molecule/data-1")
    wait(60, lambda: keeper.metric("backup_run_success", repository="data", kind="copy") == 1)
