"""Checks of domains, while a schema is made and filled: what they call gets no more rights than its owner has.

A value of a domain can stand anywhere in a schema: in a default, a view, a partition's bound, the start of an aggregate. The server makes
the value when it reads the statement, and so runs the check with the rights of whoever restores. Functions of users are made SECURITY
DEFINER until the end. Checks that call such functions of the server as run SQL are taken away, and put back by the domain's owner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver.postgres.calling_code import DOMAIN_CHECKS, DOMAIN_FUNCTIONS
from archiver.replay.postgres.write.dump_items import Item

if TYPE_CHECKING:
    from archiver.replay.postgres.write.target_database import Connection

_NUMBERS = -1_000_000
"""Below: no entry of a dump, and no publication, has such a number."""


class DomainChecks:
    """Those of one restore."""

    def __init__(self, connection: Connection, encoding: str) -> None:
        """``encoding``: what the dump's SQL is written in, by the server's name."""
        self._connection, self._encoding = connection, encoding
        self._functions: list[bytes] = []
        self.guarding = False
        """There are checks of domains, so that whatever is made may call functions of users."""
        self.taken: list[Item] = []
        """Makes what was taken away again."""

    async def guard(self, item: Item) -> None:
        """Make a domain that was just made harmless; nothing for anything else. Raises ``psycopg.Error``."""
        if item.kind != "DOMAIN" or b"CHECK" not in item.sql:
            return
        self.guarding = True
        cursor = await self._connection.execute(DOMAIN_FUNCTIONS.encode(), (item.schema, item.tag, self._encoding))
        for (function,) in await cursor.fetchall():
            await self._connection.execute(b"ALTER FUNCTION " + function + b" SECURITY DEFINER")
            self._functions.append(function)
        cursor = await self._connection.execute(DOMAIN_CHECKS.encode(), (*[self._encoding] * 4, item.schema, item.tag))
        for domain, name, definition, owner in await cursor.fetchall():
            await self._connection.execute(b"ALTER DOMAIN " + domain + b" DROP CONSTRAINT " + name)
            script = b"ALTER DOMAIN " + domain + b"\n    ADD CONSTRAINT " + name + b" " + definition + b";\n"
            tag = f"{item.tag} {name.decode(errors='replace')}"
            run_as = owner if item.checked_as else b""
            made = Item(_NUMBERS - len(self.taken), "CHECK CONSTRAINT", item.schema, tag, item.owner, script, "", (item.number,), run_as)
            self.taken.append(made)

    async def release(self) -> None:
        """Make functions what they were. Raises ``psycopg.Error``."""
        for function in self._functions:
            await self._connection.execute(b"ALTER FUNCTION " + function + b" SECURITY INVOKER")
        self._functions.clear()
