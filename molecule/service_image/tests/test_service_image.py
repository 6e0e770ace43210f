"""The image runs as nobody in particular, and carries nothing of the machine that built it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from testinfra.host import Host

testinfra_hosts = ["local://"]
BUILT = Path(__file__).resolve().parents[3] / ".state" / "molecule" / "images" / "gym-api.json"


@pytest.fixture(scope="module")
def image() -> str:
    return str(json.loads(BUILT.read_text())["id"])


def run(host: Host, image: str, script: str) -> str:
    locked = "--read-only --cap-drop ALL --security-opt no-new-privileges --network none"
    said: str = host.check_output(f"docker run --rm {locked} --entrypoint python3 {image} -c %s", script)
    return said


def test_the_bill_of_materials_lists_the_python_packages_that_are_there(host: Host, image: str) -> None:
    names = "d.metadata['Name'].lower().replace('_', '-') for d in importlib.metadata.distributions()"
    there = run(host, image, f"import importlib.metadata; print(*sorted({names}))").split()
    bill = json.loads(BUILT.with_name("gym-api.cdx.json").read_text())
    listed = [item["name"] for item in bill["components"] if item["purl"].startswith("pkg:pypi/")]
    assert sorted(listed) == there
    assert "starlette" in there


def test_it_is_not_root(host: Host, image: str) -> None:
    assert run(host, image, "import os; print(os.getuid(), os.getgid())") == "10001 10001"


def test_every_command_of_the_service_is_there(host: Host, image: str) -> None:
    said = host.check_output(f"docker run --rm --read-only --network none {image} --help")
    assert all(command in said for command in ("api", "worker", "report", "migrate", "seed"))


def test_nothing_of_the_building_machine_is_left(host: Host, image: str) -> None:
    left = "[file for _, _, files in os.walk('/etc/apt') for file in files], os.path.exists('/etc/pip.conf')"
    assert run(host, image, f"import os; print({left})") == "[] False"
