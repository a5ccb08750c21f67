"""Which columns are hidden, by name and by what was hidden before."""

from __future__ import annotations

from archiver.capture.postgres.catalog.redaction import Before, Named, Redaction, ancestors, newly_hidden
from archiver.postgres.records import Catalog, Column, RedactedColumn, Table

USERS = [Named("public", "users")]


def columns(*names: str) -> list[Column]:
    return [Column(number, name, "text", 25) for number, name in enumerate(names, 1)]


def table(name: str, *names: str, hidden: dict[int, str] | None = None, oid: int = 7, kind: str = "r", listed: bool = False) -> Table:
    redacted = [RedactedColumn(attnum, line) for attnum, line in (hidden or {}).items()]
    return Table(oid, "public", name, kind, "p", "d", 7, "key", columns(*names), [1], redacted=redacted, listed=listed)


def test_a_line_means_one_column_and_a_star_stays_within_a_part() -> None:
    """Nothing else is hidden, and no other table's."""
    redaction = Redaction(["public.users.secret", "app.*.token"])
    assert [each.attnum for each in redaction.hidden(7, USERS, columns("id", "secret", "secret2", "token"))] == [2]
    assert [each.attnum for each in redaction.hidden(8, [Named("app", "any")], columns("id", "token"))] == [2]
    # A dot of a name is in its part; no star reaches into another one.
    assert [each.attnum for each in redaction.hidden(9, [Named("app", "a.b")], columns("token", "a.token"))] == [1]
    assert redaction.exposed(9, "app", "a.b", ["token"]) == ["token"]
    assert redaction.hidden(9, [Named("app.b", "a")], columns("token")) == []
    assert Redaction(["app.a.b.token"]).hidden(9, [Named("app", "a.b")], columns("x", "token"))
    assert redaction.is_about(USERS)
    assert not redaction.is_about([Named("public", "user")])


def test_what_was_hidden_once_stays_so_while_its_line_stands() -> None:
    """Under any name, of the column or of the table; not after the line is gone."""
    known = Catalog([table("users", "id", "secret", hidden={2: "public.users.secret"})])
    redaction = Redaction(["public.users.secret"])
    redaction.recall(known)
    renamed = redaction.hidden(7, [Named("public", "people")], columns("id", "other"))
    assert [(each.attnum, each.line) for each in renamed] == [(2, "public.users.secret")]
    assert [each.attnum for each in redaction.hidden(7, USERS, columns("secret", "other"))] == [1, 2]
    gone = Redaction(["public.users.other"])
    gone.recall(known)
    assert gone.hidden(7, USERS, columns("id", "secret")) == []


def test_a_partition_is_hidden_as_what_it_is_part_of() -> None:
    """By any of its ancestors, however it is called; circles and several parents do no harm."""
    assert ancestors(1, {1: [2, 3], 2: [4], 3: [4], 4: [1]}) == [1, 2, 3, 4]
    redaction = Redaction(["public.users.secret"])
    assert [each.attnum for each in redaction.hidden(1, [Named("x", "y"), *USERS], columns("secret"))] == [1]


def test_a_column_under_a_hidden_name_is_exposed() -> None:
    """Under the line's name, and under each that it had since."""
    redaction = Redaction(["public.users.secret"])
    redaction.note(Catalog([table("users", "id", "other", hidden={2: "public.users.secret"})]))
    assert redaction.exposed(8, "public", "users", ["id", "secret"]) == ["secret"]
    assert redaction.exposed(7, "public", "people", ["id", "other"]) == ["other"]
    assert redaction.exposed(7, "public", "users", ["id", "name"]) == []


def test_what_the_journal_captures_and_may_not_any_more_is_told() -> None:
    """Not what was hidden already, nor what a list left out. A column that came since was sent, under whatever name it had."""
    line = "public.users.secret"
    hidden = Catalog([table("users", "id", "secret", hidden={2: line})])
    assert newly_hidden(Catalog([table("users", "id", "secret")]), hidden) == [line]
    assert newly_hidden(hidden, hidden) == newly_hidden(Catalog([]), hidden) == []
    assert newly_hidden(Catalog([table("users", "id")]), hidden) == [line]
    assert newly_hidden(Catalog([table("users", "id", listed=True)]), hidden) == []
    assert newly_hidden(Catalog([table("users", "id", "secret", listed=True)]), hidden) == [line]


def test_a_slot_that_begins_with_the_lists_forgets_names_of_before() -> None:
    """A column that takes a name that a hidden one once had is not hidden, and may come."""
    redaction = Redaction(["public.users.secret"])
    for name in ("secret", "tok", "tok2"):
        redaction.note(Catalog([table("users", "id", name, hidden={2: "public.users.secret"})]))
    assert redaction.exposed(7, "public", "users", ["id", "tok"]) == ["tok"]
    redaction.renew(Catalog([table("users", "id", "tok2", "tok", hidden={2: "public.users.secret"})]))
    assert redaction.exposed(7, "public", "users", ["id", "tok"]) == []
    assert redaction.exposed(7, "public", "users", ["id", "tok2"]) == ["tok2"]
    assert redaction.exposed(7, "public", "users", ["id", "secret"]) == ["secret"]
    assert [each.attnum for each in redaction.hidden(7, USERS, columns("id", "tok2", "tok"))] == [2]


def test_numbers_of_another_system_mean_nothing_here() -> None:
    """Names do: also those of a table that was made anew. Lines that hid something there are owed."""
    known = Catalog([table("users", "id", "hidden", hidden={2: "public.users.secret"})])
    redaction = Redaction(["public.users.secret", "public.users.other"])
    redaction.recall(known, own=False)
    assert redaction.before == Before(None, frozenset(["public.users.secret"]))
    assert redaction.hidden(7, [Named("public", "things")], columns("id", "name")) == []
    assert [each.attnum for each in redaction.hidden(9, USERS, columns("hidden", "id"))] == [1]
    again = Redaction(["public.users.secret"])
    again.recall(known)
    assert [each.attnum for each in again.hidden(9, USERS, columns("hidden", "id"))] == [1]
    assert again.hidden(9, [Named("public", "things")], columns("hidden")) == []
    # The same table: its numbers are known, and another column may have a name that it had.
    assert [each.attnum for each in again.hidden(7, USERS, columns("id", "now", "hidden"))] == [2]


def test_what_looks_like_a_partition_may_not_come_whole() -> None:
    """It can have been attached a moment ago. One column more or less, and it cannot."""
    redaction = Redaction(["public.parts.secret"])
    redaction.note(Catalog([table("parts", "id", "secret", "day", hidden={2: "public.parts.secret"}, kind="p")]))
    assert redaction.exposed(9, "public", "p", ["day", "secret", "id"]) == ["secret"]
    assert redaction.exposed(9, "public", "p", ["day", "secret"]) == redaction.exposed(9, "public", "p", ["day", "id"]) == []
    assert redaction.exposed(9, "public", "p", ["day", "secret", "id", "more"]) == []


def test_a_line_that_hides_nothing_is_named() -> None:
    """One that hides a column under another name by now is not."""
    redaction = Redaction(["public.users.secret", "public.users.typo"])
    assert redaction.unmatched(Catalog([table("users", "id", "other", hidden={2: "public.users.secret"})])) == ["public.users.typo"]
