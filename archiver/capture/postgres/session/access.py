"""How to reach one database: ordinary connections, and connection string and environment for the client programs.

The replication connection is opened elsewhere (``connection``), from the same arguments.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import conninfo

from archiver.capture.postgres.session.session_settings import FROM_ENVIRONMENT, PLAIN_SQL, RESTRICTED, pin, startup_options
from archiver.errors import ArchiverError, Invalid, Refused, Unavailable
from archiver.postgres.connecting import MANUAL, POOLER, connect
from archiver.postgres.connection_string import ALLOWED_UNENCRYPTED, SECRETS, guarded, without_secrets

Session = psycopg.AsyncConnection[tuple[Any, ...]]
"""An ordinary connection in autocommit mode with everything in ``session_settings`` pinned."""

_GIGABYTE = re.compile(r"\d{10}")

_LIVENESS = {"keepalives_idle": "15", "keepalives_interval": "5", "keepalives_count": "3", "tcp_user_timeout": "30000"}

_QUOTES_BYTES_ONLY = ("22021", "22P05")
"""Text that is not of its encoding: the bytes of one character say where to look."""
_NO_TEXT = (
    "a name or a definition there is not UTF-8, as SQL_ASCII databases let in: rename it, with client_encoding SQL_ASCII; it is tried again"
)


@dataclass(frozen=True)
class Access:
    """A database and the secrets that open it, kept apart so that the first can be shown."""

    dsn: str
    """libpq connection string without any secret."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """``connection_string.SECRETS`` that are known."""
    application_name: str = "archiver"

    @classmethod
    def of(cls, dsn: str, password: str = "", *, application_name: str = "archiver") -> Access:
        """From what the user gave, URI or keywords; secrets inside ``dsn`` are taken out of it. Raises ``Invalid``."""
        try:
            values = conninfo.conninfo_to_dict(dsn)
        except psycopg.ProgrammingError:
            raise Invalid("libpq does not understand the connection string", hint=MANUAL) from None
        secrets = {name: str(values[name]) for name in SECRETS if values.get(name)}
        return cls(
            conninfo.make_conninfo("", **without_secrets(values)),
            {**secrets, **({"password": password} if password else {})},
            application_name,
        )

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of ``psycopg.connect`` for a connection whose settings are pinned."""
        values: dict[str, Any] = conninfo.conninfo_to_dict(self.dsn)
        values.setdefault("connect_timeout", "10")
        # A peer that vanished is noticed in half a minute, not after the system's two hours.
        for name, value in _LIVENESS.items():
            values.setdefault(name, value)
        values.setdefault("application_name", self.application_name)
        # Capture works on the primary; with several hosts libpq looks for it.
        values.setdefault("target_session_attrs", "read-write")
        values["options"] = startup_options(str(values.get("options", "") or ""))
        return {**values, **self.secrets, **guarded({**values, **self.secrets})}

    @contextlib.contextmanager
    def for_programs(self, *, restricted: bool, base: Mapping[str, str] = os.environ) -> Iterator[tuple[str, dict[str, str]]]:
        """DSN and environment for pg_dump. No secret stands in the DSN, which lists of processes show.

        ``restricted``: the server knows the setting that keeps views from running with our rights. Raises ``Invalid``.
        """
        values: dict[str, Any] = conninfo.conninfo_to_dict(self.dsn)
        values |= guarded({**values, **self.secrets}, base)
        kept = {name: value for name, value in base.items() if name not in FROM_ENVIRONMENT}
        environment = {**kept, "PGAPPNAME": self.application_name, "LC_ALL": "C"}
        pinned = {**PLAIN_SQL, **({RESTRICTED[0]: RESTRICTED[1].replace(" ", "")} if restricted else {})}
        words = [str(values.get("options") or ""), *(f"-c {name}={value}" for name, value in pinned.items())]
        values["options"] = " ".join(words).strip()
        # A word that libpq knows from 16 on; older programs leave the variable alone.
        if needed := values.pop("require_auth", None):
            environment["PGREQUIREAUTH"] = needed
        hidden = dict(self.secrets)
        if password := hidden.pop("password", ""):
            environment["PGPASSWORD"] = password
        with contextlib.ExitStack() as stack:
            if hidden:
                # There are no variables for these. A file of services is the one other place that libpq reads.
                if values.get("service") or base.get("PGSERVICE"):
                    raise Invalid(
                        f"the connection string has a service and {', '.join(hidden)}", hint="put all of it into the service file"
                    )
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="archiver-")))
                (folder / "service").write_text("\n".join(["[archiver]", *(f"{name}={value}" for name, value in hidden.items()), ""]))
                environment["PGSERVICEFILE"] = str(folder / "service")
                values["service"] = "archiver"
            yield conninfo.make_conninfo("", **values), environment

    async def connect(self) -> Session:
        """A new ordinary connection. Raises ``Unavailable``, or ``Invalid`` when the server does not let us in."""
        try:
            connection = await connect("", "connecting", **self.arguments())
            try:
                await connection.execute(pin())
                await _require_pinned(connection)
            except BaseException:
                await connection.close()
                raise
        except psycopg.Error as error:
            raise translated(error, "connecting") from error
        return connection


