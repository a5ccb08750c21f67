"""DuckDB in a folder of its own: tables are put in, then it is locked, then one question is asked."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archiver import disk
from archiver.errors import Invalid
from archiver.history.sql.column_types import TEXT
from archiver.history.sql.named_tables import KnownTable, quoted

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MEMORY = "1GiB"
"""Of the engine; what it does not hold goes to the folder."""
_CLOSED = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}


class Engine:
    """One question's engine. Reads no file but its own, loads nothing, and asks nobody."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self._connection, self._folder = connection, folder
        self._paths: dict[str, None] = {}
        self._sources: set[str] = set()

    def names(self, question: str) -> set[str]:
        """The tables that it names. ``Invalid`` unless it is one SELECT."""
        import duckdb

        try:
            statements = duckdb.extract_statements(question)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise Invalid("only one SELECT can be asked", hint="it reads what was, and changes nothing")
            return set(self._connection.get_table_names(question, qualified=True))
        except duckdb.Error as error:
            raise Invalid(f"the question cannot be read: {_said(error)}") from None

    @contextmanager
    def table(self, table: KnownTable, columns: Sequence[str], types: Sequence[str]) -> Iterator[_Filling]:
        """A new table, to be filled with text; with its types where all values have them, once it is full.

        ``Invalid`` where the engine does not take it: there, names differ in more than the case of letters.
        """
        import duckdb

        try:
            filling = self._made(table, columns)
            yield filling
            self._typed(table, columns, types, filling)
        except duckdb.Error as error:
            raise Invalid(f"{table.quoted} cannot be put into DuckDB: {_said(error)}") from None

    def _made(self, table: KnownTable, columns: Sequence[str]) -> _Filling:
        if table.source not in self._sources:
            file = self._folder / f"{len(self._sources)}.duckdb"
            self._connection.execute(f"ATTACH '{file}' AS {quoted(table.source)}")
            self._sources.add(table.source)
        self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(table.source)}.{quoted(table.schema)}")
        self._paths[f"{table.source}.{table.schema}"] = None
        self._connection.execute(f"CREATE TABLE {table.quoted} ({', '.join(f'{quoted(column)} {TEXT}' for column in columns)})")
        return _Filling(self._connection, table)

    def _typed(self, table: KnownTable, columns: Sequence[str], types: Sequence[str], filling: _Filling) -> None:
        for column, wanted in zip(columns, types, strict=True):
            if wanted != TEXT and not filling.has(column, wanted):
                filling.left.append(column)
        for column, wanted in zip(columns, types, strict=True):
            if wanted != TEXT and column not in filling.left:
                self._connection.execute(f"ALTER TABLE {table.quoted} ALTER {quoted(column)} TYPE {wanted}")

    def ask(self, question: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """Titles and rows of the answer. From here on nothing can be put in. ``Invalid`` for what the engine refuses."""
        import duckdb

        try:
            if self._paths:
                path = ",".join(".".join(map(quoted, name.split(".", 1))) for name in self._paths).replace("'", "''")
                self._connection.execute(f"SET search_path = '{path}'")
            self._connection.execute("SET enable_external_access = false")
            self._connection.execute("SET lock_configuration = true")
            answer = self._connection.execute(question)
        except duckdb.Error as error:
            raise Invalid(f"the question cannot be answered: {_said(error)}") from None
        return [column[0] for column in answer.description or []], _rows(answer)


class _Filling:
    """A table that is being filled."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, table: KnownTable) -> None:
        self._connection, self._table = connection, table
        self.left: list[str] = []
        """Columns that stay text, for a value that the engine's type does not have."""

    def add(self, rows: pa.Table) -> None:
        """Texts, null for NULL, in the columns' order."""
        self._connection.register("staged", rows)
        self._connection.execute(f"INSERT INTO {self._table.quoted} SELECT * FROM staged")
        self._connection.unregister("staged")

    def has(self, column: str, wanted: str) -> bool:
        """Whether every value has that type."""
        name = quoted(column)
        found = self._connection.execute(
            f"SELECT 1 FROM {self._table.quoted} WHERE {name} IS NOT NULL AND TRY_CAST({name} AS {wanted}) IS NULL LIMIT 1"
        )
        return found.fetchone() is None


@contextmanager
def opened_engine() -> Iterator[Engine]:
    """An engine, whose folder goes with it. ``Invalid`` where DuckDB is not installed."""
    try:
        import duckdb
    except ImportError:
        raise Invalid("DuckDB is not installed here", hint="pip install 'change-capture-archiver[sql]'") from None
    doing = "keep what the question is about (TMPDIR names another place)"
    with disk.errors(doing, disk.temporary_folder()), tempfile.TemporaryDirectory(prefix="archiver-sql-") as name:
        connection = duckdb.connect(":memory:", config={**_CLOSED, "memory_limit": MEMORY, "temp_directory": f"{name}/spilled"})
        try:
            yield Engine(connection, Path(name))
        finally:
            connection.close()


def _rows(answer: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    import duckdb

    try:
        while rows := answer.fetchmany(1000):
            yield from rows
    except duckdb.Error as error:
        raise Invalid(f"the question cannot be answered: {_said(error)}") from None


def _said(error: Exception) -> str:
    return str(error).partition("\n")[0]
