"""One fault at a time, planted in a real environment: exactly that one is reported, with file, key and hint."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from ansible_collections.gym.platform.plugins.module_utils import policy, schema
from ansible_collections.gym.platform.plugins.module_utils.environment import read_files
from ansible_collections.gym.platform.plugins.module_utils.validation import problems, report

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ("development", "development-dr", "staging", "production", "production-dr")
SHARED = {"firewall", "secret_store"}


@dataclasses.dataclass(frozen=True)
class Bad:
    """A fault: replace `old` by `new` in the file of a noun, and expect `key`, `hint` and `rule` in the one problem."""

    noun: str
    old: str
    new: str
    key: str
    hint: str
    rule: str = "schema"
    environment: str = "production"
    file: str = ""

    @property
    def path(self) -> str:
        """Return the file in which the fault is planted."""
        directory = "" if self.noun in SHARED else f"inventories/{self.environment}/"
        return f"{directory}hosts.yml" if self.noun == "hosts" else f"{directory}group_vars/all/{self.noun}.yml"


HEALTH = "    health_path: /healthz\n    ready_path"
REFERENCE = """"{{ lookup('gym.platform.secret', 'database/owner') }}\""""

# fmt: off
FORM = [
    # Keys: unknown, misspelt, missing, twice.
    Bad("platform", "provider:", "provder:", "platform.provder", "did you mean `provider`?"),
    Bad("platform", "  dr_region:", "  dr_regoin:", "platform.dr_regoin", "did you mean `dr_region`?"),
    Bad("platform", "  domain:", "  colour: red\n  domain:", "platform.colour", "remove it"),
    Bad("network", "  internal_domain: gym.internal\n", "", "network.internal_domain", "is missing"),
    Bad("network", "internal_domain:", "internal-domain:", "network.internal-domain", "`internal_domain`?"),
    Bad("services", "cpu: 2.0", "cpus: 2.0", "services[gym-api].cpus", "did you mean `cpu`?"),
    Bad("database", "storage_gb: 500", "storage: 500", "database.storage", "did you mean `storage_gb`?"),
    Bad("database", "public: false", "public: false\n  public: true", "database.public", "keep one of them"),
    Bad("queues", "max_receives: 5", "max_recieves: 5", "queues[notifications].dead_letter.max_recieves",
        "did you mean `max_receives`?"),
    Bad("queues", "    dead_letter: {name: reports-dead", "    dead_leter: {name: reports-dead",
        "queues[reports].dead_leter", "did you mean `dead_letter`?"),
    Bad("edge", "burst: 10000", "bust: 10000", "edge.rate_limit.bust", "did you mean `burst`?"),
    Bad("secrets", "  cache_sessions_password:", "  cache_sesions_password:", "secrets.cache_sesions_password",
        "did you mean `cache_sessions_password`?", "cache_uses_have_secrets"),
    Bad("secrets", "  database_owner_password:", "  database_owner_pasword:", "secrets.database_owner_pasword",
        "did you mean `database_owner_password`?"),
    Bad("network", "egress: per_zone", "egress: none", "network.egress", "per_zone, shared"),
    Bad("database", "proxy: true", "proxy: sometimes", "database.proxy", "boolean"),
    Bad("cost", 'begins: "23:00"', 'begins: "25:00"', "cost.off_peak.begins", "for example 22:30"),
    Bad("cost", "percent: 50", "percent: 0", "cost.off_peak.percent", "from 1 to 100"),
    # Nouns and files.
    Bad("tenants", "tenants:", "tenant:", "tenant", "did you mean `tenants`?"),
    # Values: one in every noun at least.
    Bad("platform", "provider: aws", "provider: azure", "platform.provider", "docker, aws, gcp"),
    Bad("platform", "domain: gym.example.com", "domain: Gym Example", "platform.domain", "for example gym.example.com"),
    Bad("network", "cidr: 10.200.0.0/16", "cidr: 10.200.0.0", "network.cidr", "for example 10.203.0.0/24"),
    Bad("services", "name: gym-worker", "name: Gym Worker", "services[Gym Worker].name", "lower-case letters"),
    Bad("services", "port: 8000", 'port: "8000"', "services[gym-api].port", "integer from 1024 to 65535"),
    Bad("services", "port: 8000", 'port: "{{ api_port }}"', "services[gym-api].port", "write the value itself"),
    Bad("services", "kind: worker", "kind: daemon", "services[gym-worker].kind", "web, worker, job"),
    Bad("services", "/readyz", "readyz", "services[gym-api].ready_path", "for example /healthz"),
    Bad("services", "command: [api]", "command: []", "services[gym-api].command", "at least 1"),
    Bad("database", "version: 15", "version: 9", "database.version", "legal: 15"),
    Bad("database", "high_availability: true", "high_availability: maybe", "database.high_availability", "boolean"),
    Bad("database", "250ms", "[250ms]", "database.settings.log_min_duration_statement", "string or number or boolean"),
    Bad("cache", "memory_mb: 4096", "memory_mb: 1", "cache.memory_mb", "from 64 to 409600"),
    Bad("cache", 'prefix: "rate:"', "prefix: rate", "cache.uses[rate_limit].prefix", 'for example session:'),
    Bad("cache", "ttl_seconds: 3600", "ttl_seconds: 0", "cache.uses[rate_limit].ttl_seconds", "from 1 to 2592000"),
    Bad("queues", "fifo: false", "fifo: 0", "queues[notifications].fifo", "boolean"),
    Bad("queues", "retention_days: 4", "retention_days: 15", "queues[notifications].retention_days", "from 1 to 14"),
    Bad("buckets", "archive_after_days: 365", "archive_after_days: 1", "buckets[attendance].archive_after_days", "30"),
    Bad("edge", "request_timeout_seconds: 30", "request_timeout_seconds: soon", "edge.request_timeout_seconds",
        "integer"),
    Bad("release", "inconclusive: hold", "inconclusive: wait", "release.judge.inconclusive",
        "promote, hold, roll_back"),
    Bad("release", "shares: [10, 50, 100]", "shares: [10, 50, 99]", "release.shares", "for example"),
    Bad("release", "serial: 100%", "serial: 0", "release.serial", "at least 1"),
    Bad("release", "serial: 100%", "serial: half", "release.serial", "for example 50%"),
    Bad("monitoring", "kind: webhook", "kind: pigeon", "monitoring.receivers[on-call].kind", "log, email, webhook"),
    Bad("monitoring", "retention_days: 90", "retention_days: -1", "monitoring.retention_days", "from 1 to 400"),
    Bad("alerts", "metric: http_error_ratio", "metric: http_eror_ratio", "alerts[ApiErrorRate].metric",
        "did you mean `http_error_ratio`?"),
    Bad("alerts", "severity: critical", "severity: urgent", "alerts[ApiErrorRate].severity", "critical, warning"),
    Bad("dashboards", "metric: queue_depth", "metric: queue_length", "dashboards[platform].panels[4].metric",
        "did you mean `queue_depth`?"),
    Bad("dashboards", "unit: count", "unit: furlongs", "dashboards[platform].panels[4].unit", "seconds, ratio, count"),
    Bad("backup", "full: daily", "full: sometimes", "backup.full", "daily, weekly"),
    Bad("backup", "retention_days: 35", "retention_days: thirty", "backup.retention_days", "integer"),
    Bad("backup", "{scenario: restore,", "{scenario: restor,", "backup.drills[0].scenario", "did you mean `restore`?"),
    Bad("backup", "every: weekly", "every: hourly", "backup.drills[0].every", "daily, weekly, monthly"),
    Bad("tenants", "plan: premium", "plan: gold", "tenants[harbour-gym].plan", "standard, premium"),
    Bad("cost", "monthly_budget_usd: 4500", "monthly_budget_usd: 45.5", "cost.monthly_budget_usd", "integer"),
    Bad("cost", "[50, 80, 100]", "[80, 80]", "cost.alert_at_percent", "each value once"),
    Bad("access", "[]", "[{name: jo, keys: [hunter2]}]", "access.administrators[jo].keys[0]", "ssh-ed25519 AAAA"),
    Bad("access", "[]", "[{name: jo, keys: []}]", "access.administrators[jo].keys", "at least 1"),
    Bad("secrets", REFERENCE, "hunter2", "secrets.database_owner_password", "a reference, because"),
    Bad("secrets", REFERENCE, '"{{ database_password }}"', "secrets.database_owner_password", "a reference, because"),
    Bad("secrets", REFERENCE, "!vault abc", "secrets.database_owner_password", "in secrets.yml a lookup"),
    Bad("firewall", "port: 8404", "port: 84040", "firewall[3].port", "from 1 to 65535"),
    Bad("secret_store", "provider: file", "provider: paper", "secret_store.provider", "file"),
    Bad("backup", "full: daily", "full: [daily", "-", "is not YAML"),
]

