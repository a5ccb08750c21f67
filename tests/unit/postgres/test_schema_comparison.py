"""Whether two schema entries say the same."""

from __future__ import annotations

import msgspec

from archiver.postgres.records import Catalog, Schema, UserPublication
from archiver.postgres.schema_comparison import same_content, same_schema
from tests.unit.replay.postgres.write.dump_bytes import dump_of, entry


def schema(fingerprint: str, catalog: Catalog | None = None) -> Schema:
    return Schema("0/1", "1:1:", 0, "poll", 180000, "", catalog or Catalog([]), fingerprint=fingerprint)


VIEW = b"CREATE VIEW v AS SELECT 1;\n"


def test_other_fingerprints_can_say_the_same() -> None:
    """Numbers and order of a dump's entries mean nothing, and neither do our own event triggers."""
    ours = entry(9, b"EVENT TRIGGER", b"archiver_ddl_end", b"CREATE EVENT TRIGGER archiver_ddl_end;\n", section=4)
    one = dump_of(entry(1, b"VIEW", b"v", VIEW), entry(2, b"VIEW", b"w", VIEW), ours)
    other = dump_of(entry(7, b"VIEW", b"w", VIEW), entry(5, b"VIEW", b"v", VIEW))
    assert not same_schema(schema("a"), schema("b"))
    assert same_content((schema("a"), one), (schema("b"), other))


def test_what_a_restore_would_make_otherwise_is_another_schema() -> None:
    """A view's text, an owner, one object more, a publication; and a dump that cannot be read says nothing."""
    one = dump_of(entry(1, b"VIEW", b"v", VIEW))
    others = [
        dump_of(entry(1, b"VIEW", b"v", VIEW + b"--")),
        dump_of(entry(1, b"VIEW", b"v", VIEW, owner=b"al")),
        dump_of(entry(1, b"VIEW", b"v", VIEW), entry(2, b"VIEW", b"w", VIEW)),
        b"",
        one[:-3],
    ]
    for other in others:
        assert not same_content((schema("a"), one), (schema("b"), other))
    more = msgspec.structs.replace(Catalog([]), publications=[UserPublication("p", "al", "CREATE PUBLICATION p")])
    assert not same_content((schema("a"), one), (schema("b", more), one))
    assert same_content((schema("a"), b""), (schema("a"), one))
