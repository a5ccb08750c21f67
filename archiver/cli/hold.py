"""``archiver hold``: stop all deletion."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from archiver.cli import output
from archiver.cli.main import Context, wait_for

if TYPE_CHECKING:
    from archiver.settings import Settings
    from archiver.store.protocol import Store

_Result = TypeVar("_Result")


@click.group()
def hold() -> None:
    """Legal holds: while any stands, retention deletes nothing, whatever the settings say."""


@hold.command("put")
@click.argument("name")
@click.option("--reason", default="", help="Why, for whoever lists it.")
@click.pass_obj
def put(context: Context, *, name: str, reason: str) -> None:
    """Put a hold. Durable on return; a pass that is deleting at this moment stops within some hundred objects."""
    from archiver.clock import SystemClock
    from archiver.retention.holds import put_hold

    made = _with_store(context.settings(), lambda store: put_hold(store, SystemClock(), name, reason))
    output.facts([("hold", made.name), ("since", output.moment(made.made))])


@hold.command("list")
@click.option("--json", "as_json", is_flag=True, help="JSON for scripts; times in microseconds since 1970.")
@click.pass_obj
def list_(context: Context, *, as_json: bool) -> None:
    """List all holds."""
    from archiver.retention.holds import holds

    found = _with_store(context.settings(), holds)
    if as_json:
        output.print_json(found)
        return
    if not found:
        output.answer("there is no hold")
        return
    output.table(
        "",
        ["hold", "since", "reason"],
        [(each.name, output.moment(each.made), each.reason) for each in found],
    )


@hold.command("lift")
@click.argument("name")
@click.pass_obj
def lift(context: Context, *, name: str) -> None:
    """Lift a hold. When it was the last one, the next pass of retention deletes again."""
    from archiver.retention.holds import lift_hold

    _with_store(context.settings(), lambda store: lift_hold(store, name))
    output.facts([("lifted", name)])


def _with_store(settings: Settings, work: Callable[[Store], Awaitable[_Result]]) -> _Result:
    from archiver.store.open import open_store

    async def done() -> _Result:
        store = await open_store(settings.archive.url, settings.archive.s3)
        try:
            return await work(store)
        finally:
            await store.close()

    return wait_for(done)
