"""How schema changes are announced in the stream: names of our event triggers, and what their messages say.

Capture installs the triggers, replay reads the messages. The server puts each message into the transaction that made the change.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from archiver.postgres.records import Catalog
from archiver.untrusted import Unreadable, decode_untrusted

END_TRIGGER = "archiver_ddl_end"
"""A dump that has this trigger says that changes after it are announced."""
TRIGGERS = {
    END_TRIGGER: "ddl_command_end",
    "archiver_ddl_drop": "sql_drop",
    "archiver_ddl_rewrite": "table_rewrite",
}
"""Event trigger -> its event."""
PREFIX = "archiver/ddl"
"""Of the transactional logical messages. Content: JSON object ``{"tag", "event", "objects": [{"type", "identity", "oid"}], "xid",
"lsn", "seal"}``, of an older function without the last three."""
PREFIX_BYTES = PREFIX.encode() + b"\0"
"""The prefix as a Message frame has it."""
NOT_ANNOUNCED = "schema changes are not announced: one that leaves no rows is known only from the next look at the catalog on"
"""What must be known of a database without our triggers."""
UNANNOUNCED = "it changed, nobody announced it, and only the next look at the catalog found it; the schema of the look before is used"
"""Of the gap between two looks."""
UNSEEN = "it changed, as the event trigger announced, and the catalog was not looked at before the point's next change, or at all"
"""Of the gap behind an announcement that nobody but our event trigger can have sent."""
_NAMED = 5
"""Changes that are named."""
_NOT_DUMPED = frozenset({"CREATE PUBLICATION", "ALTER PUBLICATION", "DROP PUBLICATION", "REFRESH MATERIALIZED VIEW", "REINDEX", "CLUSTER"})
"""Tags of changes that mostly show in no schema entry. Publications: capture itself makes and changes its own, after the entry that they
belong to."""
_DROP_OWNED = "DROP OWNED"
_ANYBODYS = frozenset({"GRANT", "REVOKE", "ALTER DEFAULT PRIVILEGES", _DROP_OWNED})
"""Tags of what a role without any right may run: granting what it may not grant is a warning, and its own defaults are its own, to drop
as well."""
MOST_BYTES = 16 << 20
"""Of a content that is read. DDL that names a hundred thousand objects has as much."""


class ChangedObject(msgspec.Struct):
    """One object that a command changed."""

    oid: int


class Announcement(msgspec.Struct):
    """What one message says of a change, as far as replay needs it."""

    objects: list[ChangedObject]
    tag: str = ""
    """Of the command: ``ALTER TABLE``."""

    def names(self, oid: int) -> bool:
        """Whether the object ``oid`` is among those that changed."""
        return any(each.oid == oid for each in self.objects)


def read_announcement(content: bytes) -> Announcement | None:
    """What a message says; ``None`` when it cannot be read: then it may be of any change.

    A hint, whoever wrote it: any SQL user may send messages with our prefix (``announcement_seal`` tells ours). What changed is read from
    the catalog.
    """
    try:
        return decode_untrusted(content, Announcement, most=MOST_BYTES, strict=False)
    except Unreadable:
        return None


class _Tagged(msgspec.Struct):
    tag: str = ""


def read_tag(content: bytes) -> str:
    """The command of a message, whatever else it says: objects of a GRANT have no oid. Empty when it cannot be read."""
    try:
        return decode_untrusted(content, _Tagged, most=MOST_BYTES, strict=False).tag
    except Unreadable:
        return ""


class _Numbered(msgspec.Struct):
    xid: str = ""


def read_xid(content: bytes) -> int | None:
    """The transaction that a message says it is of (the low 32 bits of its id); ``None`` when it says none. A hint, as all that it says."""
    try:
        said = decode_untrusted(content, _Numbered, most=MOST_BYTES, strict=False).xid
    except Unreadable:
        return None
    return int(said) & 0xFFFFFFFF if len(said) <= 20 and said.isascii() and said.isdigit() else None


class DescribedObject(msgspec.Struct):
    """One object that a command changed, as the message calls it."""

    oid: int
    type: str = ""
    identity: str = ""


class DescribedChange(msgspec.Struct):
    """What one message says of a change, for people."""

    objects: list[DescribedObject]
    tag: str = ""
    event: str = ""

    def leaves_rows(self, oid: int) -> bool:
        """Whether rows of table ``oid`` read as before but for new columns: no column was dropped or renamed, and nothing rewritten."""
        mine = [each for each in self.objects if each.oid == oid]
        return self.tag == "ALTER TABLE" and self.event == "ddl_command_end" and all(each.type == "table" for each in mine)

    @property
    def may_concern_all(self) -> bool:
        """Whether rows of tables that it does not name may read otherwise: a label of an enum, a field of a composite type, its name."""
        return self.tag.startswith("ALTER ") and not self.tag.endswith(("TABLE", "INDEX", "SEQUENCE", "VIEW", "PUBLICATION", "FUNCTION"))


def changes_text(changes: Sequence[DescribedChange]) -> str:
    """The first few of them, each once: ``ALTER TABLE public.t, DROP TABLE``."""
    named = list(dict.fromkeys(f"{each.tag} {', '.join(of.identity for of in each.objects[:_NAMED])}".strip() for each in changes))
    return ", ".join(named[:_NAMED]) + (f" and {len(named) - _NAMED} more" if len(named) > _NAMED else "")


def read_described(content: bytes) -> DescribedChange | None:
    """As ``read_announcement``, with the words for people."""
    try:
        return decode_untrusted(content, DescribedChange, most=MOST_BYTES, strict=False)
    except Unreadable:
        return None


def shows_in_dump(content: bytes) -> bool:
    """Whether the next schema entry has what a message announces. What cannot be read counts: rather a schema in doubt than a wrong one."""
    announced = read_announcement(content)
    return announced is None or announced.tag not in _NOT_DUMPED


def surely_by_tag(tags: Sequence[str]) -> bool:
    """Whether a transaction that ran commands with ``tags`` changed what the next schema entry has, and had a right to; none: not known."""
    return not tags or not (_NOT_DUMPED | _ANYBODYS).issuperset(tags)


def takes_a_right(content: bytes) -> bool:
    """Whether not just anybody can make the event trigger send this, by what it may run without changing a thing.

    DROP OWNED too, where it dropped more than default privileges, which anybody may make for himself.
    """
    tag = read_tag(content)
    if tag == _DROP_OWNED:
        dropped = read_described(content)
        return dropped is not None and any(each.type != "default acl" for each in dropped.objects)
    return tag not in _ANYBODYS


def may_differ(content: bytes, one: Catalog, other: Catalog) -> bool:
    """Whether a message announces what mostly shows in no entry, and what may be the difference between two schemas all the same.

    A view that is filled for the first time, or emptied; a publication that is not ours.
    """
    announced = read_announcement(content)
    if announced is None or announced.tag not in _NOT_DUMPED:
        return False
    if announced.tag.endswith("PUBLICATION"):
        return one.publications is None or one.publications != other.publications
    return announced.tag == "REFRESH MATERIALIZED VIEW" and one.materialized != other.materialized
