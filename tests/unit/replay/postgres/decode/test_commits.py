"""Arrays of commits: read, cut at a point, told from repetitions."""

from __future__ import annotations

import numpy as np

from archiver.journal.entry import Kind, Run
from archiver.replay.postgres.decode.commits import Commit, Commits, Limit
from archiver.replay.postgres.decode.frame_batch import FrameBatch
from tests.unit.postgres.frames import commit, stream_commit

TIME = 1_800_000_000_000_000


def some() -> Commits:
    frames = [commit(100, 110, TIME), stream_commit(9, 200, 210, TIME + 2), commit(150, 160, TIME + 1), commit(300, 310, TIME + 3)]
    batch = FrameBatch.of([(5, Run.of("db", Kind.PG_FRAMES, frames, observed=0))])
    return Commits.read(batch, np.array([7, 9, 7, 8], np.int64), batch.starts + np.array([2, 6, 2, 2]), batch.seqs)


def test_both_kinds_of_commit_are_read() -> None:
    """An ordinary Commit and a Stream Commit, whose fields stand four bytes later."""
    commits = some()
    assert [commits[at] for at in (0, 1)] == [Commit(7, 100, 110, TIME, 5), Commit(9, 200, 210, TIME + 2, 6)]
    assert [each.seq for each in map(commits.chosen(commits.seq > 6).__getitem__, range(2))] == [7, 8]


def test_what_does_not_end_above_the_last_is_a_repetition() -> None:
    """Within the arrays, and against what came before them."""
    commits = some()
    assert (commits.end_lsn > commits.reached(0)[:-1]).tolist() == [True, True, False, True]
    assert (commits.end_lsn > commits.reached(210)[:-1]).tolist() == [False, False, False, True]
    assert int(commits.reached(500)[-1]) == 500


def test_a_limit_cuts_at_the_first_one_beyond() -> None:
    """Later ones may be within the limit again: they are not part of the state."""
    commits = some()
    assert [commits.beyond(limit) for limit in (Limit(lsn=170), Limit(time=TIME + 1), Limit(seq=7), Limit())] == [1, 1, 3, 4]
    assert commits.are_beyond(Limit(lsn=170)).tolist() == [False, True, False, True]
