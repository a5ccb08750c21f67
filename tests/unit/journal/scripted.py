"""A memory store whose PUTs of segments and parts take time and fail as a test says."""

from __future__ import annotations

import asyncio
from collections import deque

from archiver.errors import Unavailable
from archiver.store.memory import MemoryStore


class ScriptedStore(MemoryStore):
    """``script`` names what becomes of the next PUTs: ``fail``, ``lose`` (works, no answer), ``late`` (lands 5 s later); else they work.

    ``puts`` has every try: key and bytes. ``gate``: PUTs wait while it is clear.
    """

    def __init__(self) -> None:
        super().__init__("scripted")
        self.script: deque[str] = deque()
        self.puts: list[tuple[str, bytes]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.seconds = 0.01
        self.in_flight = 0

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        if not key.startswith(("journal/", "parts/")):
            return self.create(key, data)
        self.puts.append((key, data))
        what = self.script.popleft() if self.script else "work"
        if key.startswith("journal/"):
            self.in_flight += 1
            assert self.in_flight == 1, "two segments in flight"
        try:
            await self.gate.wait()
            await asyncio.sleep(self.seconds)
        finally:
            self.in_flight -= key.startswith("journal/")
        if what == "late":
            asyncio.get_running_loop().call_later(5, self.create, key, data)
        if what in {"fail", "late"}:
            raise Unavailable("scripted")
        created = self.create(key, data)
        if what == "lose":
            raise Unavailable("scripted")
        return created
