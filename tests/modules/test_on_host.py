"""systemd_units and host_certificate on a host that is run by systemd, with config_files before them."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.secret_store import generate_certificate_authority

from tests.modules.playing import Outcome, Task

Play = Callable[..., Outcome]

SERVICE = "[Service]\nExecStart={command}\n{more}[Install]\nWantedBy=multi-user.target\n"


def service(name: str, command: str = "/bin/sleep 1001", more: str = "", reload: bool = False) -> Task:
    unit = f"module-test-{name}.service"
    return {
        "gym.platform.config_files": {
            "files": [
                {
                    "path": f"/etc/systemd/system/{unit}",
                    "content": SERVICE.format(command=command, more=more),
                    "units": [unit],
                    "reload": reload,
                }
            ]
        },
        "become": True,
    }


def units(*records: dict[str, Any] | str, **options: Any) -> Task:
    named = [{"name": record} if isinstance(record, str) else record for record in records]
    return {"gym.platform.systemd_units": {"units": named, "settle": 0.5, **options}, "become": True}


def shell(command: str) -> Task:
    return {"ansible.builtin.shell": command, "become": True, "changed_when": False}


def show(prop: str, unit: str) -> Task:
    return shell(f"systemctl show --value --property={prop} {unit}")


MARKERS = shell("cd /run/gym-platform && find . -name 'module-test-*' | sort")


def test_a_unit_is_enabled_started_restarted_after_a_change_and_then_at_rest(clean_host: Play) -> None:
    unit = "module-test-a.service"
    pid = show("MainPID", unit)
    results = clean_host(
        service("a"), units(unit), pid, MARKERS,
        service("a"), units(unit), pid,
        service("a", "/bin/sleep 1002"), units(unit), pid, MARKERS, show("ExecStart", unit),
        units(unit), pid,
    ).results  # fmt: skip
    assert results[1]["changed_units"] == {unit: ["enable", "start"]}
    assert results[1]["daemon_reloaded"] is True
    assert results[3]["stdout"] == results[10]["stdout"] == ""
    assert results[4]["changed"] is results[5]["changed"] is results[12]["changed"] is False
    assert results[2]["stdout"] == results[6]["stdout"] != results[9]["stdout"] == results[13]["stdout"]
    assert results[8]["changed_units"] == {unit: ["restart"]}
    assert "1002" in results[11]["stdout"]


def test_a_run_that_was_interrupted_after_the_files_is_completed_by_the_next(clean_host: Play) -> None:
    unit = "module-test-a.service"
    clean_host(service("a"), units(unit), service("a", "/bin/sleep 1002"))  # and no systemd_units any more
    first, second = clean_host(service("a", "/bin/sleep 1002"), units(unit)).results
    assert first["changed"] is False
    assert second["changed_units"] == {unit: ["restart"]}


def test_a_plan_shows_units_that_do_not_exist_yet_and_restarts_to_come(clean_host: Play) -> None:
    planned = clean_host(service("a"), units("module-test-a.service"), options=("--check", "--diff")).last
    assert planned["changed"] is True
    assert planned["diff"]["before"] == "module-test-a.service: not-found, inactive\n"
    assert planned["diff"]["after"] == "module-test-a.service: enabled, active\n"
    results = clean_host(
        service("a"),
        units("module-test-a.service"),
        {**units("module-test-a.service", restart=["module-test-a.service"]), "check_mode": True},
        show("ActiveEnterTimestampMonotonic", "module-test-a.service"),
    ).results
    assert results[2]["changed_units"] == {"module-test-a.service": ["restart"]}


def test_a_unit_that_does_not_stay_up_fails_with_its_own_words_and_keeps_its_marker(clean_host: Play) -> None:
    results = clean_host(
        service("a"), units("module-test-a.service"),
        service("a", "/bin/sh -c 'echo port 80 is taken; sleep 0.1; exit 7'"), units("module-test-a.service"),
        MARKERS,
        service("a", "/bin/sleep 1003"), units("module-test-a.service"), MARKERS,
    ).results  # fmt: skip
    assert results[3]["failed"] is True
    assert "module-test-a.service did not stay up: it is failed (failed" in results[3]["msg"]
    assert "port 80 is taken" in results[3]["msg"]
    assert results[4]["stdout"] == "./restart/module-test-a.service"
    assert results[6]["changed_units"] == {"module-test-a.service": ["start"]}
    assert results[7]["stdout"] == ""


def test_a_unit_that_was_started_too_often_is_started_again_once_it_is_repaired(clean_host: Play) -> None:
    more = "Restart=always\nRestartSec=10ms\n"
    results = clean_host(
        service("a", "/bin/false", more), units("module-test-a.service"),
        shell("timeout 20 sh -c 'until systemctl is-failed module-test-a.service; do sleep 0.2; done'"),
        show("Result", "module-test-a.service"),
        service("a", "/bin/sleep 1001", more), units("module-test-a.service"),
        show("ActiveState", "module-test-a.service"),
    ).results  # fmt: skip
    assert results[1]["failed"] is True
    assert results[3]["stdout"] in ("start-limit-hit", "exit-code")
    assert results[5]["changed_units"] == {"module-test-a.service": ["start"]}
    assert results[6]["stdout"] == "active"


def test_ready_is_waited_for_and_its_failure_tells_both_sides(clean_host: Play) -> None:
    slow = "/bin/sh -c 'sleep 1; echo up; touch /run/module-test-ready; exec sleep 1001'"
    good = {"name": "module-test-a.service", "ready": ["test", "-e", "/run/module-test-ready"], "ready_timeout": 20}
    bad = {"name": "module-test-b.service", "ready": ["ls", "/run/module-test-no"], "ready_timeout": 1}
    dead = {"name": "module-test-c.service", "ready": ["ls", "/run/module-test-no"], "ready_timeout": 60}
    results = clean_host(
        service("a", slow), units(good), shell("cat /run/module-test-ready"),
        service("b", "/bin/sh -c 'echo still thinking; exec sleep 1001'"), units(bad), MARKERS,
        service("c", "/bin/false"), units(dead),
        units({**good, "ready": ["no-such-program"]}, restart=["module-test-a.service"]),
    ).results  # fmt: skip
    assert results[2]["rc"] == 0
    assert results[1]["changed"] is True
    assert "was not ready within 1 s; `ls /run/module-test-no` exited with 2" in results[4]["msg"]
    assert "still thinking" in results[4]["msg"]
    assert results[5]["stdout"] == "./restart/module-test-b.service"
    assert "module-test-c.service failed before it was ready" in results[7]["msg"]
    assert "its ready command no-such-program cannot be run" in results[8]["msg"]


def test_a_reload_reloads_and_what_cannot_be_reloaded_is_restarted(clean_host: Play) -> None:
    more = "ExecReload=/bin/touch /run/module-test-reloaded\n"
    pids = [show("MainPID", f"module-test-{name}.service") for name in "ab"]
    both = units("module-test-a.service", "module-test-b.service")
    results = clean_host(
        service("a", more=more), service("b"), both, *pids,
        service("a", more=more + "Nice=1\n", reload=True), service("b", more="Nice=1\n", reload=True), both,
        *pids, MARKERS, shell("ls /run/module-test-reloaded"),
    ).results  # fmt: skip
    assert results[7]["changed_units"] == {"module-test-a.service": ["reload"], "module-test-b.service": ["restart"]}
    assert results[3]["stdout"] == results[8]["stdout"]
    assert results[4]["stdout"] != results[9]["stdout"]
    assert results[10]["stdout"] == ""
    assert results[11]["rc"] == 0


def test_a_drop_in_in_a_new_directory_is_read(clean_host: Play) -> None:
    """systemd's own NeedDaemonReload says "no" for it."""
    drop_in = {
        "path": "/etc/systemd/system/module-test-a.service.d/nice.conf",
        "content": "[Service]\nNice=7\n",
        "units": ["module-test-a.service"],
    }
    results = clean_host(
        service("a"),
        units("module-test-a.service"),
        {"gym.platform.config_files": {"files": [drop_in]}, "become": True},
        units("module-test-a.service"),
        shell("ps -o ni= -p $(systemctl show --value --property=MainPID module-test-a.service)"),
    ).results
    assert results[3]["daemon_reloaded"] is True
    assert results[4]["stdout"].strip() == "7"