async def restricts_views(session: Session) -> bool:
    """Whether the server refuses to run a view's functions for ``session``. Where it does not, nothing may be selected by a user's name."""
    cursor = await session.execute("SELECT coalesce(current_setting(%s, true), '') <> ''", [RESTRICTED[0]])
    return await cursor.fetchone() == (True,)


async def _require_pinned(session: Session) -> None:
    """Raise ``Invalid`` when the session did not begin with the settings that it was asked to begin with: others would be missing, too."""
    row = await (await session.execute("SELECT current_setting('synchronize_seqscans')")).fetchone()
    if row != ("off",):
        raise Invalid("the session has not the settings that were asked for: something between us and the server drops them", hint=POOLER)


def translated(error: psycopg.Error, doing: str) -> ArchiverError:
    """What a driver's error means for the user, as the table in ``errors`` has it. ``doing`` says what we were at.

    Only the server's primary message is taken over: detail and context may quote rows.
    """
    state = error.sqlstate or ""
    if state:
        # Data exceptions quote values, and what a function of the user's raises may quote anything.
        quotes = state.startswith(("22", "23", "P0")) and state not in _QUOTES_BYTES_ONLY
        said = type(error).__name__ if quotes else error.diag.message_primary or type(error).__name__
        text = f"{doing}: {said} (SQLSTATE {state})"
    else:
        # libpq itself: it speaks about hosts and sockets, never about rows. Refusals at the start are told by ``connecting``.
        lines = str(error).strip().splitlines()
        text = f"{doing}: {lines[0] if lines and isinstance(error, psycopg.OperationalError) else type(error).__name__}"
    if state == "42501":
        return Refused(text, hint="`archiver check` names the missing rights and the GRANT for each")
    if state in _QUOTES_BYTES_ONLY:
        return Unavailable(text, hint=_NO_TEXT)
    return Unavailable(text, hint="it is tried again")


def unsendable(error: psycopg.Error) -> bool:
    """Whether the server says that a row is too large to be sent, in any language."""
    if error.sqlstate == "54000":
        return True
    return error.sqlstate == "XX000" and bool(_GIGABYTE.search(error.diag.message_primary or ""))


def with_password(dsn: str, password: str, *, ca_file: str = "", allow_unencrypted: bool = False) -> str:
    """``dsn`` as libpq keywords, with what the settings say unless that is empty or the DSN says it. Raises ``Invalid``."""
    try:
        given = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise Invalid("the connection string is not one that libpq understands", hint=MANUAL) from None
    said: dict[str, Any] = {"password": password} if password else {}
    if ca_file and not given.get("sslrootcert"):
        said["sslrootcert"] = ca_file
    if allow_unencrypted and not given.get("sslmode"):
        said["sslmode"] = ALLOWED_UNENCRYPTED
    return conninfo.make_conninfo("", **{**given, **said})
