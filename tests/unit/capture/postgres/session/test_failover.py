"""When a slot is kept by standbys, and when that could stop every commit."""

from __future__ import annotations

import pytest

from archiver.capture.postgres.session.failover import commits_wait_for, listed, unread, wants_failover


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ("", []),
        ("archiver_db", ["archiver_db"]),
        ("a, b", ["a", "b"]),
        ("FIRST 1 (archiver_db, standby_1)", ["archiver_db", "standby_1"]),
        ("any 2 (a,b , c)", ["a", "b", "c"]),
        ("2 (a, b)", ["a", "b"]),
        ('FIRST 1 ("jangar-db-2", "od""d, name")', ["jangar-db-2", 'od"d, name']),
        ("*", ["*"]),
    ],
)
def test_names_are_read_as_the_server_reads_them(setting: str, names: list[str]) -> None:
    """Every form of the list, with and without a method, quoted and not."""
    assert listed(setting) == names


def test_who_commits_wait_for() -> None:
    """Whole names count, in any case; a star is everybody."""
    assert commits_wait_for("archiver_db", "FIRST 1 (Archiver_DB, s)")
    assert commits_wait_for("archiver_db", "ANY 1 (*)")
    assert not commits_wait_for("archiver_db", "archiver_db2")
    assert not commits_wait_for("archiver_db", "")


@pytest.mark.parametrize(
    ("version", "names", "slots", "wanted"),
    [
        (160004, "", "", False),
        (170000, "", "", True),
        (180004, "archiver_db", "", True),
        (180004, "", "standby_1", True),
        (180004, "FIRST 1 (standby_1)", "standby_1", True),
        (180004, "FIRST 1 (archiver_db, standby_1)", "standby_1", False),
        (180004, "*", "standby_1", False),
    ],
)
def test_failover_is_wanted_unless_commits_could_hang(version: int, names: str, slots: str, wanted: bool) -> None:
    """The archive waits for a standby, or commits wait for the archive; never both."""
    assert wants_failover(version, "archiver_db", synchronous_standby_names=names, synchronized_standby_slots=slots) is wanted


def test_slots_without_a_reader_are_named() -> None:
    """The stream waits for these."""
    assert unread("s1, s2", ["s2", "archiver_db"]) == ["s1"]
