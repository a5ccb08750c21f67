"""The rows of many tables after an entry of the journal, as counts and digests: one statement for every engine. Pure.

A table's digest is a sum over its cells: each column's value of each row, with the row's key. It does not depend on the order of rows, and
parts of a table can be summed apart. It finds what went wrong; it is no seal against somebody who looks for another state of the same sum.

What the statement reads: ``history``, records as history files have them, and ``wanted``, the columns (``relation``, ``title``) to compare.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from archiver.lake.columns import EMPTIES

_EMPTIES = ", ".join(f"'{each}'" for each in EMPTIES)


class Dialect(NamedTuple):
    """What two engines write in different ways."""

    members: Callable[[str], str]
    """A table that has a column ``row``, a JSON object of texts -> the same, a line for each member: ``title`` and ``told``."""
    number: Callable[[str], str]
    """15 hex digits -> their number, in a type that holds the sum of as many as there are cells."""


DUCKDB = Dialect(
    lambda table: f"SELECT {table}.*, each.key AS title, each.value ->> '$' AS told FROM {table}, json_each({table}.row) AS each",
    lambda digits: f"CAST('0x' || {digits} AS HUGEINT)",
)
SPARK = Dialect(
    lambda table: (
        f"SELECT {table}.*, each.title, each.told FROM {table} "
        f"LATERAL VIEW explode(from_json({table}.row, 'MAP<STRING, STRING>')) each AS title, told"
    ),
    lambda digits: f"CAST(conv({digits}, 16, 10) AS DECIMAL(20, 0))",
)


class TableDigest(NamedTuple):
    """Of the rows that were looked at."""

    rows: int
    cells: int
    first: int
    second: int

    def plus(self, other: TableDigest) -> TableDigest:
        """Of both together: rows of one table that have different keys, or of a table without one."""
        return TableDigest(*(one + two for one, two in zip(self, other, strict=True)))


NONE = TableDigest(0, 0, 0, 0)


class Sample(NamedTuple):
    """Which keys are looked at: those whose hash leaves ``turn`` when it is divided by ``of``."""

    of: int = 1
    turn: int = 0


def statement(dialect: Dialect, entry: int, sample: Sample) -> str:
    """``relation``, ``matched``, ``cells``, ``first``, ``second`` of each table with rows after ``entry``, as ``TableDigest``."""
    cell = "md5(concat(cells.key, chr(31), cells.title, chr(31), CASE WHEN told IS NULL THEN 'n' ELSE concat('v', told) END))"
    chosen = f"mod({dialect.number('substr(md5(key), 1, 15)')}, {sample.of:d}) = {sample.turn:d}" if sample.of > 1 else "1 = 1"
    return f"""
WITH until AS (
    SELECT relation, key, position, operation, weight, row, unchanged FROM history
    WHERE commit_entry <= {entry:d} AND relation IN (SELECT relation FROM wanted) AND (key = '' OR {chosen})
), emptied AS (
    SELECT relation, max(position) AS position FROM until WHERE operation IN ({_EMPTIES}) GROUP BY relation
), life AS (
    SELECT until.* FROM until LEFT JOIN emptied ON until.relation = emptied.relation
    WHERE until.key <> '' AND until.position > coalesce(emptied.position, '')
), living AS (
    SELECT relation, key, sum(weight) AS many FROM life GROUP BY relation, key HAVING sum(weight) > 0
), told_of AS (
    SELECT life.relation, life.key, life.position, living.many, life.row, life.unchanged,
           row_number() OVER (PARTITION BY life.relation, life.key ORDER BY life.position DESC) AS age
    FROM life JOIN living ON life.relation = living.relation AND life.key = living.key WHERE life.weight >= 0
), whole AS (
    SELECT relation, key, position, many, row FROM told_of WHERE age = 1 AND unchanged IS NULL
), ended AS (
    SELECT relation, key, max(position) AS position FROM life WHERE weight < 0 GROUP BY relation, key
), pieced AS (
    SELECT told_of.relation, told_of.key, told_of.position, told_of.many, told_of.row FROM told_of
    JOIN (SELECT relation, key FROM told_of WHERE age = 1 AND unchanged IS NOT NULL) AS lacking
      ON told_of.relation = lacking.relation AND told_of.key = lacking.key
    LEFT JOIN ended ON told_of.relation = ended.relation AND told_of.key = ended.key
    WHERE told_of.position > coalesce(ended.position, '')
), members AS (
    {dialect.members("pieced")}
), aged AS (
    SELECT relation, key, many, title, told,
           row_number() OVER (PARTITION BY relation, key, title ORDER BY position DESC) AS age FROM members
), cells AS (
    SELECT relation, key, many, title, told FROM ({dialect.members("whole")}) AS simple
    UNION ALL SELECT relation, key, many, title, told FROM aged WHERE age = 1
), hashed AS (
    SELECT cells.relation, cells.many, {cell} AS hash
    FROM cells JOIN wanted ON cells.relation = wanted.relation AND cells.title = wanted.title
), summed AS (
    SELECT relation, sum(many) AS cells, sum(many * {dialect.number("substr(hash, 1, 15)")}) AS first,
           sum(many * {dialect.number("substr(hash, 16, 15)")}) AS second
    FROM hashed GROUP BY relation
), counted AS (
    SELECT relation, sum(many) AS matched FROM living GROUP BY relation
)
SELECT counted.relation, counted.matched, coalesce(summed.cells, 0), coalesce(summed.first, 0), coalesce(summed.second, 0)
FROM counted LEFT JOIN summed ON counted.relation = summed.relation
"""
