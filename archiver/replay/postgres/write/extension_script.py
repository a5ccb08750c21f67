"""Extensions of a dump as SQL that is run later, on a server that nobody knows yet. SQL text only.

Each is asked for in the version that was captured, where that can be installed; else the server's own is made, and whoever loads the
script is warned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from archiver.errors import Refused
from archiver.postgres.dump_toc import read_toc
from archiver.postgres.records import Extension
from archiver.replay.postgres.write.dump_items import schemas_of_extensions


@dataclass(frozen=True)
class ExtensionScript:
    """What makes the extensions of one dump."""

    text: str
    names: frozenset[str]
    """Those that ``text`` makes; others are left to the dump."""


def extension_script(dump: bytes, installed: Sequence[Extension]) -> ExtensionScript:
    """In the order of the dump, with the schemas that it does not make. Nothing of a dump whose format is newer than this program.

    ``installed``: how extensions stood at the source. Raises ``Corrupt``.
    """
    try:
        entries = read_toc(dump)
    except Refused:
        return ExtensionScript("", frozenset())
    known = {each.name: each for each in installed}
    tags = [entry.tag.decode("utf-8", "surrogateescape") for entry in entries if entry.kind == b"EXTENSION"]
    wanted = [known[tag] for tag in tags if tag in known]
    homes = [sql.SQL("CREATE SCHEMA IF NOT EXISTS {};\n").format(sql.Identifier(name)) for name in schemas_of_extensions(dump, installed)]
    statements = [*homes, *map(_making, wanted)]
    return ExtensionScript("".join(each.as_string(None) for each in statements), frozenset(each.name for each in wanted))


# CREATE EXTENSION IF NOT EXISTS would leave one that stands in another schema there, where nothing finds it.
_MAKE = """
DECLARE
  there record;
BEGIN
  SELECT e.extversion, n.nspname INTO there
    FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = {name};
  IF there.nspname <> {schema} THEN
    RAISE EXCEPTION 'extension % is in schema % here, and was in % at the source', {name}, there.nspname, {schema}
      USING HINT = 'move it there (ALTER EXTENSION … SET SCHEMA …), or load into an empty database';
  END IF;
  IF there.nspname IS NULL THEN
    IF EXISTS (SELECT FROM pg_catalog.pg_available_extension_versions v WHERE v.name = {name} AND v.version = {version}) THEN
      CREATE EXTENSION {identifier} WITH SCHEMA {home} VERSION {version};
    ELSE
      CREATE EXTENSION {identifier} WITH SCHEMA {home};
    END IF;
    SELECT e.extversion, '' INTO there FROM pg_catalog.pg_extension e WHERE e.extname = {name};
  END IF;
  IF there.extversion <> {version} THEN
    RAISE WARNING 'extension % is of version % here, and was % at the source', {name}, there.extversion, {version};
  END IF;
END
"""


def _making(extension: Extension) -> sql.Composed:
    body = sql.SQL(_MAKE).format(
        name=sql.Literal(extension.name),
        version=sql.Literal(extension.version),
        schema=sql.Literal(extension.schema),
        identifier=sql.Identifier(extension.name),
        home=sql.Identifier(extension.schema),
    )
    return sql.SQL("DO {};\n").format(sql.Literal(body.as_string(None)))
