"""Sources that behave as nobody foresaw, run by the service beside a real one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from archiver.capture.status import SourceStatus
from archiver.clock import Clock, SystemClock
from archiver.errors import ArchiverError, Bug, Corrupt, HistoryLost, Invalid, Refused, Unavailable
from archiver.journal.writer import Writer
from archiver.service.service import Service, Source
from archiver.service.sources import build_sources
from archiver.service.status import problems
from archiver.settings import Settings, load
from tests.integration.service.rig import create_table, database_source, write

pytestmark = pytest.mark.postgres(18)


class Strange:
    """Does what ``acts`` say, one after the other, and behaves from then on."""

    name = "strange"

    def __init__(self, *acts: Callable[[], Any]) -> None:
        self.acts = list(acts)
        self.attempts = 0

    def status(self) -> SourceStatus:
        return SourceStatus(name=self.name, kind="postgres", state="streaming")

    async def run(self, stop: asyncio.Event) -> None:
        self.attempts += 1
        await asyncio.sleep(0.05)
        if self.acts:
            self.acts.pop(0)()
        await stop.wait()


def settings(dsn: str, folder: Path, **more: Any) -> Settings:
    given = {"archive": {"url": f"file://{folder}/journal", "heartbeat_seconds": 1}, "sources": {"db": database_source(dsn)}}
    file = folder / "settings.yaml"
    import yaml

    file.write_text(yaml.safe_dump({**given, "retry_seconds": 0.1, "retry_limit_seconds": 0.4, **more}))
    return load(file, {})


def service_with(strange: Strange, values: Settings, *, alone: bool = False) -> Service:
    def build(settings: Settings, writer: Writer, clock: Clock) -> list[Source]:
        return [strange] if alone else [*build_sources(settings, writer, clock), strange]

    return Service(values, SystemClock(), build)


@asynccontextmanager
async def running(service: Service) -> Any:
    stop = asyncio.Event()
    work = asyncio.create_task(service.run(stop))
    try:
        yield work
        stop.set()
        await asyncio.wait_for(work, 30)
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError, ArchiverError):
            await work


async def until(condition: Callable[[], bool], work: asyncio.Task[None]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            assert not work.done(), work.exception()
            await asyncio.sleep(0.05)


def fails(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a row: secret"),
        asyncio.CancelledError(),
        ExceptionGroup("g", [KeyError("x")]),
        Unavailable("away"),
        Refused("no", hint="do"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_one_source_raises_the_other_goes_on(database: str, tmp_path: Path, error: BaseException) -> None:
    """An error that nobody foresaw, a stray cancellation too, counts as a failed attempt of that source alone; it is tried again."""
    create_table(database)
    strange = Strange(fails(error), fails(error))
    service = service_with(strange, settings(database, tmp_path))
    async with running(service) as work:
        await until(lambda: strange.attempts == 3, work)
        await until(lambda: any(line.name == "db" and line.state == "streaming" for line in service.status().sources), work)
        await asyncio.to_thread(write, database)
        line = next(line for line in service.status().sources if line.name == "strange")
        assert line.failures == 2
        assert line.state == "streaming"
        assert "secret" not in line.problem


@pytest.mark.parametrize("error", [Corrupt("bad"), Bug("broken")], ids=lambda error: type(error).__name__)
async def test_what_concerns_the_journal_ends_everything(database: str, tmp_path: Path, error: ArchiverError) -> None:
    """An error that puts the journal itself in doubt ends the whole service with that error."""
    create_table(database)
    service = service_with(Strange(fails(error)), settings(database, tmp_path))
    with pytest.raises(type(error), match=error.message):
        await asyncio.wait_for(service.run(asyncio.Event()), 60)


async def test_ending_without_being_asked_is_a_bug(database: str, tmp_path: Path) -> None:
    """A source that just returns would be a silent end of capture."""
    create_table(database)

    class Quitter(Strange):
        async def run(self, stop: asyncio.Event) -> None:
            await asyncio.sleep(0.05)

    service = service_with(Quitter(), settings(database, tmp_path))
    with pytest.raises(Bug, match="without being asked"):
        await asyncio.wait_for(service.run(asyncio.Event()), 60)


@pytest.mark.parametrize("error", [Invalid("wrong"), Refused("harm"), HistoryLost("gone")], ids=lambda error: type(error).__name__)
async def test_without_any_hope_it_ends_with_the_reason(tmp_path: Path, error: ArchiverError) -> None:
    """When every source waits for an operator the service ends with the error of the first."""
    values = settings("", tmp_path)
    service = service_with(Strange(*[fails(error)] * 5), values, alone=True)
    with pytest.raises(type(error), match=error.message):
        await asyncio.wait_for(service.run(asyncio.Event()), 30)


async def test_hope_for_one_is_enough_to_go_on(database: str, tmp_path: Path) -> None:
    """One source that waits for an operator does not end the service while another one works; readiness names it."""
    create_table(database)
    strange = Strange(*[fails(Refused("it would do harm"))] * 1000)
    service = service_with(strange, settings(database, tmp_path))
    async with running(service) as work:
        await until(lambda: any(line.name == "db" and line.state == "streaming" for line in service.status().sources), work)
        await until(lambda: strange.attempts >= 4, work)
        await until(lambda: any("it would do harm" in problem for problem in problems(service.status(), 60)), work)


async def test_a_source_that_fails_while_stopping_does_not_hold_up_the_end(database: str, tmp_path: Path) -> None:
    """A stop is clean for the others although one source fails in it: what that one had not acknowledged it is sent again."""
    create_table(database)

    class Late(Strange):
        async def run(self, stop: asyncio.Event) -> None:
            await stop.wait()
            raise Unavailable("gone while stopping")

    service = service_with(Late(), settings(database, tmp_path))
    async with running(service) as work:
        await until(lambda: any(line.name == "db" and line.checkpoint for line in service.status().sources), work)
