"""``archive.json``: which archive this is, and in which format. Written once, before the first segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from archiver.errors import Corrupt, Invalid
from archiver.journal.keys import BOUNDARIES, IDENTITY, segment_key
from archiver.untrusted import Unreadable, decode_untrusted

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.store.protocol import Store

FORMAT = 1
_MOST_BYTES = 1 << 16
"""What is read of ``archive.json``, at most."""


class Identity(msgspec.Struct, frozen=True):
    """JSON. Fields are only added, with defaults; ``format`` rises when older programs must not read the archive."""

    format: int
    id: str
    """32 hex digits; every segment repeats it."""
    created: int


async def read_identity(store: Store) -> Identity | None:
    """The archive's identity; ``None`` when there is no archive. ``Corrupt`` when it cannot be read or segments stand without it."""
    data = await store.get(IDENTITY, 0, _MOST_BYTES)
    if data is None:
        # Of an archive whose oldest segments were retired, the first is not there.
        if await store.size(segment_key(0)) is None and not await store.list(BOUNDARIES, limit=1):
            return None
        data = await store.get(IDENTITY, 0, _MOST_BYTES)  # both may have been created since the first look
        if data is None:
            raise Corrupt(f"{store.url} has segments but no {IDENTITY}", hint=f"put {IDENTITY} back from a copy of the archive")
    try:
        identity = decode_untrusted(data, Identity, most=_MOST_BYTES)
    except Unreadable as error:
        raise Corrupt(
            f"{IDENTITY} of {store.url} cannot be read: {error}", hint=f"put {IDENTITY} back from a copy of the archive"
        ) from error
    if identity.format != FORMAT:
        raise Corrupt(
            f"{store.url} is in format {identity.format}; this program knows {FORMAT}",
            hint="use the version of archiver that wrote the archive, or a newer one",
        )
    return identity


async def require_identity(store: Store) -> Identity:
    """``read_identity``; ``Invalid`` when there is no archive."""
    identity = await read_identity(store)
    if identity is None:
        raise Invalid(f"there is no archive at {store.url}", hint="check archive.url in the settings; `archiver run` creates an archive")
    return identity


async def create_identity(store: Store, clock: Clock) -> Identity:
    """The archive's identity, created when there is none. Safe against others who do the same at the same time."""
    if (identity := await read_identity(store)) is not None:
        return identity
    fresh = Identity(FORMAT, clock.unique(), clock.now())
    await store.put_if_absent(IDENTITY, msgspec.json.encode(fresh))
    return await require_identity(store)
