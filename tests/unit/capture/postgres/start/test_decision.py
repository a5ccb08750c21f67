"""Every row of the table in docs/design/0002, and its edges."""

from __future__ import annotations

import dataclasses

import pytest

from archiver.capture.postgres.start.decision import FreshStart, JournalView, Resumption, ServerView, SlotView, decide
from archiver.errors import Refused
from archiver.postgres.replication_messages import SentCommit

OURS = SlotView(plugin="pgoutput", database="app", confirmed=90, wal_status="reserved")
KNOWN = JournalView(position=100, slot="created", complete=True, system_id="1", timeline=1, database="app")


def server(slot: SlotView | None = OURS, *, timeline: int = 1, position: int = 1000, system: str = "1", **switches: int) -> ServerView:
    ends = {int(name[1:]): end for name, end in switches.items()}
    return ServerView(system_id=system, timeline=timeline, database="app", position=position, slot=slot, switches=ends)


def go(known: JournalView, there: ServerView, *, adopt: bool = False) -> FreshStart | Resumption:
    return decide(known, there, slot_name="archiver_db", adopt_new_system=adopt)


def reason(decision: FreshStart | Resumption) -> str:
    assert isinstance(decision, FreshStart)
    assert decision.gap is not None
    return decision.gap.reason


def test_nothing_known_and_no_slot_begins() -> None:
    """The very first start."""
    assert go(JournalView(), server(None)) == FreshStart(drop=False)


def test_an_unknown_slot_of_our_name_is_refused() -> None:
    """What this archive did not create it does not drop."""
    with pytest.raises(Refused, match="did not create"):
        go(JournalView(), server())


def test_a_slot_that_we_gave_up_is_not_ours() -> None:
    """After a PG_SLOT dropped entry the name belongs to whoever created it."""
    with pytest.raises(Refused, match="did not create"):
        go(JournalView(slot="dropped", system_id="1", timeline=1, database="app"), server())


@pytest.mark.parametrize("action", ["creating", "created"])
@pytest.mark.parametrize(("slot", "drop"), [(OURS, True), (None, False)])
def test_an_unfinished_baseline_begins_again(action: str, slot: SlotView | None, drop: bool) -> None:
    """A slot without a checkpoint after it is ours and worthless: it is dropped; no gap, for nothing was known."""
    known = JournalView(position=50, slot=action, complete=False, system_id="1", timeline=1, database="app")  # type: ignore[arg-type]
    assert go(known, server(slot)) == FreshStart(drop=drop)


def test_it_resumes_where_the_slot_is() -> None:
    """Nothing of the journal lies behind the slot: what the server sends from there on is new, also if its storage was put back."""
    assert go(KNOWN, server()) == Resumption(100, 90)


def test_the_newest_commit_must_be_sent_again_unless_the_slot_confirms_it() -> None:
    """A slot goes back with its storage: only one that has the commit itself proves that the server has it."""
    newest = SentCommit(7, 92, 96, 1)
    known = dataclasses.replace(KNOWN, newest=newest)
    assert go(known, server()) == Resumption(100, 92, newest)
    assert go(known, server(dataclasses.replace(OURS, confirmed=96))) == Resumption(100, 96)
    assert go(known, server(dataclasses.replace(OURS, confirmed=94))) == Resumption(100, 94, newest)


def test_another_history_on_the_same_timeline_is_a_gap_from_the_slot_on() -> None:
    """What it sent in the attempt before told it."""
    decision = go(KNOWN, dataclasses.replace(server(), diverged="the newest transaction is not there"))
    assert reason(decision) == "timeline_changed"
    assert isinstance(decision, FreshStart)
    assert decision.gap is not None
    assert (decision.drop, decision.gap.from_position) == (True, "0/5A")


def test_a_slot_exactly_at_the_journals_end_resumes() -> None:
    """Everything acknowledged, nothing new."""
    assert go(KNOWN, server(SlotView("pgoutput", "app", confirmed=100))) == Resumption(100, 100)


