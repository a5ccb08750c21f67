"""Who computes the statement: DuckDB in this process, or Spark on a cluster that has the files in its reach."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from archiver import disk
from archiver.errors import Invalid, Unavailable
from archiver.maintenance.proof.statement import DUCKDB, SPARK, Sample, TableDigest, statement

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MEMORY = "256MiB"
"""Of DuckDB; what it does not hold goes to its folder."""
COLUMNS = ("relation", "key", "position", "commit_entry", "operation", "weight", "row", "unchanged")
"""Of records, that the statement reads."""
Wanted = Sequence[tuple[int, str]]
"""Relation and column."""


class DuckDigests:
    """DuckDB over records that are put in, in a folder of its own."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, wanted: Wanted, sample: Sample) -> None:
        self._connection, self._sample = connection, sample
        connection.execute("CREATE TABLE wanted (relation BIGINT, title VARCHAR)")
        if wanted:
            connection.executemany("INSERT INTO wanted VALUES (?, ?)", list(wanted))
        connection.execute(
            "CREATE TABLE history (relation BIGINT, key VARCHAR, position VARCHAR, commit_entry BIGINT, operation VARCHAR, weight BIGINT, "
            '"row" VARCHAR, unchanged VARCHAR[])'
        )

    def add(self, records: pa.Table) -> None:
        """Take records, which have ``COLUMNS``. Raises ``Unavailable`` when there is no room for them."""
        with _explained():
            self._connection.register("staged", records.select(COLUMNS))
            self._connection.execute("INSERT INTO history SELECT * FROM staged WHERE relation IN (SELECT relation FROM wanted)")
            self._connection.unregister("staged")

    def digests(self, entry: int) -> dict[int, TableDigest]:
        """Of every table that has rows after ``entry``; what was put in is gone afterwards."""
        with _explained():
            found = self._connection.execute(statement(DUCKDB, entry, self._sample)).fetchall()
            self._connection.execute("DELETE FROM history")
        return _digests(found)


@contextmanager
def duckdb_digests(wanted: Wanted, sample: Sample) -> Iterator[DuckDigests]:
    """DuckDB, whose folder goes with it. ``Invalid`` where it is not installed."""
    try:
        import duckdb
    except ImportError:
        raise Invalid("DuckDB is not installed here", hint="pip install 'change-capture-archiver[sql]'") from None
    doing = "keep what is compared (TMPDIR names another place)"
    with disk.errors(doing, disk.temporary_folder()), tempfile.TemporaryDirectory(prefix="archiver-proof-") as name:
        config = {"memory_limit": MEMORY, "temp_directory": f"{name}/spilled", "preserve_insertion_order": "false"}
        connection = duckdb.connect(f"{name}/records.duckdb", config={**config, "autoinstall_known_extensions": "false"})
        try:
            yield DuckDigests(connection, wanted, sample)
        finally:
            connection.close()


def spark_digests(master: str, paths: Sequence[str], wanted: Wanted, entry: int, sample: Sample) -> dict[int, TableDigest]:
    """Spark over the files at ``paths``, which its workers read themselves. ``master``: as Spark has it; empty: what its own settings say.

    ``Invalid`` where PySpark is not installed; ``Unavailable`` when it does not answer, or cannot read the files.
    """
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError:
        raise Invalid("PySpark is not installed here", hint="pip install 'change-capture-archiver[spark]'") from None
    if not paths:
        return {}
    builder: Any = SparkSession.builder.appName("archiver maintain --prove").config("spark.sql.session.timeZone", "UTC")
    if master.startswith("sc://"):
        builder = builder.remote(master)
    elif master:
        builder = builder.master(master)
    if master.startswith("local"):
        for name in ("spark.driver.bindAddress", "spark.driver.host"):
            builder = builder.config(name, "127.0.0.1")
        builder = builder.config("spark.ui.enabled", "false")
    try:
        session = builder.getOrCreate()
        try:
            # What the files bring, and nothing of their names.
            session.read.parquet(*paths).select(*COLUMNS).createOrReplaceTempView("history")
            session.createDataFrame(list(wanted), "relation BIGINT, title STRING").createOrReplaceTempView("wanted")
            return _digests(tuple(row) for row in session.sql(statement(SPARK, entry, sample)).collect())
        finally:
            session.stop()
    except (PySparkException, OSError, RuntimeError) as error:
        raise Unavailable(
            f"Spark cannot compare the history files: {type(error).__name__}: {str(error).partition(chr(10))[0][:300]}",
            hint="its workers read the archive themselves: they need its place and credentials, by Spark's own settings",
        ) from None


def spark_path(url: str, key: str) -> str:
    """Where Spark finds ``key`` of the archive at ``url``."""
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return f"s3a://{parts.netloc}/{parts.path.strip('/')}/{key}".replace("//", "/").replace("s3a:/", "s3a://", 1)
    if parts.scheme == "file":
        return (Path(unquote(parts.path)) / key).as_uri()
    raise Invalid("Spark reads archives in a folder or on S3", hint="use --engine duckdb")


def _digests(found: Iterable[tuple[Any, ...]]) -> dict[int, TableDigest]:
    return {int(relation): TableDigest(*map(int, counts)) for relation, *counts in found}


@contextmanager
def _explained() -> Iterator[None]:
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        said = str(error).partition("\n")[0][:300]
        raise Unavailable(
            f"DuckDB cannot compare: {type(error).__name__}: {said}", hint="see whether the temporary folder is full"
        ) from None
