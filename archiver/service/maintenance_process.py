"""The process that maintains in the background of ``archiver run``: ``python -m archiver.service.maintenance_process``.

It is told what to do by one line of JSON on standard input, and tells each step by a line on standard output. It reads the archive and adds
to it; no source is known to it. It gives way to everything else on the machine, and ends when whoever started it has ended: then its
standard input ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from contextlib import aclosing, suppress
from pathlib import Path

import msgspec
import structlog

from archiver import logs
from archiver.clock import SystemClock
from archiver.errors import ArchiverError
from archiver.journal.reader import Reader
from archiver.maintenance.maintenance import maintain
from archiver.service.maintenance_order import Answer, Order
from archiver.store.open import open_store
from archiver.untrusted import decode_untrusted

_ORDER_BYTES = 1 << 20
_ORDERS, _ANSWERS = 0, 1
"""Standard input and output: pipes, for nobody's eyes."""


async def carry_out(order: Order) -> None:
    """Do as ``order`` says, and tell each step. Errors as of ``maintain``, ``write_history`` and ``pack_segments``."""
    store = await open_store(order.url, order.s3)
    try:
        match order.work:
            case "fold":
                await _fold(order, Reader(store))
            case "history":
                await _write_history(order, Reader(store))
            case "pack":
                await _pack(order, Reader(store, packs=False))
    finally:
        await store.close()


async def _fold(order: Order, reader: Reader) -> None:
    steps = maintain(reader, SystemClock(), [order.source], behind_seconds=order.behind_seconds, most_entries=order.most_entries)
    async with aclosing(steps):
        async for step in steps:
            _tell(Answer(folded=step))


async def _write_history(order: Order, reader: Reader) -> None:
    from archiver.maintenance.history_files import write_history

    count = 0
    async with aclosing(write_history(reader, SystemClock(), [order.source])) as steps:
        async for step in steps:
            _tell(Answer(filed=step))
            count += 1
            if count >= order.most_steps:
                break


async def _pack(order: Order, reader: Reader) -> None:
    from archiver.maintenance.packing import pack_segments

    count = 0
    async with aclosing(pack_segments(reader, SystemClock())) as steps:
        async for step in steps:
            _tell(Answer(packed=step))
            count += 1
            if count >= order.most_steps:
                break


def _tell(answer: Answer) -> None:
    with os.fdopen(os.dup(_ANSWERS), "wb") as pipe:
        pipe.write(msgspec.json.encode(answer) + b"\n")


def _give_way() -> None:
    """Be the last to get a processor and the first to be ended when memory is short."""
    with suppress(OSError):
        os.nice(10)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _end_with_parent() -> None:
    while os.read(_ORDERS, 4096):
        pass
    os._exit(1)


def main() -> int:
    """Do what the first line says; 0 when all of it was done."""
    _give_way()
    order = decode_untrusted(sys.stdin.buffer.readline(), Order, most=_ORDER_BYTES)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logs.configure(order.log.level, order.log.format)
    try:
        asyncio.run(carry_out(order))
    except ArchiverError as error:
        _tell(Answer(failure=error.message, hint=error.hint))
        return 1
    except Exception as error:  # noqa: BLE001 -- whatever it is, whoever started it must hear of it
        structlog.get_logger().error("maintenance_bug", exc_info=error)
        _tell(Answer(failure=f"it failed unexpectedly: {type(error).__name__}", hint="report it with the log"))
        return 1
    return 0


if __name__ == "__main__":
    os._exit(main())
