"""The store, as clients meet it: by boto3, pgBackRest and restic, across a kill, a full disk and a flipped byte."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import testinfra
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner

from tests.waiting import wait

ACCESS_KEY = "MOLECULEACCESSKEY000"
SECRET_KEY = "molecule-object-store"
AUTHORITY = "/etc/ssl/gym/ca.pem"
DISK = "/var/lib/object-store/disk"
SERVERS = ("account", "container", "object", "proxy")


class Store:
    """S3's API, called on the host itself."""

    def __init__(self, inventory: str) -> None:
        runner = AnsibleRunner(inventory)
        name = sorted(runner.get_hosts("machines"))[1]
        self.host: Host = testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}", sudo=True)
        self.name = f"{name}.gym.internal"
        self.url = f"https://{self.name}:9000"

    def call(self, *steps: tuple[str, dict[str, Any]], access_key: str = ACCESS_KEY, secret: str = SECRET_KEY) -> Any:
        """Call methods of the client one after the other; bodies are texts, and an error is its code."""
        program = f"""
import boto3, json
from botocore.config import Config
client = boto3.client("s3", endpoint_url={self.url!r}, region_name="local-2", verify={AUTHORITY!r},
    aws_access_key_id={access_key!r}, aws_secret_access_key={secret!r},
    config=Config(retries={{"max_attempts": 1}}, s3={{"addressing_style": "path"}}))
answers = []
for method, arguments in {list(steps)!r}:
    try:
        answer = getattr(client, method)(**arguments)
    except client.exceptions.ClientError as error:
        answer = {{"error": error.response["Error"]["Code"]}}
    answer.pop("ResponseMetadata", None)
    if "Body" in answer:
        answer["Body"] = answer["Body"].read().decode()
    answers.append(answer)
print(json.dumps(answers, default=str))
"""
        return json.loads(self.host.check_output(f"python3 -c {shlex.quote(program)}"))

    def put(self, key: str, body: str) -> dict[str, Any]:
        """Upload a text; return the answer."""
        return dict(self.call(("put_object", {"Bucket": "first", "Key": key, "Body": body}))[0])

    def get(self, key: str) -> str:
        """Return the text of an object, or the code of the error."""
        (answer,) = self.call(("get_object", {"Bucket": "first", "Key": key}))
        return str(answer.get("Body") or answer["error"])

    def restarted(self, command: str) -> None:
        """Do something to the servers and wait until they answer again."""
        self.host.check_output(command)
        for port in (6200, 6201, 6202, 9001):
            ready = f"python3 /usr/local/lib/gym-platform/object_store.py ready {port}"
            wait(30, lambda ready=ready: self.host.run(ready).rc == 0)  # type: ignore[misc]


@pytest.fixture(scope="module")
def store(request: pytest.FixtureRequest) -> Store:
    return Store(str(request.config.getoption("--ansible-inventory")))


def test_what_is_put_is_listed_got_and_deleted(store: Store) -> None:
    place = {"Bucket": "first", "Prefix": "shelf/"}
    *_, listed, _, gone = store.call(
        *(("put_object", {"Bucket": "first", "Key": f"shelf/{name}", "Body": name}) for name in ("one", "two")),
        ("list_objects_v2", place),
        ("delete_objects", {"Bucket": "first", "Delete": {"Objects": [{"Key": "shelf/one"}, {"Key": "shelf/two"}]}}),
        ("list_objects_v2", place),
    )
    assert [item["Key"] for item in listed["Contents"]] == ["shelf/one", "shelf/two"]
    assert gone["KeyCount"] == 0


def test_the_described_buckets_are_there(store: Store) -> None:
    (answer,) = store.call(("list_buckets", {}))
    assert {"first", "second"} <= {bucket["Name"] for bucket in answer["Buckets"]}


@pytest.mark.parametrize(
    ("access_key", "secret"),
    [("SOMEBODYELSE00000000", SECRET_KEY), (ACCESS_KEY, "wrong"), (f"gym:{ACCESS_KEY}", SECRET_KEY)],
)
def test_only_our_key_is_let_in(store: Store, access_key: str, secret: str) -> None:
    (answer,) = store.call(("list_buckets", {}), access_key=access_key, secret=secret)
    assert answer["error"] in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch")


@pytest.mark.parametrize("path", ["/", "/first", "/info", "/v1/AUTH_gym", "/auth/v1.0"])
def test_nothing_is_served_without_a_signature(store: Store, path: str) -> None:
    login = f"-H 'X-Auth-User: gym:{ACCESS_KEY}' -H 'X-Auth-Key: {SECRET_KEY}'"
    answer = f"curl -s --cacert {AUTHORITY} {login} -o /dev/null -w '%{{http_code}}' {store.url}{path}"
    assert store.host.check_output(answer) == "403"


def test_it_speaks_tls_alone_and_with_a_certificate_of_this_platform(store: Store) -> None:
    # 52: it hangs up. 60: the certificate cannot be verified with the authorities that a machine knows by itself.
    assert store.host.run(f"curl -s {store.url.replace('https', 'http')}/").rc == 52
    assert store.host.run(f"curl -s {store.url}/").rc == 60


