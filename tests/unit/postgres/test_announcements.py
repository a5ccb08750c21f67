"""Messages of our event triggers."""

from __future__ import annotations

from archiver.postgres.announcements import read_announcement, takes_a_right


def test_a_message_names_what_changed() -> None:
    """Fields that we do not need are passed over."""
    found = read_announcement(b'{"tag": "ALTER TABLE", "event": "e", "objects": [{"type": "table", "identity": "a.b", "oid": 7}]}')
    assert found is not None
    assert (found.tag, found.names(7), found.names(8)) == ("ALTER TABLE", True, False)


def test_what_cannot_be_read_may_be_of_any_change() -> None:
    """Whoever wrote it."""
    assert [read_announcement(content) for content in (b"", b"[]", b'{"objects": 1}', b"{" * 100_000)] == [None] * 4


def test_what_anybody_may_run_takes_no_right() -> None:
    """DROP OWNED of default privileges alone, too; what it drops beside them was owned."""
    for tag, types, right in (
        ("GRANT", [], False),
        ("DROP OWNED", ["default acl"], False),
        ("DROP OWNED", [], False),
        ("DROP OWNED", ["default acl", "table"], True),
        ("DROP TABLE", ["table"], True),
    ):
        objects = ", ".join(f'{{"type": "{each}", "identity": "x", "oid": 7}}' for each in types)
        assert takes_a_right(f'{{"tag": "{tag}", "objects": [{objects}]}}'.encode()) is right, (tag, types)
    assert not takes_a_right(b'{"tag": "DROP OWNED", "objects": [{"type": "table"}]}')
