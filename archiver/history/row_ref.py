"""Which row is asked about."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from archiver.errors import Invalid
from archiver.postgres.table_names import parse_table


class RowRef(msgspec.Struct, frozen=True):
    """One row: a table, and values of columns that identify it, as PostgreSQL prints them."""

    schema: str
    table: str
    key: dict[str, str]

    @classmethod
    def parse(cls, table: str, key: Sequence[str]) -> RowRef:
        """``public.runs`` (quoted where PostgreSQL needs it; without schema: public) and ``column=value`` texts. Raises ``Invalid``."""
        schema, name = parse_table(table)
        pairs = [text.partition("=") for text in key]
        if not pairs or not all(sign and name for name, sign, _ in pairs):
            raise Invalid("a row is named by column=value for each column of its key", hint="for example --key id=5")
        return cls(schema, name, {column: value for column, _, value in pairs})

    def __str__(self) -> str:
        return f"{self.schema}.{self.table} {', '.join(f'{column}={value}' for column, value in self.key.items())}"

    @property
    def bytes(self) -> dict[str, bytes]:
        """The key as the journal has it."""
        return {column: value.encode("utf-8", "surrogateescape") for column, value in self.key.items()}

    def names(self, schema: str, table: str) -> bool:
        """Whether this is the row's table."""
        return (schema, table) == (self.schema, self.table)
