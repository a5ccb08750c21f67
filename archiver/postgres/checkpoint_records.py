"""A folded checkpoint: the rows of one database at a commit, made from an older copy and the journal behind it. Pure.

It saves reading, and it proves nothing: the journal stays the truth, and every checkpoint can be thrown away and made anew. One object
names the parts, which were read back before it came to be, and holds what a fold needs to go on from its entry:

- no transaction was unfinished there, so reading begins with the very next entry;
- the schema at its entry was certain and written before it, so nothing that was announced earlier matters any more;
- no captured table's rows were unknown, so no earlier gap reaches behind it.

Evolution: as in ``records``.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from archiver.postgres.records import Snapshot

VERSION = 1


class Place(msgspec.Struct, frozen=True):
    """An entry and where it is."""

    entry: int
    segment: int


class KnownRelation(msgspec.Struct, frozen=True):
    """How rows of one relation are read from the stream: the server describes a relation once, and not again for whoever begins later."""

    oid: int
    entry: int
    """Number of the entry that described it."""
    width: int
    attnums: tuple[int, ...]
    positions: tuple[int, ...]
    mode: Literal["key", "full", "insert"]
    key: tuple[int, ...] = ()
    key_positions: tuple[int, ...] = ()


class Origin(msgspec.Struct, frozen=True):
    """The copy from which the rows of an insert-only table come: updates and deletes since are not known, however often it is folded."""

    oid: int
    lsn: str
    taken: int


class FoldedCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """See the module."""

    format: int = VERSION
    archive: str
    source: str
    entry: int
    """Number of the last commit entry that it has, or of one behind it up to which nothing more was committed."""
    time: int
    """That commit's time."""
    segment: int
    """The segment that reading goes on with: it holds ``entry``, or what follows."""
    chain: str
    """Chain hash after the last valid segment before that one, hex: a journal that was rewritten does not have it."""
    snapshot: Snapshot
    """``lsn``: what commits at or behind it follows. ``taken``: the newest commit time up to there."""
    system_id: str
    database: str
    """What it was captured from."""
    schemas: list[Place]
    """Schema entries before ``replay_from`` that later ones are compared with: the schema here, and those that were written ahead."""
    polls: list[Place]
    """The last reading of the sequences before it."""
    relations: list[KnownRelation]
    origins: list[Origin] = []
    made: int = 0
    """When, microseconds."""
    by: str = ""
    """Version of the program."""
    commit: int = 0
    """Number of the last commit entry, where that is not ``entry``; 0: it is."""
