"""A seal holds in one place and for one text."""

from __future__ import annotations

import pytest

from archiver.postgres.announcement_seal import KEY_BYTES, NEAR_BYTES, SealKeys

KEYS = SealKeys(b"i" * KEY_BYTES, b"o" * KEY_BYTES)


def sealed(said: str, keys: SealKeys = KEYS) -> bytes:
    return f'{said[:-1]}, "seal": "{keys.seal(said.encode())}"}}'.encode()


def said(xid: str = "7", lsn: str = "0/100") -> str:
    return f'{{"lsn": "{lsn}", "tag": "ALTER TABLE", "xid": "{xid}"}}'


@pytest.mark.parametrize(("xid", "lsn"), [("7", 0x100), ("7", 0x180), (str((1 << 32) + 7), 0x180), ("7", NEAR_BYTES)])
def test_what_the_trigger_sent_is_known(xid: str, lsn: int) -> None:
    """In its transaction, whose id frames have 32 bits of, and where the log stood then or a little later."""
    assert KEYS.made(sealed(said(xid)), 7, lsn)


@pytest.mark.parametrize(
    ("content", "xid", "lsn"),
    [
        (sealed(said()), 8, 0x180),
        (sealed(said()), 7, 0xFF),
        (sealed(said()), 7, NEAR_BYTES + 0x100),
        (sealed(said(), SealKeys(b"i" * KEY_BYTES, b"x" * KEY_BYTES)), 7, 0x180),
        (sealed(said(), SealKeys(b"x" * KEY_BYTES, b"o" * KEY_BYTES)), 7, 0x180),
        (sealed(said()).replace(b"ALTER", b"OTHER"), 7, 0x180),
        (sealed(said()) + b" ", 7, 0x180),
        (sealed(said()) + b"\n", 7, 0x180),
        (sealed(said())[:-3] + b'"}', 7, 0x180),
        (said().encode(), 7, 0x180),
        (sealed('{"tag": "ALTER TABLE"}'), 7, 0x180),
        (sealed(said(xid="-7")), 7, 0x180),
        (sealed(said(lsn="nowhere")), 7, 0x180),
        (b"", 7, 0x180),
    ],
    ids=str,
)
def test_nothing_else_is(content: bytes, xid: int, lsn: int) -> None:
    """Another transaction, another place, another key, another text, no seal, nothing that says where it was sent."""
    assert not KEYS.made(content, xid, lsn)


def test_keys_have_one_length_and_are_not_shown() -> None:
    """Neither in logs nor in errors."""
    with pytest.raises(ValueError, match="another length"):
        SealKeys(b"short", b"o" * KEY_BYTES)
    assert repr(KEYS) == str(KEYS) == "SealKeys(…)"
