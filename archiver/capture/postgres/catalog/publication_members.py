"""Which tables are in our publications, and since when: one that left and came back is another member, and was unseen in between."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec
import psycopg

from archiver.capture.postgres.session.access import Session, translated
from archiver.postgres.records import Catalog

# Rows are made anew when a table joins; a publication's own row when it is altered, which stops all of its tables for a while.
_MEMBERS = """
SELECT r.prrelid::int8, string_agg(concat_ws('.', p.oid, p.xmin, r.oid, r.xmin), ' ' ORDER BY p.oid)
  FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE p.pubname = ANY(%s) GROUP BY 1
UNION ALL
SELECT 0, coalesce(string_agg(concat_ws('.', p.oid, p.xmin), ' ' ORDER BY p.oid), '') FROM pg_publication p WHERE p.pubname = ANY(%s)
"""

Members = Mapping[int, str]
"""Table oid to a text that is another one after it left and came back; under 0 that of the publications themselves."""


async def read_members(session: Session, publications: tuple[str, str]) -> Members:
    """Who is in ``publications`` now."""
    try:
        cursor = await session.execute(_MEMBERS.encode(), [list(publications), list(publications)])
        return dict(await cursor.fetchall())
    except psycopg.Error as error:
        raise translated(error, "looking at the publications") from error


def with_members(catalog: Catalog, members: Members) -> Catalog:
    """``catalog`` with ``members``, so that a later start can tell who left and came back."""
    return msgspec.structs.replace(
        catalog, tables=[msgspec.structs.replace(table, member=members.get(table.oid, "")) for table in catalog.tables]
    )


class Membership:
    """The members whose changes the stream is known to have."""

    def __init__(self, catalog: Catalog | None) -> None:
        """``catalog``: the journal's newest, if any."""
        self.known: dict[int, str] = {table.oid: table.member for table in catalog.tables if table.member} if catalog else {}
        self.complete = False
        """Whether everybody was a member who should be one."""

    def unchanged(self, seen: Members) -> bool:
        """Whether nobody joined or left."""
        return self.complete and seen == self.known

    def came_back(self, seen: Members) -> frozenset[int]:
        """Tables that are members, as they were, and were none for a while."""
        return frozenset(oid for oid, text in seen.items() if oid and self.known.get(oid, text) != text)

    def accept(self, seen: Members, *, joined: Collection[int], captured: Collection[int]) -> None:
        """Take over ``joined``, whose absence is or need not be recorded, and whoever was unknown; others stay to be found.

        Of who is absent only ``captured`` ones are remembered.
        """
        self.known = {
            **{oid: text for oid, text in self.known.items() if oid in captured},
            **{oid: text for oid, text in seen.items() if not oid or oid in joined or oid not in self.known},
        }
