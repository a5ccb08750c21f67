"""The order in which a change of the schema is followed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest

from archiver.capture.postgres.baseline.schema_entry import SchemaEntry
from archiver.capture.postgres.catalog.catalog import ObservedCatalog
from archiver.capture.postgres.catalog.horizon import Horizon
from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.session.access import Session
from archiver.capture.postgres.watch import schema_follower
from archiver.capture.postgres.watch.database_poll import DatabasePoll
from archiver.capture.postgres.watch.schema_follower import SchemaFollower
from archiver.postgres.records import Catalog, Column, Schema, Table
from tests.unit.capture.set_clock import SetClock

TABLE = Table(10, "public", "t", "r", "p", "d", 100, "key", [Column(1, "id", "integer", 23)], [1])
CATALOG = Catalog([TABLE])
SESSION = cast("Session", None)


class Rig:
    """A follower whose neighbours write down when they are called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.fingerprint = "f"
        self.rejoining: frozenset[int] = frozenset()
        self.in_line = True
        self.exact: list[bool] = []
        schema = Schema("0/20", "1:1:", 1, "ddl", 160000, "pg_dump", CATALOG, fingerprint="f")

        @asynccontextmanager
        async def hold_snapshot(_: Any) -> AsyncIterator[Any]:
            self.calls.append("snapshot")
            yield SimpleNamespace(reading=lambda: nullcontext(None))
            self.calls.append("snapshot let go")

        answers = {
            "hold_snapshot": hold_snapshot,
            "log_end_and_running": self.answer("", ("0/20", frozenset())),
            "read_catalog": self.answer("catalog", ObservedCatalog(CATALOG, {})),
            "take_schema": self.answer("dump", SchemaEntry(schema, b"", ObservedCatalog(CATALOG, {}))),
        }
        for name, answer in answers.items():
            monkeypatch.setattr(schema_follower, name, answer)

        async def read_fingerprint(_: Any) -> str:
            return self.fingerprint

        async def record(taken: SchemaEntry, *, exact: bool) -> int:
            self.calls.append("record")
            self.exact.append(exact)
            self.schema = taken.schema
            return 5

        async def rejoining(*_: Any) -> frozenset[int]:
            return self.rejoining

        monkeypatch.setattr(schema_follower, "read_fingerprint", read_fingerprint)
        self.horizon = Horizon("0/10")
        self.follower = SchemaFollower(
            cast("Any", None),
            cast("Any", None),
            Scope([], []),
            SetClock(),
            self.horizon,
            gaps=cast("Any", SimpleNamespace(journaled=lambda _: frozenset({10}))),
            publications=cast(
                "Any",
                SimpleNamespace(
                    read=self.answer("", {}),
                    returned=self.answer("", frozenset()),
                    rejoining=rejoining,
                    reconcile=self.answer("publications", None),
                    accept=lambda *_, **__: self.calls.append("accept"),
                    in_line=lambda _: self.in_line,
                    came_back=lambda _: frozenset(),
                    forbidden=frozenset(),
                    relisted=frozenset(),
                ),
            ),
            marker=cast("Any", SimpleNamespace(mark=self.answer("marks", None), files_seen=lambda _: None)),
            recorder=cast("Any", SimpleNamespace(catalog=CATALOG, record=record, durable=self.answer("durable", None))),
            sealing=self.answer("", None),
        )

    def answer(self, name: str, result: Any) -> Any:
        async def call(*_: Any, **__: Any) -> Any:
            if name:
                self.calls.append(name)
            return result

        return call


async def test_publications_come_first_and_the_entry_after_the_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """No UPDATE fails longer than it must, and whoever finds the entry finds the gaps before it."""
    rig = Rig(monkeypatch)
    await rig.follower.follow(SESSION, "ddl")
    assert rig.calls == ["snapshot", "catalog", "publications", "dump", "snapshot let go", "marks", "accept", "record"]
    assert (rig.schema.since, rig.schema.floor) == ("0/10", "0/20")
    assert rig.exact == [True]


async def test_ddl_during_the_dump_makes_it_inexact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is taken again."""
    rig = Rig(monkeypatch)
    rig.fingerprint = "g"
    await rig.follower.follow(SESSION, "ddl")
    assert rig.exact == [False]


async def test_a_table_that_was_taken_out_joins_only_once_the_journal_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but the journal tells afterwards that it was no member."""
    rig = Rig(monkeypatch)
    rig.rejoining = frozenset({10})
    await rig.follower.follow(SESSION, "poll")
    assert rig.calls[-3:] == ["record", "durable", "publications"]


@pytest.mark.parametrize(("in_line", "left", "calls"), [(True, False, []), (False, False, ["publications"]), (False, True, ["snapshot"])])
async def test_members_are_followed_without_a_dump_unless_one_left(
    monkeypatch: pytest.MonkeyPatch, *, in_line: bool, left: bool, calls: list[str]
) -> None:
    """A poll that finds nothing only moves the horizon."""
    rig = Rig(monkeypatch)
    rig.in_line, rig.rejoining = in_line, frozenset({10}) if left else frozenset()
    await rig.follower.follow_members(SESSION, "poll", DatabasePoll("0/30", frozenset(), "f", {}, {}, {}), CATALOG)
    assert rig.calls[: len(calls)] == calls
    assert bool(rig.calls) == bool(calls)
    assert rig.horizon.floor() == ("0/20" if left else "0/30")
