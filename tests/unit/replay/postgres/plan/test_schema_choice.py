"""Which schema entry is the one at a point."""

from __future__ import annotations

import pytest

from archiver.postgres.lsn import parse_position
from archiver.postgres.records import Catalog, Schema
from archiver.postgres.visibility import Committed
from archiver.replay.postgres.plan.journal_survey import FoundRecord
from archiver.replay.postgres.plan.plan import Ref
from archiver.replay.postgres.plan.schema_choice import Changes, SchemaChoice, choose


def entry(seq: int, visible: str, *, fingerprint: str = "", announces: bool = True, since: str = "") -> FoundRecord[Schema]:
    # Each transaction of these tests commits where its id says.
    schema = Schema(f"0/{int(visible.split(':')[1]):X}", visible, 0, "ddl", 180000, "", Catalog([]), fingerprint=fingerprint, since=since)
    return FoundRecord(Ref(seq, 0), schema, announces)


def changes(before: list[int], behind: list[int]) -> Changes:
    return Changes([Committed(xid, xid) for xid in before], [Committed(xid, xid) for xid in behind])


def chosen(
    schemas: list[FoundRecord[Schema]],
    point: int,
    before: list[int],
    behind: list[int],
    lsn: int = 1,
    perhaps: Changes | None = None,
    looked: int = 1,
    looks: tuple[int, ...] = (),
) -> SchemaChoice:
    return choose(
        schemas,
        before=lambda found: found.ref.seq <= point,
        changed=changes(before, behind),
        perhaps=lambda *_: perhaps or Changes(),
        unchanged=lambda _, later: lsn <= (parse_position(later.record.since) if later else looked),
        unsettled=lambda _found, _later, left, behind: [
            each for each in left if not any(each.commit_lsn < look and all(other.commit_lsn >= look for other in behind) for look in looks)
        ],
    )


def test_the_newest_entry_that_has_every_change_is_exact() -> None:
    """Transactions 5 and 7 changed the schema; the second entry has seen both."""
    choice = chosen([entry(1, "4:4:"), entry(2, "8:8:"), entry(9, "20:20:")], 3, [5, 7], [15])
    assert (choice.found.ref.seq, choice.certain) == (2, True)


def test_an_entry_behind_the_point_may_be_the_exact_one() -> None:
    """It is written some time after the change; what counts is that it has none of a later one."""
    choice = chosen([entry(1, "4:4:"), entry(9, "8:8:")], 3, [5], [15])
    assert (choice.found.ref.seq, choice.certain) == (9, True)


def surely(before: list[int], behind: list[int], sealed: list[int]) -> Changes:
    return Changes(
        [Committed(xid, xid) for xid in before],
        [Committed(xid, xid) for xid in behind],
        frozenset(Committed(xid, xid) for xid in sealed),
    )


@pytest.mark.parametrize(
    ("sealed", "later", "expected"),
    [
        ([5], None, (1, False, [5])),
        ([], None, (1, False, [])),
        ([5, 15], "20:20:", (1, False, [5])),
        # What others announced behind the point may be nothing: the later one has what surely happened.
        ([5], "20:20:", (9, False, [])),
        ([15], "20:20:", (1, False, [])),
        ([], "20:20:", (1, False, [])),
    ],
)
def test_what_was_surely_announced_and_no_entry_has_alone_is_a_gap(
    sealed: list[int], later: str | None, expected: tuple[int, bool, list[int]]
) -> None:
    """Transactions 5 and 15 announced something before and behind the point; no entry was written between them."""
    schemas = [entry(1, "4:4:")] + ([entry(9, later)] if later else [])
    choice = choose(
        schemas,
        before=lambda found: found.ref.seq <= 3,
        changed=surely([5], [15], sealed),
        unchanged=lambda *_: False,
        unsettled=lambda _found, _later, left, _behind: list(left),
    )
    assert (choice.found.ref.seq, choice.certain, [each.xid for each in choice.unseen]) == expected


def test_two_changes_without_an_entry_between_leave_it_uncertain() -> None:
    """The only later entry has the change behind the point too: the older one is used, and said to be uncertain."""
    choice = chosen([entry(1, "4:4:"), entry(9, "20:20:")], 3, [5], [15])
    assert (choice.found.ref.seq, choice.certain) == (1, False)
    assert choice.reason.startswith("1 announced changes")


def test_what_a_look_did_not_find_was_announced_for_nothing() -> None:
    """Anybody can announce what never happened: a look behind it that still found the old schema tells, if nothing was announced since."""
    only = [entry(1, "4:4:")]
    for behind, looks, certain in (
        ([], (), False),
        ([], (5,), False),  # it bounds what committed before it
        ([], (6,), True),
        ([15], (30,), False),  # what was announced behind the point may have undone it
        ([15], (14, 30), True),
    ):
        assert chosen(only, 3, [5], behind, looks=looks).certain is certain, (behind, looks)
    assert not chosen(only, 3, [5, 8], [], looks=(6,)).certain


