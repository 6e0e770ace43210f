"""Copies that are put back: the newest one, once, and beside what is there."""

from __future__ import annotations

import pytest
import testinfra
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Host:
    inventory = str(request.config.getoption("--ansible-inventory"))
    name = sorted(AnsibleRunner(inventory).get_hosts("machines"))[1]
    return testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}", sudo=True)


def test_the_newest_copy_is_there_and_replaces_what_has_its_names(host: Host) -> None:
    assert host.file("/srv/notes/deep/one").content_string == "new\n"
    assert host.file("/srv/notes/two").content_string == "two\n"
    assert not host.file("/srv/notes/deep/gone").exists
    assert host.file("/srv/notes/kept").content_string == "mine\n"
    assert not host.file("/srv/notes/.restored").exists


def test_it_belongs_to_who_uses_it(host: Host) -> None:
    assert host.file("/srv/notes/deep/one").user == "games"


def test_what_uses_it_was_started_again_and_has_read_it(host: Host) -> None:
    assert host.service("notes").is_running
    assert host.file("/run/notes-read").content_string == "new\n"


def test_a_copy_of_one_file_is_put_into_its_directory(host: Host) -> None:
    assert host.check_output("ls -A /srv/taken_over") == "ledger.json"
    assert host.file("/srv/taken_over/ledger.json").content_string == '{"version": 7}\n'
