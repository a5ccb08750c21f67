"""Two states of an object as if the same had been cut from both: when the settings change, the object does not. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from archiver.kubernetes.redaction_mark import ANY, EVERYTHING, REDACTED, Parts, parts_of, redacted_paths

Document = dict[str, Any]


def equally_redacted(one: Document, other: Document) -> tuple[Document, Document, list[str]]:
    """Both without what was cut from either, where their marks differ, and the paths left out so; ``*``: nothing of one is known, and
    nothing is left of either.
    """
    marks = redacted_paths(one), redacted_paths(other)
    if marks[0] == marks[1]:
        return one, other, []
    paths = sorted({*marks[0], *marks[1]})
    if EVERYTHING in paths:
        return {}, {}, [EVERYTHING]
    parts = [("metadata", REDACTED), *map(parts_of, paths)]
    return _without(one, parts), _without(other, parts), paths


def _without(value: Any, paths: Sequence[Parts]) -> Any:
    """As capture cuts: ``UNSET`` where nothing is left."""
    if not paths:
        return value
    if not all(paths) or isinstance(value, msgspec.Raw):
        return UNSET
    if isinstance(value, dict):
        left = {name: _without(below, [parts[1:] for parts in paths if parts[0] in (name, ANY)]) for name, below in value.items()}
        return {name: below for name, below in left.items() if below is not UNSET}
    if isinstance(value, list):
        inside = [parts[1:] for parts in paths if parts[0] == ANY]
        through = [parts for parts in paths if parts[0] != ANY]
        found = [_without(each, [*inside, *([()] if through and isinstance(each, list) else through)]) for each in value]
        return [each for each in found if each is not UNSET]
    return value
