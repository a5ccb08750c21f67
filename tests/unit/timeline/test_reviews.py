"""Questions to an API server about tokens and rights: whoever makes tokens up keeps nobody waiting who has one."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, cast

import msgspec
import pytest

from archiver.clock import SystemClock
from archiver.kubernetes.answer import Answer
from archiver.kubernetes.api import Api
from archiver.timeline.reviews import KEPT_SECONDS, MOST_TOKENS, NOBODY_SECONDS, Reviews, Right, User


class LateClock(SystemClock):
    """Is ``late`` seconds ahead."""

    late = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.late


class Server:
    """Knows tokens that begin with ``good``; of those that begin with ``slow`` it tells nothing until it is told to."""

    def __init__(self) -> None:
        self.asked, self.waiting, self.tells = Counter[str](), 0, asyncio.Event()
        self.gone = set[str]()

    async def send(self, _method: str, _path: str, body: bytes, **_: Any) -> Answer:
        asked = msgspec.json.decode(body)
        status: dict[str, Any] = {"allowed": True}
        if asked["kind"] == "TokenReview":
            token = asked["spec"]["token"]
            self.asked[token] += 1
            if token.startswith("slow"):
                self.waiting += 1
                await self.tells.wait()
            yes = token.startswith("good") and token not in self.gone
            status = {"authenticated": yes, "user": {"username": token} if yes else {}}
        return Answer(201, msgspec.json.encode({"status": status}), 0)


@pytest.fixture
def clock() -> LateClock:
    return LateClock()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def reviews(server: Server, clock: LateClock) -> Reviews:
    return Reviews(cast("Api", server), clock, namespace="archiver")


async def test_made_up_tokens_stand_in_nobodys_way(server: Server, clock: LateClock, reviews: Reviews) -> None:
    """More of them than are asked about at once, none answered: who was known before is known again, and rights are told."""
    assert await reviews.user("good") == User("good")
    clock.late += KEPT_SECONDS
    flood = [asyncio.create_task(reviews.user(f"slow-{number}")) for number in range(100)]
    async with asyncio.timeout(30):
        while server.waiting < 4:
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        assert server.waiting < 8
        assert await reviews.user("good") == User("good")
        assert await reviews.may(User("good"), Right("list", "", "configmaps"))
        server.tells.set()
        assert set(await asyncio.gather(*flood)) == {None}
        assert await reviews.user("good-new") == User("good-new")


async def test_made_up_tokens_push_out_nobody(server: Server, clock: LateClock, reviews: Reviews) -> None:
    """However many there are; each is asked about once for a while, and that it is nobody's counts for a shorter one."""
    assert await reviews.user("good") == User("good")
    for number in range(MOST_TOKENS + 1):
        assert await reviews.user(f"bad-{number}") is None
    for token in ("good", f"bad-{MOST_TOKENS}", f"bad-{MOST_TOKENS}"):
        await reviews.user(token)
    assert (server.asked["good"], server.asked[f"bad-{MOST_TOKENS}"]) == (1, 1)
    clock.late += NOBODY_SECONDS
    for token in ("good", f"bad-{MOST_TOKENS}"):
        await reviews.user(token)
    assert (server.asked["good"], server.asked[f"bad-{MOST_TOKENS}"]) == (1, 2)


async def test_whoever_is_gone_is_nobody(server: Server, clock: LateClock, reviews: Reviews) -> None:
    """Once what was known of them counts no longer, and until they are there again."""
    assert await reviews.user("good") == User("good")
    server.gone.add("good")
    assert await reviews.user("good") == User("good")
    clock.late += KEPT_SECONDS
    assert await reviews.user("good") is None
    server.gone.clear()
    clock.late += NOBODY_SECONDS
    assert await reviews.user("good") == User("good")
