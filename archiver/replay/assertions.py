"""What the owner of a source expects of it once it is restored, and whether what was found is that. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from archiver.bounds import Positive
from archiver.journal.drill_reports import AssertionOutcome

_SHOWN = 200
"""Characters of a value that was found that a report has, at most."""


class Assertion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One sentence that must hold of a restored source: a query's answer, or what objects have at a path.

    Of a query one row with one column is compared; of objects with a ``path`` every value there, and without one how many there are.
    """

    name: str
    """What it is called in reports."""
    source: str
    """Of which source it is said."""
    sql: str = ""
    """A query, asked of the restored database; names without a schema are found in ``public``."""
    kind: str = ""
    """Instead of ``sql``: restored objects of this kind, ``plural`` or ``plural.group``."""
    namespace: str = ""
    """With ``kind``: only those in this namespace."""
    selector: str = ""
    """With ``kind``: only those with these labels, as ``kubectl -l`` takes them."""
    path: str = ""
    """With ``kind``: JSONPath (RFC 9535) in each object; empty: the objects are counted."""
    equals: str | int | float | bool | None = None
    """What the value is. A number is compared as a number, anything else as the text that the server writes."""
    at_least: float | None = None
    """The least that the value is."""
    at_most: float | None = None
    """The most that the value is."""
    nothing: bool = False
    """The query gives no row; no object is there, or none has anything at the path."""

    @property
    def expected(self) -> str:
        """For people, behind the value that was found."""
        parts = [
            *(["nothing"] if self.nothing else []),
            *([shown(self.equals)] if self.equals is not None else []),
            *([f"at least {self.at_least:g}"] if self.at_least is not None else []),
            *([f"at most {self.at_most:g}"] if self.at_most is not None else []),
        ]
        return " and ".join(parts)


class DrillOptions(msgspec.Struct, frozen=True):
    """What a drill asks of what it restored."""

    assertions: list[Assertion] = []
    """What must hold of a restored source. A drill asks it, and fails with exit code 9 when it does not."""
    statement_seconds: Positive = 60.0
    """How long one query of an assertion may take."""


class Answer(msgspec.Struct, frozen=True):
    """What a query or a path gave."""

    values: Sequence[Any] = ()
    """Text of the server, ``None`` for NULL; or JSON values."""
    fault: str = ""
    """Why there are none to compare."""
    of: int | None = None
    """How many objects were asked, or counted from; ``None``: it was no question about objects."""


def judge(assertion: Assertion, answer: Answer) -> AssertionOutcome:
    """Whether the assertion holds. Every value must be what is expected, and without one only ``nothing`` is met."""
    values = answer.values
    wrong = [value for value in values if not _is_met(assertion, value)]
    if answer.fault:
        holds, found = False, answer.fault
    elif assertion.nothing:
        holds, found = not values, "something" if values else "nothing"
    elif not values:
        holds, found = False, "nothing"
    elif wrong:
        holds, found = False, shown(wrong[0])
        if len(values) > 1:
            found += f" ({len(wrong)} of {len(values)} values are not what is expected)"
    else:
        holds, found = True, shown(values[0]) if len(values) == 1 else f"{len(values)} values, each as expected"
    if answer.of is not None and not answer.fault:
        found += f"{' at the path' if assertion.path and not values else ''} (of {answer.of} objects)"
    return AssertionOutcome(assertion.name, assertion.source, holds, assertion.expected, found)


def _is_met(assertion: Assertion, value: Any) -> bool:
    if assertion.equals is not None:
        return _equal(assertion.equals, value)
    number = _number(value)
    if number is None:
        return False
    least, most = assertion.at_least, assertion.at_most
    return (least is None or number >= Decimal(str(least))) and (most is None or number <= Decimal(str(most)))


def _equal(expected: str | float, value: Any) -> bool:
    if isinstance(expected, bool):
        return value is expected or (isinstance(value, str) and value in (("t", "true") if expected else ("f", "false")))
    if isinstance(expected, str):
        return isinstance(value, str) and value == expected
    number = _number(value)
    return number is not None and number == Decimal(str(expected))


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        number = Decimal(str(value))
    except (InvalidOperation, ValueError):
        return None
    return None if number.is_nan() else number


def shown(value: Any) -> str:
    """A value for a report: its beginning, should it be long."""
    if value is None:
        return "NULL"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
