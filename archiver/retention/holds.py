"""Legal holds: while any stands, nothing is deleted. Whatever is under their prefix holds, also what nobody can read.

retention/holds/{name}.json
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from archiver.errors import Invalid
from archiver.journal.keys import HOLDS, hold_key
from archiver.journal.put_once import put_once
from archiver.untrusted import Unreadable, decode_untrusted

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.store.protocol import Store

LONGEST = 100
"""Bytes of a name."""
_LIMIT = 1 << 16


class Hold(msgspec.Struct, frozen=True):
    """One hold."""

    name: str
    reason: str = ""
    made: int = 0


async def put_hold(store: Store, clock: Clock, name: str, reason: str) -> Hold:
    """Put a hold; durable on return. ``Invalid``: the name cannot be one, or a hold has it."""
    if not name or len(name.encode()) > LONGEST or not name.isprintable() or name != name.strip():
        raise Invalid("this cannot be the name of a hold", hint=f"a name has 1 to {LONGEST} bytes of printable characters")
    hold = Hold(name, reason, clock.now())
    if await put_once(store, clock, hold_key(name), msgspec.json.encode(hold)) is not None:
        raise Invalid(f"there is a hold {name!r} already", hint="`archiver hold list` shows it")
    return hold


async def holds(store: Store) -> list[Hold]:
    """All holds."""
    found, after = list[Hold](), ""
    while keys := await store.list(HOLDS, after=after, limit=1000):
        for key in keys:
            body = await store.get(key, 0, _LIMIT + 1)
            try:
                found.append(decode_untrusted(body or b"", Hold, most=_LIMIT))
            except Unreadable:
                found.append(Hold(key.removeprefix(HOLDS), "an object that cannot be read: it holds all the same"))
        after = keys[-1]
    return found


async def lift_hold(store: Store, name: str) -> None:
    """Lift a hold; durable on return. ``Invalid``: there is none of that name."""
    if await store.size(hold_key(name)) is None:
        raise Invalid(f"there is no hold {name!r}", hint="`archiver hold list` shows them")
    await store.delete(hold_key(name))
