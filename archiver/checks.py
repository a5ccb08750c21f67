"""``archiver check``: the store's probe, the sources' rights, the databases' preflight. Changes nothing but the probe's own objects."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

import msgspec

from archiver.clock import Clock
from archiver.errors import ArchiverError, Invalid, Refused
from archiver.journal.reader import Reader
from archiver.service.sources import kubernetes_config, postgres_config
from archiver.settings import Settings
from archiver.store.open import open_store
from archiver.store.probe import probe

LARGE_ROWS_SECONDS = 20.0
"""How long tables are looked through for rows that are too large."""

if TYPE_CHECKING:
    from archiver.capture.postgres.catalog.redaction import Redaction
    from archiver.capture.postgres.config import PostgresConfig
    from archiver.capture.postgres.preflight.preflight import Preflight
    from archiver.capture.postgres.session.access import Session

Level = Literal["ok", "note", "warning", "refused"]


class Check(msgspec.Struct, frozen=True):
    """One line of the answer."""

    level: Level
    source: str
    """Source name; empty: the archive."""
    subject: str
    text: str
    remedy: str = ""
    apply: str = ""
    """The least rights that capture of the source needs: SQL for psql, or objects for ``kubectl apply -f -``."""


async def check_all(settings: Settings, clock: Clock) -> list[Check]:
    """Everything that can be checked without capturing. What cannot be looked at is a refusal, not an exception."""
    found = await _store(settings, clock)
    if not settings.sources:
        found.append(Check("refused", "", "sources", "there are no sources to capture", "add one below `sources:` in the settings"))
    for name, source in settings.sources.items():
        try:
            if source.postgres is not None:
                found += await _postgres(name, settings)
            if source.kubernetes is not None:
                found += await _kubernetes(name, settings, clock)
        except ArchiverError as error:
            found.append(Check("refused", name, "source", error.message, error.hint))
    return found


async def _store(settings: Settings, clock: Clock) -> list[Check]:
    try:
        store = await open_store(settings.archive.url, settings.archive.s3)
        try:
            report = await probe(store, clock, allow_unfenced=settings.archive.allow_unfenced_store)
        finally:
            await store.close()
    except ArchiverError as error:
        return [Check("refused", "", "store", error.message, error.hint)]
    return [Check("ok", "", "store", f"{store.url}: {', '.join(report.passed)}")]


async def _postgres(name: str, settings: Settings) -> list[Check]:
    from archiver.capture.postgres.preflight.preflight import preflight
    from archiver.capture.postgres.session.access import Access
    from archiver.capture.postgres.session.protection import protection_of
    from archiver.capture.postgres.session.replication import connect_replication, identify
    from archiver.capture.postgres.session.schema_dump import find_tools
    from archiver.capture.postgres.session.slot_health import read_health

    values = settings.sources[name].postgres
    assert values is not None
    config = postgres_config(name, values, settings)
    access = Access.of(config.dsn)
    connection = await access.connect()
    try:
        protection = await protection_of(access, connection)
        report = await preflight(connection, config, await _redaction(name, settings, config, connection))
        slot = await read_health(connection, config.slot)
        large = await _large_rows(name, connection, report, config)
    finally:
        await connection.close()
    found = [Check("ok", name, "connection", str(protection))]
    if not protection.safe:
        remedy = "TLS at the server, and sslmode=verify-full (the default) with the authority of its certificate in ca_file"
        found = [Check("warning", name, "connection", str(protection), remedy)]
    if not report.refusals:
        # Whoever is between us and the server may let ordinary sessions through and not this one.
        replication = await connect_replication(access, config.slot)
        try:
            await identify(replication)
        finally:
            await replication.close()
    if slot.exists and not await _known(name, settings):
        text = f"replication slot {config.slot} exists, and this archive did not create it"
        found.append(
            Check("refused", name, "slot", text, "it may belong to another archive: name another slot, or drop it if nobody needs it")
        )
    found += [Check("refused", name, item.about, item.reason, item.remedy) for item in report.refusals]
    found += [Check("warning", name, item.about, item.reason, item.remedy) for item in report.warnings]
    found += [Check("note", name, item.about, item.reason, item.remedy) for item in report.notes]
    found += large
    try:
        tools = await asyncio.to_thread(find_tools, report.server_version, config.pg_bin)
        if tools.is_older(report.server_version):
            text = f"{tools.banner} came out before the server's minor release: it may write what targets do not take"
            found.append(Check("warning", name, "pg_dump", text, "install the server's own client programs, or set pg_bin"))
        else:
            found.append(Check("ok", name, "pg_dump", tools.banner))
    except Refused as error:
        found.append(Check("refused", name, "pg_dump", error.message, error.hint))
    modes = [table.mode for table in report.catalog.tables if table.kind == "r"]
    counted = ", ".join(f"{modes.count(mode)} {mode}" for mode in ("key", "full", "insert", "excluded") if mode in modes)
    found.append(Check("ok", name, "tables", f"{counted or 'none'}; schema changes noticed by {report.ddl}"))
    found.append(Check("ok", name, "least rights", "what capture needs, as SQL below", apply="\n".join([*report.least_rights, ""])))
    return found


async def _large_rows(name: str, session: Session, report: Preflight, config: PostgresConfig) -> list[Check]:
    """Tables with rows that will be left out."""
    from archiver.capture.postgres.baseline.large_rows import tables_with_large_rows

    captured = [table for table in report.catalog.tables if table.mode != "excluded"]
    large, unknown = await tables_with_large_rows(session, captured, config.largest_row_bytes, LARGE_ROWS_SECONDS)
    found = [
        Check(
            "warning",
            name,
            f"table {table}",
            f"rows larger than {config.largest_row_bytes >> 20} MiB as text: {count}; they are left out, and the table has a gap meanwhile",
            "keep such values elsewhere; or raise largest_row_bytes, and the memory limit with it; or exclude the table",
        )
        for table, count in large.items()
    ]
    if unknown:
        text = f"tables not looked through, for lack of time or rights, or because it would run their owners' functions: {len(unknown)}"
        found.append(Check("note", name, "large rows", f"{text} ({', '.join(unknown[:5])})"))
    return found


async def _redaction(name: str, settings: Settings, config: PostgresConfig, session: Session) -> Redaction:
    """What is to be hidden, and what the archive hides already, whatever it is called by now."""
    from archiver.capture.postgres.catalog.redaction import Redaction
    from archiver.capture.postgres.start.recalling import recall

    redaction = Redaction(config.redact)
    if not redaction.lines:
        return redaction
    store = await open_store(settings.archive.url, settings.archive.s3)
    try:
        reader = Reader(store)
        tail = await reader.tail()
        if tail is not None and name in tail.sources:
            await recall(reader, name, tail.sources[name], session, redaction)
    except Invalid:
        # There is no archive yet.
        return redaction
    finally:
        await store.close()
    return redaction


async def _known(name: str, settings: Settings) -> bool:
    """Whether the archive has anything of that source."""
    store = await open_store(settings.archive.url, settings.archive.s3)
    try:
        tail = await Reader(store).tail()
    except Invalid:
        return False
    finally:
        await store.close()
    return tail is not None and name in tail.sources


async def _kubernetes(name: str, settings: Settings, clock: Clock) -> list[Check]:
    from archiver.capture.kubernetes.least_rights import least_rights
    from archiver.capture.kubernetes.rights import check_rights
    from archiver.kubernetes.api import Api
    from archiver.replay.kubernetes.yaml_text import to_yaml

    values = settings.sources[name].kubernetes
    assert values is not None
    api = await Api.open(clock, kubeconfig=values.kubeconfig, context=values.context)
    try:
        config = kubernetes_config(values, settings)
        report = await check_rights(api, config)
    finally:
        await api.close()
    remedy = "grant it: the chart's rbac values, or the Roles below"
    found = [Check("refused" if right.required else "warning", name, "rights", f"may not {right}", remedy) for right in report.missing]
    level: Level = "refused" if values.strict else "warning"
    spelling = "correct the name in the settings, or leave it when what it names is still to come"
    found += [Check(level, name, line, "it selects nothing: nothing is captured for it", spelling) for line in report.unmatched]
    silent = "is the API behind it there? kubectl get apiservices says it; its kinds are captured once it answers"
    unanswered = "its discovery does not answer: what it serves is not known"
    found += [Check(level, name, group or "core", unanswered, silent) for group in report.unanswered]
    if not report.resources:
        found.append(Check("warning", name, "resources", "the API server serves none of them now", "they are captured once they appear"))
    kinds = ", ".join(f"{each.plural}.{each.group}" if each.group else each.plural for each in report.resources)
    found.append(
        Check("ok", name, "rights", f"{len(report.checked) - len(report.missing)} of {len(report.checked)} at {report.server}: {kinds}")
    )
    roles = "---\n".join(map(to_yaml, least_rights(config, report.checked, report.user)))
    found.append(Check("ok", name, "least rights", "what capture needs, as Roles below", apply=roles))
    return found
