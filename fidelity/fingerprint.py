"""What is in a database, as text that can be compared: the schema by pg_dump, the rows of every table by a checksum.

Nothing is made in the database, and no code is shared with the product. Rows are a bag: their order does not matter, duplicates do; columns
are taken by name, because pg_dump itself moves columns of inheritance children.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

_PINNED = {
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "search_path": "pg_catalog",
    "lc_monetary": "C",
    "row_security": "off",
    "statement_timeout": "0",
}

_OWN = """
SELECT n.nspname FROM pg_namespace n WHERE n.nspname IN ('archiver', 'archiver_ddl')
   AND EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = n.oid AND p.proname = 'announce_ddl')
   AND NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND NOT (c.relkind = 'm' AND c.relname = 'announcement_key'))
"""
_HOLDERS = """
WITH RECURSIVE hashed (oid, below) AS (
  SELECT p.partrelid, false FROM pg_partitioned_table p WHERE p.partstrat = 'h'
  UNION SELECT i.inhrelid, true FROM hashed h JOIN pg_inherits i ON i.inhparent = h.oid
)
SELECT n.nspname, c.relname, c.relkind::text, c.relpersistence::text,
       array(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE (c.relkind IN ('r', 'm', 'S') OR c.oid IN (SELECT oid FROM hashed)) AND c.oid NOT IN (SELECT oid FROM hashed WHERE below)
   AND c.relpersistence <> 't' AND c.relispopulated
   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> ALL (%s)
 ORDER BY 1, 2
"""
_LEAVES = """
SELECT n.nspname, c.relname FROM pg_partition_tree(%s::regclass) t
  JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n ON n.oid = c.relnamespace
"""
_LARGE_OBJECTS = """
SELECT count(*), coalesce(md5(string_agg(h, '' ORDER BY h)), '') FROM (SELECT md5(l::text) h FROM pg_largeobject l) q
"""
_EXTENSIONS = """
SELECT e.extname, 'version ' || e.extversion || ' in ' || n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
"""
_SECTIONS = {"r": "table", "p": "table partitioned by hash", "m": "materialized view", "S": "sequence"}
_ITEM = re.compile(r"^--\n-- Name: (.*); Type: ([A-Z ]+); Schema: (.*?); Owner: .*\n--\n", re.MULTILINE)
_NOISE = ("--", "\\restrict", "\\unrestrict", "SET default_tablespace", "SET default_table_access_method")


@dataclass
class Fingerprint:
    """A database at one moment. Keys are names without quotes."""

    rows: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    """(section, ``schema.name``) to the number of rows and their checksum; of a sequence its next value, and how it steps."""
    schema: dict[tuple[str, str], str] = field(default_factory=dict)
    """(kind, ``schema.name``) to the text that makes it."""
    leaves: dict[str, list[str]] = field(default_factory=dict)
    """Of a table partitioned by hash: the names of what is below."""
    still: bool = True
    """Nobody wrote while it was taken: sequences, which no snapshot holds still, are as they were at that moment."""
    unreadable: list[str] = field(default_factory=list)
    """What could not be read, and why: it was not compared."""


def take(dsn: str, bin_folder: Path, publications: tuple[str, ...] = (), snapshot: str = "") -> Fingerprint:
    """The database behind ``dsn`` as it is, or as an exported ``snapshot`` shows it. Without one, nobody should write to it meanwhile.

    Ours is left out: ``publications``, and the event triggers.
    """
    found = Fingerprint(still=not snapshot)
    with psycopg.connect(dsn, autocommit=True) as session:
        for name, value in _PINNED.items():
            session.execute(sql.SQL("SELECT pg_catalog.set_config({}, {}, false)").format(name, value))
        if snapshot:
            session.execute(sql.SQL("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}").format(snapshot))
        own = [str(row[0]) for row in session.execute(_OWN.encode()).fetchall()]
        for schema, name, kind, persistence, columns in session.execute(_HOLDERS.encode(), [own]).fetchall():
            section = "unlogged table" if persistence == "u" and kind == "r" else _SECTIONS[kind]
            query = _sequence(schema, name) if kind == "S" else _bag(schema, name, columns, whole=kind == "p")
            try:
                with session.transaction():
                    row = session.execute(query).fetchone()
            except psycopg.Error as error:
                found.unreadable.append(f"{section} {schema}.{name}: {type(error).__name__}")
                continue
            assert row is not None
            found.rows[section, f"{schema}.{name}"] = (int(row[0]), str(row[1]))
            if kind == "p":
                cursor = session.execute(_LEAVES.encode(), [sql.Identifier(schema, name).as_string(None)])
                found.leaves[f"{schema}.{name}"] = [f"{leaf[0]}.{leaf[1]}" for leaf in cursor.fetchall()]
        row = session.execute(_LARGE_OBJECTS.encode()).fetchone()
        assert row is not None
        found.rows["large objects", ""] = (int(row[0]), str(row[1]))
        found.schema = _items(_dump(dsn, bin_folder, own, snapshot))
        versions = {("EXTENSION VERSION", f"-.{name}"): str(text) for name, text in session.execute(_EXTENSIONS.encode()).fetchall()}
    found.schema |= versions
    found.schema = {key: text for key, text in found.schema.items() if not _is_own(*key, publications)}
    return found


def _is_own(kind: str, name: str, publications: tuple[str, ...]) -> bool:
    """Whether an item of the dump is the archiver's: its event triggers, its publications and what is in them."""
    if kind == "EVENT TRIGGER":
        return name.startswith("-.archiver_")
    return kind.startswith("PUBLICATION") and any(re.search(rf"\.{each}(?: |'*$)", name) for each in publications)


def _bag(schema: str, name: str, columns: list[str], *, whole: bool) -> sql.Composed:
    """``whole``: with everything below. Which partition of a hash takes a row depends on the server where its key has no stable hash."""
    row = sql.SQL("ROW({})").format(sql.SQL(", ").join(sql.SQL("x.{}").format(sql.Identifier(column)) for column in columns))
    return sql.SQL(
        "SELECT count(*), coalesce(md5(string_agg(h, '' ORDER BY h COLLATE \"C\")), '') FROM (SELECT md5({}::text) h FROM {}{} x) q"
    ).format(row, sql.SQL("" if whole else "ONLY "), sql.Identifier(schema, name))


def _sequence(schema: str, name: str) -> sql.Composed:
    """The value that it gives next, and its step."""
    return sql.SQL(
        "SELECT CASE WHEN s.is_called THEN s.last_value::numeric + p.seqincrement ELSE s.last_value END, p.seqincrement"
        " FROM {} s, pg_sequence p WHERE p.seqrelid = {}::regclass"
    ).format(sql.Identifier(schema, name), sql.Identifier(schema, name).as_string(None))


def _dump(dsn: str, bin_folder: Path, own: list[str], snapshot: str) -> str:
    more = [f'--exclude-schema="{name}"' for name in own] + ([f"--snapshot={snapshot}"] if snapshot else [])
    command: list[str | Path] = [
        bin_folder / "pg_dump",
        "--schema-only",
        "--encoding=UTF8",
        "--quote-all-identifiers",
        *more,
        f"--dbname={dsn}",
    ]
    # Bounds of partitions are written in the time zone of the session, and a database may set its own.
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PGTZ": "UTC"})
    if done.returncode:
        raise RuntimeError(f"pg_dump failed: {done.stderr.decode(errors='replace')[:500]}")
    return done.stdout.decode("utf-8", "surrogateescape")


def _items(dump: str) -> dict[tuple[str, str], str]:
    """pg_dump's text by item, without what says nothing of the database."""
    found: dict[tuple[str, str], str] = {}
    parts = _ITEM.split(dump)
    for name, kind, schema, body in zip(parts[1::4], parts[2::4], parts[3::4], parts[4::4], strict=True):
        text = "\n".join(line for line in body.splitlines() if line and not line.startswith(_NOISE))
        key = (kind, f"{schema}.{name}")
        while key in found:
            key = (kind, f"{key[1]}'")
        found[key] = text
    return found
