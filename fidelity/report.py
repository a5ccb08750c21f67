"""What a trial found, as a plain table. Text only."""

from __future__ import annotations

from collections.abc import Iterator

from fidelity.outcome import Outcome, Point

_SHOWN = 40
_HEAD = ("point", "position", "tables", "rows", "items", "gaps", "said", "unsaid", "seconds", "")


def lines(outcome: Outcome, *, errors: bool = False) -> Iterator[str]:
    """A heading, a row for each point, and below each difference that nobody said, as often as it was seen."""
    failed = f"{len(outcome.errors)} of them failed at the source"
    yield f"{outcome.title}: {outcome.statements} statements, {failed}, {len(outcome.points)} points"
    rows = [_HEAD, *(_row(point) for point in outcome.points)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(_HEAD))]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    for point in outcome.points:
        if point.failure:
            yield f"  not restored at {point.position} ({point.label}): {point.failure}"
    yield from _grouped("NOT SAID", [(point, str(each)) for point in outcome.points for each in point.unsaid])
    yield from _grouped("not known", [(point, each) for point in outcome.points for each in point.gaps])
    yield from _grouped("said", [(point, str(each)) for point in outcome.points for each in point.said])
    yield from (f"  failed at the source: {text}" for text in outcome.errors if errors)
    if outcome.roles:
        yield f"  roles that came meanwhile and stay at the server: {', '.join(outcome.roles)}"
    yield f"  {outcome.title}: {'equal but for what was said' if outcome.ok else 'DIFFERENT'}"


def _row(point: Point) -> tuple[str, ...]:
    rows = point.fingerprint.rows
    tables = [value for (kind, _), value in rows.items() if "table" in kind]
    counted = (
        len(tables),
        sum(int(value[0]) for value in tables),
        len(point.fingerprint.schema),
        len(point.gaps),
        len(point.said),
        len(point.unsaid),
    )
    judged = "ok" if point.ok else "NOT RESTORED" if point.failure else "DIFFERENT"
    return (point.label, point.position, *map(str, counted), f"{point.seconds:.1f}", judged)


def _grouped(heading: str, found: list[tuple[Point, str]]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for _, text in found:
        seen[text] = seen.get(text, 0) + 1
    for number, (text, times) in enumerate(seen.items()):
        if number == _SHOWN:
            yield f"  {heading}: and {len(seen) - _SHOWN} more"
            return
        yield f"  {heading}: {text}" + (f" (at {times} points)" if times > 1 else "")
