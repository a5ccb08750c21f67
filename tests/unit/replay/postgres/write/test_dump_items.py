"""The statements of a dump: each object's own, with its owner, in the phase in which it can be made."""

from __future__ import annotations

from archiver.replay.postgres.write.dump_items import items_of
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
