"""Write a file of names and passwords for HTTP's basic authentication."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

try:
    import bcrypt
except ImportError:
    HAS_BCRYPT = False
else:
    HAS_BCRYPT = True

# 2^10 rounds: 50 ms for an honest client, once a connection.
ROUNDS = 10
STANDARD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
BCRYPT = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def htpasswd(users: Mapping[str, str]) -> str:
    """Return one line of name and bcrypt hash for each user.

    The salt is made from the name and the password, so that the same input gives the same file and an unchanged run
    changes nothing. What a salt is for, two equal passwords that look different, it still does: the names differ.
    """
    if not HAS_BCRYPT:
        raise AnsibleFilterError("htpasswd needs the Python package bcrypt: install requirements.txt.")
    return "".join(f"{name}:{_hash(name, password)}\n" for name, password in sorted(users.items()))


def _hash(name: str, password: str) -> str:
    if not name or ":" in name or "\n" in name:
        raise AnsibleFilterError(f"htpasswd: '{name}' cannot be a name: it is empty, or has a colon or a line break.")
    if not password or len(password.encode()) > 72:
        raise AnsibleFilterError(f"htpasswd: the password of '{name}' must have 1 to 72 bytes; bcrypt reads no more.")
    digest = hashlib.sha256(f"{name}\0{password}".encode()).digest()[:16]
    # bcrypt's own order of the 64 letters.
    salt = base64.b64encode(digest)[:22].translate(bytes.maketrans(STANDARD, BCRYPT))
    return bcrypt.hashpw(password.encode(), b"$2b$%d$%s" % (ROUNDS, salt)).decode()


class FilterModule:
    """Ansible finds the filters here."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters."""
        return {"htpasswd": htpasswd}