EVERYWHERE = [
    Bad("platform", "environment: production", "environment: prod", "platform.environment",
        "legal: production", "environment_is_its_directory"),
    Bad("platform", "compute: ecs", "compute: cloud_run", "platform.compute", "ecs, docker_hosts, eks",
        "compute_belongs_to_provider"),
    Bad("platform", "eu-west-1c]", "eu-north-1c]", "platform.zones[2]", "eu-west-1...", "zones_belong_to_region"),
    Bad("platform", "dr_region: eu-central-1", "dr_region: eu-west-1", "platform.dr_region",
        "another region", "dr_region_is_another_region"),
    Bad("platform", "region: eu-west-1}", "region: eu-central-1}", "platform.stands_in_for.region",
        "the region of the primary", "stand_in_is_elsewhere", "production-dr"),
    Bad("platform", "{environment: production,", "{environment: production-dr,", "platform.stands_in_for.environment",
        "the primary's directory", "stand_in_is_elsewhere", "production-dr"),
    Bad("tenants", "name: south-gym", "name: north-gym", "tenants[north-gym].name", "record 1 of tenants",
        "names_are_unique"),
    Bad("queues", "name: reports-dead", "name: notifications", "queues[reports].dead_letter.name",
        "is taken by queues", "queue_names_are_unique"),
    Bad("services", HEALTH, "    ready_path", "services[gym-api].health_path", "add `health_path: /healthz`",
        "service_has_health_path"),
    Bad("services", "    port: 8001\n    health_path: /healthz\n", "    port: 8001\n",
        "services[gym-worker].health_path", "add `health_path", "service_has_health_path"),
    Bad("services", "    port: 8001\n", "", "services[gym-worker].port", "add `port", "service_has_port"),
    Bad("services", "    ready_path: /readyz\n", "", "services[gym-api].ready_path", "add `ready_path: /readyz`",
        "web_has_ready_path"),
    Bad("services", "    hostname: api\n", "", "services[gym-api].hostname", "add `hostname", "web_has_hostname"),
    Bad("services", "    port: 8001\n", "    port: 8001\n    hostname: api\n", "services[gym-worker].hostname",
        "is the hostname of services[gym-api]", "web_has_hostname"),
    Bad("services", '    schedule: "*-*-* 02:30:00"\n', "", "services[gym-report].schedule", "would never run",
        "job_has_schedule"),
    Bad("services", "    port: 8001\n", '    port: 8001\n    schedule: "*-*-* 02:30:00"\n',
        "services[gym-worker].schedule", "runs all day", "job_has_schedule"),
    Bad("services", "maximum_replicas: 12", "maximum_replicas: 3", "services[gym-api].maximum_replicas", "at least 4",
        "scaling_goes_up"),
    Bad("services", "hostname: api", "hostname: api-of-all-gyms", "services[gym-api].hostname", "at most 11",
        "names_fit_the_cloud"),
    Bad("services", "port: 8001", "port: 8000", "services[gym-worker].port", "8000 (blue) is taken by gym-api (blue)",
        "service_ports_do_not_collide"),
    Bad("services", "port: 8001", "port: 8050", "services[gym-worker].port", "8050 (blue) is taken by gym-api (green)",
        "service_ports_do_not_collide"),
    Bad("services", "port: 8001", "port: 9001", "services[gym-worker].port", "8000 to 8099",
        "firewall_lets_services_through", "development"),
    Bad("database", "public: false", "public: true", "database.public", "write false", "data_is_not_public"),
    Bad("cache", "public: false", "public: true", "cache.public", "write false", "data_is_not_public", "staging"),
    Bad("buckets", "{name: attendance, public: false", "{name: attendance, public: true", "buckets[attendance].public",
        "add `cdn: true`", "public_bucket_is_behind_cdn"),
    Bad("database", "read_replicas: 2", "read_replicas: 0", "database.read_replicas", "at least 1", "standby_exists"),
    Bad("cache", "replicas: 1", "replicas: 0", "cache.replicas", "at least 1", "standby_exists"),
    Bad("database", "high_availability: true", "high_availability: false", "database.synchronous",
        "high_availability: true", "synchronous_needs_standby", "staging"),
    Bad("cache", "cluster_mode: false", "cluster_mode: true", "cache.shards", "at least 3", "shards_are_cluster_mode"),
    Bad("cache", "shards: 1", "shards: 3", "cache.shards", "cluster_mode: true", "shards_are_cluster_mode"),
    Bad("cache", 'prefix: "rate:"', 'prefix: "session:"', "cache.uses[rate_limit].prefix",
        "is the prefix of cache.uses[sessions]", "cache_prefixes_are_apart"),
    Bad("queues", "    dead_letter: {name: reports-dead, max_receives: 3, retention_days: 14}\n", "",
        "queues[reports].dead_letter", "add `dead_letter: {name: reports-dead", "queue_has_dead_letter"),
    Bad("queues", "max_receives: 5, retention_days: 14", "max_receives: 5, retention_days: 4",
        "queues[notifications].dead_letter.retention_days", "more than 4", "dead_letters_outlive_messages"),
    Bad("queues", "maximum_seconds: 300", "maximum_seconds: 2", "queues[reports].backoff.maximum_seconds", "at least 5",
        "backoff_grows"),
    Bad("edge", "drain_timeout_seconds: 30", "drain_timeout_seconds: 5", "edge.drain_timeout_seconds", "at least 30",
        "drain_outlasts_requests"),
    Bad("edge", "burst: 10000", "burst: 10", "edge.rate_limit.burst", "at least 5000", "burst_covers_rate"),
    Bad("release", "shares: [10, 50, 100]", "shares: [50, 10, 100]", "release.shares", "such as [10, 50, 100]",
        "shares_of_a_release_rise"),
    Bad("release", "serial: 100%", "serial: 1", "release.serial", "legal: 100%",
        "releases_begin_on_hosts_that_there_are"),
    Bad("release", "smoke: []", "smoke: [{service: gym-worker, path: /x}]", "release.smoke[0].service", "gym-api",
        "smoke_tests_ask_web_services"),
    Bad("alerts", "    severity: critical\n    receiver: on-call\n", "    severity: critical\n",
        "alerts[ApiErrorRate].receiver", "legal: platform, on-call", "alert_reaches_a_receiver"),
    Bad("alerts", "receiver: on-call", "receiver: oncall", "alerts[ApiErrorRate].receiver", "did you mean `on-call`?",
        "alert_reaches_a_receiver"),
    Bad("alerts", "    above: 0.01\n", "", "alerts[ApiErrorRate]", "neither `above` nor `below`",
        "alert_has_one_threshold"),
    Bad("monitoring", '"https://on-call.gym.example.com/alerts"', "jo@example.com",
        "monitoring.receivers[on-call].address", "an https address", "receiver_can_be_reached"),
    Bad("backup", "differential: hourly", "differential: daily", "backup.differential", "legal: hourly",
        "differential_is_between_fulls"),
    Bad("backup", "{scenario: restore,", "{scenario: region,", "backup.drills[0].scenario", "confirmation by a person",
        "drill_begins_by_itself"),
    Bad("backup", "{scenario: restore,", "{scenario: failover,", "backup.drills[0].scenario", "legal: restore",
        "drill_begins_by_itself"),
    Bad("backup", "{scenario: corruption,", "{scenario: restore,", "backup.drills[1].scenario", "keep one of them",
        "drill_has_one_period", "development"),
    Bad("network", "cidr: 10.200.0.0/16", "cidr: 8.8.0.0/16", "network.cidr", "within 10.0.0.0/8",
        "network_is_private"),
    Bad("network", "cidr: 10.200.0.0/16", "cidr: 10.200.0.1/16", "network.cidr", "must be zero", "network_is_private"),
    Bad("network", "cidr: 10.200.0.0/16", "cidr: 10.200.0.0/24", "network.cidr", "at least 4096",
        "network_is_large_enough"),
    Bad("network", "cidr: 10.203.0.0/24", "cidr: 10.203.0.0/29", "network.cidr", "at least 11 hosts",
        "network_is_large_enough", "development"),
    Bad("hosts", "10.203.0.61", "10.205.0.61", "hosts.monitoring-1", "an address in 10.203.0.0/24 or 10.204.0.0/24",
        "hosts_are_in_the_network", "development"),
    Bad("hosts", "10.204.0.81", "10.204.0.255", "hosts.store-1", "or 10.204.0.0/24", "hosts_are_in_the_network",
        "development"),
    Bad("network", "dr_cidr: 10.210.0.0/16", "dr_cidr: 10.200.128.0/17", "network.dr_cidr", "apart from it",
        "regions_are_apart"),
    Bad("hosts", "10.203.0.61", "10.203.0.51", "hosts.monitoring-1", "is the address of queue-1",
        "hosts_are_in_the_network", "development"),
    Bad("hosts", "        db-3: {ansible_host: 10.203.0.33}\n", "", "database.high_availability",
        "true with 2 hosts in the group database", "enough_hosts_to_agree", "development",
        "inventories/development/group_vars/all/database.yml"),
    Bad("firewall", "{group: edge, port: 8404", "{group: edgy, port: 8404", "firewall[3].group",
        "did you mean `edge`?", "firewall_names_known_groups"),
    Bad("firewall", "from: [containers, controllers], why: writer", "from: [container, controllers], why: writer",
        "firewall[5].from[0]", "did you mean `containers`?", "firewall_names_known_groups"),
    Bad("firewall", "to_port: 2380", "to_port: 2300", "firewall[9].to_port", "at least 2379", "firewall_ranges_go_up"),
    Bad("firewall", "from: [database, backup]", "from: [anywhere]", "firewall[6].from", "name the groups",
        "firewall_closes_data"),
    Bad("secrets", "  cache_attendance_password: \"{{ lookup('gym.platform.secret', 'cache/attendance') }}\"\n", "",
        "secrets.cache_attendance_password", "add `cache_attendance_password", "cache_uses_have_secrets"),
    Bad("secrets", "'database/migration'", "'database/owner'", "secrets.database_migration_password",
        "the same secret as database_owner_password", "secrets_are_apart"),
    Bad("secrets", "'database/migration'", "'database/migrations'", "secrets.database_migration_password",
        "did you mean `database/migration`?", "referenced_secrets_are_made"),
]

