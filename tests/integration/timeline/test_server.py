"""Questions of the page that take long: they end when nobody waits for them, or when their time is over."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from archiver.clock import SystemClock
from archiver.journal.kept_segments import KeptSegments
from archiver.store.directory import DirectoryStore
from archiver.timeline import answers
from archiver.timeline.server import AT_ONCE, TimelineServer
from tests.stories.timeline_archive import forge

RESTORE = "restore?source=kube&kind=pods.&name=x&at=5"
LIFE = "life?source=kube&kind=agentruns.agents.proompteng.ai&namespace=agents&name=run-7"


class Page:
    """What a browser asks of a server."""

    def __init__(self, place: tuple[str, int], token: str) -> None:
        self._place, self._token = place, token

    async def begun(self, question: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self._place)
        lines = [f"GET /api/{question} HTTP/1.1", f"Host: {self._place[0]}", f"Authorization: Bearer {self._token}", "", ""]
        writer.write("\r\n".join(lines).encode())
        await writer.drain()
        return reader, writer

    async def ask(self, question: str) -> tuple[int, Any]:
        reader, writer = await self.begun(question)
        try:
            async with asyncio.timeout(45):
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
            await writer.wait_closed()
        return int(head.split()[1]), msgspec.json.decode(body)


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    """Of the forged archive."""
    await forge(tmp_path)
    store = DirectoryStore(tmp_path)
    with KeptSegments() as kept:
        server = TimelineServer(store, kept, SystemClock(), ["archiver"])
        try:
            yield Page(await server.start("127.0.0.1", 0), server.token)
        finally:
            await server.stop()
    await store.close()


async def test_questions_that_are_given_up_make_room(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as are worked on at once, all of them given up: the next one is answered, and nothing goes on for nobody."""
    begun, ended = list[str](), list[str]()
    all_begun, all_ended = asyncio.Event(), asyncio.Event()

    async def slow(*_: Any) -> None:
        begun.append("")
        if len(begun) == AT_ONCE:
            all_begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("")
            if len(ended) == AT_ONCE:
                all_ended.set()

    monkeypatch.setattr("archiver.timeline.server.span_answer", slow)
    asked = [await page.begun("changes") for _ in range(AT_ONCE)]
    async with asyncio.timeout(45):
        await all_begun.wait()
    for _, writer in asked:
        writer.close()
        await writer.wait_closed()
    assert (await page.ask(RESTORE))[0] == 200
    async with asyncio.timeout(45):
        await all_ended.wait()
    # What was counted for them is there.
    status, drawn = await page.ask("timeline")
    assert (status, drawn["problems"], drawn["uncounted"]) == (200, [], [])


async def test_a_life_that_takes_too_long_is_answered_in_time(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long its states are being made: meanwhile others are answered, and at the end of its time it is told."""
    status, life = await page.ask(LIFE)
    assert (status, life["left_out"]) == (200, 0)
    go_on = threading.Event()

    def held(*_: Any) -> list[answers.ShownState]:
        go_on.wait(60)
        return []

    monkeypatch.setattr(answers, "_object_states", held)
    monkeypatch.setattr("archiver.timeline.server.ANSWER_SECONDS", 1.0)
    try:
        status, told = await page.ask(LIFE)
        assert (status, told["error"]) == (503, "no answer within 1 s")
        assert (await page.ask(RESTORE))[0] == 200
    finally:
        go_on.set()
