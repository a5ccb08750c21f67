"""History files as others' engines read them: through the Delta log, with SQL that docs/howto/query-history.md gives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
from deltalake import DeltaTable

HOWTO = Path(__file__).parents[3] / "docs" / "howto" / "query-history.md"


def digest(rows: Iterable[Any]) -> str:
    """Of rows in any order."""
    return hashlib.sha256("\n".join(sorted(json.dumps(row, sort_keys=True) for row in rows)).encode()).hexdigest()


def statement(heading: str) -> str:
    """The SQL below a heading of the howto."""
    return HOWTO.read_text().split(f"## {heading}\n")[1].split("```sql\n")[1].split("```")[0]


@contextmanager
def asking(table: Path) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    """DuckDB over the files that the Delta log names now: called with a statement and its parameters it gives the answer."""
    files = [str(path) for path in files_of(table)]
    with duckdb.connect() as session:
        session.execute("CREATE TABLE history AS SELECT * FROM read_parquet(" + repr(files) + ")")
        yield lambda sql, **parameters: session.execute(sql, parameters).fetchall()


def query(table: Path, sql: str, **parameters: object) -> list[tuple[Any, ...]]:
    """One answer of DuckDB, over a dataset of ``deltalake`` as in the howto."""
    with duckdb.connect() as session:
        session.register("history", DeltaTable(table.as_uri()).to_pyarrow_dataset())
        return session.execute(sql, parameters).fetchall()


def files_of(table: Path) -> list[Path]:
    """The files of the newest version, by ``deltalake``."""
    return [Path(uri.removeprefix("file://")) for uri in DeltaTable(table.as_uri()).file_uris()]


def delta_rows(table: Path) -> list[dict[str, Any]]:
    """All records, by ``deltalake``."""
    found: list[dict[str, Any]] = DeltaTable(table.as_uri()).to_pyarrow_table().to_pylist()
    return found


def records(table: Path) -> list[dict[str, Any]]:
    """All records of the files as they are, whatever names them."""
    return [row for path in sorted(table.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
