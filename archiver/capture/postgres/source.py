"""One PostgreSQL database: from its start through baseline and stream to a clean stop.

preflight -> decide -> begin: slot, snapshot ----> stream + baseline -> stream + schema watcher -> clean stop
                    -> resume ------------------------------------------^
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import structlog

from archiver.capture.postgres.baseline.baseline import take_baseline
from archiver.capture.postgres.beginning import make_slot, record_loss
from archiver.capture.postgres.catalog.redaction import Redaction, newly_hidden
from archiver.capture.postgres.catalog.seal_keys import read_seal_keys
from archiver.capture.postgres.commit_times import CommitTimes
from archiver.capture.postgres.figures import SourceFigures
from archiver.capture.postgres.leaving_out import leave_out
from archiver.capture.postgres.preflight.preflight import Preflight, preflight
from archiver.capture.postgres.preflight.selectors import unmatched_now
from archiver.capture.postgres.session.access import Access
from archiver.capture.postgres.session.oversized import Oversized, Transaction
from archiver.capture.postgres.session.replication import Connection, Undecodable, Unpublished, connect_replication, explained
from archiver.capture.postgres.session.schema_dump import PgTools, find_tools
from archiver.capture.postgres.session.session_settings import OUTPUT
from archiver.capture.postgres.session.slot import NewSlot, set_failover
from archiver.capture.postgres.session.slot_health import ask_status, await_confirmation, read_health
from archiver.capture.postgres.session.snapshot import HeldSnapshot, hold_snapshot
from archiver.capture.postgres.source_entries import SourceEntries
from archiver.capture.postgres.start.decision import FreshStart, Resumption, ServerView, decide
from archiver.capture.postgres.start.journal_view import newest_dump, read_journal
from archiver.capture.postgres.start.recalling import recall
from archiver.capture.postgres.start.repeated_failure import RepeatedFailure
from archiver.capture.postgres.start.server_view import read_server
from archiver.capture.postgres.stream.continuation import Diverged
from archiver.capture.postgres.stream.redaction_guard import Exposed
from archiver.capture.postgres.stream.stream import ReplicationStream, StreamOptions, protocol_version
from archiver.capture.postgres.watch.schema_watcher import SchemaWatcher
from archiver.capture.postgres.watch.sealed_span import SealedSpan
from archiver.capture.postgres.watch.table_gaps import TOO_LARGE_SECONDS
from archiver.capture.postgres.watch.unannounced_changes import UnannouncedChanges
from archiver.capture.status import SourceStatus
from archiver.capture.unmatched_lines import UnmatchedLines
from archiver.errors import ArchiverError, Refused, Unavailable
from archiver.journal.entry import Kind, SourceMark
from archiver.journal.records import ClockStep
from archiver.postgres.lsn import format_position, parse_position
from archiver.postgres.records import Schema, Stream
from archiver.waiting import cancel, first_of

if TYPE_CHECKING:
    from archiver.capture.postgres.config import PostgresConfig
    from archiver.clock import Clock
    from archiver.journal.writer import Writer
    from archiver.postgres.announcement_seal import SealKeys
    from archiver.postgres.records import Catalog

__all__ = ["PostgresSource", "ask_status"]

log = structlog.get_logger()

LAST_LOOK_SECONDS = 5.0
"""How long a clean stop waits for the look at the catalog that an announcement asks for."""
_HOPELESS = 8
"""After so many attempts that failed to decode one place of the log it is given up: some minutes, with the pauses in between."""


class PostgresSource:
    """Captures one database. ``run`` is one attempt; the service calls it again."""

    def __init__(self, name: str, config: PostgresConfig, writer: Writer, clock: Clock, *, dsn: Callable[[], str] | None = None) -> None:
        """``dsn`` is asked before every attempt, for passwords that change; without it ``config`` has the only one."""
        self.name = name
        self._dsn = dsn or (lambda: config.dsn)
        self._config = config
        self._writer = writer
        self._clock = clock
        self._access = Access.of(config.dsn)
        self._entries = SourceEntries(name, writer, clock)
        self._figures = SourceFigures()
        self._changes = UnannouncedChanges(name, writer, clock)
        self._unmatched = UnmatchedLines(name)
        self._stream: ReplicationStream | None = None
        self._watcher: SchemaWatcher | None = None
        self._unpublished = self._diverged = self._exposed = ""
        self._redaction = Redaction(config.redact)
        self._undecodable = RepeatedFailure(_HOPELESS)
        self._commit_times = CommitTimes()
        self._seal_keys: SealKeys | None = None
        """Those in force, for the receiving thread."""
        self._judged: SealKeys | None = None
        """Those that were in force when the stream began."""
        self._skipped = False
        """Whether a stretch of the log came without messages, without keys to judge them by, or not at all, since the program began."""
        self._oversized: Oversized | None = None
        """Why the last attempt ended, when something was too large for it."""
        self._lacking: dict[int, float] = {}
        self._careful = False
        self._careful_until = 0
        """Up to there messages are not received, and large transactions only once they have committed: something in it is too large."""

    def status(self) -> SourceStatus:
        """How it stands now."""
        mark = self._writer.marks.get(self.name, SourceMark())
        receiver = self._stream.receiver if self._stream else None
        found = self._figures.show(self.name, mark, receiver, self._watcher)
        return msgspec.structs.replace(found, unmatched=self._unmatched.lines, strict=self._config.strict)

    async def run(self, stop: asyncio.Event) -> None:
        """One attempt. Returns after ``stop`` once everything received is durable and the slot confirms it.

        Raises ``Unavailable``, ``Refused``, ``Invalid``, ``HistoryLost``, and what ended the writer. Cancelled: stops at once; what was not
        durable was not acknowledged.
        """
        self._figures.state, self._figures.detail = "starting", ""
        stopping = asyncio.create_task(stop.wait())
        work = asyncio.create_task(self._attempts(stop))
        try:
            await first_of(work, stopping)
            if not work.done() and self._figures.state == "starting":
                work.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await work
            else:
                await work
            self._figures.state = "stopped"
        except psycopg.Error as error:
            failure = explained(error, "talking to the source")
            self._figures.failed(failure)
            raise failure from error
        except ArchiverError as error:
            if isinstance(error, Unpublished):
                self._unpublished = error.message
            if isinstance(error, Undecodable):
                self._undecodable.note(error.message, self._writer.marks.get(self.name, SourceMark()).position)
            if isinstance(error, Diverged):
                self._diverged = error.message
            if isinstance(error, Exposed):
                self._exposed = error.message
            if isinstance(error, Oversized):
                self._oversized = error
            self._figures.failed(error)
            raise
        finally:
            await cancel(stopping, work)
            self._stream = None

    async def _attempts(self, stop: asyncio.Event) -> None:
        """One attempt, and another one whenever it ended in order because a stream of another kind is due."""
        await self._attempt(stop)
        while not stop.is_set():
            self._figures.state = "starting"
            await self._attempt(stop)

    async def _attempt(self, stop: asyncio.Event) -> None:
        # What an earlier attempt handed in counts as known only when it is durable.
        await self._entries.durable()
        oversized, self._oversized = self._oversized, None
        self._skipped = self._skipped or oversized is not None
        self._access = Access.of(self._dsn())
        async with await self._access.connect() as query:
            reader = self._writer.reader()
            mark = self._writer.marks.get(self.name, SourceMark())
            hidden = await recall(reader, self.name, mark, query, self._redaction)
            report = await preflight(query, self._config, self._redaction)
            self._figures.warnings = report.told(slot_made=False)
            self._unmatched.found(report.unmatched)
            report.raise_refusals()
            tools = await asyncio.to_thread(find_tools, report.server_version, self._config.pg_bin)
            known = await read_journal(reader, self.name, mark)
            async with self._replication() as replication:
                server = await read_server(replication, query, self._config.slot, known)
                server = dataclasses.replace(
                    server, unpublished=self._unpublished, undecodable=self._undecodable.text, diverged=self._diverged
                )
                server = dataclasses.replace(server, exposed=self._exposed or _newly_hidden(hidden, report.catalog))
                decision = decide(known, server, slot_name=self._config.slot, adopt_new_system=self._config.adopt_new_system)
                chosen = "begin" if isinstance(decision, FreshStart) else "resume"
                log.info("source_decided", source=self.name, decision=chosen, position=format_position(known.position))
                if isinstance(decision, FreshStart):
                    self._careful_until = server.position if oversized is not None else 0
                    created = await self._begin(decision, query, replication, report, server)
                    async with contextlib.AsyncExitStack() as holding:
                        snapshot = hold_snapshot(self._access, exported=created.snapshot, lsn=created.consistent_point)
                        held = await holding.enter_async_context(snapshot)
                        start = parse_position(created.consistent_point)
                        self._learn(await read_seal_keys(query))
                        stream, entry = await self._start(replication, report, server, _behind(start), fresh=True)
                        baseline = self._baseline_then_watch(holding, held, report, tools, entry)
                        await self._capture(stream, query, stop, baseline)
                    return
                if known.complete and mark.checkpoint_segment >= 0:
                    header = await reader.header(mark.checkpoint_segment)
                    self._figures.last_baseline = header.time if header else 0
                if server.slot is not None and server.slot.failover != report.failover:
                    await set_failover(replication, self._config.slot, failover=report.failover)
                where, newest = decision, await newest_dump(reader, self.name, mark)
                if oversized is not None and oversized.begun is not None and where.position < self._careful_until:
                    newest = await self._leave_out(oversized.begun, query, where.position)
                    where = _behind(oversized.begun.commit + 1)
                elif oversized is not None:
                    self._careful_until = server.position
                    if oversized.proven:
                        # Without messages the commit that proves the history may not come again.
                        where = _behind(where.position)
                self._learn(await read_seal_keys(query))
                stream, _ = await self._start(replication, report, server, where, fresh=False)
                await self._capture(stream, query, stop, self._watch_once_proven(stream, tools, newest))

    @contextlib.asynccontextmanager
    async def _replication(self) -> AsyncIterator[Connection]:
        """The replication connection; its thread has ended before it is closed."""
        connection = await connect_replication(self._access, self._config.slot)
        try:
            yield connection
        finally:
            if self._stream is not None:
                await self._stream.close()
            await connection.close()

    async def _begin(
        self, decision: FreshStart, query: Connection, replication: Connection, report: Preflight, server: ServerView
    ) -> NewSlot:
        """The slot of a history that begins; what is lost and what was done is in the journal."""
        if decision.gap is not None:
            await record_loss(self.name, decision.gap, self._config, self._entries, self._writer.marks.get(self.name, SourceMark()))
            self._figures.gaps += 1
        created = await make_slot(
            self._config, self._entries, query, replication, server, report.catalog, failover=report.failover, drop=decision.drop
        )
        self._redaction.renew(report.catalog)
        self._figures.warnings = report.told(slot_made=True)
        self._unpublished = self._diverged = self._exposed = ""
        self._undecodable = RepeatedFailure(_HOPELESS)
        # No command may run on the replication connection until the snapshot is held; this is not one.
        await self._entries.record_slot(self._config.slot, server, "created", created.consistent_point)
        return created

    async def _start(
        self, replication: Connection, report: Preflight, server: ServerView, where: Resumption, *, fresh: bool
    ) -> tuple[ReplicationStream, int]:
        """Journal PG_STREAM, then start the stream; the stream and the number of that entry."""
        self._careful = where.position < self._careful_until
        self._judged, self._skipped = self._seal_keys, self._skipped or self._careful
        options = StreamOptions(
            slot=self._config.slot,
            start=where.start,
            known=where.position,
            newest=where.newest,
            publications=self._config.publications,
            protocol=protocol_version(report.server_version),
            streaming=self._config.streaming and not self._careful,
            messages=not self._careful,
            largest_bytes=self._config.largest_row_bytes,
            queue_bytes=self._config.queue_bytes,
            heartbeat_seconds=self._config.heartbeat_seconds,
            synchronous=self._config.synchronous,
        )
        record = Stream(
            slot=options.slot,
            system_id=server.system_id,
            timeline=server.timeline,
            database=server.database,
            server_version=report.server_version,
            start=format_position(where.start),
            protocol=options.protocol,
            streaming=options.streaming,
            publications=list(options.publications),
            settings=dict(OUTPUT),
        )
        position = format_position(where.start) if fresh else ""
        entry = await self._entries.append(Kind.PG_STREAM, msgspec.json.encode(record), position=position)
        await self._writer.durable(entry)
        self._stream = await ReplicationStream.start(
            replication, self.name, options, self._clock, self._ddl_seen, self._redaction, lambda: self._seal_keys
        )
        self._figures.state = "baseline" if fresh else "streaming"
        return self._stream, entry

    async def _capture(self, stream: ReplicationStream, query: Connection, stop: asyncio.Event, beside: Coroutine[Any, Any, None]) -> None:
        """Pump until ``stop`` or a failure; ``beside`` runs meanwhile."""
        unsubscribe = self._writer.on_durable(self.name, lambda position: stream.receiver.durable(parse_position(position)))
        pump = asyncio.create_task(self._pump(stream))
        others = [asyncio.create_task(beside), asyncio.create_task(self._poll(query, stream))]
        stopping = asyncio.create_task(stop.wait())
        try:
            for task in await first_of(pump, stopping, *others) - {stopping}:
                task.result()
            watcher = self._watcher
            if watcher is not None and stop.is_set():
                await self._last_look(watcher, pump, *others)
            await cancel(*others)
            self._figures.state = "stopping"
            await stream.quiesce()
            await pump
            await self._entries.durable()
            await stream.finish()
            if watcher is not None:
                await self._last_sequences(watcher, query)
            await self._see_confirmed(query, stream.receiver.acknowledged)
        finally:
            unsubscribe()
            await cancel(pump, stopping, *others)

    async def _pump(self, stream: ReplicationStream) -> None:
        while (run := await stream.next()) is not None:
            await self._entries.take(run)
            await self._compare_times(run.changed)
            stream.receiver.taken(len(run.data) + len(run.lengths))
            self._figures.received(run)

    async def _compare_times(self, changed: int) -> None:
        """Record, once for each time that the source's clock was set back, that commits are older than those before them."""
        by = self._commit_times.set_back(changed, self._writer.marks.get(self.name, SourceMark()).changed)
        if by:
            log.warning("source_clock_step", source=self.name, seconds=by / 1e6)
            step = ClockStep(changed, by, believed=True, reason="source")
            await self._entries.append(Kind.CLOCK, msgspec.json.encode(step))

    async def _baseline_then_watch(
        self, holding: contextlib.AsyncExitStack, held: HeldSnapshot, report: Preflight, tools: PgTools, entry: int
    ) -> None:
        """Take the baseline under ``held``, let the snapshot go, and only then name it a checkpoint; then watch the schema."""
        log.info("baseline_started", source=self.name, lsn=held.lsn, tables=len(report.catalog.tables))
        baseline = await take_baseline(
            held,
            self._access,
            self._config,
            tools,
            self._writer,
            source=self.name,
            identity=self._clock.unique(),
            writes=report.writes,
            redaction=self._redaction,
            progress=self._progress,
        )
        await holding.aclose()
        self._lacking = dict.fromkeys(baseline.too_large, self._clock.monotonic() + TOO_LARGE_SECONDS)
        await self._entries.append(Kind.PG_SCHEMA, msgspec.json.encode(baseline.schema), baseline.dump)
        await self._entries.append(Kind.PG_SEQUENCES, msgspec.json.encode(baseline.sequences))
        last = await self._entries.append(Kind.CHECKPOINT, msgspec.json.encode(baseline.snapshot(entry)))
        if gaps := baseline.gaps():
            log.warning("rows_left_out", source=self.name, reason="too_large", tables=[gap.what for gap in gaps])
            last = await self._entries.append(Kind.GAP, *map(msgspec.json.encode, gaps))
            self._figures.gaps += len(gaps)
        await self._writer.durable(last)
        figures = self._figures
        figures.last_baseline, figures.state, figures.detail = self._clock.now(), "streaming", ""
        log.info("baseline_finished", source=self.name, tables=len(baseline.tables))
        await self._watch(tools, (baseline.schema, baseline.dump), fresh=True)

    async def _leave_out(self, begun: Transaction, query: Connection, position: int) -> tuple[Schema, bytes] | None:
        """Leave out a transaction that cannot be received: see ``leave_out``. The journal's schema as it is then."""
        found = await newest_dump(self._writer.reader(), self.name, self._writer.marks.get(self.name, SourceMark()))
        if found is None:
            return None
        left = await leave_out(self.name, begun, position, found, self._config, self._entries, query)
        for oid in left.tables:
            self._lacking.pop(oid, None)
        self._figures.gaps += left.gaps
        return left.schema, found[1]

    def _progress(self, rows: int, size: int) -> None:
        self._figures.detail = f"baseline: {rows} rows, {size} bytes"

    async def _watch_once_proven(self, stream: ReplicationStream, tools: PgTools, newest: tuple[Schema, bytes] | None) -> None:
        """Watch the schema as soon as the server's history is known to be the journal's: nothing is read from another one."""
        await stream.proven()
        await self._watch(tools, newest, fresh=False)

    async def _watch(self, tools: PgTools, newest: tuple[Schema, bytes] | None, *, fresh: bool) -> None:
        """``newest``: the journal's schema and its dump; ``fresh``: taken by this attempt."""
        schema, dump = newest or (None, b"")
        self._watcher = SchemaWatcher(
            self.name,
            self._access,
            self._config,
            tools,
            self._writer,
            self._clock,
            known=schema,
            known_dump=dump,
            changes=self._changes,
            lacking=self._lacking,
            settled=fresh,
            redaction=self._redaction,
            learn=self._learn,
            sealed=SealedSpan(schema.sealing if schema is not None and not self._skipped else None, self._judged, hears=not self._careful),
        )
        try:
            await self._watcher.run()
        finally:
            self._figures.gaps += self._watcher.gaps
            self._watcher = None

    def _learn(self, keys: SealKeys | None) -> None:
        self._seal_keys = keys
        # The journal may still name the keys of before: the next attempt must not go on from there.
        self._skipped = self._skipped or keys is None

    def _ddl_seen(self, content: bytes) -> None:
        # In the receiver's thread.
        self._changes.heard(content)
        if (watcher := self._watcher) is not None:
            watcher.ddl_seen()

    async def _poll(self, query: Connection, stream: ReplicationStream) -> None:
        """Look at the slot, and for what the settings select, every now and then; and notice when commits begin to wait for us.

        Returns when the stream need not be careful any more: it is to be ended in order, and another one begun.
        """
        while True:
            position = parse_position(self._writer.marks.get(self.name, SourceMark()).position)
            if self._careful and self._figures.state == "streaming" and position >= self._careful_until:
                return
            self._figures.health = await read_health(query, self._config.slot)
            if self._figures.health.can_hang:
                raise Unavailable(
                    "the server's settings changed so that every commit could wait for this archive while it waits for a standby",
                    hint="the next attempt takes FAILOVER from the slot; `archiver check` says what to choose between (failover_hang)",
                )
            if self._figures.health.commits_wait and not stream.receiver.synchronous:
                log.info("commits_wait_for_us", source=self.name, sync_state=self._figures.health.sync_state)
                stream.receiver.commits_wait()
            if self._watcher is not None and (catalog := self._watcher.catalog) is not None:
                self._unmatched.found(await unmatched_now(query, catalog, self._config))
            await self._clock.sleep(self._config.poll_seconds)

    async def _last_look(self, watcher: SchemaWatcher, *running: asyncio.Task[None]) -> None:
        """Let the watcher look at what was announced, for a while: behind an announcement that no look follows the schema is not known."""
        settling = asyncio.create_task(watcher.settle())
        try:
            if not await first_of(settling, *running, seconds=LAST_LOOK_SECONDS):
                log.warning("last_look_not_finished", source=self.name, effect="the schema behind the newest announcement is not known")
        finally:
            await cancel(settling)

    async def _last_sequences(self, watcher: SchemaWatcher, query: Connection) -> None:
        """Read them once more; durable on return. All rows are durable already, so a failure only leaves the last poll's values."""
        try:
            entry = await watcher.read_sequences(query)
        except (Unavailable, Refused) as error:
            log.warning("sequences_not_read", source=self.name, error=error.message)
        else:
            await self._writer.durable(entry)

    async def _see_confirmed(self, query: Connection, position: int) -> None:
        """See with our own eyes that the slot has our last acknowledgement."""
        health = await await_confirmation(query, self._config.slot, position, self._clock)
        if health.confirmed < position:
            known = {"acknowledged": format_position(position), "confirmed": format_position(health.confirmed)}
            log.warning("slot_behind", source=self.name, **known)
            return
        log.info("source_stopped", source=self.name, position=format_position(position))


def _newly_hidden(journaled: Catalog | None, now: Catalog) -> str:
    names = newly_hidden(journaled, now) if journaled is not None else []
    return f"{', '.join(names)} {'was' if len(names) == 1 else 'were'} captured until now" if names else ""


def _behind(position: int) -> Resumption:
    """Begin there, with nothing to prove."""
    return Resumption(position, position)