PRODUCTION = [
    Bad("cache", "high_availability: true", "high_availability: false", "cache.high_availability", "write true",
        "production_survives_a_node"),
    Bad("database", "high_availability: true\n  # An acknowledged write is on two machines.\n  synchronous: true",
        "high_availability: false\n  synchronous: false", "database.high_availability", "write true",
        "production_survives_a_node"),
    Bad("database", "synchronous: true", "synchronous: false", "database.synchronous", "write true",
        "production_loses_no_write"),
    Bad("platform", "zones: [eu-west-1a, eu-west-1b, eu-west-1c]", "zones: [eu-west-1a, eu-west-1b]", "platform.zones",
        "Multi-AZ", "production_survives_a_zone"),
    Bad("network", "egress: per_zone", "egress: shared", "network.egress", "per_zone",
        "production_has_a_way_out_in_each_zone"),
    Bad("platform", "  dr_region: eu-central-1\n", "", "platform.dr_region", "add `dr_region",
        "production_has_a_dr_region"),
    Bad("backup", "retention_days: 35", "retention_days: 29", "backup.retention_days", "write 30 or more",
        "production_keeps_backups"),
    Bad("backup", "point_in_time: true", "point_in_time: false", "backup.point_in_time", "write true",
        "production_restores_any_second"),
    Bad("backup", "dr_copy: true", "dr_copy: false", "backup.dr_copy", "write true", "production_copies_backups"),
    Bad("buckets", "versioned: true, archive", "versioned: false, archive", "buckets[attendance].versioned", "true",
        "production_keeps_replaced_objects"),
    Bad("services", "replicas: 3", "replicas: 1", "services[gym-worker].replicas", "at least 2",
        "production_runs_two_of_each"),
    Bad("monitoring", "kind: email, address: platform@gym.example.com", "kind: log, address: journal",
        "monitoring.receivers[platform].kind", "email, webhook", "production_wakes_somebody"),
    Bad("cost", "monthly_budget_usd: 4500", "monthly_budget_usd: 0", "cost.monthly_budget_usd", "more than 0",
        "production_has_a_budget"),
    Bad("release", "inconclusive: hold", "inconclusive: promote", "release.judge.inconclusive", "hold, roll_back",
        "production_lets_nothing_in_undecided"),
]

