"""Which keys and prefixes a store accepts; the same for every store, so that an archive can be copied between them."""

from __future__ import annotations

import re

from archiver.errors import Invalid

_PART = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._=-]+"
_KEY = re.compile(rf"{_PART}(?:/{_PART})*")
_PREFIX = re.compile(rf"(?:{_PART}/)*(?:[A-Za-z0-9._=-]+)?")

MAX_LENGTH = 512
"""Of a key: S3 allows 1024 bytes with the archive's prefix before it."""


def checked(key: str) -> str:
    """``key`` itself. Raises ``Invalid`` for one that no archive can hold, such as one that leads out of a directory."""
    if len(key) > MAX_LENGTH or not _KEY.fullmatch(key):
        raise Invalid(
            f"object key {key[:80]!r} is not allowed",
            hint="keys are parts of A-Z a-z 0-9 . _ = - with / between them; a journal that names another was not written by us",
        )
    return key


def checked_prefix(prefix: str) -> str:
    """``prefix`` itself, which may be empty or end within a part. Raises ``Invalid``."""
    if len(prefix) > MAX_LENGTH or not _PREFIX.fullmatch(prefix):
        raise Invalid(f"object prefix {prefix[:80]!r} is not allowed", hint="prefixes are the beginnings of keys")
    return prefix
