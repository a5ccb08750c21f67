"""The table of contents of a dump: read whole, or refused; never more memory than the dump itself is worth."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import ArchiverError, Corrupt, Refused
from archiver.replay.postgres.write.dump_items import items_of
from archiver.replay.postgres.write.dump_toc import read_toc

_VERSION = (1, 16)


def _int(value: int) -> bytes:
    return bytes([value < 0]) + abs(value).to_bytes(4, "little")


def _text(value: bytes | None) -> bytes:
    return _int(-1) if value is None else _int(len(value)) + value


def _entry(number: int, kind: bytes, tag: bytes, create: bytes, drop: bytes = b"", *, section: int = 2, owner: bytes = b"") -> bytes:
    head = _int(number) + _int(0) + _text(b"1259") + _text(b"16385") + _text(tag) + _text(kind) + _int(section)
    body = _text(create) + _text(drop) + _text(None) + _text(b"public") + _text(None) + _text(b"heap") + _int(ord("r"))
    return head + body + _text(owner) + _text(b"false") + _text(b"7") + _text(None) + b"\x03" + bytes(8)


def _dump(*entries: bytes, version: tuple[int, int] = _VERSION, count: int | None = None) -> bytes:
    head = b"PGDMP" + bytes([*version, 0, 4, 8, 1, 1]) + _int(0) * 7 + _text(b"db") + _text(b"18.1") + _text(b"18.1")
    return head + _int(len(entries) if count is None else count) + b"".join(entries)


_TABLE = _entry(9, b"TABLE", b't"1', b"CREATE TABLE x ();\n", b'DROP TABLE public."t""1";\n', owner=b"al ice")


def test_an_item_is_what_pg_restore_prints() -> None:
    """Access method, the object, its owner; names are quoted."""
    [item] = items_of(_dump(_TABLE)).pre
    assert item.sql == (
        b'SET default_table_access_method = "heap";\nCREATE TABLE x ();\n\nALTER TABLE "public"."t""1" OWNER TO "al ice";\n'
    )
    assert (item.name, item.reference, item.needs) == ('TABLE public.t"1', 'public."t""1"', (7,))
    [item] = items_of(_dump(_TABLE), no_owner=True).pre
    assert b"OWNER" not in item.sql


def test_comments_of_a_dump_in_a_body_are_no_items() -> None:
    """What pg_restore writes between objects may stand inside of one."""
    body = b"CREATE FUNCTION f() ...\n--\n-- TOC entry 3 (class 1 OID 2)\n-- Name: x; Type: TABLE; Schema: public; Owner: al\n--\n"
    items = items_of(_dump(_entry(1, b"FUNCTION", b"f()", body, b"DROP FUNCTION public.f();\n"), _TABLE))
    assert [item.name for item in items] == ["FUNCTION public.f()", 'TABLE public.t"1']


def test_grants_and_event_triggers_come_late() -> None:
    """Grants when all is made, event triggers when all is done; publications and data are no part of it."""
    dump = _dump(
        _entry(1, b"ACL", b"TABLE t", b"GRANT SELECT ON TABLE public.t TO al;\n", section=1),
        _TABLE,
        _entry(2, b"PUBLICATION", b"p", b"CREATE PUBLICATION p;\n", section=4),
        _entry(3, b"EVENT TRIGGER", b"archiver_ddl_end", b"CREATE EVENT TRIGGER archiver_ddl_end;\n", section=4),
        _entry(4, b"EVENT TRIGGER", b"archiver_of_mine", b"CREATE EVENT TRIGGER archiver_of_mine;\n", section=4),
        _entry(5, b"POLICY", b"t p", b"CREATE POLICY p ON t;\n", section=4),
        _entry(6, b"INDEX", b"i", b"CREATE INDEX i ON t;\n", section=4),
    )
    items = items_of(dump)
    assert [item.kind for item in items] == ["TABLE", "ACL", "INDEX", "POLICY", "EVENT TRIGGER"]
    assert [item.tag for item in items.last] == ["archiver_of_mine"]


def test_what_cannot_be_read_is_refused() -> None:
    """Another format, a newer one, an end that comes too early, a count that cannot be."""
    with pytest.raises(Corrupt):
        read_toc(b"SELECT 1;")
    with pytest.raises(Refused, match=r"1\.17"):
        read_toc(_dump(_TABLE, version=(1, 17)))
    for cut in range(8, len(_dump(_TABLE))):
        with pytest.raises(Corrupt):
            read_toc(_dump(_TABLE)[:cut])
    with pytest.raises(Corrupt):
        read_toc(_dump(_TABLE, count=2**31 - 1))


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_end_in_a_known_error(noise: bytes, at: int) -> None:
    """A dump with bytes put in anywhere."""
    dump = _dump(_TABLE, _TABLE)
    with contextlib.suppress(ArchiverError):
        list(items_of(dump[:at] + noise + dump[at:]))
