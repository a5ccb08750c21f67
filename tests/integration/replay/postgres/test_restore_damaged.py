"""Restores of a damaged archive that a real server was captured into: what ``verify`` says can be restored is."""

from __future__ import annotations

import uuid

import pytest

from archiver.clock import SystemClock
from archiver.errors import Corrupt
from archiver.journal.keys import PARTS, segment_key
from archiver.journal.reader import Reader
from archiver.journal.verifier import verify
from archiver.maintenance.folding import fold_database
from archiver.replay.postgres.restore import restore_to_database
from tests.integration.capture.postgres.rig import SOURCE, capture
from tests.integration.replay.postgres.arrange import ask, baseline, caught_up, plan, quiet, run

_TABLE = "CREATE TABLE runs (id int PRIMARY KEY, state text); INSERT INTO runs SELECT g, 'start' FROM generate_series(1, 9) g"


@pytest.mark.postgres(18)
@pytest.mark.parametrize("kind", ["missing", "altered"])
async def test_a_bad_segment_costs_only_what_needs_it(kind: str, database: str, target_database: str) -> None:
    """Between two baselines a segment goes bad: every point named by ``verify`` before it and behind the second one is restored as it was,
    and a point across it is refused with the segment's number.
    """
    slot = f"archiver_{uuid.uuid4().hex[:12]}"
    run(database, _TABLE)
    states: dict[int, str] = {}

    async with capture(database, slot, poll_seconds=0.3) as made:

        async def commits(name: str) -> None:
            for number in range(6):
                run(database, f"UPDATE runs SET state = '{name}{number}'")
                await caught_up(made, database)
                states[(await plan(made, "latest")).point.entry] = f"{name}{number}"

        await baseline(made)
        await commits("early")
        tail = await Reader(made.store).tail()
        assert tail is not None
        bad = tail.number - 4
        await made.stop()
        run(database, f"SELECT pg_drop_replication_slot('{slot}')")
        await made.start()
        await made.until(lambda: made.writer.marks[SOURCE].checkpoint > made.writer.marks[SOURCE].control)
        await commits("late")
        await made.stop()
        whole = await made.store.get(segment_key(bad))
        assert whole is not None
        made.store.replace(segment_key(bad), None if kind == "missing" else whole[: len(whole) // 2])
        report = await verify(made.store)
        assert [each.segment for each in report.bad_segments] == [bad]
        assert [each.proved for each in report.restorable] == [True, False]
        restored = 0
        for entry, state in states.items():
            if not any(each.from_entry <= entry <= each.to_entry for each in report.restorable):
                with pytest.raises(Corrupt, match=f"segment {bad}"):
                    await plan(made, str(entry))
                continue
            planned = await plan(made, str(entry))
            assert planned.gaps == []
            await restore_to_database(planned, Reader(made.store), made.store, target_database)
            assert ask(target_database, "SELECT string_agg(DISTINCT state, ',') FROM runs") == state
            run(target_database, "DROP TABLE runs")
            restored += 1
        assert restored >= 8
        assert (await plan(made, "latest")).gaps == []


@pytest.mark.postgres(18)
async def test_a_bad_part_of_a_folded_checkpoint_names_what_to_move_away(database: str, target_database: str) -> None:
    """The restore that meets it says which object to move away, ``verify`` names the same one, and without it the journal serves."""
    run(database, _TABLE)
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        run(database, "UPDATE runs SET state = 'folded'")
        await quiet(made, database)
        reader = Reader(made.store)
        made_one = await fold_database(reader, SystemClock(), SOURCE, until=await reader.last())
        await caught_up(made, database)
        planned = await plan(made, "latest")
        assert planned.checkpoint.key == made_one.key
        before = set(await made.store.list(PARTS))
        body = await made.store.get(made_one.key) or b""
        (bad,) = [key for key in before if key.encode() in body]
        made.store.replace(bad, b"rot")
        with pytest.raises(Corrupt) as caught:
            await restore_to_database(planned, Reader(made.store), made.store, target_database)
        assert f"{made_one.key}: move it out of the archive" in caught.value.hint
        report = await verify(made.store)
        assert report.ok
        assert [found.key for found in report.bad_checkpoints] == [made_one.key]
        await made.store.delete(made_one.key)
        await restore_to_database(await plan(made, "latest"), Reader(made.store), made.store, target_database)
        assert ask(target_database, "SELECT string_agg(DISTINCT state, ',') FROM runs") == "folded"
