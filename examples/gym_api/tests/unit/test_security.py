"""Passwords and tokens."""

import asyncio

from gym_api.security import SessionTokens, hash_password, new_kiosk_token, password_matches, verify_password


def test_a_password_matches_its_hash_and_no_other() -> None:
    stored = hash_password("right")
    assert password_matches("right", stored)
    assert not password_matches("wrong", stored)
    assert stored != hash_password("right"), "two users with the same password look different"


def test_nobody_has_no_password() -> None:
    assert asyncio.run(verify_password("right", hash_password("right")))
    assert not asyncio.run(verify_password("right", None))
    assert not asyncio.run(verify_password("", None))


def test_only_signed_tokens_are_genuine() -> None:
    tokens = SessionTokens(b"k" * 32)
    token = tokens.new()
    assert tokens.is_genuine(token)
    assert not tokens.is_genuine(token[:-1] + ("0" if token[-1] != "0" else "1"))
    assert not tokens.is_genuine("session.made-up.éé")
    assert not tokens.is_genuine(new_kiosk_token())
    assert not SessionTokens(b"x" * 32).is_genuine(token)
