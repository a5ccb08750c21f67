"""A look at the target before anything is done: what a restore makes there, what is in its way, and what should be known first."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from archiver.errors import Refused
from archiver.replay.postgres.plan.plan import RestorePlan
from archiver.replay.postgres.write.blocking_objects import BlockingObject, find_blocking
from archiver.replay.postgres.write.code_rights import code_with_rights
from archiver.replay.postgres.write.dump_items import Items, items_of
from archiver.replay.postgres.write.extensions import read_extensions, versions_to_ask_for
from archiver.replay.postgres.write.parallel_loading import refuse_occupied
from archiver.replay.postgres.write.plan_records import PlanRecords, gather
from archiver.replay.postgres.write.reworded import reworded
from archiver.replay.postgres.write.target_database import Connection, connected, explained, inspect_target, pin

if TYPE_CHECKING:
    from archiver.journal.reader import Reader
    from archiver.postgres.captured_systems import CapturedDatabase


@dataclass(frozen=True, slots=True)
class TargetLook:
    """What a restore would find."""

    in_the_way: list[str]
    """What the target holds already of what the plan creates."""
    notes: list[str]
    """What should be known before it begins."""


async def preview_target(
    plan: RestorePlan,
    reader: Reader,
    dsn: str,
    *,
    no_owner: bool = False,
    configured: Collection[CapturedDatabase] = (),
    jobs: int = 1,
) -> TargetLook:
    """Look at the target; nothing is changed. Raises as ``write_database`` would."""
    async with connected(dsn) as connection:
        material = await gather(plan, reader)
        seen = await examine_target(connection, plan, material, no_owner=no_owner, configured=configured, jobs=jobs)
    return TargetLook([str(each) for each in seen.blocking], seen.notes)


@dataclass(frozen=True, slots=True)
class ExaminedTarget:
    """What a restore makes, what it would replace, and what should be known before."""

    items: Items
    blocking: list[BlockingObject]
    notes: list[str]


async def examine_target(
    connection: Connection, plan: RestorePlan, material: PlanRecords, *, no_owner: bool, configured: Collection[CapturedDatabase], jobs: int
) -> ExaminedTarget:
    """Look at it with the session as rows need it; raises as ``write_database`` does."""
    try:
        await pin(connection)
        target = await inspect_target(connection, plan, no_owner=no_owner, configured=configured)
        catalog = material.schema.catalog
        if jobs > 1:
            await refuse_occupied(connection)
        versions, notes = versions_to_ask_for(catalog.installed, await read_extensions(connection))
        items = await asyncio.to_thread(
            items_of,
            material.dump,
            no_owner=no_owner,
            existing_schemas=frozenset(target.schemas),
            versions=versions,
            installed=catalog.installed,
            publications=catalog.publications or [],
        )
        if jobs > 1:
            notes.append(
                f"loaded over {jobs} connections, in separate transactions: a failure leaves what is done by then, and functions that"
                " keys of partitioned tables and checks of domains call SECURITY DEFINER: drop the database then"
            )
        notes += reworded(items)
        notes += code_with_rights(items, target.role, target.superusers, no_owner=no_owner)
        return ExaminedTarget(items, await find_blocking(connection, list(items)), notes)
    except psycopg.Error as error:
        raise explained(error, "looking at the target") from error


def occupied(found: list[str]) -> Refused:
    """What the target holds already stands in the way, and may not be replaced."""
    return Refused(
        f"the target has {len(found)} of the objects already that the restore creates, first {found[0]}",
        hint="restore into an empty database, or replace what is there with --overwrite",
    )
