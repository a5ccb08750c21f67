"""How the connection to a database is protected, for people who check it."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from archiver.capture.postgres.session.access import Access, Session, translated
from archiver.postgres.connection_string import NO_CLEARTEXT, is_remote


@dataclass(frozen=True)
class Protection:
    """What is used."""

    remote: bool
    """The server may be another machine."""
    tls: str
    """``TLSv1.3``; empty without encryption."""
    mode: str
    """``sslmode``; empty where nothing says one."""
    auth: str
    """``require_auth``: what the server may ask of us."""

    @property
    def safe(self) -> bool:
        """Nobody between us and the server can read or forge, as far as the connection itself prevents it."""
        return not self.remote or (bool(self.tls) and self.mode == "verify-full")

    def __str__(self) -> str:
        where = "another machine" if self.remote else "this machine"
        what = f"{self.tls}, sslmode {self.mode or 'prefer'}" if self.tls else "no TLS"
        auth = {"": "whatever the server asks for", NO_CLEARTEXT: "anything but a password as it is"}.get(self.auth, self.auth)
        return f"{where}: {what}; authentication: {auth}"


async def protection_of(access: Access, session: Session) -> Protection:
    """How ``session``, made by ``access``, is protected."""
    values = {name: str(value) for name, value in access.arguments().items()}
    try:
        cursor = await session.execute("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl")
        row = await cursor.fetchone()
    except psycopg.Error as error:
        raise translated(error, "looking at the connection") from error
    return Protection(is_remote(values), str(row[0]) if row else "", values.get("sslmode", ""), values.get("require_auth", ""))
