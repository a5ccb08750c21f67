"""Which relations a source is about, by name; a pure decision."""

from __future__ import annotations

import re
from collections.abc import Sequence


class Scope:
    """Captured schemas, and tables that are left out."""

    def __init__(self, schemas: Sequence[str] = (), exclude_tables: Sequence[str] = ()) -> None:
        """No ``schemas``: every one but the system's. ``exclude_tables``: ``schema.table``; ``*`` is anything within a part."""
        self.schemas = tuple(schemas)
        self._excluded = [re.compile(r"[^.]*".join(re.escape(piece) for piece in text.split("*")), re.DOTALL) for text in exclude_tables]

    def covers_schema(self, schema: str) -> bool:
        """Whether objects of ``schema`` are captured."""
        if schema == "information_schema" or schema.startswith("pg_"):
            return False
        return not self.schemas or schema in self.schemas

    def covers(self, schema: str, name: str) -> bool:
        """Whether rows of this table are captured, as far as its name decides it."""
        return self.covers_schema(schema) and not any(pattern.fullmatch(f"{schema}.{name}") for pattern in self._excluded)
