"""What the archiver that runs on this machine says of its sources: asked at its web address."""

from __future__ import annotations

from contextlib import suppress

import aiohttp
import msgspec

from archiver.service.status import SourceLine
from archiver.untrusted import Unreadable, decode_untrusted

SECONDS = 5.0
"""How long it may take to answer."""
_MOST_BYTES = 1 << 24
"""What is read of an answer."""


class RunningLine(msgspec.Struct, kw_only=True):
    """What only the process that captures knows of a source or a stream of it."""

    name: str
    kind: str = ""
    state: str | None = None
    rpo_seconds: float | None = None
    received_position: str | None = None
    tolerated: bool = False
    unmatched: list[str] = []
    strict: bool = False
    problem: str = ""
    warnings: list[str] = []


class Running(msgspec.Struct):
    """Its answer at ``/status``."""

    archive: str | None = None
    sources: list[RunningLine] = []


def local_address(listen: str) -> str:
    """``host:port`` under which this machine reaches what listens at ``listen``."""
    host, _, port = listen.rpartition(":")
    here = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 - as a client
    return f"{here}:{port}"


async def ask_running(listen: str, archive: str) -> Running | None:
    """The answer of the archiver that listens at ``listen`` and writes ``archive``; ``None`` where there is none, or it is silent."""
    if not listen:
        return None
    with suppress(aiohttp.ClientError, TimeoutError, Unreadable, ValueError):
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS)) as session,
            session.get(f"http://{local_address(listen)}/status", allow_redirects=False) as answer,
        ):
            if answer.status == 200:
                body = await answer.content.read(_MOST_BYTES)
                while len(body) < _MOST_BYTES and (more := await answer.content.read(_MOST_BYTES - len(body))):
                    body += more
                found = decode_untrusted(body, Running, most=_MOST_BYTES)
                return found if found.archive == archive else None
    return None


def lay_running(lines: list[SourceLine], running: Running) -> None:
    """Lay over the journal's lines what the running archiver knows; lines are added for what the journal does not know yet."""
    by_name = {line.name: line for line in lines}
    for said in running.sources:
        line = by_name.get(said.name)
        if line is None:
            line = SourceLine(name=said.name, kind=said.kind)
            lines.append(line)
        line.state = said.state or line.state
        line.rpo_seconds = said.rpo_seconds
        line.received_position = said.received_position or line.received_position
        line.tolerated, line.unmatched, line.strict = said.tolerated, said.unmatched, said.strict
        line.problem = line.problem or said.problem
        line.warnings = [*line.warnings, *(text for text in said.warnings if text not in line.warnings)]