def test_without_announcements_only_equal_neighbours_are_certain() -> None:
    """A poll says that something changed, not when: the entries around the point must say the same."""
    same = [entry(1, "4:4:", fingerprint="a", announces=False), entry(9, "9:9:", fingerprint="a", announces=False)]
    other = [same[0], entry(9, "9:9:", fingerprint="b", announces=False)]
    assert chosen(same, 3, [], []).certain
    assert not chosen(other, 3, [], []).certain
    assert chosen(other, 3, [], []).found.ref.seq == 1
    assert chosen(other, 9, [], []).certain


def test_without_announcements_the_newest_entry_is_certain_as_far_as_the_catalog_was_looked_at() -> None:
    """Behind the newest look a change can have been made that left nothing in the stream; where they are announced, it would be known."""
    for announces, lsn, certain in ((False, 0x50, True), (False, 0x51, False), (True, 0x51, True)):
        choice = chosen([entry(1, "4:4:", announces=announces)], 3, [], [], lsn, looked=0x50)
        assert (choice.certain, choice.unwatched, choice.change) == (certain, not certain, None)


def test_a_change_that_was_not_announced_began_with_the_last_look_that_found_nothing() -> None:
    """Before that look the older entry is exact, behind it nobody knows; an announced change explains the difference."""
    for announces in (True, False):
        both = [
            entry(1, "4:4:", fingerprint="a", announces=announces),
            entry(9, "9:9:", fingerprint="b", since="0/50", announces=announces),
        ]
        assert chosen(both, 3, [], [], 0x50).certain
        assert not chosen(both, 3, [], [], 0x51).certain
    announced = [entry(1, "4:4:", fingerprint="a"), entry(9, "9:9:", fingerprint="b", since="0/50")]
    assert chosen(announced, 3, [], [5], 0x51).certain


def test_what_mostly_shows_nowhere_can_explain_a_difference() -> None:
    """A view that was filled: before the point the later entry has it, behind it the newest lacks nothing; on both sides nobody knows."""
    both = [entry(1, "4:4:", fingerprint="a"), entry(9, "9:9:", fingerprint="b", since="0/2")]
    for before, behind, seq, certain in (([5], [], 9, True), ([], [7], 1, True), ([5], [7], 1, False)):
        choice = chosen(both, 3, [], [], 0x51, changes(before, behind))
        assert (choice.found.ref.seq, choice.certain, choice.change) == (seq, certain, None)
    # What both entries have, or none, is not what they differ in.
    for before, behind in (([3], []), ([], [12]), ([], [])):
        choice = chosen(both, 3, [], [], 0x51, changes(before, behind))
        assert (choice.certain, choice.change) == (False, both[1])


def test_what_anybody_can_announce_is_no_unannounced_change() -> None:
    """Messages without a change behind them leave a doubt."""
    both = [entry(1, "4:4:", fingerprint="a"), entry(9, "20:20:", fingerprint="b")]
    choice = chosen(both, 3, [5], [15], 0x51)
    assert (choice.certain, choice.change) == (False, None)


def test_a_point_before_every_entry_uses_the_first_and_says_so() -> None:
    """A baseline's rows can be older than the first schema entry."""
    choice = chosen([entry(5, "4:4:")], 3, [], [])
    assert (choice.found.ref.seq, choice.certain) == (5, False)


@pytest.mark.parametrize(
    ("before", "behind", "sealed", "in_force", "gap"),
    [
        # What anybody sends, before the point, behind it, or both, explains nothing where keys were in force.
        ([5], [], [], True, True),
        ([], [15], [], True, True),
        ([5], [15], [], True, True),
        ([5], [15], [], False, False),
        ([], [15], [], False, False),
        # What is sealed does.
        ([5], [], [5], True, False),
        ([], [15], [15], True, False),
        ([5, 6], [15], [15], True, False),
        # Sealed, and in both entries or none: not what they differ in.
        ([3], [15], [3], True, True),
        ([5], [30], [30], True, True),
    ],
)
def test_where_keys_were_in_force_only_sealed_announcements_explain_a_difference(
    before: list[int], behind: list[int], sealed: list[int], in_force: bool, gap: bool
) -> None:
    """The gap is that of a change that nobody announced; what the other announcements say is kept for a difference of rights alone."""
    both = [entry(1, "4:4:", fingerprint="a"), entry(9, "20:20:", fingerprint="b", since="0/50")]
    choice = choose(
        both,
        before=lambda found: found.ref.seq <= 3,
        changed=surely(before, behind, sealed),
        unchanged=lambda *_: False,
        unsettled=lambda _found, _later, left, _behind: list(left),
        sealed=lambda *_: in_force,
    )
    assert (choice.change is not None, choice.otherwise is not None) == (gap, gap)
    if choice.otherwise is not None:
        assert (choice.certain, choice.otherwise.change) == (False, None)


def test_before_the_last_look_that_found_nothing_no_change_is_hidden() -> None:
    """Whatever anybody announced, and however the next entry differs."""
    both = [entry(1, "4:4:", fingerprint="a"), entry(9, "20:20:", fingerprint="b", since="0/50")]
    choice = choose(
        both,
        before=lambda found: found.ref.seq <= 3,
        changed=surely([], [15], []),
        unchanged=lambda *_: True,
        unsettled=lambda _found, _later, left, _behind: list(left),
        sealed=lambda *_: True,
    )
    assert (choice.certain, choice.change) == (True, None)