def test_what_the_server_can_never_decode_is_a_gap() -> None:
    """Trying the same position again would fail for ever, while the slot keeps the log."""
    for view, why in (
        (dataclasses.replace(server(), unpublished="no publication"), "publication_lost"),
        (dataclasses.replace(server(), undecodable="unexpected duplicate"), "log_undecodable"),
    ):
        decision = go(KNOWN, view)
        assert reason(decision) == why
        assert isinstance(decision, FreshStart)
        assert decision.drop


def test_a_slot_ahead_of_the_journal_is_a_gap() -> None:
    """Somebody else confirmed what the journal does not have; the server would skip it silently."""
    decision = go(KNOWN, server(SlotView("pgoutput", "app", confirmed=101)))
    assert reason(decision) == "slot_ahead"
    assert isinstance(decision, FreshStart)
    assert decision.drop
    assert decision.gap is not None
    assert (decision.gap.what, decision.gap.from_position, decision.gap.to_position) == ("all", "0/64", "")


def test_a_missing_slot_is_a_gap() -> None:
    """Dropped while nobody looked."""
    decision = go(KNOWN, server(None))
    assert reason(decision) == "slot_lost"
    assert decision == FreshStart(drop=False, gap=decision.gap)  # type: ignore[union-attr]


@pytest.mark.parametrize("slot", [SlotView("pgoutput", "app", 90, "lost"), SlotView("pgoutput", "app", 90, "", "idle_timeout")])
def test_an_invalidated_slot_is_a_gap(slot: SlotView) -> None:
    """The server has removed what the slot needs."""
    assert reason(go(KNOWN, server(slot))) == "slot_lost"


def test_a_failover_before_the_fork_resumes() -> None:
    """Everything in the journal is older than the end of its timeline, so the new one continues it."""
    assert go(KNOWN, server(timeline=2, t1=100)) == Resumption(100, 90)


def test_a_failover_behind_the_journal_is_a_gap_from_the_fork() -> None:
    """The journal holds transactions that the promoted server never had."""
    decision = go(KNOWN, server(timeline=2, t1=99))
    assert reason(decision) == "timeline_changed"
    assert isinstance(decision, FreshStart)
    assert decision.gap is not None
    assert decision.gap.from_position == "0/63"


def test_a_timeline_that_does_not_descend_from_ours_is_a_gap() -> None:
    """A history without our timeline is not the continuation of ours."""
    assert reason(go(KNOWN, server(timeline=3, t2=500))) == "timeline_changed"


def test_a_server_behind_the_journal_is_a_gap() -> None:
    """Put back from an older copy: the server would deliver nothing until its log reached our position again."""
    assert reason(go(KNOWN, server(position=99))) == "timeline_changed"


def test_another_system_is_refused() -> None:
    """Two databases are never mixed in one history by accident."""
    with pytest.raises(Refused, match="system 1"):
        go(KNOWN, server(None, system="2"))


def test_another_system_can_be_adopted_as_a_gap() -> None:
    """The user says so; the journal says it too."""
    assert reason(go(KNOWN, server(None, system="2"), adopt=True)) == "system_changed"


def test_adopting_never_drops_a_slot_there() -> None:
    """A slot of our name on a server that we never used is ours if pg_upgrade kept it, or somebody else's: the user tells, and drops it."""
    with pytest.raises(Refused, match="pg_upgrade kept") as refused:
        go(KNOWN, server(OURS, system="2"), adopt=True)
    assert "pg_drop_replication_slot" in refused.value.hint


def test_another_database_is_refused() -> None:
    """The same holds for another database of the same server."""
    with pytest.raises(Refused, match="database old"):
        go(JournalView(position=100, slot="created", complete=True, system_id="1", timeline=1, database="old"), server(None))


@pytest.mark.parametrize("slot", [SlotView("wal2json", "app", 90), SlotView("pgoutput", "other", 90), SlotView("", "", 0, temporary=True)])
def test_a_slot_of_another_shape_is_refused(slot: SlotView) -> None:
    """Another plugin, another database, a physical slot: not what we create."""
    with pytest.raises(Refused, match="not ours"):
        go(KNOWN, server(slot))
