"""How fast a database comes back out of its backups, compared with `cp` of the same files on the same machine.

    PYTHONPATH=collections .venv/bin/python -m tests.benchmarks.restore [--environment development-dr] [--gibibytes 10]

The database of a running environment on local hosts is filled, backed up whole and restored beside itself by
playbooks/restore.yml, as a person does; then the restored files are copied by `cp` to the same disk and synced. Both
begin with nothing in the page cache, and take turns: the figure to quote is the ratio of their throughputs. All that
was made is removed. It takes about five times the size on this machine's disk, and about two minutes for each gibibyte.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.end_to_end.platform_access import PREFIX, ROOT
from tests.proofs.playbook_runs import playbook, run

NAME, PORT = "bench", 5440
RESTORED = f"/var/lib/postgresql/restore/{NAME}"
COPY = f"/var/lib/postgresql/{NAME}-copy"
WRITERS = 2
GIBIBYTE = 1024**3
TABLE = (
    "create table if not exists bench.check_ins (id bigint generated always as identity primary key,"
    " tenant uuid not null, member uuid not null, checked_in timestamptz not null, note text not null)"
)
# About a quarter of a gigabyte, so that no transaction is long.
FILL = (
    "insert into bench.check_ins (tenant, member, checked_in, note)"
    " select ('00000000-0000-4000-8000-' || lpad((n % 50)::text, 12, '0'))::uuid, gen_random_uuid(),"
    " now() - n * interval '1 second', 'kiosk ' || (n % 7) || ' ' || md5(random()::text) || md5(random()::text)"
    " from generate_series(1, 1200000) as n"
)
CACHES = Path("/proc/sys/vm/drop_caches")


@dataclass(frozen=True)
class Round:
    """What one restoration and one copy took, in seconds; `size` is in bytes."""

    size: int
    answered: float
    restored: float
    copied: float

    @property
    def ratio(self) -> float:
        """Return the throughput of the restoration, with that of `cp` as 1."""
        return self.copied / self.restored


class Environment:
    """An environment on local hosts, by the machines that matter here."""

    def __init__(self, name: str) -> None:
        """Read its inventory."""
        hosts = ROOT / "inventories" / name / "hosts.yml"
        groups = yaml.safe_load(hosts.read_text(encoding="utf-8"))["machines"]["children"]
        self.name, self.keeper = name, next(iter(groups["backup"]["hosts"]))
        self.leader = next(
            host for host in groups["database"]["hosts"] if self.sql(host, "select 1 where not pg_is_in_recovery()")
        )

    @staticmethod
    def shell(host: str, script: str) -> str:
        """Run a script as root on a machine, for as long as it takes."""
        command = ["docker", "exec", f"{PREFIX}{host}", "bash", "-ec", script]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def sql(self, host: str, query: str) -> str:
        """Ask the database as its superuser."""
        return self.shell(host, f'cd /; runuser -u postgres -- psql -XAtq -d gym -c "{query}"')

    def play(self, name: str, *options: str) -> str:
        """Run a playbook; ends the benchmark when it fails."""
        given = [part for option in options for part in ("-e", option)]
        outcome = run(playbook(name, *given, environment=self.name))
        if outcome.code:
            raise SystemExit(f"playbooks/{name}.yml ended with {outcome.code}:\n{outcome.text[-4000:]}")
        return outcome.text

    def fill(self, size: int) -> None:
        """Write rows until the database has this size in bytes."""
        self.sql(self.leader, f"create schema if not exists bench; {TABLE}")

        def write(_: int) -> None:
            while int(self.sql(self.leader, "select pg_database_size('gym')")) < size:
                self.sql(self.leader, FILL)

        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(write, range(WRITERS)))
        self.sql(self.leader, "checkpoint")

    def forget(self) -> None:
        """Remove what the benchmark has made; backups of it go as backups do."""
        self.play("restore", f"restore_name={NAME}", "restore_state=absent")
        self.shell(self.keeper, f"rm -rf {COPY}")
        self.sql(self.leader, "drop schema if exists bench cascade")


def measure(environment: Environment) -> Round:
    """Restore, copy what was restored, remove both."""
    CACHES.write_text("3\n")
    told = environment.play("restore", f"restore_name={NAME}", f"restore_port={PORT}")
    found = re.search(r"([\d.]+) s from the start to the first answered query, of\s+which ([\d.]+) s", told)
    if found is None:
        raise SystemExit(f"playbooks/restore.yml does not say what it took:\n{told[-4000:]}")
    # Nothing may change while it is copied, and nothing of it may be in the cache.
    environment.shell(environment.keeper, f"systemctl stop database-restore@{NAME}; sync")
    size = int(environment.shell(environment.keeper, f"du -sb {RESTORED} | cut -f1"))
    CACHES.write_text("3\n")
    begun = time.monotonic()
    environment.shell(environment.keeper, f"cp -a {RESTORED} {COPY}; sync -f {COPY}")
    copied = time.monotonic() - begun
    environment.shell(environment.keeper, f"rm -rf {COPY}")
    environment.play("restore", f"restore_name={NAME}", "restore_state=absent")
    return Round(size, float(found[1]), float(found[2]), copied)


def main() -> None:
    """Fill, back up, measure, remove."""
    parser = argparse.ArgumentParser(description="How fast a database is restored, compared with cp")
    parser.add_argument("--environment", default="development-dr", help="one on local hosts that runs")
    parser.add_argument("--gibibytes", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    environment = Environment(options.environment)
    try:
        environment.fill(int(options.gibibytes * GIBIBYTE))
        environment.play("backup", "backup_kind=full")
        rounds = []
        for _ in range(options.rounds):
            rounds.append(measure(environment))
            print(
                f"{rounds[-1].size / GIBIBYTE:.1f} GiB: restored in {rounds[-1].restored:.1f} s, first answer after"
                f" {rounds[-1].answered:.1f} s, cp {rounds[-1].copied:.1f} s, ratio {rounds[-1].ratio:.2f}",
                flush=True,
            )
        print(f"ratio of throughputs, median of {len(rounds)}: {statistics.median(one.ratio for one in rounds):.2f}")
    finally:
        environment.forget()


if __name__ == "__main__":
    main()
