"""Frames become runs with the position at which capture resumes."""

from __future__ import annotations

from archiver.capture.postgres.stream.packer import Packer
from archiver.journal.entry import Kind
from archiver.postgres.lsn import format_position
from archiver.postgres.replication_messages import PG_EPOCH
from tests.unit.postgres.frames import begin, commit, insert, message, stream_abort, stream_commit, stream_start, stream_stop

NOW = 1_800_000_000_000_000


def packer(start: int = 10) -> Packer:
    return Packer("db", start)


def test_frames_are_kept_byte_for_byte() -> None:
    """A run gives back exactly the frames that went in, in order."""
    frames = [begin(100), insert(b"a"), insert(b""), commit(100, 120)]
    made = packer()
    made.frames.extend(frames)
    run = made.pack(NOW)
    assert run is not None
    assert (run.source, run.kind, run.observed) == ("db", Kind.PG_FRAMES, NOW)
    assert list(run.bodies()) == frames


def test_the_position_is_the_end_of_the_newest_commit() -> None:
    """Frames after the last commit do not move the position."""
    made = packer()
    made.frames.extend([begin(100), commit(100, 120), begin(200), insert()])
    run = made.pack(NOW)
    assert run is not None
    assert run.position == format_position(120)
    assert made.received == 120


def test_a_run_without_a_commit_has_no_position() -> None:
    """Half a transaction leaves the position where it was."""
    made = packer()
    made.frames.extend([begin(100), insert()])
    run = made.pack(NOW)
    assert run is not None
    assert (run.position, run.changed, made.received) == ("", 0, 10)


def test_a_streamed_commit_moves_the_position() -> None:
    """Stream Commit counts as a commit; blocks and aborts do not."""
    made = packer()
    made.frames.extend([stream_start(), insert(xid=9), stream_stop()])
    assert made.pack(NOW) is not None
    assert made.received == 10
    made.frames.extend([stream_abort(8), stream_commit(9, 300, 320)])
    run = made.pack(NOW)
    assert run is not None
    assert run.position == format_position(320)


def test_changed_is_the_newest_commit_time() -> None:
    """Commit times go back a little now and then; the newest of the run counts."""
    made = packer()
    made.frames.extend([begin(1), commit(1, 20, PG_EPOCH + 900), begin(2), commit(20, 30, PG_EPOCH + 800)])
    run = made.pack(NOW)
    assert run is not None
    assert (run.changed, run.position) == (PG_EPOCH + 900, format_position(30))


def test_row_data_that_looks_like_a_commit_is_not_one() -> None:
    """Only the type byte of a message is believed."""
    made = packer()
    made.frames.append(insert(commit(500, 600)))
    run = made.pack(NOW)
    assert run is not None
    assert run.position == ""


def test_a_keepalive_between_transactions_gives_progress() -> None:
    """With nothing pending, a keepalive's position becomes an entry of its own."""
    made = packer()
    made.keepalive(50)
    assert made.pack(NOW) is None
    assert made.unjournaled
    run = made.progress(NOW)
    assert run is not None
    assert (run.kind, run.count, run.position, made.received) == (Kind.PROGRESS, 1, format_position(50), 50)
    assert made.progress(NOW) is None


def test_an_idle_source_is_confirmed_again() -> None:
    """A keepalive at the known position says that the source is still idle: once each, and not while frames wait."""
    made = packer()
    made.keepalive(50)
    made.progress(NOW)
    made.keepalive(50)
    assert made.confirmed
    assert not made.unjournaled
    run = made.progress(NOW + 1)
    assert run is not None
    assert (run.position, run.observed) == (format_position(50), NOW + 1)
    assert made.progress(NOW) is None
    made.keepalive(49)
    assert not made.confirmed


def test_a_keepalive_inside_a_transaction_gives_nothing() -> None:
    """While a transaction is half received, packed already or not, no keepalive moves the position."""
    made = packer()
    made.frames.append(begin(100))
    made.keepalive(50)
    assert made.pack(NOW) is not None
    made.frames.append(insert())
    made.keepalive(60)
    assert not made.unjournaled
    made.frames.append(commit(100, 120))
    assert made.pack(NOW) is not None
    made.keepalive(130)
    assert made.unjournaled


def test_a_keepalive_between_blocks_of_a_streamed_transaction_counts() -> None:
    """The streamed transaction commits later, so it would be sent again whole: it must not hold the slot back."""
    made = packer()
    made.frames.extend([stream_start(), insert(xid=9)])
    made.keepalive(40)
    assert not made.unjournaled
    made.frames.append(stream_stop())
    made.keepalive(50)
    assert made.unjournaled


def test_frames_carry_the_position_of_a_keepalive_that_came_with_them() -> None:
    """A keepalive after the commit saves an entry of its own."""
    made = packer()
    made.frames.extend([begin(100), commit(100, 120)])
    made.keepalive(150)
    run = made.pack(NOW)
    assert run is not None
    assert run.position == format_position(150)
    assert not made.unjournaled


def test_the_position_never_goes_back() -> None:
    """Repeated transactions after a restart of the server do not move the position backwards."""
    made = packer(200)
    made.frames.extend([begin(100), commit(100, 120)])
    made.keepalive(150)
    run = made.pack(NOW)
    assert run is not None
    assert (run.position, made.received) == ("", 200)


def test_schema_messages_are_told() -> None:
    """The event trigger's message is noticed at once, other messages and look-alike rows are not."""
    seen: list[bytes] = []
    made = Packer("db", 10, seen.append)
    made.frames.extend(
        [begin(1), message(b"archiver/ddl", b"{}"), message(b"other", b"archiver/ddl\0"), insert(b"archiver/ddl\0"), commit(1, 20)]
    )
    made.pack(NOW)
    assert seen == [b"{}"]


def test_schema_messages_of_streamed_transactions_are_told_again_at_commit() -> None:
    """Before its commit nothing of a streamed change can be seen in the catalog, so the commit is told too."""
    seen: list[bytes] = []
    made = Packer("db", 10, seen.append)
    made.frames.extend([stream_start(), message(b"archiver/ddl", b"{}", xid=9), stream_stop()])
    made.pack(NOW)
    assert seen == [b"{}"]
    made.frames.append(stream_commit(9, 100, 120))
    made.pack(NOW)
    assert seen == [b"{}", b""]
