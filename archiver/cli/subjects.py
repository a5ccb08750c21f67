"""A row or an object that is asked about, and the archive that answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from archiver.cli import output
from archiver.cli.loading import loading
from archiver.cli.main import wait_for
from archiver.cli.points import say_meaning
from archiver.errors import Invalid

if TYPE_CHECKING:
    from archiver.history.object_at import ObjectAt
    from archiver.history.row_at import RowAt
    from archiver.journal.reader import Reader
    from archiver.replay.points import Point
    from archiver.settings import Settings

Result = TypeVar("Result")


class Subject(msgspec.Struct, frozen=True):
    """What is asked about: a row or an object of one source."""

    source: str
    """Empty: the archive's only one of that sort."""
    table: str = ""
    key: tuple[str, ...] = ()
    object: str = ""


def subject(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that name a row or an object."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="JSON for scripts."),
        click.option(
            "--object",
            "object_",
            default="",
            metavar="KIND/NAMESPACE/NAME",
            help="An object: plural.group/namespace/name; plural.group/name where it has no namespace.",
        ),
        click.option("--key", multiple=True, metavar="COLUMN=VALUE", help="The row's key; repeat for each column of it."),
        click.option("--table", default="", metavar="SCHEMA.TABLE", help="A table."),
        click.option("--source", default="", metavar="NAME", help="Source, as in the settings; needed where several have such things."),
    ):
        command = option(command)
    return command


def named_subject(source: str, table: str, key: tuple[str, ...], object_: str) -> Subject:
    """What these options name. ``Invalid`` unless they name one row, or one object."""
    if bool(table) == bool(object_):
        raise Invalid(
            "say what to look at", hint="--table SCHEMA.TABLE --key COLUMN=VALUE for a row, --object KIND/NAMESPACE/NAME for an object"
        )
    if object_ and key:
        raise Invalid("--key is of a row, and --object names an object", hint="leave one of them out")
    if table and not key:
        raise Invalid("--table needs --key", hint="--key COLUMN=VALUE for each column of the table's key")
    return Subject(source, table, key, object_)


async def with_source(reader: Reader, asked: Subject) -> Subject:
    """With the archive's only source of that sort, where none was named. ``Invalid`` where there are several, or none."""
    from archiver.history.only_source import only_source

    return asked if asked.source else msgspec.structs.replace(asked, source=await only_source(reader, cluster=bool(asked.object)))


async def row_then(reader: Reader, asked: Subject, at: Point) -> RowAt:
    """The row at a point; its notes are said. Raises as ``row_at``."""
    with loading():
        from archiver.history.row_at import row_at  # what it needs takes longer to load than a short history to read
        from archiver.history.rows import RowRef

    found = await row_at(reader, asked.source, RowRef.parse(asked.table, asked.key), at)
    for note in found.notes:
        output.say(f"note: {note}")
    return found


async def object_then(reader: Reader, asked: Subject, point: Point) -> ObjectAt:
    """The object at a point. Raises as ``object_at``."""
    from archiver.history.object_at import object_at
    from archiver.history.objects import ObjectRef
    from archiver.replay.kubernetes.folded_stream import Cut

    return await object_at(reader, asked.source, ObjectRef.parse(asked.object), Cut.at(point))


async def one_point(reader: Reader, text: str) -> Point:
    """The point that ``text`` names; what it means is said. ``Invalid`` where it names none."""
    from archiver.replay.points import parse_point, resolve

    say_meaning(text)
    return await resolve(reader, parse_point(text))


async def two_points(reader: Reader, start: str, end: str) -> tuple[Point, Point]:
    """Likewise. ``Invalid`` unless ``end`` is behind ``start``."""
    from archiver.replay.points import require_order

    first, last = await one_point(reader, start), await one_point(reader, end)
    require_order(first, last)
    return first, last


def with_reader(settings: Settings, work: Callable[[Reader], Awaitable[Result]]) -> Result:
    """Do ``work`` on the archive of ``settings``; nothing is left open."""
    with loading():
        from archiver.journal.kept_segments import KeptSegments
        from archiver.journal.reader import Reader
        from archiver.store.open import open_store

    async def run() -> Result:
        store = await open_store(settings.archive.url, settings.archive.s3)
        try:
            with KeptSegments() as kept:
                return await work(Reader(store, kept=kept))
        finally:
            await store.close()

    return wait_for(run)
