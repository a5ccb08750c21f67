"""The parts of the service that need no server."""

from __future__ import annotations

import asyncio

import pytest

from archiver.clock import SystemClock
from archiver.journal.limits import WriterLimits
from archiver.service import service
from archiver.service.service import Service, kinds, limits
from archiver.settings import Kubernetes, Postgres, Settings
from archiver.settings.model import Archive, Source


def test_before_it_runs_it_has_a_status() -> None:
    """Probes are answered from the first moment: nothing is open, and the age counts from the start."""
    status = Service(Settings(), SystemClock(), lambda *_: []).status()
    assert status.archive == ""
    assert status.sources == []
    assert status.age_seconds < 60


def test_settings_reach_the_writer() -> None:
    """Every limit of the writer is the setting of that name, and its default is the same."""
    assert limits(Settings()) == WriterLimits()
    assert limits(Settings(archive=Archive(puts_per_second=3.0, stall_seconds=9.0))) == WriterLimits(puts_per_second=3.0, stall_seconds=9.0)


def test_kinds() -> None:
    """Source name to kind."""
    sources = {"db": Source(postgres=Postgres(dsn="")), "agents": Source(kubernetes=Kubernetes())}
    assert kinds(Settings(sources=sources)) == {"db": "postgres", "agents": "kubernetes"}


async def test_what_waits_in_its_cleaning_up_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that waits for a silent peer after it was cancelled does not hold up the end; one that cleans up quickly is let."""
    monkeypatch.setattr(service, "END_SECONDS", 0.1)
    ended = []

    async def slow(name: str, seconds: float) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(seconds)
            ended.append(name)
            raise

    tasks = [asyncio.create_task(slow("quick", 0.01)), asyncio.create_task(slow("silent", 3600))]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await service.end(*tasks)
    assert ended == ["quick"]
    assert all(task.cancelled() for task in tasks)