def test_instances_timers_sockets_and_tasks_come_to_rest(clean_host: Play) -> None:
    directory = "/etc/systemd/system/module-test"
    contents = {
        f"{directory}-i@.service": SERVICE.format(command="/bin/sleep %i", more=""),
        f"{directory}-t.service": "[Service]\nType=oneshot\nExecStart=/bin/true\n",
        f"{directory}-t.timer": "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n",
        f"{directory}-s.socket": "[Socket]\nListenStream=/run/module-test.sock\n[Install]\nWantedBy=sockets.target\n",
        f"{directory}-s.service": "[Service]\nExecStart=/bin/sleep 9\n",
        f"{directory}-o.service": SERVICE.format(command="/bin/true", more="Type=oneshot\n"),
        f"{directory}-r.service": SERVICE.format(command="/bin/true", more="Type=oneshot\nRemainAfterExit=yes\n"),
    }
    files = [{"path": path, "content": content} for path, content in contents.items()]
    names = ["i@1001.service", "i@1002.service", "t.timer", "s.socket", "o.service", "r.service"]
    wanted = units(*(f"module-test-{name}" for name in names))
    results = clean_host(
        {"gym.platform.config_files": {"files": files}, "become": True},
        wanted,
        wanted,
        shell("systemctl is-active " + " ".join(f"module-test-{name}" for name in names if name != "o.service")),
    ).results
    assert results[1]["changed_units"] == {f"module-test-{name}": ["enable", "start"] for name in names}
    assert results[2]["changed"] is False
    assert results[3]["stdout"].split() == ["active"] * 5


