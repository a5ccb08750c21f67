"""Since when announcements were sealed without a break."""

from __future__ import annotations

from archiver.capture.postgres.watch.sealed_span import SealedSpan
from archiver.postgres.announcement_seal import SealKeys
from archiver.postgres.records import Sealing

ONE, OTHER = SealKeys(bytes(64), bytes(64)), SealKeys(bytes(64), b"1" * 64)


def test_it_begins_with_the_first_look_that_finds_the_keys_and_ends_with_one_that_does_not() -> None:
    """Other keys begin another span; without keys, or with a trigger that is off, there is none."""
    span = SealedSpan()
    assert span.still(ONE) is None
    for keys, lsn, since in (
        (ONE, "0/10", "0/10"),
        (ONE, "0/20", "0/10"),
        (OTHER, "0/30", "0/30"),
        (ONE, "0/40", "0/40"),
        (None, "0/50", ""),
        (ONE, "0/60", "0/60"),
    ):
        span.looked(keys, lsn)
        assert span.still(keys) == (Sealing(since, keys.name) if keys else None), lsn
    assert ONE.name != OTHER.name


def test_keys_that_changed_while_a_schema_was_taken_end_it() -> None:
    """What was announced by the new ones meanwhile was judged by the old."""
    for after in (OTHER, None):
        span = SealedSpan()
        span.looked(ONE, "0/10")
        assert span.still(after) is None
        span.looked(ONE, "0/20")
        assert span.still(ONE) == Sealing("0/20", ONE.name)


def test_a_restart_goes_on_by_the_keys_that_the_journal_names() -> None:
    """Where the stream was judged by them from its beginning on."""
    known = Sealing("0/10", ONE.name)
    for judged, since in ((ONE, "0/10"), (OTHER, "0/50"), (None, "0/50")):
        span = SealedSpan(known, judged)
        span.looked(ONE, "0/50")
        assert span.still(ONE) == Sealing(since, ONE.name)


def test_a_stream_without_messages_hears_no_announcement() -> None:
    """Then nothing is known, whatever the keys."""
    span = SealedSpan(Sealing("0/10", ONE.name), ONE, hears=False)
    span.looked(ONE, "0/50")
    assert span.still(ONE) is None


def test_a_look_that_failed_ends_it() -> None:
    """The same keys at the next look begin another span: what was announced between the two may have been judged without them."""
    span = SealedSpan()
    span.looked(ONE, "0/10")
    span.broken()
    assert span.still(ONE) is None
    span.looked(ONE, "0/20")
    assert span.still(ONE) == Sealing("0/20", ONE.name)
