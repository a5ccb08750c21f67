"""Parameters that a target does not know are taken out of lists, and nothing else is touched."""

from __future__ import annotations

import pytest

from archiver.replay.postgres.write.unknown_parameters import without_parameter

_SAYS = 'unrecognized parameter "pg_attver"'


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (b"CREATE TABLE t (a int);\nALTER TABLE ONLY t ALTER COLUMN a SET (pg_attver=3);\n", b"CREATE TABLE t (a int);\n"),
        (b"ALTER TABLE t ALTER COLUMN a SET (n_distinct=5, pg_attver=3);\n", b"ALTER TABLE t ALTER COLUMN a SET (n_distinct=5);\n"),
        (b"CREATE TABLE t (a int)\nWITH (pg_attver='1');\n", b"CREATE TABLE t (a int)\n;\n"),
        (
            b"CREATE INDEX i ON t USING btree (a) WITH (fillfactor='70', pg_attver='1');\n",
            b"CREATE INDEX i ON t USING btree (a) WITH (fillfactor='70');\n",
        ),
    ],
)
def test_it_is_left_out(sql: bytes, expected: bytes) -> None:
    """With the statement, where that set nothing else."""
    assert without_parameter("INDEX", sql, _SAYS) == (expected, "pg_attver")


def test_nothing_else_is_touched() -> None:
    """Not what other lists hold, nor what a function's body says, nor where the server names nothing."""
    sql = b"CREATE TABLE t (a int)\nWITH (fillfactor='70', xpg_attver='1');\n"
    assert without_parameter("TABLE", sql, _SAYS) == (b"", "")
    assert without_parameter("FUNCTION", b"ALTER TABLE t SET (pg_attver=1);\n", _SAYS) == (b"", "")
    assert without_parameter("TABLE", sql, "something else") == (b"", "")
