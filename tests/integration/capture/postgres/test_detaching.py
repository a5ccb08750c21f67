"""What the archiver made in a database is told from what others made, and goes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from archiver.capture.postgres.catalog import ddl_triggers
from archiver.capture.postgres.catalog.detaching import Detachment, carry_out_detachment, plan_detachment
from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.session.access import Access
from archiver.errors import ArchiverError, Refused
from archiver.postgres.records import Slot

LEFT = (
    "SELECT array(SELECT evtname::text FROM pg_event_trigger UNION ALL SELECT pubname FROM pg_publication"
    " UNION ALL SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
    " UNION ALL SELECT nspname FROM pg_namespace WHERE nspname ~ '^archiver'"
    " UNION ALL SELECT proname FROM pg_proc WHERE proname = 'announce_ddl' ORDER BY 1)"
)


class Attached:
    """A database with everything that capture makes, and what the journal would say of it."""

    def __init__(self, dsn: str) -> None:
        self.dsn, self.slot = dsn, f"archiver_{uuid.uuid4().hex[:12]}"
        self.config = PostgresConfig(dsn=dsn, slot=self.slot)

    def run(self, *statements: str) -> list[Any]:
        with psycopg.connect(self.dsn, autocommit=True) as session:
            row = None
            for each in statements:
                cursor = session.execute(each.encode())
                row = cursor.fetchone() if cursor.description else None
        return list(row or ())

    def known(self, **other: Any) -> Slot:
        """The journal's record of the slot."""
        system, database = self.run("SELECT system_identifier::text, current_database() FROM pg_control_system()")
        return Slot(**{"action": "created", "name": self.slot, "system_id": system, "timeline": 1, "database": database, **other})

    def left(self) -> list[str]:
        """Names of what capture makes and is there."""
        return list(self.run(LEFT)[0])

    async def detach(self, known: Slot | None, dsn: str = "") -> Detachment:
        async with await Access.of(dsn or self.dsn).connect() as session:
            plan = await plan_detachment(session, "db", self.config, known)
            await carry_out_detachment(session, plan, self.slot)
        return plan


@pytest.fixture
async def attached(database: str) -> Attached:
    made = Attached(database)
    made.run(
        f"CREATE PUBLICATION {made.slot}_key",
        f"CREATE PUBLICATION {made.slot}_insert",
        f"SELECT pg_create_logical_replication_slot('{made.slot}', 'pgoutput')",
    )
    async with await Access.of(database).connect() as session:
        assert await ddl_triggers.install(session)
    return made


@pytest.fixture
def plain_role(attached: Attached) -> Iterator[str]:
    """A role that replicates and owns the publications, and is no superuser: its DSN."""
    role = f"plain_{uuid.uuid4().hex[:8]}"
    attached.run(
        f"CREATE ROLE {role} LOGIN REPLICATION", *(f"ALTER PUBLICATION {name} OWNER TO {role}" for name in attached.config.publications)
    )
    yield attached.dsn.replace("postgres@", f"{role}@")
    attached.run(f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


async def test_everything_goes_and_a_second_time_finds_nothing(attached: Attached) -> None:
    """Slot, publications, event triggers, function, keys, schema."""
    assert len(attached.left()) == 8
    plan = await attached.detach(attached.known())
    assert (len(plan.sql), plan.kept, attached.left()) == (9, [], [])
    assert (await attached.detach(attached.known())).sql == []


async def test_what_a_dry_run_shows_does_the_same_in_psql(attached: Attached) -> None:
    """The documented clean-up, with the names of this database."""
    async with await Access.of(attached.dsn).connect() as session:
        plan = await plan_detachment(session, "db", attached.config, attached.known())
    assert len(attached.left()) == 8
    attached.run(*plan.sql)
    assert attached.left() == []


async def test_a_users_things_of_our_name_stay(attached: Attached) -> None:
    """His table in our schema keeps the schema; his schema under our second name is not looked at; the trigger of another slot's archiver stays."""
    attached.run("CREATE TABLE archiver.stray (id int)", "CREATE SCHEMA archiver_ddl")
    plan = await attached.detach(attached.known())
    assert attached.left() == ["archiver", "archiver_ddl"]
    assert plan.kept == ["schema archiver: somebody else has put something into it"]


async def test_triggers_that_another_archiver_needs_stay(attached: Attached) -> None:
    """Several on one database share them."""
    other = f"other_{uuid.uuid4().hex[:8]}"
    attached.run(
        f"CREATE PUBLICATION {other}_key",
        f"CREATE PUBLICATION {other}_insert",
        f"SELECT pg_create_logical_replication_slot('{other}', 'pgoutput')",
    )
    plan = await attached.detach(attached.known())
    assert other in plan.kept[0]
    assert len(attached.left()) == 8
    assert not any(attached.slot in name for name in attached.left())


@pytest.mark.parametrize("known", [None, {"name": "another"}, {"database": "another"}, {"system_id": "1"}, {"action": "dropped"}])
async def test_a_slot_that_the_archive_does_not_know_stays_with_all_else(attached: Attached, known: dict[str, str] | None) -> None:
    """It may be another archive's."""
    before = attached.left()
    with pytest.raises(Refused, match="does not know"):
        await attached.detach(attached.known(**known) if known is not None else None)
    assert attached.left() == before


async def test_what_the_role_may_not_drop_is_refused_before_anything_is(attached: Attached, plain_role: str) -> None:
    """The hint is what somebody who may has to run; then the rest goes."""
    before = attached.left()
    with pytest.raises(Refused, match="superuser") as refused:
        await attached.detach(attached.known(), plain_role)
    assert attached.left() == before
    remedy = refused.value.hint.removeprefix("let one run: ").removesuffix("; then detach")
    attached.run(*remedy.split("; "))
    await attached.detach(attached.known(), plain_role)
    assert attached.left() == []
    attached.run(f"CREATE PUBLICATION {attached.slot}_key")
    with pytest.raises(Refused, match="belongs to role postgres"):
        await attached.detach(attached.known(), plain_role)


async def test_capture_that_began_again_keeps_what_it_needs(attached: Attached) -> None:
    """Between the look and the work."""
    async with await Access.of(attached.dsn).connect() as session:
        plan = await plan_detachment(session, "db", attached.config, attached.known())
        plan.slot = ""
        with pytest.raises(ArchiverError, match="made again meanwhile"):
            await carry_out_detachment(session, plan, attached.slot)
    assert len(attached.left()) == 8


@pytest.mark.postgres(18)
async def test_a_server_whose_commits_wait_for_us_is_left_alone(attached: Attached) -> None:
    """They would wait for ever."""
    before = attached.left()

    def wait_until(named: bool) -> None:
        """Until new sessions see it: the server reloads when it gets to it."""
        while (attached.slot in str(attached.run("SHOW synchronous_standby_names"))) is not named:
            pass

    attached.run(f"ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 ({attached.slot})'", "SELECT pg_reload_conf()")
    try:
        wait_until(named=True)
        with pytest.raises(Refused, match="commits wait"):
            await attached.detach(attached.known())
        assert attached.left() == before
    finally:
        attached.run("SET synchronous_commit = local", "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
        wait_until(named=False)