def test_masked_stopped_and_disabled_units_come_to_rest_and_back(clean_host: Play) -> None:
    # systemd masks by a link below /etc, so a unit that can be masked lives elsewhere.
    link = shell(
        "mkdir -p /run/systemd/system && printf '[Service]\\nExecStart=/bin/sleep 1001\\n[Install]\\n"
        "WantedBy=multi-user.target\\n' > /run/systemd/system/module-test-m.service && systemctl daemon-reload"
    )
    name = "module-test-m.service"
    masked, stopped = {"name": name, "masked": True}, {"name": name, "enabled": False, "state": "stopped"}
    gone = {"name": "module-test-gone.service", "enabled": False, "state": "stopped"}
    results = clean_host(
        link, units(name), units(masked), units(masked), show("LoadState", name),
        units(name), show("ActiveState", name), units(stopped), units(stopped, gone),
        shell("rm /run/systemd/system/module-test-m.service"),
    ).results  # fmt: skip
    assert results[2]["changed_units"][name][0] == "stop"
    assert results[3]["changed"] is False
    assert results[4]["stdout"] == "masked"
    assert results[5]["changed_units"] == {name: ["unmask", "enable", "start"]}
    assert results[6]["stdout"] == "active"
    assert results[7]["changed_units"] == {name: ["disable", "stop"]}
    assert results[8]["changed"] is False


def test_a_unit_that_does_not_exist_or_cannot_be_read_is_one_sentence(clean_host: Play) -> None:
    results = clean_host(
        service("a"),
        units("module-test-aa.service"),
        units("module-tset@1.service"),
        service("b", "relative/path"),
        units("module-test-b.service"),
    ).results
    assert "module-test-aa.service does not exist on this host; the nearest existing name is" in results[1]["msg"]
    assert "module-test-a.service" in results[1]["msg"]
    assert "(an instance of module-tset@.service) does not exist" in results[2]["msg"]
    assert "systemd cannot use module-test-b.service" in results[4]["msg"]


@pytest.fixture(scope="module")
def authority() -> dict[str, str]:
    """The authority of a throw-away environment."""
    return generate_certificate_authority()


def certificate(authority: dict[str, str], *names: str, **options: Any) -> Task:
    return {
        "gym.platform.host_certificate": {
            "directory": "/etc/module-test/tls",
            "names": ["module-test", *names],
            "addresses": ["127.0.0.1"],
            "ca_certificate": authority["/certificate"],
            "ca_private_key": authority["/key"],
            "units": ["module-test-tls.service"],
            **options,
        },
        "become": True,
    }


