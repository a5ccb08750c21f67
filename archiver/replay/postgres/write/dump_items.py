"""A stored pg_dump -> the statements that make its objects, one item each, in the phases of a restore. Pure.

Each item is what pg_restore would print for one entry: the entry's own SQL and, where it has an owner of its own, ALTER … OWNER TO.
"""

from __future__ import annotations

import codecs
import re
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from archiver.postgres.connecting import OWN_PATH
from archiver.postgres.dump_toc import SECTION_DATA, SECTION_NONE, SECTION_POST, SECTION_PRE, TocEntry, read_toc
from archiver.postgres.records import Extension, UserPublication
from archiver.postgres.schema_comparison import OURS

_ENCODING = re.compile(rb"SET client_encoding = '(\w+)'")
_BACKSLASHES = b"SET standard_conforming_strings = 'off'"
_SETTINGS = frozenset({b"ENCODING", b"STDSTRINGS", b"SEARCHPATH"})
_ELSEWHERE = re.compile(rb"DATABASE\b|SUBSCRIPTION\b|PUBLICATION\b|STATISTICS DATA$|BLOB")
"""Kinds that are no part of the state that a restore brings back from a dump: publications come from the catalog."""
_ABOUT = frozenset({b"COMMENT", b"ACL", b"SECURITY LABEL"})
_ABOUT_ELSEWHERE = re.compile(rb"(?:DATABASE|SUBSCRIPTION|PUBLICATION|LARGE OBJECTS?) ")
_GRANTS = frozenset({b"ACL", b"ACL LANGUAGE", b"DEFAULT ACL"})
_CHECKING = frozenset({b"CHECK CONSTRAINT"})
"""Kinds for which the server runs functions on rows as whoever makes them. Those of an index run as its owner."""
_PLANNING = frozenset({b"DOMAIN", b"FK CONSTRAINT", b"INDEX ATTACH", b"TABLE ATTACH"})
"""Kinds for which it may run functions that stand in them or beside them, in indexes, casts and checks."""
_CALLED = frozenset({"FUNCTION", "OPERATOR"})
_PLANNED = frozenset({"CONSTRAINT", "INDEX", "STATISTICS"})
_GUARDS = frozenset({b"ROW SECURITY", b"POLICY"})

MADE_BY_OWNER = b"pg_temp.archiver_make()"
"""Stands in every script that calls functions with somebody else's rights."""

Decoder = Callable[[bytes], str]

_NAMED = frozenset(
    {
        b"COLLATION", b"CONVERSION", b"DOMAIN", b"FOREIGN TABLE", b"MATERIALIZED VIEW", b"SEQUENCE", b"STATISTICS", b"TABLE",
        b"TEXT SEARCH CONFIGURATION", b"TEXT SEARCH DICTIONARY", b"TYPE", b"VIEW",
        b"EVENT TRIGGER", b"FOREIGN DATA WRAPPER", b"PROCEDURAL LANGUAGE", b"SCHEMA", b"SERVER",
    }
)  # fmt: skip
"""Kinds whose owner is set by schema and name."""
_SIGNED = frozenset({b"AGGREGATE", b"FUNCTION", b"OPERATOR", b"OPERATOR CLASS", b"OPERATOR FAMILY", b"PROCEDURE"})
"""Kinds that only their DROP names in full: argument types, access method."""


@dataclass(frozen=True, slots=True)
class Item:
    """One object, or one thing about an object, and the SQL that makes it."""

    number: int
    kind: str
    schema: str
    tag: str
    """Its name as it is; of a function: with the types of its arguments."""
    owner: str
    sql: bytes
    """In the encoding of the dump; ends with a semicolon and a line's end."""
    reference: str
    """What its DROP calls it, quoted; empty for what has none."""
    needs: tuple[int, ...]
    run_as: bytes = b""
    """Who is to make it, quoted: rows that are there are checked by the owner's functions. Empty: whoever restores."""
    checked_as: bytes = b""
    """Who is to make or check it where functions beside it may be called, quoted. Empty: whoever restores."""

    def runnable(self, sql: bytes, path: bytes = OWN_PATH.encode(), *, role: bytes = b"") -> bytes:
        """``sql``, a form of its own, so that none of the owner's functions gets more rights than the owner (or ``role``) has."""
        if not (role or self.run_as):
            return sql
        # SET ROLE would not do: what runs under it can go back.
        mark = b"$archiver_" + secrets.token_hex(16).encode() + b"$"
        return (
            b"CREATE FUNCTION pg_temp.archiver_make() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = "
            + path
            + b" AS "
            + mark
            + b"BEGIN "
            + sql
            + b"\nEND"
            + mark
            + b";\nALTER FUNCTION pg_temp.archiver_make() OWNER TO "
            + (role or self.run_as)
            + b";\nSELECT pg_temp.archiver_make();\n"
            + f"SELECT pg_catalog.set_config('search_path', '{OWN_PATH}', false);\n".encode()
            + b"DROP FUNCTION pg_temp.archiver_make();\n"
        )

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.kind} {self.schema}.{self.tag}" if self.schema else f"{self.kind} {self.tag}"


