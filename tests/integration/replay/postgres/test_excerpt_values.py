"""Values of every kind of type go through an excerpt unchanged: into a schema here, into one elsewhere, and through a script."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.replay.postgres.arrange import ask, run
from tests.integration.replay.postgres.excerpts import beside, merge, psql, restored
from tests.integration.replay.postgres.test_restore_partial import recorded
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.postgres(18)

VALUES = {
    "label": ("label", "(ARRAY['a b', 'c\"d', 'x,y'])[1 + g % 3]::label"),
    "id": ("uuid", "gen_random_uuid()"),
    "named": ("named", "E'k\\n\\t\\\\''\"' || g"),
    "n": ("numeric", "CASE g % 9 WHEN 0 THEN 'NaN' ELSE (random() * 1e20)::numeric / 7 END"),
    "f4": ("float4", "random()"),
    "f8": ("float8", "CASE g % 5 WHEN 0 THEN 'NaN' WHEN 1 THEN '-Infinity' ELSE random() * 1e-300 END"),
    "m": ("money", "(random() * 1000)::numeric::money"),
    "iv": ("interval", "make_interval(secs => random() * 1e6) - interval '3 months'"),
    "ts": ("timestamp", "now()::timestamp - random() * interval '100000 days'"),
    "tz": ("timestamptz(3)", "CASE g % 7 WHEN 0 THEN 'infinity' ELSE now() END"),
    "tt": ("timetz", "now()::timetz"),
    "d": ("date", "'now'::date - g * 20000"),
    "i": ("inet", "'::1/64'"),
    "mac": ("macaddr", "'08:00:2b:01:02:03'"),
    "j": ("json", """'{"a":  1, "a": "\\u00e9"}'"""),
    "jb": ("jsonb", "jsonb_build_object('q', E'\"\\\\')"),
    "b": ("bytea", "decode(md5(g::text), 'hex')"),
    "vb": ("varbit", "'10101'"),
    "ch": ("char(4)", "'ab'"),
    "c1": ('"char"', "'z'"),
    "r": ("regclass", "'pg_class'"),
    "co": ("couple", "ROW(E'q\"\\\\,()', ARRAY[1, NULL], 'c\"d')::couple"),
    "cs": ("couple[]", "ARRAY[ROW('x y', '{}', 'x,y')::couple, NULL]"),
    "pa": ("pair", "ROW(ROW(NULL, NULL, NULL)::couple, '')::pair"),
    "ls": ("label[]", "ARRAY['a b', 'c\"d']::label[]"),
    "rg": ("int4range", "int4range(g, g + 5)"),
    "tr": ("tstzrange", "tstzrange(now(), NULL)"),
    "mr": ("int4multirange", "'{[1,3),[5,9)}'"),
    "tv": ("tsvector", "to_tsvector('the quick ''brown'' fox')"),
    "po": ("polygon", "'((0,0),(1,1),(2,0))'"),
    "lsn": ("pg_lsn", "'16/B374D848'"),
    "é\u202e": ("text", "E'\u202e\\r\\n' || repeat('é', g)"),
}
"""By column its type, and what makes a value of number g."""
TYPES = """
CREATE TYPE label AS ENUM ('a b', 'c"d', 'x,y');
CREATE TYPE couple AS (a text, b int[], e label);
CREATE TYPE pair AS (c couple, d text);
CREATE DOMAIN named AS text CHECK (VALUE <> 'bad');
"""
COLUMNS = ", ".join(f'"{name}"' for name in VALUES)
TEXTS = ", ".join(f'"{name}"::text' for name in VALUES)
MADE = ", ".join(f'"{name}" {kind}' for name, (kind, _) in VALUES.items())
FILL = f"INSERT INTO t ({COLUMNS}) SELECT {', '.join(value for _, value in VALUES.values())} FROM generate_series(1, MANY) g"
TABLE = f"CREATE TABLE t ({MADE}, PRIMARY KEY (label, id, named))"


async def test_values_of_every_kind(postgres: PostgresServer, database: str, target_database: str, tmp_path: Path) -> None:
    """Where types are not there, or are domains, by the text that they print; in the live table as they were."""
    file, before = tmp_path / "merge.sql", f"{TYPES}{TABLE}; {FILL.replace('MANY', '100')}"
    rows = f"SELECT array_agg(ROW({TEXTS})::text ORDER BY id) FROM {{}}"
    async with recorded(database, before, "UPDATE t SET n = n + 1 WHERE f4 < 0.3") as (made, _):
        then = ask(database, rows.format("t"))
        run(
            database,
            "DELETE FROM t WHERE f4 < 0.2",
            "UPDATE t SET n = NULL, j = NULL, pa = NULL, tz = now(), r = 't' WHERE f4 > 0.8",
            "UPDATE t SET named = 'moved' || named WHERE f4 BETWEEN 0.4 AND 0.5",
            FILL.replace("MANY", "20"),
        )
        await restored(made, database, excerpt=merge("t", file))
        for target in (database, target_database):
            await restored(made, target, excerpt=beside("t"))
    done = psql(postgres, database, file)
    assert done.returncode == 0, done.stderr
    assert ask(database, rows.format("t")) == then
    assert ask(database, rows.format("restored.t")) == then
    assert ask(target_database, rows.format("restored.t")) == then
