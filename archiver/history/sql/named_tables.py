"""The tables that a question names -> those of the archive. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from archiver.errors import Invalid
from archiver.suggestions import meant as near_name

_SHOWN = 20

_PART = re.compile(r'"((?:[^"]|"")+)"|([^".\s]+)')


class KnownTable(NamedTuple):
    """What can be asked about: a table of a database, or the objects of one kind of a cluster."""

    source: str
    schema: str
    """Of a cluster's: ``main``."""
    name: str
    """Of a cluster's: the plural."""
    long_name: str = ""
    """Of a cluster's: ``plural.group``."""

    @property
    def quoted(self) -> str:
        """As SQL has it."""
        return ".".join(map(quoted, (self.source, self.schema, self.name)))

    @property
    def shown(self) -> tuple[str, str | None, str, str | None]:
        """Source, schema and name, by which it can be asked for, and of a cluster's, which has no schema, the kind."""
        return self.source, None if self.long_name else self.schema, self.name, self.long_name or None

    def is_named(self, parts: Sequence[str]) -> bool:
        """Whether these parts of a name mean it: ``table``, ``schema.table``, ``source.schema.table``; ``kind``, ``source.kind``."""
        *before, last = (part.lower() for part in parts)
        if last not in (self.name.lower(), self.long_name.lower()):
            return False
        places = [[], [self.source], [self.source, self.schema]] if self.long_name else [[], [self.schema], [self.source, self.schema]]
        return before in [[part.lower() for part in place] for place in places]


def quoted(name: str) -> str:
    """An identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def parts_of(name: str) -> list[str]:
    """``"a"."b.c" AS d`` -> a, b.c."""
    found, at = [], 0
    while match := _PART.match(name, at):
        found.append(match[1].replace('""', '"') if match[1] else match[2])
        at = match.end()
        if name[at : at + 1] != ".":
            break
        at += 1
    return found


def chosen(names: Iterable[str], known: Sequence[KnownTable]) -> list[KnownTable]:
    """Each table that one of ``names`` means, once. ``Invalid`` for a name that means none, or several."""
    found: dict[KnownTable, None] = {}
    for name in sorted(names):
        parts = parts_of(name)
        meant = [each for each in known if each.is_named(parts)]
        if len(meant) > 1 and len(parts) == 1:
            # As PostgreSQL: a name without a schema is one of public first.
            meant = [each for each in meant if each.schema == "public"] or meant
        if len(meant) > 1:
            raise Invalid(f"several sources have {'.'.join(parts)}", hint=f"name one: {', '.join(each.quoted for each in meant)}")
        if not meant:
            raise Invalid(f"there is no table or kind {'.'.join(parts)} at this point", hint=_there(parts[-1], known))
        found[meant[0]] = None
    return list(found)


def _there(wrong: str, known: Sequence[KnownTable]) -> str:
    """What there is, the nearest name first; tables before kinds."""
    names = [f"{each.schema}.{each.name}" for each in known if not each.long_name]
    names += [f"{each.source}.{each.name}" for each in known if each.long_name]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{near_name(wrong, (each.name for each in known))}there are: {', '.join(names[:_SHOWN]) or 'none'}{more}"
