"""Passwords: argon2id, the same whether a person is added from the command line or signs in by the page."""

import secrets
import unicodedata

from argon2 import PasswordHasher

SCHEMES = ("argon2",)
MIN_LENGTH = 12
MAX_LENGTH = 128  # hashing longer ones would be work that anybody can order
_hasher = PasswordHasher()


def hash_password(plain: str) -> str:
    """The hash to keep. Takes about 60 ms, on purpose."""
    return _hasher.hash(unicodedata.normalize("NFKD", plain))


def new_password() -> str:
    """A password that nobody has to invent: 90 bits in five groups that can be read out."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"  # without what looks alike
    return "-".join("".join(secrets.choice(alphabet) for _ in range(4)) for _ in range(5))