# fmt: on

ALL = FORM + EVERYWHERE + PRODUCTION


def files_of(environment: str) -> dict[str, str]:
    """Read a real environment."""
    return read_files(ROOT, ROOT / "inventories" / environment)


def plant(bad: Bad) -> dict[str, str]:
    """Return the files of a real environment with one fault in them."""
    files = files_of(bad.environment)
    assert bad.old in files[bad.path], f"{bad.path} no longer has {bad.old!r}"
    return {**files, bad.path: files[bad.path].replace(bad.old, bad.new, 1)}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_real_environments_are_valid(environment: str) -> None:
    found = problems(files_of(environment))
    assert not found, report(found)


@pytest.mark.parametrize("bad", ALL, ids=[f"{bad.noun}-{bad.key or bad.old}-{bad.rule}" for bad in ALL])
def test_one_fault_is_one_problem(bad: Bad) -> None:
    files = plant(bad)
    found = problems(files)
    assert len(found) == 1, report(found)
    problem = found[0]
    assert (problem.file, problem.key, problem.rule) == (bad.file or bad.path, bad.key, bad.rule)
    assert bad.hint in str(problem)
    # The line is the one that holds the last part of the key, unless it is the record from which something is missing.
    assert 1 <= problem.line <= len(files[problem.file].splitlines())
    last = bad.key.rpartition(".")[2].partition("[")[0]
    shown = files[problem.file].splitlines()[problem.line - 1]
    assert "missing" in problem.message or last in shown or bad.key in {"-", "alerts[ApiErrorRate]"} or last == "hosts"