def test_nothing_of_it_is_reached_from_outside_but_tls_and_nothing_runs_as_root(store: Store) -> None:
    listening = store.host.check_output("ss -Hltn | awk '{print $4}'").split()
    inside = [address for address in listening if address.endswith((":6200", ":6201", ":6202", ":9001", ":11211"))]
    assert len(inside) == 5
    assert all(address.startswith("127.0.0.1:") for address in inside)
    for unit in [*(f"object-store@{server}" for server in SERVERS), "object-store-endpoint"]:
        process = store.host.check_output(f"systemctl show --property=MainPID --value {unit}.service")
        assert store.host.check_output(f"stat --format=%u /proc/{process}") != "0"
        assert "CapEff:\t0000000000000000" in store.host.check_output(f"cat /proc/{process}/status")


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_what_was_acknowledged_survives_the_death_of_all_processes(store: Store, signal: str) -> None:
    bodies = {f"survives/{signal}/{number}": f"body {number}" for number in range(5)}
    store.call(*(("put_object", {"Bucket": "first", "Key": key, "Body": body}) for key, body in bodies.items()))
    names = " ".join(f"object-store@{server}.service" for server in SERVERS)
    store.restarted(f"systemctl kill --signal={signal} {names}")
    assert {key: store.get(key) for key in bodies} == bodies


@pytest.fixture
def no_room(store: Store) -> Iterator[None]:
    """Say that nearly all of the disk has to stay free, which leaves no room, as a full disk does."""
    configuration = "/etc/swift/object-server.conf"
    store.restarted(
        f"cp {configuration} /root/kept && sed -i 's/^fallocate_reserve.*/fallocate_reserve = 100%/' {configuration} "
        "&& systemctl restart object-store@object.service"
    )
    yield
    store.restarted(f"cat /root/kept > {configuration} && systemctl restart object-store@object.service")


def test_a_full_disk_is_an_error_and_what_is_there_can_be_read(store: Store, request: pytest.FixtureRequest) -> None:
    store.put("room/before", "kept")
    request.getfixturevalue("no_room")
    assert "error" in store.put("room/after", "refused")
    assert store.get("room/before") == "kept"
    assert store.get("room/after") == "NoSuchKey"


def test_a_flipped_byte_is_found_and_the_object_is_not_given_out(store: Store) -> None:
    store.put("damage/one", "a" * 5000)
    store.put("damage/two", "whole")
    (victim,) = store.host.check_output(f"grep --recursive --files-with-matches aaaaaaaaaa {DISK}/objects").split()
    store.host.check_output(f"printf b | dd of={victim} bs=1 seek=2500 conv=notrunc")
    store.host.check_output("systemctl start object-store-care.service")
    assert store.get("damage/one") == "NoSuchKey"
    assert store.get("damage/two") == "whole"
    assert store.host.run(f"ls {DISK}/quarantined/objects/*").rc == 0


def test_pgbackrest_keeps_files_in_it(store: Store) -> None:
    options = (
        "--repo1-type=s3 --repo1-path=/pgbackrest --repo1-s3-bucket=second --repo1-s3-region=local-2 "
        f"--repo1-s3-endpoint={store.name} --repo1-storage-port=9000 --repo1-storage-ca-file={AUTHORITY} "
        "--repo1-s3-uri-style=path --log-level-file=off"
    )
    keys = f"PGBACKREST_REPO1_S3_KEY={ACCESS_KEY} PGBACKREST_REPO1_S3_KEY_SECRET={SECRET_KEY}"
    # Twelve megabytes go up in three parts.
    store.host.check_output("head -c 12000000 /dev/urandom > /root/large")
    store.host.check_output(f"{keys} pgbackrest {options} repo-put large < /root/large")
    assert "large" in store.host.check_output(f"{keys} pgbackrest {options} repo-ls").split()
    store.host.check_output(f"{keys} pgbackrest {options} repo-get large | cmp - /root/large")
    store.host.check_output(f"{keys} pgbackrest {options} repo-rm large")
    assert "large" not in store.host.check_output(f"{keys} pgbackrest {options} repo-ls").split()


def test_restic_keeps_copies_in_it(store: Store) -> None:
    environment = (
        f"RESTIC_PASSWORD=molecule AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET_KEY} "
        f"AWS_DEFAULT_REGION=local-2 RESTIC_REPOSITORY=s3:{store.url}/second/restic RESTIC_CACHE_DIR=/root/restic"
    )
    restic = f"{environment} restic --cacert {AUTHORITY}"
    store.host.check_output(f"{restic} snapshots || {restic} init")
    directory = "/usr/lib/python3/dist-packages/boto3"
    store.host.check_output(f"{restic} backup {directory}")
    store.host.check_output(f"{restic} check --read-data")
    store.host.check_output(f"{restic} restore latest --target /root/restored")
    store.host.check_output(f"diff --recursive {directory} /root/restored{directory}")
    store.host.check_output(f"{restic} forget --keep-last 1 --prune")
