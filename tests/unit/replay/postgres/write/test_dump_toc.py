"""The table of contents of a dump: read whole, or refused; never more memory than the dump itself is worth."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import ArchiverError, Corrupt, Refused
from archiver.replay.postgres.write.dump_items import items_of
from archiver.replay.postgres.write.dump_toc import read_toc
from tests.unit.replay.postgres.write.dump_bytes import dump_of, entry

_TABLE = entry(9, b"TABLE", b't"1', b"CREATE TABLE x ();\n", b'DROP TABLE public."t""1";\n', owner=b"al ice")


def test_an_item_is_what_pg_restore_prints() -> None:
    """Access method, the object, its owner; names are quoted."""
    [item] = items_of(dump_of(_TABLE)).pre
    assert item.sql == (
        b'SET default_table_access_method = "heap";\nCREATE TABLE x ();\n\nALTER TABLE "public"."t""1" OWNER TO "al ice";\n'
    )
    assert (item.name, item.reference, item.needs) == ('TABLE public.t"1', 'public."t""1"', (7,))
    [item] = items_of(dump_of(_TABLE), no_owner=True).pre
    assert b"OWNER" not in item.sql


def test_comments_of_a_dump_in_a_body_are_no_items() -> None:
    """What pg_restore writes between objects may stand inside of one."""
    body = b"CREATE FUNCTION f() ...\n--\n-- TOC entry 3 (class 1 OID 2)\n-- Name: x; Type: TABLE; Schema: public; Owner: al\n--\n"
    items = items_of(dump_of(entry(1, b"FUNCTION", b"f()", body, b"DROP FUNCTION public.f();\n"), _TABLE))
    assert [item.name for item in items] == ["FUNCTION public.f()", 'TABLE public.t"1']


def test_grants_and_event_triggers_come_late() -> None:
    """Grants when all is made, event triggers when all is done; publications and data are no part of it."""
    dump = dump_of(
        entry(1, b"ACL", b"TABLE t", b"GRANT SELECT ON TABLE public.t TO al;\n", section=1),
        _TABLE,
        entry(2, b"PUBLICATION", b"p", b"CREATE PUBLICATION p;\n", section=4),
        entry(3, b"EVENT TRIGGER", b"archiver_ddl_end", b"CREATE EVENT TRIGGER archiver_ddl_end;\n", section=4),
        entry(4, b"EVENT TRIGGER", b"archiver_of_mine", b"CREATE EVENT TRIGGER archiver_of_mine;\n", section=4),
        entry(5, b"POLICY", b"t p", b"CREATE POLICY p ON t;\n", section=4),
        entry(6, b"INDEX", b"i", b"CREATE INDEX i ON t;\n", section=4),
    )
    items = items_of(dump)
    assert [item.kind for item in items] == ["TABLE", "ACL", "INDEX", "POLICY", "EVENT TRIGGER"]
    assert [item.tag for item in items.last] == ["archiver_of_mine"]


def test_what_cannot_be_read_is_refused() -> None:
    """Another format, a newer one, an end that comes too early, a count that cannot be."""
    with pytest.raises(Corrupt):
        read_toc(b"SELECT 1;")
    with pytest.raises(Refused, match=r"1\.17"):
        read_toc(dump_of(_TABLE, version=(1, 17)))
    for cut in range(8, len(dump_of(_TABLE))):
        with pytest.raises(Corrupt):
            read_toc(dump_of(_TABLE)[:cut])
    with pytest.raises(Corrupt):
        read_toc(dump_of(_TABLE, count=2**31 - 1))


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_end_in_a_known_error(noise: bytes, at: int) -> None:
    """A dump with bytes put in anywhere."""
    dump = dump_of(_TABLE, _TABLE)
    with contextlib.suppress(ArchiverError):
        list(items_of(dump[:at] + noise + dump[at:]))