def test_every_noun_has_a_bad_value() -> None:
    assert {bad.noun for bad in ALL} >= set(schema.nouns())


def test_every_rule_of_the_policy_is_seen_to_refuse() -> None:
    rules = {rule.__name__ for rule in policy.EVERYWHERE + policy.PRODUCTION}
    assert rules == {bad.rule for bad in ALL} - {"schema"}


@pytest.mark.parametrize("bad", PRODUCTION, ids=[bad.rule for bad in PRODUCTION])
def test_production_rules_bind_production_only(bad: Bad) -> None:
    files = {path.replace("production", "staging"): text for path, text in plant(bad).items()}
    platform = "inventories/staging/group_vars/all/platform.yml"
    files[platform] = files[platform].replace("environment: production", "environment: staging")
    assert not [problem for problem in problems(files) if problem.rule.startswith("production_")]


def test_all_problems_are_reported_at_once() -> None:
    files = files_of("production")
    planted = [bad for bad in PRODUCTION if bad.noun in {"cache", "backup", "cost", "services"}] + [FORM[0], FORM[8]]
    for bad in planted:
        assert bad.old in files[bad.path]
        files[bad.path] = files[bad.path].replace(bad.old, bad.new, 1)
    found = problems(files)
    assert sorted(problem.key for problem in found) == sorted(bad.key for bad in planted)
    text = report(found)
    assert text.startswith(f"{len(planted)} problems")
    assert all(f"{bad.path}:" in text for bad in planted)


