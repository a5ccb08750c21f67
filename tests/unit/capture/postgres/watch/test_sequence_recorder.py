"""When sequences are journaled."""

from __future__ import annotations

from typing import cast

import pytest

from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.session.access import Session
from archiver.capture.postgres.watch import sequence_recorder
from archiver.capture.postgres.watch.sequence_recorder import SequenceRecorder
from archiver.errors import Unavailable
from archiver.journal.entry import Kind
from archiver.postgres.records import Sequences, SequenceValue
from tests.unit.capture.postgres.watch.recording_writer import RecordingWriter
from tests.unit.capture.set_clock import SetClock

SESSION = cast("Session", None)


async def test_sequences_are_journaled_when_one_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first reading too; a reading that only has another time and place adds nothing."""
    readings = [Sequences(lsn, 1, [SequenceValue(1, "public", "s", last)]) for lsn, last in (("0/1", 5), ("0/2", 5), ("0/3", 6))]

    async def read(session: Session, scope: Scope) -> Sequences:
        return readings.pop(0)

    monkeypatch.setattr(sequence_recorder, "read_sequences", read)
    writer = RecordingWriter()
    recorder = SequenceRecorder("db", Scope([], []), writer, SetClock())
    assert [await recorder.record(SESSION) for _ in range(3)] == [1, 0, 2]
    assert writer.kinds == [Kind.PG_SEQUENCES] * 2


async def test_what_was_not_journaled_is_journaled_by_the_next_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that failed has not recorded them."""

    async def read(session: Session, scope: Scope) -> Sequences:
        return Sequences("0/1", 1, [])

    class FailingOnce(RecordingWriter):
        failed = False

        async def append(self, run: object, *, patient: bool = False) -> int:
            if not self.failed:
                self.failed = True
                raise Unavailable("the journal is closing")
            return 7

    monkeypatch.setattr(sequence_recorder, "read_sequences", read)
    recorder = SequenceRecorder("db", Scope([], []), FailingOnce(), SetClock())
    with pytest.raises(Unavailable):
        await recorder.record(SESSION)
    assert await recorder.record(SESSION) == 7