@dataclass(slots=True)
class Items:
    """The items of one dump by phase, each phase in the order in which its items can be made."""

    encoding: str
    """As PostgreSQL calls it: what ``sql`` is written in."""
    backslashes: bool = False
    """They escape in plain strings (``standard_conforming_strings = off``), as in dumps that earlier versions took of such databases."""
    pre: list[Item] = field(default_factory=list)
    """Everything that rows need: schemas, types, functions, tables; then the grants on them."""
    post: list[Item] = field(default_factory=list)
    """Everything that needs rows: indexes, constraints, triggers, rules."""
    planned: list[Item] = field(default_factory=list)
    """What of it calls functions when a query on its table is planned, and what needs that. Foreign keys check rows by such queries:
    they come before."""
    guards: list[Item] = field(default_factory=list)
    """Policies and row security: whoever reads rows after them may see fewer. Then default privileges."""
    domains: list[Item] = field(default_factory=list)
    """Checks of domains: from then on whatever names a value of one runs them, a default or a view as much as a row."""
    last: list[Item] = field(default_factory=list)
    """Publications. Then event triggers: whatever runs after them they would see, and they may write into the rows."""

    def text(self, written: bytes) -> str:
        """What stands in the dump. Bytes that are no text stay as surrogates."""
        return _decoder(self.encoding)(written)

    def written(self, text: str) -> bytes:
        """As the dump would have it: what comes from the catalog is text, and runs in the encoding of the dump."""
        return _written(text, self.encoding)

    def __iter__(self) -> Iterator[Item]:
        yield from (*self.pre, *self.post, *self.planned, *self.guards, *self.domains, *self.last)


def items_of(
    dump: bytes,
    *,
    no_owner: bool = False,
    existing_schemas: Collection[str] = (),
    versions: Mapping[str, str] = MappingProxyType({}),
    installed: Sequence[Extension] = (),
    publications: Sequence[UserPublication] = (),
) -> Items:
    """What a restore makes. ``existing_schemas`` are not made again. ``versions`` of extensions are asked for; others are the target's.

    ``installed``: where extensions stood. Where only some schemas were dumped, those of extensions are made with them.
    Raises as ``read_toc`` does.
    """
    entries = read_toc(dump)
    settings = b"".join(entry.create for entry in entries if entry.kind in (b"ENCODING", b"STDSTRINGS"))
    found = _ENCODING.search(settings)
    items = Items(found[1].decode() if found else "UTF8", _BACKSLASHES in settings)
    text = _decoder(items.encoding)
    grants: tuple[list[Item], list[Item]] = ([], [])
    section = SECTION_PRE
    homes = _schemas_of_extensions(entries, text, installed, existing_schemas)
    for entry in entries:
        # What has no section belongs to that of the entry before.
        section = section if entry.section == SECTION_NONE else entry.section
        if not _is_wanted(entry, section, no_owner=no_owner):
            continue
        item = _item(entry, text, no_owner=no_owner)
        if item.kind == "EXTENSION":
            item = _extension(item, versions.get(item.tag, ""), items.written(homes.get(item.tag, "")))
        if item.kind == "SCHEMA" and item.tag in existing_schemas:
            continue
        post = section == SECTION_POST
        if entry.kind in _GRANTS:
            grants[post].append(item)
        elif entry.kind == b"EVENT TRIGGER" or (entry.kind in _ABOUT and entry.tag.startswith(b"EVENT TRIGGER ")):
            items.last.append(item)
        elif entry.kind in _CHECKING and entry.create.startswith(b"ALTER DOMAIN "):
            items.domains.append(item)
        elif entry.kind in _GUARDS:
            items.guards.append(item)
        else:
            (items.post if post else items.pre).append(item)
    items.post, items.planned = _code_last(items)
    # Privileges come when all is there, so that nothing is made under default privileges that are part of the state.
    items.pre += grants[0]
    items.guards += grants[1]
    items.last[:0] = [_publication(each, -number, items, no_owner=no_owner) for number, each in enumerate(publications, 1)]
    return items


def _code_last(items: Items) -> tuple[list[Item], list[Item]]:
    """``post`` and ``planned``."""
    code = {item.number for item in items.pre if item.kind in _CALLED}
    late: dict[int, Item] = {}
    for item in items.post:
        if (item.kind in _PLANNED and not code.isdisjoint(item.needs)) or not late.keys().isdisjoint(item.needs):
            late[item.number] = item
    return [item for item in items.post if item.number not in late], list(late.values())


