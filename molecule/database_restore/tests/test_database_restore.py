# ruff: noqa: S608 - the statements are the test's own
"""A database comes back from its backups: beside itself, a part of it, in its place, and not when it must not.

The tests run in the order in which they stand here: the last ones replace the database.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner

from tests.waiting import wait

SCENARIO = Path(__file__).parents[1]
AUTHORITY = "/etc/ssl/gym/ca.pem"
PROGRAM = "/usr/local/lib/gym-platform/backup_repository.py"
WORK = "/var/lib/postgresql/restore"
DATA = "/var/lib/postgresql/15/gym"
NORTH, SOUTH = (f"(SELECT id FROM gym.tenants WHERE slug = '{slug}')" for slug in ("north-gym", "south-gym"))
COUNTS = "SELECT (SELECT count(*) FROM gym.members), (SELECT count(*) FROM gym.check_ins)"
IN_PLACE = {"restore_place": "in_place", "restore_confirm": "molecule"}


class Site:
    """A cluster of three nodes, and the machine with the repositories and with what is restored beside."""

    def __init__(self, inventory: str) -> None:
        self.inventory = inventory
        runner = AnsibleRunner(inventory)
        names = [*sorted(runner.get_hosts("machines")), "molecule-6"]
        hosts = {
            name: testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}", sudo=True) for name in names
        }
        self.keeper: Host = hosts.pop("molecule-6")
        self.nodes: dict[str, Host] = hosts
        self.address = str(runner.get_variables("molecule-6")["ansible_host"])

    def leader(self) -> str:
        """Return the name of the node that leads; empty while there is none."""
        for host in self.nodes.values():
            answer = host.run(f"curl -sf -m 3 --cacert {AUTHORITY} https://127.0.0.1:8008/cluster")
            if answer.rc == 0:
                members = json.loads(answer.stdout)["members"]
                return next((str(member["name"]) for member in members if member["role"] == "leader"), "")
        return ""

    def healthy(self) -> bool:
        """Tell whether one node leads and feeds the others."""
        leader = self.leader()
        return bool(leader) and self.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == "2"

    def sql(self, statement: str, database: str = "gym") -> str:
        """Run a statement in the live database, as the superuser."""
        command = f"psql -XAtq -v ON_ERROR_STOP=1 -U postgres -d {database} -c {shlex.quote(statement)}"
        return str(self.nodes[self.leader()].check_output(command)).strip()

    def restored(self, statement: str, port: int = 5433) -> str:
        """Run a statement in what was restored beside."""
        words = f"-h /run/postgresql -p {port} -U postgres -d gym -c {shlex.quote(statement)}"
        return str(self.keeper.check_output(f"psql -XAtq -v ON_ERROR_STOP=1 {words}")).strip()

    def schema(self, beside: bool = False) -> str:
        """Return the schema of the live database or of the restored one."""
        host, words = (self.keeper, "-h /run/postgresql -p 5433") if beside else (self.nodes[self.leader()], "")
        # What begins with a backslash is a key of its own each time.
        return str(
            host.check_output(f"pg_dump -U postgres --schema-only {words} gym | grep -v '^.restrict\\|^.unrestrict'")
        )

    def command(self, *options: str, **request: str) -> list[str]:
        """Return the words that restore."""
        extra = ["--extra-vars", json.dumps(request)]
        return ["ansible-playbook", "--inventory", self.inventory, str(SCENARIO / "restore.yml"), *extra, *options]

    def restore(self, *options: str, **request: str) -> subprocess.CompletedProcess[str]:
        """Restore. Molecule has Ansible colour each line, and what is said is read here."""
        plain = {**os.environ, "ANSIBLE_FORCE_COLOR": "false"}
        return subprocess.run(
            self.command(*options, **request), capture_output=True, text=True, check=False, timeout=900, env=plain
        )

    def restored_well(self, *options: str, **request: str) -> str:
        """Restore, and return what was said."""
        run = self.restore(*options, **request)
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    def refused(self, *options: str, **request: str) -> str:
        """Ask for what cannot be, and return the sentence."""
        run = self.restore(*options, **request)
        assert run.returncode == 2, run.stdout + run.stderr
        sentence = re.search(r'FAILED! => \{.*"msg": "((?:[^"\\]|\\.)*)"', run.stdout)
        assert sentence, run.stdout
        return str(json.loads(f'"{sentence[1]}"'))

    def segment(self) -> str:
        """Have everything archived, and return the path of the last segment in the first repository."""
        name = self.sql("SELECT pg_walfile_name(pg_switch_wal())")
        directory = f"/var/lib/pgbackrest/archive/gym/15-1/{name[:16]}"
        wait(30, lambda: self.keeper.run(f"ls {directory}/{name}-*").rc == 0)
        return str(self.keeper.check_output(f"ls {directory}/{name}-*")).strip()


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest) -> Site:
    site = Site(str(Path(request.config.getoption("--ansible-inventory")).resolve()))
    wait(60, site.healthy)
    schema = (SCENARIO / "files" / "schema.sql").read_text(encoding="utf-8")
    site.sql(schema)
    return site


@pytest.fixture(scope="module")
def deleted(site: Site) -> tuple[str, str]:
    """Let a bad DELETE happen, with good rows before and after it; return its moment and the counts before."""
    before = site.sql(COUNTS)
    moment = site.sql("SELECT clock_timestamp()")
    site.sql(f"DELETE FROM gym.check_ins WHERE tenant_id = {NORTH}")
    site.sql(f"INSERT INTO gym.members VALUES ({SOUTH}, gen_random_uuid(), 'After')")
    return moment, before


@pytest.fixture(scope="module")
def beside(site: Site, deleted: tuple[str, str]) -> Iterator[str]:
    """Restore to just before the bad statement, beside the live database."""
    site.restored_well(restore_state="absent")
    said = site.restored_well(restore_to=deleted[0])
    yield said
    site.restored_well(restore_state="absent")


def test_every_row_from_before_the_moment_is_there_and_none_from_after(
    site: Site, beside: str, deleted: tuple[str, str]
) -> None:
    assert site.restored(COUNTS) == deleted[1]
    assert site.restored("SELECT count(*) FROM gym.members WHERE name = 'After'") == "0"


def test_the_record_tells_how_far_it_came_and_how_long_it_took(
    site: Site, beside: str, deleted: tuple[str, str]
) -> None:
    record = json.loads(site.keeper.check_output(f"cat {WORK}/beside.json"))
    moment = datetime.datetime.fromisoformat(deleted[0])
    last, left_out = (datetime.datetime.fromisoformat(record[key]) for key in ("last_transaction", "left_out"))
    assert last < moment <= left_out
    assert record["restored_to"] == f"just before {moment.isoformat().replace('+00:00', 'Z')}"
    assert 0 < record["restore_seconds"] < record["seconds"]


def test_it_is_written_to_on_a_timeline_of_its_own_and_archives_nothing(site: Site, beside: str) -> None:
    segments = "ls -R /var/lib/pgbackrest/archive | wc -l"
    before = site.keeper.check_output(segments)
    site.restored("INSERT INTO gym.prices VALUES ('restored', 1)")
    site.restored("SELECT pg_switch_wal()")
    assert site.restored("SHOW archive_mode") == "off"
    assert site.sql("SELECT count(*) FROM gym.prices WHERE plan = 'restored'") == "0"
    timeline = "SELECT timeline_id FROM pg_control_checkpoint()"
    site.restored("CHECKPOINT")
    assert int(site.restored(timeline)) == int(site.sql(timeline)) + 1
    # What the live database archives meanwhile is on another timeline.
    assert site.keeper.run(f"find /var/lib/pgbackrest/archive -name '{int(site.restored(timeline)):08X}*'").stdout == ""
    assert int(site.keeper.check_output(segments)) >= int(before)
    site.restored("DELETE FROM gym.prices WHERE plan = 'restored'")


def test_a_user_gets_in_with_tls_and_password_and_a_superuser_only_from_a_node(site: Site, beside: str) -> None:
    node = site.nodes["molecule-1"]
    dsn = f"host=molecule-6.gym.internal hostaddr={site.address} port=5433 dbname=gym sslrootcert={AUTHORITY}"
    mine = "sslcert=/etc/ssl/gym/host.pem sslkey=/etc/ssl/gym/host.pem.key"

    def psql(words: str, host: Host = node, password: str = "molecule-app") -> tuple[int, str]:  # noqa: S107
        asked = host.run(f"PGPASSWORD={password} psql -XAtq '{dsn} {words}' -c 'SELECT current_user' 2>&1")
        return int(asked.rc), str(asked.stdout).strip()

    assert psql("user=gym_app sslmode=verify-full") == (0, "gym_app")
    assert psql(f"user=postgres sslmode=verify-full {mine}") == (0, "postgres")
    for words, reason in (
        ("user=gym_app sslmode=disable", "no encryption"),
        ("user=postgres sslmode=verify-full", "connection requires a valid client certificate"),
    ):
        status, said = psql(words)
        assert status != 0
        assert reason in said
    assert "password authentication failed" in psql("user=gym_app sslmode=verify-full", password="wrong")[1]
    # The machine itself has a certificate of the same authority, and is no node.
    assert "no pg_hba.conf entry" in psql(f"user=postgres sslmode=verify-full {mine}", site.keeper)[1] or (
        "pg_hba.conf rejects" in psql(f"user=postgres sslmode=verify-full {mine}", site.keeper)[1]
    )


def test_the_same_request_restores_nothing_again_and_another_is_refused(
    site: Site, beside: str, deleted: tuple[str, str]
) -> None:
    process = site.keeper.check_output("systemctl show --value --property=MainPID database-restore@beside")
    assert "changed=0" in site.restored_well(restore_to=deleted[0]).split("molecule-6")[-1]
    assert site.keeper.check_output("systemctl show --value --property=MainPID database-restore@beside") == process
    assert "give another restore_name" in site.refused(restore_to="latest")


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"restore_to": "2999-01-01T00:00:00Z"}, "which is in the future"),
        ({"restore_to": "2001-01-01T00:00:00Z"}, "the oldest backup of repository 1 was complete after that"),
        ({"restore_to": "2030-01-01T00:00:00"}, "has no zone"),
        ({"restore_to": "no-such-name"}, "has no backup of that name"),
        ({"restore_repository": "3"}, "restore_repository is 3; there is 1 or 2"),
        ({"restore_place": "in_place"}, "restore_confirm is missing: add -e restore_confirm=molecule"),
        ({**IN_PLACE, "restore_confirm": "production"}, "restore_confirm is 'production'"),
        ({**IN_PLACE, "restore_tenant": "north-gym"}, "'north-gym' alone cannot be restored"),
        ({"restore_tenant": "north-gym", "restore_table": "members"}, "Ask for a tenant, which comes back as a whole"),
        ({"restore_tenant": "north-gym", "restore_rows": "missing"}, "these alone can come back with restore_rows"),
        ({"restore_table": "members", "restore_rows": "some"}, "must be one of: all, missing, got: some"),
    ],
)
def test_what_cannot_be_is_refused_and_touches_nothing(site: Site, request_: dict[str, str], said: str) -> None:
    leader, start = site.leader(), site.sql("SELECT pg_postmaster_start_time()")
    assert said in site.refused(restore_name="refused", **request_)
    assert (site.leader(), site.sql("SELECT pg_postmaster_start_time()")) == (leader, start)
    assert site.keeper.run(f"ls -d {WORK}/refused*").rc != 0


@contextmanager
def too_small_a_disk(host: Host) -> Iterator[None]:
    """Put a small file system where databases are restored to."""
    host.check_output(f"mkdir -p {WORK}/small && mount -t tmpfs -o size=300M tmpfs {WORK}/small")
    try:
        yield
    finally:
        host.check_output(f"umount {WORK}/small && rmdir {WORK}/small")


def test_too_small_a_disk_is_refused(site: Site) -> None:
    with too_small_a_disk(site.keeper):
        said = site.refused(restore_name="small")
    assert "The disk is too small" in said
    assert "0.3 GiB are free: free 0." in said


def test_a_hole_in_the_archive_is_told_and_not_taken_for_its_end(site: Site) -> None:
    site.sql("INSERT INTO gym.prices VALUES ('hole', 1)")
    broken = site.segment()
    site.sql("INSERT INTO gym.prices VALUES ('behind', 1)")
    site.segment()
    site.keeper.check_output(f"cp -p {broken} /root/segment && truncate -s 2000 {broken}")
    try:
        said = site.refused(restore_name="hole", restore_port="5434", restore_repository="1")
    finally:
        site.keeper.check_output(f"cp -p /root/segment {broken} && rm /root/segment")
    assert f"WAL segment {Path(broken).name[:24]} is missing or damaged in repository 1" in said
    assert "-e restore_to=" in said
    # What was said to be possible is: the other repository has everything.
    site.restored_well(restore_name="hole", restore_port="5434", restore_repository="2")
    assert site.restored("SELECT count(*) FROM gym.prices WHERE plan IN ('hole', 'behind')", port=5434) == "2"
    site.restored_well(restore_name="hole", restore_state="absent")
    assert site.keeper.run(f"ls -d {WORK}/hole*").rc != 0


def test_a_damaged_backup_is_told(site: Site) -> None:
    """A byte is flipped in a file of the backup."""
    find = "find /var/lib/pgbackrest/backup/gym/2*F -type f ! -name 'backup.*' -printf '%s %p\\n' | sort -n | tail -1"
    file = str(site.keeper.check_output(find)).split()[1]
    flip = f'python3 -c \'f=open("{file}","r+b"); f.seek(9000); b=f.read(1)[0]; f.seek(9000); f.write(bytes([b^1]))\''
    label = Path(file.split("/gym/")[1]).parts[0]
    site.keeper.check_output(flip)
    try:
        said = site.refused(restore_name="damaged", restore_port="5434", restore_repository="1", restore_to=label)
    finally:
        site.keeper.check_output(flip)
        site.restored_well(restore_name="damaged", restore_state="absent")
    assert f"Backup {label} cannot be restored from repository 1: take another backup, or the other repository" in said


def counted(said: str) -> dict[str, Any]:
    """Return the counts that a run has shown."""
    found = re.search(r'"msg": (\{.*?\n    \})', said, re.DOTALL)
    assert found, said
    counts: dict[str, Any] = json.loads(found[1])
    return counts


def test_a_dry_run_counts_and_changes_nothing(site: Site, beside: str, deleted: tuple[str, str]) -> None:
    before = site.sql(COUNTS)
    site.sql(f"UPDATE gym.members SET name = 'Nobody' WHERE tenant_id = {NORTH} AND name = 'Member 7'")
    counts = counted(site.restored_well("--check", restore_to=deleted[0], restore_tenant="north-gym"))
    assert counts["gym.check_ins"] == {"backup": 10000, "deleted": 0, "inserted": 10000, "updated": 0}
    assert counts["gym.members"] == {"backup": 500, "deleted": 0, "inserted": 0, "updated": 1}
    assert "gym.prices" not in counts
    assert site.sql(COUNTS) == before


def test_one_tenant_comes_back_while_the_others_write(site: Site, beside: str, deleted: tuple[str, str]) -> None:
    leader = site.nodes[site.leader()]
    tenant = site.sql(f"SELECT {SOUTH}")
    # As the service writes: in transactions of the tenant, through the pooler.
    write = (
        f"BEGIN; SET LOCAL gym.tenant_id = '{tenant}'; INSERT INTO gym.check_ins (tenant_id, member_id)"
        f" SELECT tenant_id, id FROM gym.members WHERE name = 'Member 1'; COMMIT"
    )
    dsn = "host=127.0.0.1 port=6432 dbname=gym user=gym_app sslmode=require"
    script = (
        f"rm -f /run/molecule-stop; for n in $(seq 10000); do test -e /run/molecule-stop && break;"
        f" PGPASSWORD=molecule-app psql -XAtq -v ON_ERROR_STOP=1 '{dsn}' -c \"{write}\" && echo good || echo bad;"
        " sleep 0.05; done"
    )
    before = site.sql(f"SELECT count(*) FROM gym.check_ins WHERE tenant_id = {SOUTH}")
    with ThreadPoolExecutor() as pool:
        written = pool.submit(leader.run, f"bash -c {shlex.quote(script)}")
        try:
            site.restored_well(restore_to=deleted[0], restore_tenant="north-gym")
        finally:
            leader.check_output("touch /run/molecule-stop")
        answers = str(written.result().stdout).split()
    assert set(answers) == {"good"}
    assert len(answers) > 10
    assert site.sql(f"SELECT count(*) FROM gym.check_ins WHERE tenant_id = {SOUTH}") == str(int(before) + len(answers))
    rows = f"SELECT md5(string_agg(c::text, ',' ORDER BY id)) FROM gym.check_ins c WHERE tenant_id = {NORTH}"
    assert site.sql(rows) == site.restored(rows)
    names = f"SELECT md5(string_agg(m::text, ',' ORDER BY id)) FROM gym.members m WHERE tenant_id = {NORTH}"
    assert site.sql(names) == site.restored(names)
    assert site.sql("SELECT count(*) FROM gym.members WHERE name = 'After'") == "1"


def test_a_tenant_that_is_as_it_was_is_left_alone(site: Site, beside: str, deleted: tuple[str, str]) -> None:
    said = site.restored_well(restore_to=deleted[0], restore_tenant="north-gym")
    assert all(count == 0 for counts in counted(said).values() for word, count in counts.items() if word != "backup")


def test_an_unknown_tenant_and_another_schema_are_refused(site: Site, beside: str, deleted: tuple[str, str]) -> None:
    said = site.refused(restore_to=deleted[0], restore_tenant="nort-gym")
    assert "'nort-gym', and at that moment no tenant was called so; of 2 tenants the nearest are north-gym" in said
    site.sql("ALTER TABLE gym.members ADD COLUMN phone text; ALTER TABLE gym.check_ins ALTER COLUMN at DROP NOT NULL")
    try:
        said = site.refused(restore_to=deleted[0], restore_tenant="north-gym")
    finally:
        site.sql("ALTER TABLE gym.members DROP COLUMN phone; ALTER TABLE gym.check_ins ALTER COLUMN at SET NOT NULL")
    assert "gym.members.phone is only in the live database" in said
    assert (
        "gym.check_ins.at is timestamp with time zone NOT NULL in the backup and timestamp with time zone in the live"
        in said
    )


def test_missing_rows_come_back_and_newer_ones_stay(site: Site, beside: str, deleted: tuple[str, str]) -> None:
    site.sql("DELETE FROM gym.check_ins WHERE member_id IN (SELECT id FROM gym.members WHERE name = 'Member 9')")
    site.sql("DELETE FROM gym.members WHERE name = 'Member 9'")
    site.sql("UPDATE gym.members SET name = 'Renamed' WHERE name = 'Member 8'")
    said = site.restored_well(restore_to=deleted[0], restore_table="members,gym.check_ins", restore_rows="missing")
    counts = counted(said)
    assert counts["gym.members"] == {"backup": 1000, "deleted": 0, "inserted": 2, "updated": 0}
    assert counts["gym.check_ins"] == {"backup": 20000, "deleted": 0, "inserted": 40, "updated": 0}
    assert site.sql("SELECT count(*) FROM gym.members WHERE name IN ('Renamed', 'After')") == "3"


def test_a_lost_table_comes_back_with_all_that_went_with_it(site: Site, beside: str, deleted: tuple[str, str]) -> None:
    site.sql("DROP TABLE gym.members CASCADE")
    said = site.restored_well(restore_to=deleted[0], restore_table="members")
    assert counted(said)["gym.members"]["inserted"] == 1000
    assert site.schema() == site.schema(beside=True)
    site.sql("INSERT INTO gym.check_ins (tenant_id, member_id) SELECT tenant_id, id FROM gym.members LIMIT 1")


def test_a_table_becomes_what_it_was(site: Site, beside: str, deleted: tuple[str, str]) -> None:
    site.sql("UPDATE gym.prices SET amount = 0")
    site.restored_well(restore_to=deleted[0], restore_table="prices")
    assert site.sql("SELECT plan, amount FROM gym.prices ORDER BY 1") == "basic|20\nplus|35"


def test_a_backup_comes_back_by_its_name(site: Site) -> None:
    site.sql("CREATE TABLE gym.named AS SELECT 1 AS row")
    site.keeper.check_output(
        f"runuser -u postgres -- {PROGRAM} backup --repository=2 --kind=differential --name=before-migration"
    )
    site.sql("DROP TABLE gym.named")
    site.restored_well(restore_to="before-migration", restore_repository="2", restore_name="named", restore_port="5434")
    assert site.restored("SELECT row FROM gym.named", port=5434) == "1"
    site.restored_well(restore_name="named", restore_state="absent")


def test_a_check_in_place_touches_nothing(site: Site) -> None:
    leader, start = site.leader(), site.sql("SELECT pg_postmaster_start_time()")
    site.restored_well("--check", **IN_PLACE)
    assert (site.leader(), site.sql("SELECT pg_postmaster_start_time()")) == (leader, start)
    assert site.nodes[leader].run(f"ls {WORK}/in_place*").stdout == ""


@pytest.fixture(scope="module")
def given_up(site: Site) -> str:
    """Write something that a restore in place then gives up; return a moment at which it was there."""
    moment = site.sql("SELECT clock_timestamp()")
    site.sql("DELETE FROM gym.check_ins")
    site.sql("INSERT INTO gym.prices VALUES ('given up', 1)")
    later = site.sql("SELECT clock_timestamp()")
    site.sql("INSERT INTO gym.prices VALUES ('too late', 1)")
    site.restored_well(restore_to=moment, **IN_PLACE)
    return later


def test_in_place_the_database_is_what_it_was_and_the_nodes_follow(site: Site, request: pytest.FixtureRequest) -> None:
    before = site.sql(COUNTS)
    request.getfixturevalue("given_up")
    wait(60, site.healthy)
    assert site.sql(COUNTS) == before
    assert all(host.run(f"ls -d {WORK}/in_place* {DATA}.before-restore").stdout == "" for host in site.nodes.values())
    # A replica must not stop where the restored one stopped.
    for host in site.nodes.values():
        assert "recovery_target" not in host.check_output(f"cat {DATA}/postgresql.auto.conf")


def test_what_was_given_up_can_still_be_had(site: Site, given_up: str) -> None:
    said = site.refused(restore_to=given_up, restore_name="given_up", restore_port="5434")
    assert "an earlier restore gave up what was written from" in said
    timeline = re.findall(r"restore_timeline=(\d+)", said)[0]
    words = {"restore_name": "given_up", "restore_port": "5434"}
    site.restored_well(restore_to=given_up, restore_timeline=timeline, **words)
    assert site.restored("SELECT plan FROM gym.prices WHERE plan IN ('given up', 'too late')", port=5434) == "given up"
    site.restored_well(restore_state="absent", **words)


def test_after_that_backups_and_the_archive_go_on(site: Site) -> None:
    site.keeper.check_output(f"runuser -u postgres -- {PROGRAM} backup --repository=1 --kind=full")
    site.sql("INSERT INTO gym.prices VALUES ('new', 1)")
    site.restored_well(restore_name="again", restore_port="5434")
    assert site.restored("SELECT count(*) FROM gym.prices WHERE plan = 'new'", port=5434) == "1"
    site.restored_well(restore_name="again", restore_state="absent")


def test_an_interrupted_restoration_is_completed_by_the_next_run(site: Site) -> None:
    """The controller is killed while files are copied, and again while the nodes come back."""
    moment = site.sql("SELECT clock_timestamp()")
    site.sql("DELETE FROM gym.check_ins")
    leader = site.leader()
    conditions = (
        lambda: site.nodes[leader].run(f"test -e {DATA}/backup.manifest -o -e {DATA}.before-restore").rc == 0,
        lambda: '"recovered": true' in site.nodes[leader].run(f"cat {WORK}/in_place.json").stdout,
    )
    for condition in conditions:
        run = subprocess.Popen(
            site.command(restore_to=moment, **IN_PLACE), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        wait(120, condition)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        # What it had started on the machine ends by itself, or goes on to its end.
        time.sleep(1)
    site.restored_well(restore_to=moment, **IN_PLACE)
    wait(60, site.healthy)
    assert site.leader() == leader
    assert int(site.sql("SELECT count(*) FROM gym.check_ins")) > 0


def test_what_cannot_be_restored_in_place_is_put_back(site: Site) -> None:
    before = site.sql(COUNTS)
    broken = site.segment()
    site.segment()
    site.keeper.check_output(f"cp -p {broken} /root/segment && truncate -s 2000 {broken}")
    try:
        said = site.refused(restore_repository="1", **IN_PLACE)
    finally:
        site.keeper.check_output(f"cp -p /root/segment {broken} && rm /root/segment")
    assert "-e restore_state=absent instead of a moment puts the old database back" in said
    # A node that reboots now must not lead with what it has.
    host = site.nodes["molecule-2"]
    host.check_output("systemctl start patroni")
    time.sleep(10)
    assert site.leader() == ""
    site.restored_well(restore_state="absent", **IN_PLACE)
    wait(60, site.healthy)
    assert site.sql(COUNTS) == before


def test_a_database_whose_machines_have_lost_everything_comes_back(site: Site) -> None:
    """The cluster begins anew and empty, as another database, as configured machines do."""
    site.sql("INSERT INTO gym.prices VALUES ('last', 1)")
    before = site.sql(COUNTS)
    identity = "SELECT system_identifier FROM pg_control_system()"
    known = site.sql(identity)
    site.segment()
    for host in site.nodes.values():
        host.check_output(f"systemctl stop patroni && rm -rf {DATA}")
    certificates = f"--cacert {AUTHORITY} --cert /etc/ssl/gym/host.pem --key /etc/ssl/gym/host.pem.key"
    site.nodes["molecule-1"].check_output(
        f"ETCDCTL_API=3 etcdctl --endpoints https://127.0.0.1:2379 {certificates} del --prefix /patroni/gym/"
    )
    for host in site.nodes.values():
        host.check_output("systemctl start patroni")
    wait(60, lambda: site.leader() != "")
    wait(60, lambda: site.sql(identity, database="postgres") != known)
    site.restored_well(**IN_PLACE)
    wait(60, site.healthy)
    assert site.sql(identity) == known
    assert site.sql(COUNTS) == before
    assert site.sql("SELECT count(*) FROM gym.prices WHERE plan = 'last'") == "1"
