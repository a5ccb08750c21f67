"""Seals of announcements: how it is known that our event trigger sent a message, and sent it in the transaction that has it.

Anybody who may log in can send a message with our prefix. The trigger's function, which a superuser owns, puts a seal behind what it says:
the hash of that under two keys that stand in the database and that no other role may read. What it says names the transaction and where
the log stood, so a seal is worth nothing in any other place. Pure. See docs/design/0016-announcements.md.
"""

from __future__ import annotations

import hashlib
import hmac
import re

import msgspec

from archiver.postgres.announcements import MOST_BYTES
from archiver.postgres.lsn import match_lsn
from archiver.untrusted import Unreadable, decode_untrusted

KEY_BYTES = 64
"""Of each key: a block of SHA-256."""
NEAR_BYTES = 64 << 30
"""Between what a message says of the log's end and where it stands. Ids of transactions come again after more log than this."""

_SEALED = re.compile(rb', "seal": "([0-9a-f]{64})"\}\Z')
_XID = re.compile("[0-9]{1,20}")
_NAMED = b"name of the keys"
"""What is sealed for the name of keys. No message: such a one is a JSON object."""
_SEAL_BYTES = len(', "seal": ""}') + 64


class _Place(msgspec.Struct):
    """Of what a sealed message says: where it was sent."""

    xid: str
    """``pg_current_xact_id()``: of the whole transaction, 64 bits."""
    lsn: str
    """``pg_current_wal_insert_lsn()``, just before the message."""


class SealKeys:
    """The two keys of a database. Nothing shows them."""

    def __init__(self, inner: bytes, outer: bytes) -> None:
        """Raises ``ValueError`` for keys of another length."""
        if (len(inner), len(outer)) != (KEY_BYTES, KEY_BYTES):
            raise ValueError("they have another length")
        self._inner, self._outer = inner, outer

    def __repr__(self) -> str:
        return "SealKeys(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SealKeys) and (self._inner, self._outer) == (other._inner, other._outer)

    __hash__ = None  # type: ignore[assignment]

    @property
    def name(self) -> str:
        """Tells these keys from others, and nothing of them."""
        return self.seal(_NAMED)[:32]

    def seal(self, said: bytes) -> str:
        """The seal of ``said``, hex."""
        return hashlib.sha256(self._outer + hashlib.sha256(self._inner + said).digest()).hexdigest()

    def made(self, content: bytes, xid: int, lsn: int) -> bool:
        """Whether the trigger sent ``content`` in the transaction ``xid`` (32 bits), with its record at ``lsn``."""
        if len(content) > MOST_BYTES:
            return False
        found = _SEALED.search(content, max(0, len(content) - _SEAL_BYTES))
        if found is None:
            return False
        said = content[: found.start()] + b"}"
        if not hmac.compare_digest(self.seal(said), found[1].decode()):
            return False
        try:
            place = decode_untrusted(said, _Place, most=MOST_BYTES)
        except Unreadable:
            return False
        end = match_lsn(place.lsn)
        if end is None or not _XID.fullmatch(place.xid):
            return False
        return int(place.xid) & 0xFFFFFFFF == xid and 0 <= lsn - end < NEAR_BYTES
