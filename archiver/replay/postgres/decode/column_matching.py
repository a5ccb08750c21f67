"""Which column is meant by each name in a Relation message: every reading that the schema entries around it allow. Pure.

A message names the columns of that moment, in attnum order; the entries tell what there was some time before and some time after. Between
the two a column can have been renamed (more than once), added, dropped, or both. What never happens: an attnum is given twice, a new
one is lower than an old one, a dropped column comes back.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from archiver.postgres.records import Table
from archiver.replay.postgres.decode.pgoutput import Relation

GONE = 0
"""In a reading: a column that came and went between the entries."""
_MANY = 64
"""Readings that are looked at; two already are one too many."""


def assignments(relation: Relation, before: Table | None, after: Table | None) -> list[tuple[int, ...]]:
    """Attnums of the relation's columns, reading by reading; readings that differ in nothing that is left afterwards count as one.

    At least one of the tables is given.
    """
    known = [table for table in (before, after) if table is not None]
    choices = [_choices(wanted.name, wanted.type_oid, known) for wanted in relation.columns]
    given = max((before.natts, *(column.attnum for column in before.columns))) if before else 0
    added = frozenset(attnum for attnum in _stored(after) if attnum > given) if after else frozenset()
    required = frozenset.intersection(*map(_stored, known))
    found = list(itertools.islice(_Readings(choices, given, added, required | added, required).all(), _MANY))
    if not found and len(known) == 1:
        # One entry alone: columns may have been dropped before it, or after it.
        found = list(itertools.islice(_Readings(choices, given, added, added, frozenset()).all(), _MANY))
    if after is None:
        return found
    left = {column.attnum for column in after.columns}
    distinct: dict[tuple[int, ...], tuple[int, ...]] = {}
    for one in sorted(found, key=lambda reading: reading.count(GONE)):
        distinct.setdefault(tuple(attnum if attnum in left else GONE for attnum in one), one)
    return list(distinct.values())


@dataclass(frozen=True, slots=True)
class _Readings:
    choices: Sequence[Sequence[int]]
    given: int
    """Highest attnum that was given before."""
    added: frozenset[int]
    """Given since, and still there."""
    passed: frozenset[int]
    """Not to be left out when a later one is there."""
    required: frozenset[int]
    """Not to be left out at all."""

    def all(self) -> Iterator[tuple[int, ...]]:
        """Every reading, attnums increasing."""
        return self._extend((), 0)

    def _extend(self, chosen: tuple[int, ...], highest: int) -> Iterator[tuple[int, ...]]:
        if len(chosen) == len(self.choices):
            if not any(attnum > highest for attnum in self.required):
                yield chosen
            return
        for attnum in self.choices[len(chosen)]:
            # A column that is gone had the first number that is free here, or a later one.
            number = attnum or next(free for free in itertools.count(max(highest, self.given) + 1) if free not in self.added)
            if number > highest and not any(highest < other < number for other in self.passed):
                yield from self._extend((*chosen, attnum), number)


def _choices(name: str, type_oid: int, known: Sequence[Table]) -> list[int]:
    columns = [column for table in known for column in table.columns if column.attnum not in table.hidden]
    named = {column.attnum for column in columns if column.name == name}
    typed = {column.attnum for column in columns if column.type_oid == type_oid}
    return sorted(named & typed or named) if named else [GONE, *sorted(typed)]


def _stored(table: Table) -> frozenset[int]:
    return frozenset(column.attnum for column in table.carried)