def test_a_missing_noun_is_named() -> None:
    files = files_of("production")
    del files["inventories/production/group_vars/all/backup.yml"]
    (problem,) = problems(files)
    assert (problem.key, problem.message) == ("backup", "is missing")
    assert problem.file == "inventories/production/group_vars/all/backup.yml"


def test_a_missing_inventory_is_named() -> None:
    files = files_of("production")
    del files["inventories/production/hosts.yml"]
    (problem,) = problems(files)
    assert (problem.file, problem.message) == ("inventories/production/hosts.yml", "is missing")


@pytest.mark.parametrize(
    ("file", "text", "key", "hint"),
    [
        ("group_vars/all/databse.yml", "databse: {}\n", "databse", "did you mean `database`?"),
        ("group_vars/all/extra.yml", "postgresql_port: 1\n", "postgresql_port", "group_vars/all/wiring"),
        ("group_vars/all/notes.yml", "", "notes", "remove the file"),
        ("group_vars/all/list.yml", "- 1\n", "-", "not a record"),
        ("group_vars/database.yml", "backup: {}\n", "backup", "move it to group_vars/all/backup.yml"),
        ("host_vars/app-1.yml", "services: []\n", "services", "move it to group_vars/all/services.yml"),
    ],
)
def test_files_that_do_not_belong(file: str, text: str, key: str, hint: str) -> None:
    path = f"inventories/production/{file}"
    (problem,) = problems({**files_of("production"), path: text})
    assert (problem.file, problem.key) == (path, key)
    assert hint in str(problem)


def test_a_noun_in_another_file_is_sent_home() -> None:
    files = files_of("production")
    cost, backup = (f"inventories/production/group_vars/all/{noun}.yml" for noun in ("cost", "backup"))
    files[cost] += files.pop(backup).removeprefix("---\n")
    (problem,) = problems(files)
    assert (problem.file, problem.key) == (cost, "backup")
    assert "move it to backup.yml" in str(problem)


def test_a_noun_in_wiring_is_sent_home() -> None:
    wiring = "group_vars/all/wiring/backup.yml"
    files = files_of("production")
    files[wiring] += "backup: {}\n"
    (problem,) = [one for one in problems(files) if one.file == wiring]
    assert (problem.key, problem.message, problem.legal) == ("backup", f"a noun stands in {wiring}", "backup.yml")


def test_templates_may_stand_for_text() -> None:
    files = files_of("production")
    path = "inventories/production/group_vars/all/platform.yml"
    files[path] = files[path].replace("domain: gym.example.com", 'domain: "{{ platform.name }}.example.com"')
    assert not problems(files)
