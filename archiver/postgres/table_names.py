"""A table as people name it in a command. Pure."""

from __future__ import annotations

import re

from archiver.errors import Invalid

_PART = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')


def parse_table(text: str) -> tuple[str, str]:
    """Schema and name of ``public.runs`` (quoted where PostgreSQL needs it; without schema: public). Raises ``Invalid``."""
    parts = [match[1].replace('""', '"') if match[1] else match[2] for match in _PART.finditer(text)]
    if not 1 <= len(parts) <= 2:
        raise Invalid(f"{text!r} does not name a table", hint="write schema.table, for example public.runs")
    return (parts[0], parts[1]) if len(parts) == 2 else ("public", parts[0])