def test_a_certificate_is_made_kept_renewed_and_repaired(clean_host: Play, authority: dict[str, str]) -> None:
    made = certificate(authority)
    sums = shell("cd /etc/module-test/tls && sha256sum host.pem.key host.pem")
    results = clean_host(
        {**made, "check_mode": True}, shell("test ! -e /etc/module-test"),
        made, MARKERS, shell("stat -c '%a %U %G %n' /etc/module-test/tls/*"),
        shell("openssl verify -x509_strict -CAfile /etc/module-test/tls/ca.pem /etc/module-test/tls/host.pem"),
        sums, made, sums,
        certificate(authority, "other"), sums,
        shell("chmod 666 /etc/module-test/tls/host.pem.key"), certificate(authority, "other"), sums,
        shell("echo broken > /etc/module-test/tls/host.pem.key"), certificate(authority, "other"),
        certificate(authority, "other"), sums,
    ).results  # fmt: skip
    assert results[0]["changed"] is True
    assert results[1]["rc"] == 0
    assert results[2]["reasons"][0] == "there is no usable key"
    assert results[2]["restart"] == ["module-test-tls.service"]
    assert results[3]["stdout"] == "./restart/module-test-tls.service"
    assert results[4]["stdout_lines"] == [
        "644 root root /etc/module-test/tls/ca.pem",
        "644 root root /etc/module-test/tls/host.pem",
        "640 root ssl-cert /etc/module-test/tls/host.pem.key",
    ]
    assert results[5]["stdout"].endswith("host.pem: OK")
    assert results[7]["changed"] is False
    assert results[6]["stdout"] == results[8]["stdout"]
    # Other names: another certificate for the same key.
    assert results[9]["reasons"] == ["name other is missing"]
    assert (results[9]["restart"], results[9]["reload"]) == ([], ["module-test-tls.service"])
    assert results[10]["stdout_lines"][0] == results[8]["stdout_lines"][0]
    assert results[10]["stdout_lines"][1] != results[8]["stdout_lines"][1]
    assert results[12]["reasons"] == ["/etc/module-test/tls/host.pem.key has the wrong owner, group or mode"]
    assert results[13]["stdout"] == results[10]["stdout"]
    assert results[15]["reasons"] == ["there is no usable key"]
    assert results[16]["changed"] is False
    assert results[17]["stdout_lines"][0] != results[10]["stdout_lines"][0]


def test_a_certificate_is_renewed_in_time_and_after_a_change_of_authority(
    clean_host: Play, authority: dict[str, str]
) -> None:
    ends = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=40)).date().isoformat()
    other = generate_certificate_authority()
    results = clean_host(
        certificate(authority, valid_days=40),
        certificate(authority, renew_before_days=39),
        certificate(authority, renew_before_days=41),
        certificate(other),
        certificate(other),
        shell("openssl verify -CAfile /etc/module-test/tls/ca.pem /etc/module-test/tls/host.pem"),
    ).results
    assert results[0]["expires"].startswith(ends)
    assert results[1]["changed"] is False
    assert results[2]["reasons"] == [f"the certificate expires on {ends}"]
    assert results[2]["restart"] == []
    assert results[3]["reasons"] == ["the certificate is not of this CA", "ca.pem is not the CA's certificate"]
    assert (results[3]["restart"], results[3]["reload"]) == (["module-test-tls.service"], [])
    assert results[4]["changed"] is False
    assert results[5]["rc"] == 0


def test_neither_private_key_is_ever_shown_or_sent(clean_host: Play, authority: dict[str, str]) -> None:
    outcome = clean_host(
        certificate(authority),
        certificate(authority, "other"),
        certificate(authority, "another", ca_private_key=""),
        shell("journalctl --since=-5min | grep -c -e 'PRIVATE KEY' -e \"$SECRET\" || true"),
        options=("-vvv", "--diff"),
    )
    body = authority["/key"].splitlines()[1]
    assert body not in outcome.output.split('"plays"')[0]
    assert all(body not in str(result) for result in outcome.results)
    assert "name: other" in outcome.results[1]["diff"]["after"]
    assert "a new certificate is needed (name another is missing" in outcome.results[2]["msg"].lower()
    assert "`ca_private_key` is empty" in outcome.results[2]["msg"]
