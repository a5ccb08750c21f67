"""``archiver show`` and ``diff``: one row or one object at a point, and between two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from archiver.cli import output
from archiver.cli.main import Context
from archiver.cli.points import at_point
from archiver.cli.subjects import named_subject, object_then, one_point, row_then, subject, two_points, with_reader, with_source

if TYPE_CHECKING:
    from archiver.history.object_at import ObjectAt
    from archiver.history.row_at import RowAt
    from archiver.journal.reader import Reader


@click.command()
@subject
@at_point
@click.pass_obj
def show(context: Context, *, source: str, table: str, key: tuple[str, ...], object_: str, at: str, as_json: bool) -> int:
    """Print one row or object as it was at a point. Exit code 1 when it did not exist then."""
    wanted = named_subject(source, table, key, object_)

    async def work(reader: Reader) -> int:
        asked = await with_source(reader, wanted)
        known: RowAt | ObjectAt
        if asked.table:
            known = await row_then(reader, asked, await one_point(reader, at))
        else:
            known = await object_then(reader, asked, await one_point(reader, at))
            _warn(known)
        state: Any = known.state
        if as_json:
            output.print_json(state if asked.table else known)
        elif state is None:
            output.say("it is not known whether it existed then" if known.gaps else "it did not exist then")
        elif asked.table:
            output.facts((name, "NULL" if value is None else value or "''") for name, value in state.items())
        else:
            from archiver.replay.kubernetes.yaml_text import to_yaml

            output.document(to_yaml(state))
        return 0 if state is not None else 1

    return with_reader(context.settings(), work)


@click.command()
@subject
@click.option("--from", "start", required=True, metavar="POINT", help="The earlier point.")
@click.option("--until", "end", default="latest", show_default=True, metavar="POINT", help="The later point.")
@click.pass_obj
def diff(context: Context, *, source: str, table: str, key: tuple[str, ...], object_: str, start: str, end: str, as_json: bool) -> int:
    """Compare one row or object between two points. Exit code 0 when it is the same, 1 when it differs."""
    from archiver.history.objects import comparable, differences, plain

    wanted = named_subject(source, table, key, object_)

    async def work(reader: Reader) -> int:
        asked = await with_source(reader, wanted)
        one: Any
        other: Any
        first: RowAt | ObjectAt
        last: RowAt | ObjectAt
        ends = await two_points(reader, start, end)
        if asked.table:
            first, last = [await row_then(reader, asked, point) for point in ends]
            one, other = first.state, last.state
        else:
            first, last = objects = [await object_then(reader, asked, point) for point in ends]
            if first.state is not None and last.state is not None:
                one, other, left_out = comparable(first.state, last.state)
                objects[1].notes.extend([left_out] if left_out else [])
            else:
                one = plain(first.state) if first.state is not None else None
                other = plain(last.state) if last.state is not None else None
            for name, answer in zip(("--from", "--until"), objects, strict=True):
                _warn(answer, f"{name}: ")
        changed = differences(one or {}, other or {})
        if as_json:
            lines = [{"path": path, "before": old, "after": new} for path, old, new in changed]
            output.print_json(lines if asked.table else {"changes": lines, **_both(first, last)})
        else:
            for name, known in (("from", first), ("until", last)):
                if known.state is None:
                    output.answer(f"it is not known whether it existed at --{name}" if known.gaps else f"it did not exist at --{name}")
            if not changed and first.state is not None:
                output.answer("the same at both points")
                return 0
            output.table(
                "", ["", "before", "after"], [(path, _side(one, path, old), _side(other, path, new)) for path, old, new in changed]
            )
        return 1 if changed else 0

    return with_reader(context.settings(), work)


def _warn(known: ObjectAt, where: str = "") -> None:
    """Say on standard error what is not known of an answer."""
    for word, texts in (("gap", known.gaps), ("note", known.notes)):
        for text in texts:
            output.say(f"{word}: {where}{text}")
    if known.near:
        output.say(f"note: {where}did you mean {' or '.join(known.near)}?")


def _both(first: RowAt | ObjectAt, last: RowAt | ObjectAt) -> dict[str, dict[str, list[str]]]:
    return {"gaps": {"from": first.gaps, "until": last.gaps}, "notes": {"from": first.notes, "until": last.notes}}


def _side(state: Any, path: str, value: object) -> str:
    """A value, or why there is none: NULL is not the same as no such column."""
    if value is None:
        return "NULL" if state is not None and path in state else "(none)"
    return _short(value)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode() if value is not None else "-"
    return text if len(text) <= 200 else f"{text[:197]}…"
