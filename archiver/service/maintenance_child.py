"""A process that maintains for a running archiver: it is started, listened to, held to its memory, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from archiver.errors import Unavailable
from archiver.service.maintenance_order import Answer, Order
from archiver.untrusted import Unreadable, decode_untrusted

if TYPE_CHECKING:
    from collections.abc import Sequence

_WATCH_SECONDS = 0.1
"""How often the memory of the process is looked at."""
_END_SECONDS = 5.0
_ANSWER_BYTES = 1 << 20


class TooMuchMemory(Unavailable):
    """The process took more memory than it may."""


async def in_process(program: Sequence[str], order: Order, take: Callable[[Answer], None], *, memory_bytes: int) -> None:
    """Have a process of ``program`` do ``order``, and ``take`` each step that it tells. On return it has ended.

    ``Unavailable`` when it failed, or says so; ``TooMuchMemory`` when it took more than it may.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_ANSWER_BYTES
        )
    except OSError as error:
        raise Unavailable(f"the {order.work} process cannot be started: {error.strerror}", hint="it is tried again") from error
    watch = asyncio.create_task(_bound_memory(process, memory_bytes))
    try:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(msgspec.json.encode(order) + b"\n")
            await process.stdin.drain()
        failure = await _listen(process, take)
        code = await process.wait()
    finally:
        # Its standard input stays open until here: its end means that this process has ended.
        watch.cancel()
        await _ended(process)
    if watch.done() and not watch.cancelled() and watch.result():
        raise TooMuchMemory(f"the {order.work} process took more than {memory_bytes >> 20} MiB", hint="raise maintenance.memory_bytes")
    if code:
        raise Unavailable(f"the {order.work} process ended with {code}{': ' + failure if failure else ''}", hint="it is tried again")


async def _bound_memory(process: asyncio.subprocess.Process, most: int) -> bool:
    """True once the process took too much, and was ended."""
    while True:
        await asyncio.sleep(_WATCH_SECONDS)
        if _resident_bytes(process.pid) > most:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            return True


async def _listen(process: asyncio.subprocess.Process, take: Callable[[Answer], None]) -> str:
    """Take over what the process says until it says no more; why it failed, if it says so."""
    assert process.stdout is not None
    failure = ""
    while line := await process.stdout.readline():
        try:
            answer = decode_untrusted(line, Answer, most=_ANSWER_BYTES)
        except Unreadable as error:
            raise Unavailable(f"the process says what is not understood: {error}", hint="report it with the log") from None
        if answer.failure:
            failure = answer.failure
        else:
            take(answer)
    return failure


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()


def _resident_bytes(pid: int) -> int:
    """Of a process; 0 where it cannot be told."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