def schemas_of_extensions(dump: bytes, installed: Sequence[Extension]) -> list[str]:
    """Schemas that extensions stand in and that the dump does not make. Raises as ``read_toc`` does."""
    homes = _schemas_of_extensions(read_toc(dump), _decoder("UTF8"), installed, ("public",))
    return sorted(set(homes.values()))


def _schemas_of_extensions(
    entries: Sequence[TocEntry], text: Decoder, installed: Sequence[Extension], existing_schemas: Collection[str]
) -> dict[str, str]:
    """By the extension's name."""
    there = {*existing_schemas, *(text(entry.tag) for entry in entries if entry.kind == b"SCHEMA")}
    return {each.name: each.schema for each in installed if each.schema not in there and not each.schema.startswith("pg_")}


def _extension(item: Item, version: str, home: bytes) -> Item:
    script = re.sub(rb";\s*$", b" VERSION " + quoted(version.encode()) + b";\n", item.sql) if version else item.sql
    made = b"CREATE SCHEMA IF NOT EXISTS " + quoted(home) + b";\n" if home else b""
    return replace(item, sql=made + script)


def _publication(publication: UserPublication, number: int, items: Items, *, no_owner: bool) -> Item:
    """``number``: one that no entry of a dump has."""
    name = quoted(items.written(publication.name))
    script = items.written(publication.sql) + b";\n"
    if not no_owner:
        script += b"ALTER PUBLICATION " + name + b" OWNER TO " + quoted(items.written(publication.owner)) + b";\n"
    return Item(number, "PUBLICATION", "", publication.name, publication.owner, script, items.text(name), ())


def _is_wanted(entry: TocEntry, section: int, *, no_owner: bool) -> bool:
    if section == SECTION_DATA or entry.kind in _SETTINGS or _ELSEWHERE.match(entry.kind) or not entry.create.strip():
        return False
    if no_owner and entry.kind in _GRANTS:
        return False
    about = entry.kind in _ABOUT
    if (entry.kind == b"EVENT TRIGGER" or about) and entry.tag in OURS:
        return False
    # A comment on an extension needs to own it, and CREATE EXTENSION sets it.
    return not about or not (_ABOUT_ELSEWHERE.match(entry.tag) or (entry.kind == b"COMMENT" and entry.tag.startswith(b"EXTENSION ")))


def _item(entry: TocEntry, text: Decoder, *, no_owner: bool) -> Item:
    drop = entry.drop.strip()
    prefix = b"DROP " + entry.kind + b" "
    reference = drop.removeprefix(prefix).removesuffix(b";") if drop.startswith(prefix) else b""
    sql = entry.create
    if entry.kind == b"SCHEMA" and no_owner:
        sql = b"CREATE SCHEMA " + quoted(entry.tag) + b";\n"
    if entry.access_method and entry.relation_kind != b"p":
        sql = b"SET default_table_access_method = " + quoted(entry.access_method) + b";\n" + sql
    if not no_owner and drop and entry.owner:
        named = entry.kind in _NAMED
        name = b".".join(quoted(part) for part in (entry.schema, entry.tag) if part) if named else reference
        if named or (entry.kind in _SIGNED and reference):
            sql += b"\nALTER " + entry.kind + b" " + name + b" OWNER TO " + quoted(entry.owner) + b";\n"
    if entry.access_method and entry.relation_kind == b"p":
        table = b".".join(quoted(part) for part in (entry.schema, entry.tag))
        sql += b"\nALTER TABLE " + table + b" SET ACCESS METHOD " + quoted(entry.access_method) + b";\n"
    names = (text(entry.kind), text(entry.schema), text(entry.tag), text(entry.owner))
    owner = quoted(entry.owner) if entry.owner and not no_owner else b""
    roles = [owner if entry.kind in kinds else b"" for kinds in (_CHECKING, _PLANNING)]
    return Item(entry.number, *names, sql, text(reference), entry.needs, *roles)


def quoted(name: bytes) -> bytes:
    """An identifier in any encoding that a server can have."""
    return b'"' + name.replace(b'"', b'""') + b'"'


def _written(text: str, encoding: str) -> bytes:
    try:
        return text.encode(_CODECS.get(encoding, encoding), "surrogateescape")
    except (LookupError, UnicodeEncodeError):
        return text.encode("utf-8", "surrogateescape")


def _decoder(encoding: str) -> Decoder:
    try:
        codec = codecs.lookup(_CODECS.get(encoding, encoding)).name
    except LookupError:
        codec = "utf-8"

    def decode(text: bytes) -> str:
        try:
            return text.decode(codec)
        except UnicodeDecodeError:
            return text.decode("utf-8", "surrogateescape")

    return decode


_CODECS = {"SQL_ASCII": "utf-8", "UTF8": "utf-8", "KOI8R": "koi8-r", "KOI8U": "koi8-u", "MULE_INTERNAL": "utf-8"}
"""Where Python's name is another one."""
_CODECS |= {f"WIN{page}": f"cp{page}" for page in (866, 874, 1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258)}
