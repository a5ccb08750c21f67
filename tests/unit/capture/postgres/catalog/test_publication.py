"""Who joins and leaves our publications."""

from __future__ import annotations

from archiver.capture.postgres.catalog.publication import MemberChanges, Publication, plan_members, why_unusable
from archiver.postgres.records import Catalog, Column, Mode, RedactedColumn, Table

NAMES = ("a_key", "a_insert")
WHOLE = frozenset({"insert", "update", "delete", "truncate"})


def table(oid: int, mode: Mode) -> Table:
    return Table(oid, "public", f'T"{oid}', "r", "p", "d", oid, mode, [], [])


def publication(name: str, *members: int, operations: frozenset[str] = WHOLE) -> Publication:
    return Publication(name, False, operations, False, True, "postgres", False, [], False, {oid: f'"public"."T""{oid}"' for oid in members})


def statements(current: tuple[Publication | None, Publication | None], *tables: Table) -> tuple[list[str], MemberChanges]:
    change = plan_members(NAMES, current, Catalog(list(tables)))
    return [statement.as_string(None) for statement in change.statements], change.effect


def test_both_are_created_with_their_members_alone() -> None:
    """Members are named one by one, quoted, without their descendants; excluded tables are in neither; an empty one exists too."""
    made, effect = statements((None, None), table(1, "key"), table(2, "full"), table(3, "excluded"))
    whole = "WITH (publish = 'insert, update, delete, truncate')"
    assert made == [
        f'CREATE PUBLICATION "a_key" FOR TABLE ONLY "public"."T""1", ONLY "public"."T""2" {whole}',
        "CREATE PUBLICATION \"a_insert\" WITH (publish = 'insert, truncate')",
    ]
    assert effect == MemberChanges(added=frozenset({1, 2}))


def test_a_table_leaves_before_it_joins() -> None:
    """A table that lost its identity leaves the publication of updates first."""
    made, effect = statements(
        (publication("a_key", 1, 2), publication("a_insert", 9)), table(1, "insert"), table(2, "key"), table(9, "key")
    )
    assert made == [
        'ALTER PUBLICATION "a_key" DROP TABLE ONLY "public"."T""1"',
        'ALTER PUBLICATION "a_insert" DROP TABLE ONLY "public"."T""9"',
        'ALTER PUBLICATION "a_key" ADD TABLE ONLY "public"."T""9"',
        'ALTER PUBLICATION "a_insert" ADD TABLE ONLY "public"."T""1"',
    ]
    assert effect == MemberChanges(moved=frozenset({1, 9}))


def test_nothing_to_do_is_no_statement() -> None:
    """What is in line already is left alone."""
    made, effect = statements((publication("a_key", 1), publication("a_insert")), table(1, "key"))
    assert (made, bool(effect)) == ([], False)


def test_a_publication_that_would_harm_or_lose_is_unusable() -> None:
    """All tables, via the root, narrowed, or with other operations: each is named."""
    good = publication("a_key", 1)
    assert why_unusable(good, whole=True) == ""
    assert why_unusable(publication("a_insert", operations=frozenset({"insert", "truncate"})), whole=False) == ""
    for bad, word in (
        (good._replace(all_tables=True), "all tables"),
        (good._replace(schemas=True), "whole schemas"),
        (good._replace(via_root=True), "partition"),
        (good._replace(narrowed=["public.t"]), "row filters"),
        (good._replace(operations=frozenset({"insert"})), "needs insert, update"),
    ):
        assert word in why_unusable(bad, whole=True)


def listed(oid: int, *attnums: int, hidden: int = 0) -> Table:
    columns = [Column(attnum, f"c{attnum}", "text", 25) for attnum in attnums]
    return Table(oid, "s", f"t{oid}", "r", "p", "d", oid, "key", columns, [1], listed=True, redacted=[RedactedColumn(hidden, "s.t.c")])


def test_a_table_joins_with_a_list_and_changes_it_by_leaving_and_joining() -> None:
    """Without what is hidden, whatever the other columns; a list by the same numbers is left alone."""
    made, effect = statements((publication("a_key"), publication("a_insert")), listed(1, 1, 2, 3, hidden=2))
    assert made == ['ALTER PUBLICATION "a_key" ADD TABLE ONLY "s"."t1" ("c1", "c3")']
    assert effect == MemberChanges(added=frozenset({1}))
    known = publication("a_key", 1)._replace(members={1: '"s"."t1"'}, lists={1: frozenset({1, 3})})
    assert statements((known, publication("a_insert")), listed(1, 1, 2, 3, hidden=2))[0] == []
    made, effect = statements((known, publication("a_insert")), listed(1, 1, 2, 3, 4, hidden=2))
    assert made == [
        'ALTER PUBLICATION "a_key" DROP TABLE ONLY "s"."t1"',
        'ALTER PUBLICATION "a_key" ADD TABLE ONLY "s"."t1" ("c1", "c3", "c4")',
    ]
    assert effect == MemberChanges(relisted=frozenset({1}))
    # Nobody else's list stays either.
    made, effect = statements((known, publication("a_insert")), table(1, "key"))
    assert (made[1:], effect) == (['ALTER PUBLICATION "a_key" ADD TABLE ONLY "public"."T""1"'], MemberChanges(relisted=frozenset({1})))
