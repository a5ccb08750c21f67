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
    "search_path": "pg_catalog,pg_temp",
    "timezone": "UTC",
    "xmloption": "content",
}
"""What decides the text of a value; recorded in ``postgres_records.Stream.settings``. With this ``search_path`` the values
of ``regclass``, ``regtype`` and the like come qualified, and a bare name means the server's own object, never one that a user made."""

PLAIN_SQL: Mapping[str, str] = {"array_nulls": "on", "standard_conforming_strings": "on", "transform_null_equals": "off"}
"""What SQL means, ours and that of pg_dump: the owner of a database can set it otherwise."""

_BEHAVIOUR: Mapping[str, str] = {
    **PLAIN_SQL,
    # With "on" the planner computes what is constant in checks, by functions of users.
    "constraint_exclusion": "partition",
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

RESTRICTED = ("restrict_nonsystem_relation_kind", "view, foreign-table")
"""A name that we read may by now belong to a view, whose functions would run with our rights (CVE-2024-7348). With this setting the
server refuses. It came with a minor release of August 2024: 15.8, 16.4, 17."""

FROM_ENVIRONMENT = ("PGCLIENTENCODING", "PGDATESTYLE", "PGTZ")
"""Variables by which libpq changes settings of a session, whatever its options say."""

_NEWER: Mapping[str, str] = {"transaction_timeout": "0", RESTRICTED[0]: RESTRICTED[1]}
"""Not every server knows them: an unknown name among the start-up options would refuse the connection."""


def startup_options(given: str = "") -> str:
    """The libpq ``options`` that pin everything above, after what the user's connection string asks for itself: the last one counts."""
    pinned = {**OUTPUT, **_BEHAVIOUR}
    return " ".join([*([given] if given else []), *(f"-c {name}={value}" for name, value in pinned.items())])


def pin() -> bytes:
    """The statement that pins, right after connecting, what start-up options cannot: what not every server knows, where it is known; and
    how values are written once more, since libpq puts PGTZ, PGDATESTYLE and PGCLIENTENCODING of the environment behind the options.
    """
    values = ", ".join(f"('{name}', '{value}')" for name, value in {**OUTPUT, **_NEWER}.items())
    return (
        "SELECT pg_catalog.set_config(s.name, w.value, false)"
        f" FROM (VALUES {values}) w (name, value) JOIN pg_catalog.pg_settings s"
        " ON pg_catalog.lower(s.name) OPERATOR(pg_catalog.=) w.name"
    ).encode()
