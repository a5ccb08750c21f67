"""Everything that the archiver made in a database, and its removal: slot, publications, event triggers, their function, keys and schema.

What is ours is told by what it is (``own_objects``), never by its name alone. The slot goes first: a server drops none that somebody reads,
so capture that has begun again meanwhile keeps everything. What follows is one transaction. Killed in between, it is run again.
"""

from __future__ import annotations

import msgspec
import psycopg

from archiver.capture.postgres.catalog.own_objects import FUNCTION, KEY, candidates, own_triggers
from archiver.capture.postgres.catalog.publication import read_publication
from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.session.access import Session, translated
from archiver.capture.postgres.session.failover import commits_wait_for
from archiver.errors import Refused
from archiver.pages import page
from archiver.postgres.pasteable import identifier, literal, statement
from archiver.postgres.records import Slot

_OTHERS = (
    "SELECT s.slot_name::text FROM pg_catalog.pg_replication_slots s WHERE s.database = pg_catalog.current_database()"
    " AND s.plugin = 'pgoutput' AND s.slot_name <> %s"
    " AND (SELECT count(*) FROM pg_catalog.pg_publication p WHERE p.pubname IN (s.slot_name || '_key', s.slot_name || '_insert')) = 2"
    " ORDER BY 1"
)
_SLOT = (
    "SELECT s.active_pid, coalesce(s.database::text, ''), (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),"
    " pg_catalog.current_database()::text, pg_catalog.current_setting('synchronous_standby_names')"
    " FROM (SELECT %s::text AS name) wanted LEFT JOIN pg_catalog.pg_replication_slots s ON s.slot_name = wanted.name"
)


class Detachment(msgspec.Struct, kw_only=True):
    """What is taken away, in this order, and what stays."""

    source: str
    slot: str = ""
    """Empty: there is none any more."""
    statements: list[str] = []
    """SQL for all else, as one transaction."""
    kept: list[str] = []
    """What has our names and stays, with the reason."""

    @property
    def sql(self) -> list[str]:
        """All of it, as somebody could run it in psql."""
        return [*([f"SELECT pg_catalog.pg_drop_replication_slot({literal(self.slot)})"] if self.slot else []), *self.statements]


async def plan_detachment(session: Session, source: str, config: PostgresConfig, known: Slot | None) -> Detachment:
    """What is there of ours. ``known``: what the journal says of the slot.

    Raises ``Refused`` while the slot is read, for a slot that this archive did not create, while commits wait for us, and where the
    session's role may not drop what is ours; ``Unavailable``.
    """
    plan = Detachment(source=source)
    try:
        await _slot(session, plan, config, known)
        for name in config.publications:
            await _publication(session, plan, name)
        await _triggers(session, plan, config.slot)
    except psycopg.Error as error:
        raise translated(error, "looking for what the archiver made") from error
    return plan


async def _slot(session: Session, plan: Detachment, config: PostgresConfig, known: Slot | None) -> None:
    row = await (await session.execute(_SLOT.encode(), [config.slot])).fetchone()
    assert row is not None
    pid, database, system_id, here, standbys = row
    if pid is not None:
        raise Refused(
            f"process {pid} of the database reads slot {config.slot}: capture runs",
            hint="stop the archiver, or take the source out of its settings and start it again; then detach",
        )
    if commits_wait_for(config.slot, standbys):
        raise Refused(
            f"synchronous_standby_names names {config.slot}: commits wait for the archiver, and would for ever",
            hint="take it out there and reload the configuration; then detach",
        )
    ours = known is not None and (known.name, known.system_id, known.database) == (config.slot, system_id, here)
    if known is None or (known.name, known.database) != (config.slot, here) or (database and (not ours or known.action == "dropped")):
        raise Refused(
            f"the archive does not know slot {config.slot} of this database as its own",
            hint=f"name the settings of the archive that captures it; without one see {page('runbooks/disable.md')}",
        )
    if database:
        plan.slot = config.slot


async def _publication(session: Session, plan: Detachment, name: str) -> None:
    found = await read_publication(session, name)
    if found is None:
        return
    drop = f"DROP PUBLICATION {identifier(name)}"
    if not found.owned:
        raise Refused(f"publication {name} belongs to role {found.owner}", hint=f"let it run: {statement(drop)}")
    plan.statements.append(drop)


async def _triggers(session: Session, plan: Detachment, slot: str) -> None:
    triggers = [trigger for trigger in await own_triggers(session, "") if trigger.ours]
    schemas = {name: found for name, found in (await candidates(session)).items() if found.trusted and found.function}
    if not triggers and not schemas:
        return
    others = [name for (name,) in await (await session.execute(_OTHERS.encode(), [slot])).fetchall()]
    if others:
        plan.kept.append(f"event triggers and their function: slot {', '.join(others)} is captured with them")
        return
    functions = {f"{name}.{FUNCTION}()": found for name, found in schemas.items()}
    found = [f"DROP EVENT TRIGGER {identifier(trigger.name)}" for trigger in triggers]
    # Names of ours need no quotes.
    found += [f"DROP FUNCTION {function}" for function in functions]
    found += [f"DROP MATERIALIZED VIEW {name}.{KEY}" for name, schema in schemas.items() if schema.keys]
    for name, schema in schemas.items():
        if schema.alone:
            found.append(f"DROP SCHEMA {identifier(name)}")
        else:
            plan.kept.append(f"schema {name}: somebody else has put something into it")
    plan.kept += [f"function {trigger.function}: it is another role's" for trigger in triggers if trigger.function not in functions]
    row = await (
        await session.execute(b"SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) current_user")
    ).fetchone()
    if row != (True,):
        raise Refused(
            f"{len(found)} event triggers and what they run can be dropped by a superuser alone",
            hint=f"let one run: {'; '.join(found)}; then detach",
        )
    plan.statements += found


async def carry_out_detachment(session: Session, plan: Detachment, slot: str) -> None:
    """Do it; ``slot``: the source's, whether it is there or not.

    Raises ``Refused`` when the slot is read again (nothing is done then), and ``Unavailable``: run it again.
    """
    try:
        if plan.slot:
            await session.execute(b"SELECT pg_catalog.pg_drop_replication_slot(%s)", [plan.slot])
    except psycopg.Error as error:
        if error.sqlstate == "55006":
            raise Refused(f"slot {plan.slot} is read again: capture runs", hint="stop it; nothing has been taken away") from error
        if error.sqlstate != "42704":
            raise translated(error, f"dropping slot {plan.slot}") from error
    try:
        async with session.transaction():
            await session.execute(b"SET LOCAL lock_timeout = '5s'")
            cursor = await session.execute(b"SELECT 1 FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = %s", [slot])
            if await cursor.fetchone() is not None:
                raise Refused(f"slot {slot} was made again meanwhile: capture runs", hint="stop it, and detach again")
            for each in plan.statements:
                await session.execute(each.encode())
    except psycopg.Error as error:
        raise translated(error, "dropping what the archiver made") from error
