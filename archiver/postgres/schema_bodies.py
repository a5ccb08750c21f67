"""A PG_SCHEMA run: the record, and the dump that goes with it."""

from __future__ import annotations

from archiver.journal.entry import Placed
from archiver.journal.record_reader import read_record
from archiver.journal.segment import CorruptSegment
from archiver.postgres.records import Schema


def read_schema(placed: Placed) -> tuple[Schema, bytes]:
    """Both bodies of the run. ``Corrupt`` when they are not two, or the first is no Schema."""
    bodies = list(placed.run.bodies())
    if len(bodies) != 2:
        raise CorruptSegment(placed.segment, f"entry {placed.first} (PG_SCHEMA) has {len(bodies)} bodies and not a record and its dump")
    return read_record(bodies[0], Schema, placed), bodies[1]
