"""Session settings of every connection that carries rows, so that a value always has one text.

The server writes values as text by the session's settings, and ``ALTER ROLE … SET`` or ``ALTER DATABASE … SET`` leak into
them: ``0.30000000000000004`` becomes ``0.3`` (manual 20.11). The stream and the baseline must agree, so both take them from here.
"""

from __future__ import annotations

from collections.abc import Mapping

OUTPUT: Mapping[str, str] = {
    "bytea_output": "hex",
    "client_encoding": "UTF8",
    "datestyle": "ISO",
    "extra_float_digits": "3",
    "intervalstyle": "postgres",
    "lc_monetary": "C",
    "quote_all_identifiers": "off",
    "search_path": "",
    "timezone": "UTC",
    "xmloption": "content",
}
"""What decides the text of a value; recorded in ``postgres_records.Stream.settings``. With an empty ``search_path`` the values
of ``regclass``, ``regtype`` and the like come qualified."""

_BEHAVIOUR: Mapping[str, str] = {
    "default_transaction_isolation": "read\\ committed",
    "default_transaction_read_only": "off",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "lock_timeout": "0",
    # A policy that hides rows must be an error, never a shorter baseline.
    "row_security": "off",
    "statement_timeout": "0",
    # COPY starts at the table's first page, so that equal tables give equal parts.
    "synchronize_seqscans": "off",
    # Our own commits never wait for a synchronous standby: it may be ourselves.
    "synchronous_commit": "local",
}

_NEWER: Mapping[str, tuple[int, str]] = {"transaction_timeout": (170000, "0")}
"""With the first server version that knows them: an unknown name among the start-up options would refuse the connection."""


def startup_options(given: str = "") -> str:
    """The libpq ``options`` that pin everything above, after what the user's connection string asks for itself: the last one counts."""
    pinned = {**OUTPUT, **_BEHAVIOUR}
    return " ".join([*([given] if given else []), *(f"-c {name}={value}" for name, value in pinned.items())])


def newer_statements(server_version: int) -> list[str]:
    """``SET`` commands for a server of this version (``server_version_num``), to be run right after connecting."""
    return [f"SET {name} = {value}" for name, (since, value) in _NEWER.items() if server_version >= since]
