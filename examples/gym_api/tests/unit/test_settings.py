"""Every bad value is one sentence that names its variable."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from gym_api.settings import DatabaseSettings, FaultSettings, Reader, Settings, SettingsError, Use

GOOD = {
    "DATABASE_WRITER_URL": "postgresql://database.gym.internal:5000/gym?user=gym_app&password=secret&sslmode=verify-full",
    "DATABASE_READER_URL": "postgresql://database.gym.internal:5001/gym?user=gym_app&password=secret&sslmode=verify-full",
    "REDIS_SENTINELS": "cache-1:26379,cache-2:26379, queue-1:26379",
    "REDIS_PRIMARY_NAME": "gym-cache",
    "REDIS_SESSIONS_USERNAME": "sessions",
    "REDIS_SESSIONS_PASSWORD": "a",
    "REDIS_RATE_LIMIT_USERNAME": "rate_limit",
    "REDIS_RATE_LIMIT_PASSWORD": "b",
    "REDIS_NOTIFICATIONS_USERNAME": "notifications",
    "REDIS_NOTIFICATIONS_PASSWORD": "c",
    "REDIS_ATTENDANCE_USERNAME": "attendance",
    "REDIS_ATTENDANCE_PASSWORD": "d",
    "CA_FILE": "/etc/ssl/gym/ca.pem",
    "QUEUE_ENDPOINT_URL": "http://queue-1:4566",
    "QUEUE_NOTIFICATIONS": "notifications",
    "AWS_DEFAULT_REGION": "local-1",
    "SESSION_SIGNING_KEY": "k" * 32,
}


# Without them: AWS's own queue, the authorities of the image, the user that has the name of the use.
OPTIONAL = {"QUEUE_ENDPOINT_URL", "CA_FILE"} | {name for name in GOOD if name.endswith("_USERNAME")}


def test_a_full_environment_is_read() -> None:
    settings = Settings.parse({**GOOD, "PORT": "8050", "FAULT_LATENCY_MS": "250", "RELEASE_COLOUR": "green"})
    assert settings.port == 8050
    assert settings.faults == FaultSettings(error_rate=0, latency_seconds=0.25)
    assert settings.redis.sentinels == (("cache-1", 26379), ("cache-2", 26379), ("queue-1", 26379))
    assert settings.redis.users[Use.RATE_LIMIT].username == "rate_limit"
    assert settings.release.colour == "green"
    assert conninfo_to_dict(settings.database.writer_url)["sslrootcert"] == "/etc/ssl/gym/ca.pem"


def test_a_root_certificate_of_the_url_wins() -> None:
    url = GOOD["DATABASE_WRITER_URL"] + "&sslrootcert=/other.pem"
    settings = DatabaseSettings.parse(Reader({**GOOD, "DATABASE_WRITER_URL": url}))
    assert conninfo_to_dict(settings.writer_url)["sslrootcert"] == "/other.pem"


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_missing_variable_is_named(name: str) -> None:
    other = {"REDIS_SENTINELS": "REDIS_HOST"} | {url: url.replace("URL", "HOST") for url in GOOD if "DATABASE" in url}
    sentence = f"{name} is not set." if name not in other else f"{name} and {other[name]} are not set; set one of them."
    if name in OPTIONAL:
        Settings.parse({key: value for key, value in GOOD.items() if key != name})
        return
    with pytest.raises(SettingsError, match=f"^{re.escape(sentence)}$"):
        Settings.parse({key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "http", "PORT is 'http'; it must be a number from 1 to 65535."),
        ("PORT", "0", "PORT is '0'; it must be a number from 1 to 65535."),
        ("PORT", "80.5", "PORT is 80.5; it must be a whole number."),
        ("FAULT_ERROR_RATE", "5", "FAULT_ERROR_RATE is '5'; it must be a number from 0 to 1."),
        ("FAULT_ERROR_RATE", "nan", "FAULT_ERROR_RATE is 'nan'; it must be a number from 0 to 1."),
        ("FAULT_LATENCY_MS", "-1", "FAULT_LATENCY_MS is '-1'; it must be a number from 0 to 60000."),
        ("REDIS_SENTINELS", "cache-1", "REDIS_SENTINELS has 'cache-1'; each address must be host:port."),
        ("REDIS_TLS", "yes", "REDIS_TLS is 'yes'; it must be one of true, false."),
        ("QUEUE_ENDPOINT_URL", "queue-1", "QUEUE_ENDPOINT_URL is 'queue-1'; it must begin with http:// or https://."),
        ("SESSION_SIGNING_KEY", "short", "SESSION_SIGNING_KEY is too short; it must have at least 32 characters."),
        (
            "DATABASE_WRITER_URL",
            "nonsense",
            "DATABASE_WRITER_URL is not a PostgreSQL connection string (postgresql://...).",
        ),
    ],
)
def test_a_bad_value_is_named(name: str, value: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.parse({**GOOD, name: value})
    assert str(caught.value) == sentence


# What a release registers on ECS.
TASKS = Path(__file__).parents[4] / "tests/ecs/golden"


def containers() -> list[tuple[str, dict[str, Any]]]:
    """Return every container that ECS runs, by its environment and name."""
    return [
        (f"{path.stem}/{container['name']}", container)
        for path in sorted(TASKS.glob("*.json"))
        for definition in json.loads(path.read_text())["task_definitions"].values()
        for container in definition["containerDefinitions"]
    ]


def test_there_are_tasks_to_read() -> None:
    assert {name.split("/")[0] for name, _ in containers()} >= {"staging", "production"}


@pytest.mark.parametrize(
    ("name", "container"), [pytest.param(name, container, id=name) for name, container in containers()]
)
def test_what_ecs_gives_a_container_is_understood(name: str, container: dict[str, Any]) -> None:
    environment = {entry["name"]: entry["value"] for entry in container["environment"]}
    environment |= {entry["name"]: "s" * 40 for entry in container["secrets"]}
    database = DatabaseSettings.parse(Reader(environment))
    parts = {"port": "5432", "dbname": "gym", "user": "gym_app", "password": "s" * 40}
    # Production writes through a proxy, whose certificate is of a public authority; an instance's is of none.
    public = {"sslmode": "verify-full", "sslrootcert": "/etc/ssl/certs/ca-certificates.crt"}
    writer = public if name.startswith("production/") else {"sslmode": "require"}
    assert conninfo_to_dict(database.writer_url) == {"host": "DatabaseShard1WriterAddress", **parts, **writer}
    reader = {"host": "DatabaseShard1ReaderAddress", "sslmode": "require"}
    assert conninfo_to_dict(database.reader_url) == {**parts, **reader}
    if container["command"] != ["report"]:
        settings = Settings.parse(environment)
        assert settings.redis.address == ("CacheAddress", 6379)
        assert settings.redis.tls
        assert settings.redis.users[Use.RATE_LIMIT].username == "rate_limit"
        assert settings.queue.endpoint_url is None


def test_parts_of_a_database_are_verified_where_the_authority_is_known() -> None:
    parts = {"DATABASE_WRITER_HOST": "db", "DATABASE_NAME": "gym", "MIGRATION_DATABASE_PASSWORD": "p w'"}
    found = conninfo_to_dict(Reader({**parts, "CA_FILE": "/ca.pem", "DATABASE_PORT": "6432"}).migration_url())
    expected = {"host": "db", "port": "6432", "dbname": "gym", "user": "gym_migration", "password": "p w'"}
    assert found == {**expected, "sslmode": "verify-full", "sslrootcert": "/ca.pem"}
    only_encrypted = {**parts, "CA_FILE": "/ca.pem", "DATABASE_WRITER_SSL_MODE": "require"}
    found = conninfo_to_dict(Reader(only_encrypted).migration_url())
    assert found == {**expected, "port": "5432", "sslmode": "require"}, "with a root, libpq would verify all the same"
    with pytest.raises(SettingsError, match=r"^DATABASE_WRITER_SSL_MODE is 'prefer'; it must be one of disable, req"):
        Reader({**parts, "DATABASE_WRITER_SSL_MODE": "prefer"}).migration_url()


def test_no_secret_is_shown() -> None:
    shown = repr(Settings.parse({**GOOD, "REDIS_SESSIONS_PASSWORD": "hidden-1", "SESSION_SIGNING_KEY": "hidden-2" * 4}))
    assert "hidden" not in shown
    assert "secret" not in shown
