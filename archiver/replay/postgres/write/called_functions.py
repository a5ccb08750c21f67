"""Functions that the server calls while it makes a table, although no row is written: they get no more rights than their owner has.

It computes what is constant in the expressions of generated columns, and in keys of partitioned tables, with the rights of whoever makes
the table; in a key again whenever it opens the table. So those functions are SECURITY DEFINER while the table is made, and those of keys
until the schema is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from archiver.postgres.calling_code import FUNCTIONS_OF_OTHERS, HAS_KEY
from archiver.replay.postgres.write.dump_items import Item

if TYPE_CHECKING:
    from archiver.replay.postgres.write.target_database import Connection

_MAKING = frozenset({"FOREIGN TABLE", "TABLE"})
_LEADING = frozenset({"FUNCTION", "OPERATOR"})
"""Whoever they belong to: the server puts in itself what a call leaves out."""
_COMPUTING = (b"GENERATED ALWAYS", b"PARTITION BY")
"""As pg_dump writes them. Defaults and checks are computed when rows come."""


class CalledFunctions:
    """Those of one restore."""

    def __init__(self, connection: Connection, everything: Mapping[int, Item], encoding: str) -> None:
        """``everything``: items by their numbers. ``encoding``: what their SQL is written in, by the server's name."""
        self._connection, self._everything, self._encoding = connection, everything, encoding
        self._of_keys: list[bytes] = []
        self.calling = False
        """What is being made may call functions of users, or what was made: keys are computed again whenever their table is opened."""

    def of(self, item: Item) -> list[Item]:
        """Functions that ``item`` may call where it is made: by itself, by its operators, and in what stands for arguments left out."""
        if item.kind not in _MAKING or not any(word in item.sql for word in _COMPUTING):
            return []
        found: dict[int, Item] = {}
        waiting = [item]
        while waiting:
            for number in waiting.pop().needs:
                each = self._everything.get(number)
                if each is not None and each.kind in _LEADING and number not in found:
                    found[number] = each
                    waiting.append(each)
        return [each for each in found.values() if each.kind == "FUNCTION"]

    @asynccontextmanager
    async def harmless(self, item: Item) -> AsyncIterator[None]:
        """``item`` is made within it. Raises ``psycopg.Error``."""
        called = self.of(item)
        if not called:
            yield
            return
        self.calling = True
        names = [each.schema for each in called], [each.tag for each in called]
        everywhere = not all(map(_is_text, called))
        asked = (self._encoding, everywhere, *(([], []) if everywhere else names))
        cursor = await self._connection.execute(FUNCTIONS_OF_OTHERS.encode(), asked)
        functions = [bytes(function) for (function,) in await cursor.fetchall()]
        await self._turn(functions, b"DEFINER")
        yield
        if await self._has_key(item):
            self._of_keys += functions
        else:
            await self._turn(functions, b"INVOKER")
            self.calling = bool(self._of_keys)

    async def _has_key(self, item: Item) -> bool:
        if not _is_text(item):
            return True
        cursor = await self._connection.execute(HAS_KEY.encode(), (item.schema, item.tag))
        return await cursor.fetchone() == (True,)

    async def release(self) -> None:
        """Make those of keys what they were. Raises ``psycopg.Error``."""
        await self._turn(self._of_keys, b"INVOKER")
        self._of_keys.clear()

    async def _turn(self, functions: list[bytes], to: bytes) -> None:
        for function in functions:
            await self._connection.execute(b"ALTER FUNCTION " + function + b" SECURITY " + to)


def _is_text(item: Item) -> bool:
    """A name of bytes that are no text cannot be asked for; nothing but a server without an encoding has one."""
    try:
        f"{item.schema}{item.tag}".encode()
    except UnicodeEncodeError:
        return False
    return True
