"""What the page may ask, from the text of a query. Pure: ``Invalid`` for anything else."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from archiver.errors import Invalid
from archiver.untrusted import Unreadable, decode_untrusted

_LONGEST = 4096
"""Characters of one value: a request's line has no more than twice as many bytes."""
_LONGEST_PATTERN = 300
"""It is compared with every key of a span."""
_LAST = 1 << 53
"""What a browser counts exactly."""


class SpanQuestion(msgspec.Struct, frozen=True):
    """A time, from ``since`` to before ``until``, microseconds; 0: as far as anything is known."""

    since: int
    until: int
    bars: int = 240
    source: str = ""
    table: str = ""
    kind: str = ""
    find: str = ""
    """In keys of rows, or namespaces and names of objects."""

    @property
    def patterns(self) -> frozenset[str]:
        """As ``archiver log --like`` takes it."""
        if not self.find:
            return frozenset()
        return frozenset((self.find if any(sign in self.find for sign in "*?[") else f"*{self.find}*",))


class SubjectQuestion(msgspec.Struct, frozen=True):
    """One row or one object."""

    source: str
    table: str = ""
    key: dict[str, str | None] = {}
    kind: str = ""
    namespace: str = ""
    name: str = ""
    at: int = 0
    """For a command: the entry."""


def span_question(query: Mapping[str, str]) -> SpanQuestion:
    """From ``since``, ``until``, ``bars``, ``source``, ``table``, ``kind``, ``find``."""
    asked = SpanQuestion(
        _number(query, "since", 0, _LAST),
        _number(query, "until", 0, _LAST),
        _number(query, "bars", 240, 500),
        **{name: _text(query, name) for name in ("source", "table", "kind")},
        find=_text(query, "find", _LONGEST_PATTERN),
    )
    if asked.bars < 1 or (asked.until and asked.until <= asked.since):
        raise Invalid("that span has no time in it", hint="until lies behind since")
    return asked


def subject_question(query: Mapping[str, str]) -> SubjectQuestion:
    """From ``source`` and ``table`` with ``key`` (JSON), or ``kind``, ``namespace``, ``name``; and ``at``."""
    key: dict[str, str | None] = {}
    if text := _text(query, "key"):
        try:
            key = decode_untrusted(text.encode("utf-8", "replace"), dict[str, str | None], most=4 * _LONGEST)
        except Unreadable:
            raise Invalid("key: that is no JSON object of texts") from None
    names = {name: _text(query, name) for name in ("source", "table", "kind", "namespace", "name")}
    if not names["source"] or bool(names["table"]) == bool(names["kind"]):
        raise Invalid("a row has source and table, an object source and kind")
    return SubjectQuestion(**names, key=key, at=_number(query, "at", 0, _LAST))


def _text(query: Mapping[str, str], name: str, longest: int = _LONGEST) -> str:
    value = query.get(name, "")
    if len(value) > longest:
        raise Invalid(f"{name}: it is too long to be asked about here", hint="ask on the command line")
    return value


def _number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 17) or int(text) > most:
        raise Invalid(f"{name}: found something else than a number up to {most}")
    return int(text)
