"""Passwords, bearer tokens and what is stored of them."""

import asyncio
import base64
import hashlib
import hmac
import secrets
from concurrent.futures import ThreadPoolExecutor
from functools import cache

# 16 MiB and about 50 ms a password: expensive to guess, and a kiosk's check-in never pays it.
_COST, _BLOCK_SIZE, _PARALLELISM, _LENGTH = 2**14, 8, 1, 32
SESSION_PREFIX = "session."
KIOSK_PREFIX = "kiosk."


def hash_password(password: str, salt: bytes | None = None) -> str:
    """Return what is stored of a password: the parameters, the salt and the hash."""
    salt = secrets.token_bytes(16) if salt is None else salt
    return f"scrypt${_COST}${_BLOCK_SIZE}${_PARALLELISM}${_b64(salt)}${_b64(_scrypt(password, salt))}"


def password_matches(password: str, stored: str) -> bool:
    """Compare a password with what is stored of the right one, in constant time."""
    scheme, cost, block_size, parallelism, salt, expected = stored.split("$")
    if scheme != "scrypt":
        raise ValueError(f"unknown password scheme {scheme!r}")
    parameters = int(cost), int(block_size), int(parallelism)
    return hmac.compare_digest(_scrypt(password, base64.b64decode(salt), *parameters), base64.b64decode(expected))


async def verify_password(password: str, stored: str | None) -> bool:
    """Check a password in one of few threads: however many log in at once, check-ins get their share of the cores."""
    loop = asyncio.get_running_loop()
    matches = await loop.run_in_executor(_threads(), lambda: password_matches(password, stored or _nobody()))
    return matches and stored is not None


def new_kiosk_token() -> str:
    """Make a token for a kiosk; it is shown once and never stored."""
    return KIOSK_PREFIX + secrets.token_urlsafe(32)


def token_digest(token: str) -> bytes:
    """Return what is stored of a token. It is random and long, so one round of SHA-256 is enough."""
    return hashlib.sha256(token.encode()).digest()


class SessionTokens:
    """Bearer tokens of staff: random, and signed so that a made-up one never reaches Redis."""

    def __init__(self, key: bytes) -> None:
        """Sign with this key; another key ends all sessions."""
        self._key = key

    def new(self) -> str:
        """Make a token."""
        value = secrets.token_urlsafe(32)
        return f"{SESSION_PREFIX}{value}.{self._signature(value)}"

    def is_genuine(self, token: str) -> bool:
        """Tell whether this service made the token."""
        value, _, signature = token.removeprefix(SESSION_PREFIX).rpartition(".")
        return token.startswith(SESSION_PREFIX) and hmac.compare_digest(
            signature.encode(), self._signature(value).encode()
        )

    def _signature(self, value: str) -> str:
        return hmac.digest(self._key, value.encode(), "sha256").hex()


def _scrypt(
    password: str, salt: bytes, cost: int = _COST, block_size: int = _BLOCK_SIZE, parallelism: int = _PARALLELISM
) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=cost, r=block_size, p=parallelism, dklen=_LENGTH)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2, thread_name_prefix="password")


@cache
def _nobody() -> str:
    """Return the hash of no password: a user who does not exist costs as much time as a wrong password."""
    return hash_password(secrets.token_hex(16))


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
