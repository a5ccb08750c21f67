"""The history of rows against one that decodes every message."""

from __future__ import annotations

from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archiver.journal.entry import Kind
from archiver.replay.postgres.decode.pgoutput import Delete, Insert, Relation, Truncate, Update, decode
from archiver.replay.postgres.decode.row_log import RowLog
from tests.unit.replay.postgres.fold.test_database import a_world, run
from tests.unit.replay.postgres.naive import transactions
from tests.unit.replay.postgres.world import World

Found = list[tuple[str, int, int]]


def naive(world: World, oid: int, key: dict[str, bytes]) -> Found:
    """Action, entry, and number of the commit entry."""
    found: Found = []
    relation: tuple[int, Relation] | None = None
    for one in transactions(world.placed):
        own: tuple[int, Relation] | None = None
        for seq, text in one.messages:
            message = decode(text, streamed=one.streamed)
            if isinstance(message, Relation) and message.oid == oid:
                if one.streamed:
                    own = (seq, message)
                else:
                    relation = (seq, message)
            elif isinstance(message, Truncate) and oid in message.oids:
                found.append(("truncate", seq, one.commit.seq))
            elif isinstance(message, Insert | Update | Delete) and message.oid == oid:
                described = own or relation
                assert described is not None
                names = [column.name for column in described[1].columns]
                rows = [getattr(message, name, None) for name in ("old", "new")]
                dicts = [dict(zip(names, row, strict=True)) for row in rows if row is not None]
                if any(all(name in row and row[name] == value for name, value in key.items()) for row in dicts):
                    found.append((type(message).__name__.lower(), seq, one.commit.seq))
        if own is not None and (relation is None or relation[0] < own[0]):
            relation = own
    return found


@given(random=st.randoms(use_true_random=False), steps=st.integers(0, 30))
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_rowlog_equals_decoding_everything(random: Random, steps: int) -> None:
    """Changes of one row, or of all, are exactly those that message by message decoding finds."""
    world = a_world(random)
    world.put(Kind.PG_STREAM, [b"{}"])
    run(world, steps)
    oid = random.choice([1, 2, 3])
    rows = [row for state in world.states for row in state.tables[oid].rows]
    key: dict[str, bytes] = {}
    if rows and random.random() < 0.8:
        row = random.choice(rows)
        key = {name: value for name, attnum in {"id": 1, "k1": 4}.items() if (value := row.get(attnum)) is not None and oid != 3}
        key = {name: value for name, value in key.items() if name in [part.name for part in world.tables[oid].parts]}
    log = RowLog(oid, key)
    found = [change for placed in world.placed for change in log.feed(placed)] + log.finish()
    assert [(change.action, change.seq, change.commit.seq) for change in found] == naive(world, oid, key)
    for change in found:
        assert (change.new is None) == (change.action in ("delete", "truncate"))
        assert change.old is not None or change.action != "delete"
