"""The two ends of a stream: we end it in order, or the server ends it and says why."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import psycopg
from psycopg.pq import ExecStatus

from archiver.capture.postgres.session.access import unsendable
from archiver.capture.postgres.session.oversized import BufferWatch, Oversized
from archiver.capture.postgres.session.replication import Undecodable, Unpublished, explained
from archiver.errors import ArchiverError, Unavailable

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

ENDING_SECONDS = 3.0
"""How long the end of the stream may take once everything is acknowledged."""


def end_stream(pgconn: PGconn, buffer: BufferWatch, aborted: Callable[[], bool]) -> None:
    """Send what is left to send, end the stream and wait until the server has ended it too, at most ``ENDING_SECONDS``.

    What is read here is dropped: it was not handed over, so it is not acknowledged, so it will be sent again. What is larger than
    ``buffer`` allows is not even read: the connection is of no use any more.
    """
    deadline = time.monotonic() + ENDING_SECONDS
    pgconn.put_copy_end()
    poller = select.poll()
    while (now := time.monotonic()) < deadline and not aborted():
        unsent = pgconn.flush() == 1
        poller.register(pgconn.socket, select.POLLIN | (select.POLLOUT if unsent else 0))
        poller.poll((deadline - now) * 1000)
        buffer.begin()
        pgconn.consume_input()
        while (count := pgconn.get_copy_data(1)[0]) > 0:
            buffer.received(count)
        if count == -1 or buffer.exceeded():
            return


def ended_by_server(pgconn: PGconn) -> ArchiverError:
    """Why the stream is over although nobody here asked for it."""
    while (result := pgconn.get_result()) is not None:
        if result.status == ExecStatus.FATAL_ERROR:
            error = psycopg.errors.error_from_result(result)
            found = explained(error, "the server ended the replication stream")
            if unsendable(error):
                return Oversized(found.message, hint="it cannot send the row, which is left out: what follows is received without it")
            if (error.sqlstate or "").startswith("XX"):
                hint = "it is tried again; when it fails at the same place for long, a gap is recorded and all is copied anew"
                return Undecodable(found.message, hint=hint)
            # Undefined object: the only one that decoding looks for by name is a publication.
            return Unpublished(found.message, hint=found.hint) if error.sqlstate == "42704" else found
        if result.status != ExecStatus.COMMAND_OK:
            break
    return Unavailable("the server ended the replication stream", hint="it is connected to again")
