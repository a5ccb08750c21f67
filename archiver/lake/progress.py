"""How far the history files of a source reach, and what a decoder has to know to go on there. Pure; stored in each commit of the log.

Evolution: fields are added with a default; ``format`` grows when an older version must not go on with what a newer one wrote.
"""

from __future__ import annotations

import msgspec

from archiver.postgres.records import Mode

FORMAT = 1


class KnownMessage(msgspec.Struct, frozen=True):
    """How the stream described a relation: the server says it once a session, and not again for whoever begins later."""

    oid: int
    entry: int
    message: bytes
    """The Relation message from its type byte on, without the xid that streamed ones have."""


class KnownTable(msgspec.Struct, frozen=True):
    """One table as the newest schema entry has it."""

    oid: int
    schema: str
    name: str
    mode: Mode
    key: list[int] = []


class Identity(msgspec.Struct, frozen=True):
    """Which columns identified the rows of a relation in its history so far: one list for each set of them. None: rows had no key."""

    oid: int
    keys: list[list[str] | None]


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """See the module."""

    format: int = FORMAT
    archive: str
    source: str
    covered: int
    """The last entry that was looked at."""
    segment: int
    """The segment that follows it."""
    chain: str
    """Chain hash before that segment, hex: a journal that was rewritten does not have it."""
    resume_entry: int
    """Where reading goes on: no transaction that ends behind ``covered`` began before."""
    resume_segment: int
    era: int = 0
    """Gaps of the whole source so far, since the first baseline. What follows one is another slot's stream, whose LSNs need not go on."""
    from_lsn: int = 0
    """What commits before it in this era is in the first baseline."""
    reached: int = 0
    """LSN at which the last transaction of this era ended."""
    newest: int = 0
    """The newest commit time."""
    baseline: int = 0
    """Entry of the first baseline."""
    relations: list[KnownMessage] = []
    tables: list[KnownTable] = []
    identities: list[Identity] = []
    streams: list[str] = []
    """Of a cluster: its streams so far."""
