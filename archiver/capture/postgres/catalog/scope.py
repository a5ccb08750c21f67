"""Which relations a source is about, by name; a pure decision."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from archiver.capture.postgres.catalog.redaction import Redaction

if TYPE_CHECKING:
    from archiver.capture.postgres.config import PostgresConfig


class Scope:
    """Captured schemas, tables that are left out, and columns."""

    def __init__(self, schemas: Sequence[str] = (), exclude_tables: Sequence[str] = (), redaction: Redaction | None = None) -> None:
        """No ``schemas``: every one but the system's. ``exclude_tables``: ``schema.table``; ``*`` is anything within a part."""
        self.schemas = tuple(schemas)
        self.redaction = redaction or Redaction()
        self._excluded = [re.compile(r"[^.]*".join(re.escape(piece) for piece in text.split("*")), re.DOTALL) for text in exclude_tables]

    @classmethod
    def of(cls, config: PostgresConfig, redaction: Redaction | None = None) -> Scope:
        """What ``config`` selects. ``redaction``: one of its lines that has hidden columns already; none has, if that is not given."""
        return cls(config.schemas, config.exclude_tables, redaction or Redaction(config.redact))

    def covers_schema(self, schema: str) -> bool:
        """Whether objects of ``schema`` are captured."""
        if schema == "information_schema" or schema.startswith("pg_"):
            return False
        return not self.schemas or schema in self.schemas

    def covers(self, schema: str, name: str) -> bool:
        """Whether rows of this table are captured, as far as its name decides it."""
        return self.covers_schema(schema) and not any(pattern.fullmatch(f"{schema}.{name}") for pattern in self._excluded)
