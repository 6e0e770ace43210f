"""Names and passwords for the image registry."""

from __future__ import annotations

import bcrypt
import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gym.platform.plugins.filter.htpasswd import htpasswd


def test_the_hash_is_of_the_password_and_the_same_in_every_run() -> None:
    text = htpasswd({"platform": "secret", "another": "secret"})
    assert text == htpasswd({"another": "secret", "platform": "secret"})
    first, second = text.splitlines()
    assert first.startswith("another:$2b$10$")
    assert first.split(":")[1] != second.split(":")[1]
    assert bcrypt.checkpw(b"secret", second.split(":")[1].encode())
    assert not bcrypt.checkpw(b"Secret", second.split(":")[1].encode())


def test_nobody_is_let_in_when_nobody_is_named() -> None:
    assert htpasswd({}) == ""


@pytest.mark.parametrize("users", [{"a:b": "x"}, {"": "x"}, {"a\nb": "x"}, {"a": ""}, {"a": "x" * 73}])
def test_what_cannot_be_written_is_refused(users: dict[str, str]) -> None:
    with pytest.raises(AnsibleFilterError, match="htpasswd:"):
        htpasswd(users)
