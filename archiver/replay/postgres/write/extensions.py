"""Extensions of a target against those that were captured."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from archiver.errors import Refused
from archiver.postgres.records import Extension

if TYPE_CHECKING:
    from archiver.replay.postgres.write.target_database import Connection


@dataclass(frozen=True, slots=True)
class TargetExtensions:
    """What a target has, and could have."""

    installed: Mapping[str, Extension]
    defaults: Mapping[str, str]
    """Name to the version that is installed when none is asked for."""
    versions: Collection[tuple[str, str]]
    """Names and versions that can be installed."""


async def read_extensions(connection: Connection) -> TargetExtensions:
    """Raises what ``psycopg`` raises."""
    cursor = await connection.execute(
        "SELECT e.extname::text, e.extversion, n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
    )
    installed = {name: Extension(name, version, schema) for name, version, schema in await cursor.fetchall()}
    cursor = await connection.execute("SELECT name::text, default_version FROM pg_available_extensions")
    defaults: dict[str, str] = dict(await cursor.fetchall())
    cursor = await connection.execute("SELECT name::text, version FROM pg_available_extension_versions")
    return TargetExtensions(installed, defaults, frozenset(await cursor.fetchall()))


def versions_to_ask_for(wanted: Sequence[Extension], target: TargetExtensions) -> tuple[dict[str, str], list[str]]:
    """Versions by name, and what to say of those that will be others.

    Raises ``Refused`` for one that stands in another schema of the target: CREATE EXTENSION IF NOT EXISTS would leave it there, and
    whatever uses it would not be found.
    """
    asked: dict[str, str] = {}
    notes: list[str] = []
    for extension in wanted:
        there = target.installed.get(extension.name)
        if there is not None and there.schema != extension.schema:
            raise Refused(
                f"extension {extension.name} is in schema {there.schema} of the target, and was in {extension.schema} at the source",
                hint=f"move it there ({_move(extension)}), or restore into an empty database",
            )
        if there is not None:
            version = there.version
        elif (extension.name, extension.version) in target.versions:
            asked[extension.name] = version = extension.version
        else:
            version = target.defaults.get(extension.name, extension.version)
        if version != extension.version:
            notes.append(f"extension {extension.name} is of version {version} in the target, and was {extension.version} at the source")
    return asked, notes


def _move(extension: Extension) -> str:
    return f"ALTER EXTENSION {sql.Identifier(extension.name).as_string()} SET SCHEMA {sql.Identifier(extension.schema).as_string()}"
