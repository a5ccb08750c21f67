"""The simulator itself: the same seed is the same history, its weather is rough, and its judges see what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from archiver.errors import Unavailable
from archiver.journal import put_once, session, writer
from archiver.journal.chain import End
from archiver.journal.entry import Run, SourceMark
from archiver.journal.reader import Reader
from archiver.journal.segment import Segment
from archiver.journal.writer import Writer
from tests.simulation.network import Outcome
from tests.simulation.world import Judgement, Storm, simulate

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("seed", range(5))
def test_a_seed_is_a_history(seed: int) -> None:
    """The same seed gives the same history, event by event; another seed another one."""
    assert simulate(seed).digest == simulate(seed).digest
    assert simulate(seed).digest != simulate(seed + 1).digest


def test_a_seed_is_a_history_in_every_process() -> None:
    """Neither hash seeds nor memory addresses enter a history."""
    program = "import structlog; structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))\n"
    program += "from tests.simulation.world import simulate\nprint(*(simulate(seed).digest for seed in range(20)))"
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_the_weather_is_rough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among the histories are all kinds of faults, takeovers, fenced writers, and conflicts that end in a second try."""
    seen: Counter[str] = Counter()
    draw = Storm.next

    def counted(self: Storm, verb: str, call: int) -> Outcome:
        outcome = draw(self, verb, call)
        seen[f"{verb} {outcome.name}"] += 1
        return outcome

    monkeypatch.setattr(Storm, "next", counted)
    for seed in range(150):
        world = simulate(seed)
        seen.update(world.seen)
        seen["takeovers"] += len(world.content.epochs) - 1
    wanted = [f"put {outcome.name}" for outcome in Outcome] + ["takeovers", "Fenced", "Unavailable", "closed", "kill", "freeze", "stop"]
    assert [name for name in wanted if seen[name] < 5] == []


def _must_be_seen(**options: Any) -> None:
    for seed in range(300):
        try:
            simulate(seed, **options)
        except Judgement:
            return
    pytest.fail("300 histories passed although the writer is broken")


def test_acknowledging_too_early_is_seen() -> None:
    """A writer that acknowledges what it only buffered breaks a promise that the judges watch."""

    class Hasty(Writer):
        async def append(self, run: Run, *, patient: bool = False) -> int:
            seq = await super().append(run)
            if run.position:
                self._tell(run.source, run.position)
            return seq

    _must_be_seen(writer=Hasty)


def test_waking_too_early_is_seen() -> None:
    """So is one that says durable of what it only buffered."""

    class Hasty(Writer):
        async def durable(self, seq: int) -> None:
            return

    _must_be_seen(writer=Hasty)


def test_resuming_behind_the_end_is_seen() -> None:
    """So is one whose marks are ahead of what is durable."""

    class Forward(Writer):
        @property
        def marks(self) -> dict[str, SourceMark]:
            ahead = {source: int(mark.position or 0) + 1 for source, mark in super().marks.items()}
            return {source: SourceMark(position=str(position)) for source, position in ahead.items()}

    _must_be_seen(writer=Forward)


def test_believing_in_a_lost_put_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is a PUT whose failure counts as success."""

    async def hopeful(*arguments: Any, **options: Any) -> bytes | None:
        try:
            return await put_once.put_once(*arguments, **{**options, "patience_seconds": 0.0})
        except Unavailable:
            return None

    monkeypatch.setattr(writer, "put_once", hopeful)
    _must_be_seen()


def test_taking_another_segment_for_its_own_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is a lost race that counts as success."""

    async def blind(*arguments: Any, **options: Any) -> bytes | None:
        await put_once.put_once(*arguments, **options)
        return None

    monkeypatch.setattr(writer, "put_once", blind)
    _must_be_seen()


def test_fencing_what_was_not_read_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is a fence that continues an older end than the one before its number."""
    turn = session._await_turn

    async def stale(reader: Reader, *arguments: Any) -> tuple[int, Segment | None]:
        _, tail = await turn(reader, *arguments)
        return await reader.last() + 1, tail

    monkeypatch.setattr(session, "_await_turn", stale)
    _must_be_seen()


def test_an_epoch_that_does_not_rise_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is a fence that has its predecessor's epoch."""
    after = End.after
    monkeypatch.setattr(End, "after", lambda *given: _lower(after(*given)))
    _must_be_seen()


def _lower(end: End) -> End:
    return End(
        end.archive, end.segment, max(0, end.epoch - 1), end.session, end.next, end.chain, end.time, end.sources, end.base, end.base_sources
    )
