"""Which changes of the schema count as announced."""

from __future__ import annotations

import msgspec

from archiver.capture.postgres.watch.unannounced_changes import KEPT_SECONDS, MOST, MOST_BYTES, UnannouncedChanges
from archiver.journal.entry import SourceMark
from archiver.journal.records import Gap
from archiver.postgres.records import Catalog, Schema, UserPublication
from tests.unit.capture.postgres.watch.recording_writer import RecordingWriter
from tests.unit.capture.set_clock import SetClock
from tests.unit.replay.postgres.write.dump_bytes import dump_of, entry

TRIGGER = entry(9, b"EVENT TRIGGER", b"archiver_ddl_end", b"CREATE EVENT TRIGGER archiver_ddl_end;\n", section=4)
DDL = b'{"tag":"CREATE VIEW","objects":[]}'
PUBLICATION = b'{"tag":"ALTER PUBLICATION","objects":[]}'


def version(number: int, *, announces: bool = True, catalog: Catalog | None = None) -> tuple[Schema, bytes]:
    schema = Schema(
        f"0/{number:X}0", "1:1:", number, "poll", 180000, "", catalog or Catalog([], publications=[]), fingerprint=str(number), since="0/5"
    )
    view = entry(1, b"VIEW", b"v", b"CREATE VIEW v AS SELECT %d;\n" % number)
    return schema, dump_of(view, *([TRIGGER] if announces else []))


def opened() -> tuple[UnannouncedChanges, RecordingWriter, SetClock]:
    writer, clock = RecordingWriter(), SetClock()
    return UnannouncedChanges("db", writer, clock), writer, clock


async def settled(changes: UnannouncedChanges, writer: RecordingWriter, position: str) -> int:
    writer.reached = {"db": SourceMark(position=position)}
    await changes.settle()
    return changes.gaps


async def test_a_change_waits_until_the_stream_has_passed_it() -> None:
    """Its announcement can come after the look that found it."""
    changes, writer, _ = opened()
    await changes.recorded(version(1), version(2))
    assert await settled(changes, writer, "0/1F") == 0
    changes.heard(DDL)
    assert await settled(changes, writer, "0/20") == 0
    assert writer.runs == []


async def test_without_an_announcement_it_is_a_gap_between_the_looks() -> None:
    """Where none can come, at once; what was announced long ago, or of something else, explains nothing."""
    changes, writer, clock = opened()
    changes.heard(DDL)
    clock.seconds += KEPT_SECONDS + 1
    changes.heard(PUBLICATION)
    await changes.recorded(version(1), version(2))
    assert await settled(changes, writer, "0/20") == 1
    gap = msgspec.json.decode(next(writer.runs[0].bodies()), type=Gap)
    assert (gap.what, gap.reason, gap.from_position, gap.to_position) == ("schema", "schema_uncertain", "0/5", "0/20")
    await changes.recorded(version(2, announces=False), version(3, announces=False))
    assert changes.gaps == 2
    more = Catalog([], publications=[UserPublication("p", "al", "CREATE PUBLICATION p")])
    await changes.recorded(version(3), version(4, catalog=more))
    assert await settled(changes, writer, "0/40") == 2


async def test_what_says_the_same_is_no_change() -> None:
    """Whatever its fingerprint."""
    changes, writer, _ = opened()
    schema, dump = version(1)
    await changes.recorded((schema, dump), (msgspec.structs.replace(schema, fingerprint="x"), dump))
    assert await settled(changes, writer, "1/0") == 0


async def test_more_than_is_kept_may_be_anything() -> None:
    """Anybody may send messages: memory is bounded, and what was not kept counts as an announcement."""
    for contents in ([b"x" * (MOST_BYTES + 1)], [PUBLICATION] * MOST):
        changes, writer, _ = opened()
        for content in contents:
            changes.heard(content)
        await changes.recorded(version(1), version(2))
        assert await settled(changes, writer, "0/20") == 0
