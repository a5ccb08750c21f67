"""Whether two schema entries say the same."""

from __future__ import annotations

import msgspec

from archiver.postgres.records import Catalog, Schema, UserPublication
from archiver.postgres.schema_comparison import same_but_rights, same_content, same_schema
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


def test_rights_are_what_anybody_may_change_for_himself() -> None:
    """Grants and defaults of grants, with the roles that they name; whatever else differs is another schema."""
    view = entry(1, b"VIEW", b"v", VIEW)
    one = dump_of(view, entry(2, b"ACL", b"v", b"GRANT SELECT ON v TO al;\n"))
    defaults = entry(3, b"DEFAULT ACL", b"DEFAULT PRIVILEGES FOR TABLES", b"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO bo;\n")
    named = msgspec.structs.replace(Catalog([]), roles=["al", "bo"])
    assert same_but_rights((schema("a"), one), (schema("b", named), dump_of(view, defaults)))
    for other in (
        dump_of(entry(1, b"VIEW", b"v", VIEW + b"--"), defaults),
        dump_of(entry(1, b"VIEW", b"v", VIEW, owner=b"al")),
        dump_of(view, entry(2, b"POLICY", b"v p", b"CREATE POLICY p ON v;\n")),
        dump_of(view, entry(2, b"SECURITY LABEL", b"v", b"SECURITY LABEL ON v IS 'l';\n")),
        b"",
    ):
        assert not same_but_rights((schema("a"), one), (schema("b"), other))
    more = msgspec.structs.replace(Catalog([]), extensions=["hstore"])
    assert not same_but_rights((schema("a"), one), (schema("b", more), one))
