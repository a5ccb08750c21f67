"""What drills proved: objects ``drills/{time}.json`` beside the segments, so that the running archiver can show them."""

from __future__ import annotations

import msgspec

from archiver.errors import Corrupt
from archiver.store.protocol import Store

PREFIX = "drills/"


class Step(msgspec.Struct):
    """One step of a drill."""

    name: str
    seconds: float = 0.0
    ok: bool = False
    detail: str = ""
    exit_code: int = 0
    """Of the error that ended it (``archiver.errors``); 0: none."""


class DrillReport(msgspec.Struct):
    """What a drill did. Times are microseconds since 1970."""

    at: str
    started: int
    finished: int = 0
    passed: bool = False
    point: int = 0
    """The oldest of the sources' last entries in use: up to then everything is proven."""
    restore_seconds: float = 0.0
    """Planning and restoring, without ``verify``: the measured RTO."""
    steps: list[Step] = []
    sources: list[str] = []


async def record(store: Store, report: DrillReport) -> None:
    """Keep a report; durable on return. Raises ``Unavailable``."""
    await store.put_if_absent(f"{PREFIX}{report.finished:020d}.json", msgspec.json.encode(report))


async def newest(store: Store, after: str = "") -> tuple[str, DrillReport | None]:
    """The newest report whose key is behind ``after``: (its key, the report); (``after``, None) when there is none.

    Raises ``Corrupt`` when it is no report, ``Unavailable``.
    """
    keys = await store.list(PREFIX, after)
    data = await store.get(keys[-1]) if keys else None
    if data is None:
        return after, None
    try:
        return keys[-1], msgspec.json.decode(data, type=DrillReport)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"{keys[-1]} of {store.url} is not a report of a drill: {error}", hint="move it away") from None
