"""Partitions that another server may choose otherwise: those by hash, since values of an enum hash otherwise in each database."""

from __future__ import annotations

import re
from collections.abc import Sequence

from archiver.errors import Refused
from archiver.postgres.records import Table
from archiver.replay.postgres.write.dump_items import items_of

_BY_HASH = re.compile(rb"\)\nPARTITION BY HASH \(")
"""As pg_dump ends the statement. What merely looks like it costs that rows go through a table that finds the right partition too."""


def hashed_roots(dump: bytes, tables: Sequence[Table]) -> dict[int, Table]:
    """Partitions (oids) to the uppermost table above them that is partitioned by hash. Raises ``Corrupt``.

    Nothing of a dump whose format is newer than this program.
    """
    try:
        items = items_of(dump).pre
    except Refused:
        return {}
    hashed = {(item.schema, item.tag) for item in items if item.kind == "TABLE" and _BY_HASH.search(item.sql)}
    known = {table.oid: table for table in tables}
    found: dict[int, Table] = {}
    for table in tables:
        above = known.get(table.parent)
        while above is not None and above.kind == "p":
            if (above.schema, above.name) in hashed:
                found[table.oid] = above
            above = known.get(above.parent)
    return found
