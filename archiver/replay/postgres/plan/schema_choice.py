"""Which schema entry is the schema at a point. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from archiver.postgres.lsn import parse_lsn
from archiver.postgres.records import Schema
from archiver.postgres.visibility import Committed, Visible
from archiver.replay.postgres.plan.journal_survey import FoundRecord


@dataclass(frozen=True, slots=True)
class SchemaChoice:
    """The entry, and whether it is known to be right."""

    found: FoundRecord[Schema]
    certain: bool
    reason: str


def choose(
    schemas: Sequence[FoundRecord[Schema]],
    *,
    before: Callable[[FoundRecord[Schema]], bool],
    changed_before: Sequence[Committed],
    changed_behind: Sequence[Committed],
    lsn: int = 0,
) -> SchemaChoice:
    """The schema at the point.

    ``schemas``: not empty, oldest first, as far as the first one behind the point. ``before``: the entry has nothing from behind the
    point. ``changed_before``, ``changed_behind``: transactions that announced changes, on either side of the point. ``lsn``: where
    the state ends.

    Where changes are announced, the entry that sees all of the first and none of the second is exact. Where they are not, the
    newest entry before the point is, unless the next one says something else: the change then lies somewhere between, but not before the
    last look that still found nothing. Triggers can be off for a while, so this holds with announcements too.
    """
    earlier = [found for found in schemas if before(found)]
    later = next((found for found in schemas if not before(found)), None)
    newest = earlier[-1] if earlier else None
    if newest is not None and newest.announces:
        return _announced(newest, later, (changed_before, changed_behind), lsn)
    if newest is None:
        assert later is not None
        return SchemaChoice(
            later, certain=False, reason="the journal has no schema entry from before the point; this is the first one after it"
        )
    if later is None:
        return SchemaChoice(newest, certain=True, reason="the newest one")
    if _same(newest.record, later.record):
        return SchemaChoice(newest, certain=True, reason="the entries before and after the point say the same")
    if _later_since(later, lsn):
        return SchemaChoice(newest, certain=True, reason=f"the newest one before the point; the change in entry {later.ref.seq} came later")
    return _unannounced(newest, later)


def _later_since(later: FoundRecord[Schema], lsn: int) -> bool:
    return bool(later.record.since) and lsn <= parse_lsn(later.record.since)


def _unannounced(newest: FoundRecord[Schema], later: FoundRecord[Schema]) -> SchemaChoice:
    return SchemaChoice(
        newest,
        certain=False,
        reason=f"the newest one before the point; entry {later.ref.seq} says something else, and the change was not announced",
    )


def _announced(
    newest: FoundRecord[Schema], later: FoundRecord[Schema] | None, changed: tuple[Sequence[Committed], Sequence[Committed]], lsn: int
) -> SchemaChoice:
    changed_before, changed_behind = changed

    def missing(found: FoundRecord[Schema]) -> int:
        visible = Visible.of(found.record)
        return sum(not visible.sees(*each) for each in changed_before)

    def excess(found: FoundRecord[Schema]) -> int:
        visible = Visible.of(found.record)
        return sum(visible.sees(*each) for each in changed_behind)

    if not missing(newest):
        if later is not None and not excess(later) and not _same(newest.record, later.record) and not _later_since(later, lsn):
            return _unannounced(newest, later)
        return SchemaChoice(newest, certain=True, reason="it has every announced change up to the point and none after it")
    if later is not None and not missing(later) and not excess(later):
        return SchemaChoice(
            later, certain=True, reason="written after the point; it has every announced change up to the point and none after it"
        )
    return SchemaChoice(
        newest,
        certain=False,
        reason=f"{missing(newest)} announced changes before the point are not in it, and no entry was written before the next change",
    )


def _same(one: Schema, other: Schema) -> bool:
    if one.fingerprint and other.fingerprint:
        return one.fingerprint == other.fingerprint
    return _essence(one) == _essence(other)


def _essence(schema: Schema) -> object:
    tables = [
        (table.oid, table.schema, table.name, table.kind, table.persistence, table.identity, table.columns, table.key, table.parent)
        for table in schema.catalog.tables
    ]
    return tables, schema.catalog.roles, schema.catalog.extensions, schema.catalog.materialized, schema.catalog.types
