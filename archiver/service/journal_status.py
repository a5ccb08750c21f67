"""How an archive stands without capturing anything: what its journal says, what a running archiver says of it, what the databases say."""

from __future__ import annotations

from archiver.capture.postgres.start.journal_view import newest_schema, schema_knowledge
from archiver.clock import Clock, to_text
from archiver.errors import Corrupt, Invalid
from archiver.journal.drill_reports import DrillReport, newest
from archiver.journal.entry import SourceMark
from archiver.journal.reader import Reader
from archiver.kubernetes.stream_silence import has_ended, open_silence
from archiver.maintenance.tails import Tail, tail_behind
from archiver.postgres.announcements import NOT_ANNOUNCED
from archiver.service.running import ask_running, lay_running
from archiver.service.service import kinds
from archiver.service.sources import ask_sources
from archiver.service.status import ArchiveStatus, SourceLine, add_tail, lines
from archiver.service.summary import StatusReport, summarised
from archiver.settings import Settings
from archiver.store.open import open_store
from archiver.store.protocol import Store


async def status_of(settings: Settings, clock: Clock, *, offline: bool) -> StatusReport:
    """Everything that `archiver status` shows. ``offline``: neither an archiver nor a database is asked.

    Raises ``Invalid`` when there is no journal; what is damaged is told with the rest.
    """
    store = await open_store(settings.archive.url, settings.archive.s3)
    try:
        reader = Reader(store)
        value = await _of_journal(reader, settings, clock, offline=offline)
        running = None
        if not offline:
            running = await ask_running(settings.web.listen, value.archive)
            await ask_sources(settings, value.sources)
            if running is not None:
                lay_running(value.sources, running)
        if settings.sources:
            for line in value.sources:
                if line.name.partition("/")[0] not in settings.sources:
                    line.state = "ended"
        names = sorted({line.name.partition("/")[0] for line in value.sources})
        drills, doubt = await _drills(store, names, clock)
        since: dict[str, int] = {}
        for name in names:
            try:
                since[name] = await restorable_since(reader, name)
            except Corrupt as error:
                # What else is known is said all the same.
                doubt.append(f"not known since when {name} can be restored: {error.message}")
        return summarised(value, since, drills, settings.web.rpo_seconds, asked=running is not None, doubts=doubt)
    finally:
        await store.close()


async def _drills(store: Store, names: list[str], clock: Clock) -> tuple[dict[str, DrillReport], list[str]]:
    try:
        _, found = await newest(store, names, now=clock.now())
    except Corrupt as error:
        return {}, [error.message]
    return found, []


async def restorable_since(reader: Reader, name: str) -> int:
    """Journal time of the source's first complete state; where older segments were retired, of the oldest point that is promised. 0: there
    is none.
    """
    boundary = await reader.boundary()
    floor = boundary.floors.get(name) if boundary is not None else None
    before = boundary.sources.items() if boundary is not None else ()
    if floor is not None and any(mark.checkpoint for source, mark in before if source.partition("/")[0] == name):
        # Segments that were kept from before say nothing of the points there.
        return floor.time
    # Found from the journal's beginning on: however long it goes on behind that place, it takes as many requests.
    number = await reader.bisect(
        lambda header: any(mark.checkpoint for source, mark in header.sources.items() if source.partition("/")[0] == name),
        near=True,
        hint=(await reader.extent()).first,
    )
    header = await reader.header(number)
    time = header.time if header is not None else 0
    return max(time, floor.time) if time and floor is not None else time


async def _of_journal(reader: Reader, settings: Settings, clock: Clock, *, offline: bool) -> ArchiveStatus:
    store = reader.store
    tail = await reader.tail()
    if tail is None:
        raise Invalid(f"there is no journal at {store.url}", hint="start one with `archiver run`, or name the right archive.url")
    now = clock.now()
    value = ArchiveStatus(
        archive=tail.archive,
        url=store.url,
        segment=tail.number,
        epoch=tail.epoch,
        last_entry=tail.first + tail.count - 1,
        last_commit=tail.time,
        age_seconds=max(0.0, (now - tail.time) / 1e6),
        sources=lines(tail.sources, kinds(settings), now),
        damage=reader.fault.message if reader.fault is not None else "",
        strays=list(reader.strays),
    )
    # One that never had a stream has no line of its own in the journal, and must not look as if nobody had asked for it.
    value.sources += [
        SourceLine(name=name, kind=kind, problem="nothing of it was ever captured")
        for name, kind in kinds(settings).items()
        if not any(name in (line.name, line.name.partition("/")[0]) for line in value.sources)
    ]
    tails: dict[str, Tail | None] = {}
    for line in value.sources:
        if line.kind == "kubernetes" and line.name in tail.sources:
            silence = await open_silence(reader, line.name, tail.sources[line.name])
            if silence is not None:
                line.unknown_since = silence.from_time
                line.problem = f"nothing is heard of it since {to_text(silence.from_time)}: {silence.detail}"
        source = line.name.partition("/")[0]
        if line.name in tail.sources and source not in tails:
            try:
                tails[source] = await tail_behind(reader, clock, source)
            except Corrupt as error:
                # What else is known is said all the same.
                line.problem = _joined(line.problem, f"not known what a restore would read: {error.message}")
        add_tail(line, tails.get(source))
        if line.kind == "postgres" and line.name in tail.sources:
            try:
                await _say_uncopied(reader, line, tail.sources[line.name])
                await _say_schema(reader, line, tail.sources[line.name], tail.number if offline else None)
            except Corrupt as error:
                # What else is known is said all the same.
                line.problem = _joined(line.problem, f"not known what is uncopied: {error.message}")
        if line.checkpoint and not has_ended(tail.sources[line.name]):
            # Of streams that ended nothing is read, however many they are.
            completed = await reader.header(tail.sources[line.name].checkpoint_segment)
            line.last_baseline = completed.time if completed is not None else 0
    return value


async def _say_schema(reader: Reader, line: SourceLine, mark: SourceMark, last: int | None) -> None:
    """Say how far the schema is known: that changes are not announced, and that the journal ends with a schema that is not known.

    ``last``: the journal's newest segment; ``None`` where somebody else knows the latter without reading.
    """
    known = await schema_knowledge(reader, line.name, mark, last)
    if not known.announced:
        newest = f"; the newest one in the journal reached LSN {known.until}" if last is not None else ""
        line.warnings.append(f"{NOT_ANNOUNCED}{newest}")
    if (gap := known.gap) is not None:
        line.unknown_since = gap.from_time if line.unknown_since is None else min(gap.from_time, line.unknown_since)
        # Before what else is wrong.
        line.problem = _joined(f"schema: {gap.detail or gap.reason}", line.problem)


def _joined(*problems: str) -> str:
    return "; ".join(filter(None, problems))


async def _say_uncopied(reader: Reader, line: SourceLine, mark: SourceMark) -> None:
    """Name the tables whose rows the journal does not have, as its newest schema says."""
    schema = await newest_schema(reader, line.name, mark)
    if schema is None or not schema.catalog.pending:
        return
    names = [f"{table.schema}.{table.name}" for table in schema.catalog.tables if table.oid in schema.catalog.pending]
    line.unknown_since = schema.taken
    line.problem = f"rows of {len(names)} tables are not in the journal: {', '.join(sorted(names)[:5])}"
