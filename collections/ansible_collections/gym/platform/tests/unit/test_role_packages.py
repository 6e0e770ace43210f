"""The lookup that gathers what all roles install."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleError
from ansible.plugins.loader import init_plugin_loader, lookup_loader
from ansible_collections.gym.platform.plugins.lookup.role_packages import gather


def role(directory: Path, name: str, variables: str) -> Path:
    path = directory / name / "vars" / "main.yml"
    path.parent.mkdir(parents=True)
    path.write_text(variables)
    return path


def test_packages_of_all_roles_are_joined(tmp_path: Path) -> None:
    role(tmp_path, "redis", "__redis_packages: [redis-server, openssl]\n__redis_port: 6379\n")
    role(tmp_path, "haproxy", "__haproxy_packages: [haproxy, openssl]\n")
    role(tmp_path, "empty", "")
    assert gather(tmp_path) == {"packages": ["haproxy", "openssl", "redis-server"], "requirements": {}}


def test_a_list_of_another_role_is_not_taken(tmp_path: Path) -> None:
    role(tmp_path, "redis", "__redis_base_packages: [one]\n__other_packages: [two]\n")
    assert gather(tmp_path)["packages"] == []


def test_requirements_are_found_in_the_files_of_the_role(tmp_path: Path) -> None:
    role(tmp_path, "queue", "__queue_requirements: requirements.txt\n")
    file = tmp_path / "queue" / "files" / "requirements.txt"
    file.parent.mkdir()
    file.touch()
    assert gather(tmp_path)["requirements"] == {"queue": str(file)}


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ("__redis_packages: redis-server", "has to be a list"),
        ('__redis_packages: ["{{ redis }}"]', "not the plain name"),
        ("__redis_packages: [redis-server=5]", "not the plain name"),
        ("__redis_packages: [12]", "not the plain name"),
        ("__redis_requirements: missing.txt", "there is no"),
        ("a: [", "is not YAML"),
    ],
)
def test_what_cannot_be_baked_is_refused_by_name(tmp_path: Path, variables: str, words: str) -> None:
    path = role(tmp_path, "redis", variables)
    with pytest.raises(ValueError, match=words) as raised:
        gather(tmp_path)
    assert str(path) in str(raised.value)


def test_the_lookup_answers_one_record_for_one_directory(tmp_path: Path) -> None:
    init_plugin_loader()
    role(tmp_path, "redis", "__redis_packages: [redis-server]\n")
    lookup = lookup_loader.get("gym.platform.role_packages")
    assert lookup.run([str(tmp_path)]) == [{"packages": ["redis-server"], "requirements": {}}]
    with pytest.raises(AnsibleError, match="no directory of roles"):
        lookup.run([str(tmp_path / "missing")])
    with pytest.raises(AnsibleError, match="takes one directory"):
        lookup.run([])
