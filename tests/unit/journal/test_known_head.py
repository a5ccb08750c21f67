"""What a head that was noted elsewhere shows."""

from __future__ import annotations

import pytest

from archiver.errors import Invalid
from archiver.journal.chain import End
from archiver.journal.known_head import KnownHead
from archiver.journal.verifier import VerifyReport, verify
from tests.simulation.loop import inline, play
from tests.unit.journal.forge import Forgery, frames


def journal(*bodies: bytes) -> tuple[Forgery, list[End]]:
    """A segment for each body behind a fence; and the states after all of them."""
    forgery = Forgery()
    forgery.open()
    ends = [forgery.end]
    for body in bodies:
        forgery.add(frames("db", body))
        ends.append(forgery.end)
    return forgery, ends


def report_of(forgery: Forgery, text: str) -> VerifyReport:
    return play(verify(forgery.store, known_head=KnownHead.parse(text), offload=inline))


def noted(end: End) -> tuple[str, str]:
    return f"{end.chain.hex()}@{end.segment}", end.chain.hex().upper()


def test_a_journal_that_went_on_holds_what_was_noted() -> None:
    """Each earlier head, with its number and without; the newest is printed ready to be given again."""
    forgery, ends = journal(b"a", b"b", b"c")
    for end in ends:
        for text in noted(end):
            report = report_of(forgery, text)
            assert (report.ok, report.head_fault) == (True, "")
    assert report_of(forgery, report.head).ok
    assert report.head == noted(ends[-1])[0]


def test_rewritten_history_is_seen() -> None:
    """Every hash is right, and the head that was noted at or behind the change is another; those before it still hold."""
    _, ends = journal(b"a", b"b", b"c")
    forged, _ = journal(b"a", b"X", b"c")
    for end in ends:
        for text in noted(end):
            report = report_of(forged, text)
            assert report.bad_segment is None
            assert report.ok == (end.segment < 2)
            assert bool(report.head_fault) == (end.segment >= 2)
            assert report.verdict == report.head_fault


def test_a_tail_that_was_cut_off_is_seen() -> None:
    """So it is when the journal went on from there with other segments."""
    _, ends = journal(b"a", b"b", b"c")
    cut, _ = journal(b"a")
    assert "cut off" in report_of(cut, noted(ends[-1])[0]).head_fault
    assert "cut off" in report_of(cut, noted(ends[-1])[1]).head_fault
    for body in (b"d", b"e", b"f"):
        cut.add(frames("db", body))
    assert "rewritten" in report_of(cut, noted(ends[-1])[0]).head_fault


def test_a_head_that_was_noted_is_no_void_segment() -> None:
    """A segment that counts cannot have become void."""
    forgery, _ = journal(b"a")
    stale = forgery.end
    forgery.open()
    void = forgery.void(stale, frames("db", b"v"))
    forgery.add(frames("db", b"c"))
    assert "void" in report_of(forgery, noted(void)[0]).head_fault


def test_damage_before_the_head_is_told_first() -> None:
    """The first bad segment is what the verdict names."""
    forgery, ends = journal(b"a", b"b")
    forgery.store.replace("journal/0000000000000001", b"x")
    report = report_of(forgery, noted(ends[-1])[0])
    assert report.bad_segment == 1
    assert report.verdict.startswith("segment 1")


@pytest.mark.parametrize("text", ["", "abc", "0" * 63, "0" * 64 + "@", "0" * 64 + "@x", "0" * 64 + "@-1", "0" * 65, "g" * 64])
def test_what_is_no_head_is_invalid(text: str) -> None:
    """It is said before the archive is read."""
    with pytest.raises(Invalid, match="not a chain head"):
        KnownHead.parse(text)
