"""Prometheus, asked as Grafana and people ask it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import testinfra
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner

from tests.waiting import wait

TEXTFILE = "/var/lib/prometheus/node-exporter/molecule.prom"


class Machines:
    """All hosts are measured; Prometheus runs on the last one."""

    def __init__(self, inventory: str) -> None:
        runner = AnsibleRunner(inventory)
        self.names = sorted(runner.get_hosts("machines"))
        self.hosts: list[Host] = [
            testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}", sudo=True) for name in self.names
        ]
        self.address = str(runner.get_variables(self.names[-1])["ansible_host"])

    def get(self, path: str, **parameters: str) -> Any:
        """Ask over the network, from the first host."""
        url = f"http://{self.address}:9090/api/v1/{path}?{urlencode(parameters)}"
        return json.loads(self.hosts[0].check_output("curl --silent --show-error --max-time 10 %s", url))["data"]

    def query(self, expression: str) -> dict[str, float]:
        """The values of an expression by instance."""
        found = self.get("query", query=expression)["result"]
        return {series["metric"].get("instance", ""): float(series["value"][1]) for series in found}

    def alerts(self) -> dict[str, str]:
        """The alerts that are pending or fire."""
        return {alert["labels"]["alertname"]: alert["state"] for alert in self.get("alerts")["alerts"]}


@pytest.fixture(scope="module")
def machines(request: pytest.FixtureRequest) -> Machines:
    machines = Machines(str(Path(request.config.getoption("--ansible-inventory")).resolve()))
    wait(60, lambda: len(machines.query('up{job="machine"} == 1')) == len(machines.names))
    return machines


@pytest.fixture
def long_queue(machines: Machines) -> Iterator[None]:
    """The first host says that nine messages wait, as a worker would."""
    host = machines.hosts[0]
    host.check_output("echo 'gym_queue_messages{queue=\"molecule\"} 9' > %s.new && mv %s.new %s", *[TEXTFILE] * 3)
    yield
    host.check_output("rm %s", TEXTFILE)


def test_every_machine_of_the_inventory_is_measured_under_its_own_name(machines: Machines) -> None:
    assert sorted(machines.query('up{job="machine"} == 1')) == machines.names
    assert set(machines.query("node_time_seconds")) == set(machines.names)


def test_a_group_without_hosts_is_no_error(machines: Machines) -> None:
    assert machines.query('up{job="redis"}') == {}


def test_samples_are_kept_for_as_long_as_it_was_said(machines: Machines) -> None:
    assert machines.get("status/flags")["storage.tsdb.retention.time"] in ("7d", "1w")


def test_all_rules_can_be_decided(machines: Machines) -> None:
    rules = [rule for group in machines.get("rules")["groups"] for rule in group["rules"]]
    assert {"HostDown", "DatabaseWithoutLeader", "CacheWithoutPrimary", "CertificateExpires", "QueueIsLong"} <= {
        rule["name"] for rule in rules
    }
    assert [rule["name"] for rule in rules if rule.get("lastError")] == []


def test_an_alert_of_the_noun_fires_and_ends(machines: Machines, request: pytest.FixtureRequest) -> None:
    assert "QueueIsLong" not in machines.alerts()
    request.getfixturevalue("long_queue")
    wait(30, lambda: machines.alerts().get("QueueIsLong") == "firing")
    machines.hosts[0].check_output("echo 'gym_queue_messages{queue=\"molecule\"} 1' > %s", TEXTFILE)
    wait(30, lambda: "QueueIsLong" not in machines.alerts())


def test_a_machine_that_does_not_answer_is_noticed(machines: Machines) -> None:
    host = machines.hosts[1]
    host.check_output("systemctl stop prometheus-node-exporter")
    try:
        wait(30, lambda: "HostDown" in machines.alerts())
    finally:
        host.check_output("systemctl start prometheus-node-exporter")
    wait(30, lambda: "HostDown" not in machines.alerts())


def test_a_rule_that_cannot_be_read_is_refused_before_it_replaces_the_old_ones(machines: Machines) -> None:
    host = machines.hosts[-1]
    path = "/etc/prometheus/rules/alerts.yml"
    before = host.file(path).content_string
    rules = "groups: [{name: x, rules: [{alert: A, expr: 'up >> 5'}]}]"
    bad = {"path": path, "content": rules, "validate": "promtool check rules %s"}
    answer = host.ansible("gym.platform.config_files", json.dumps({"files": [bad]}), check=False, become=True)
    assert "not valid" in answer["msg"]
    assert host.file(path).content_string == before


def test_it_comes_back_with_its_samples_when_it_is_killed(machines: Machines) -> None:
    host = machines.hosts[-1]
    process = host.check_output("systemctl show --property=MainPID --value prometheus")
    since = time.time()
    host.check_output("kill -9 %s", process)
    wait(60, lambda: bool(host.run("curl --silent --fail --output /dev/null http://127.0.0.1:9090/-/ready").succeeded))
    assert host.check_output("systemctl show --property=MainPID --value prometheus") != process
    assert machines.get("query", query='up{job="prometheus"}', time=str(since))["result"]


def test_alerts_on_backups_and_drills_fire_when_they_have_to_and_not_before(machines: Machines) -> None:
    """Decided by promtool, which does not wait for a day."""
    host = machines.hosts[-1]
    cases = (Path(__file__).parents[1] / "files" / "backups_test.yml").read_text()
    host.check_output("cat > /tmp/backups_test.yml << 'END'\n" + cases + "\nEND")
    assert "SUCCESS" in host.check_output("promtool test rules /tmp/backups_test.yml 2>&1")
    # A rule that is not what it was is noticed.
    host.check_output("sed 's#/etc/prometheus/rules/#/tmp/#' -i /tmp/backups_test.yml")
    for file, change in (("backups", "s/== 0/== 1/"), ("alerts", "s/> 172800/> 259200/"), ("alerts", "s/172800s/1s/")):
        host.check_output("cp /etc/prometheus/rules/backups.yml /etc/prometheus/rules/alerts.yml /tmp/")
        assert "SUCCESS" in host.check_output("promtool test rules /tmp/backups_test.yml 2>&1")
        host.check_output(f"sed '{change}' -i /tmp/{file}.yml")
        assert "FAILED" in host.run("promtool test rules /tmp/backups_test.yml 2>&1").stdout
