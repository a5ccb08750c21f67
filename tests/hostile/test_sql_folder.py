"""SQL that people run with psql: nothing that came from a source, or from a journal that was rewritten, commands psql itself."""

from __future__ import annotations

import dataclasses
import subprocess
import uuid
from pathlib import Path

import pytest
from psycopg import sql

from archiver.journal.reader import Reader
from archiver.postgres.records import Table
from archiver.replay.postgres.plan.plan import LeftOutItem
from archiver.replay.postgres.restore import restore_to_folder
from archiver.replay.postgres.write import dump_script, plan_records, to_folder
from archiver.replay.postgres.write.dump_script import Script
from archiver.replay.postgres.write.left_out_file import LeftOutFile
from tests.integration.capture.postgres.rig import capture
from tests.integration.replay.postgres.arrange import ask, baseline, caught_up, plan, run
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.postgres(15, 18)


def psql(postgres: PostgresServer, dsn: str, file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([postgres.bin / "psql", "-X", "-q", "-d", dsn, "-f", file], capture_output=True, text=True, check=False)


def evil(word: str, tmp_path: Path) -> str:
    return f"x\n\\! touch {tmp_path}/pwned-{word}\n"


async def test_names_and_rows_command_nothing(postgres: PostgresServer, database: str, target_database: str, tmp_path: Path) -> None:
    """Names, labels, defaults, comments and rows that hold backslash commands come back as they were, and nothing ran."""
    made = {word: sql.Identifier(evil(word, Path("/tmp"))[:60]) for word in ("schema", "table", "column", "sequence", "view", "type")}
    text = sql.Literal(evil("text", tmp_path))
    statements = [
        sql.SQL("CREATE SCHEMA {schema}"),
        sql.SQL("CREATE TABLE {schema}.{table} ({column} int PRIMARY KEY, v text)"),
        sql.SQL("CREATE SEQUENCE {sequence}"),
        sql.SQL("CREATE MATERIALIZED VIEW {view} AS SELECT 1 AS a"),
        sql.SQL("CREATE TYPE {type} AS ENUM ({label})"),
        sql.SQL("CREATE TABLE d (id int PRIMARY KEY, v text DEFAULT {text})"),
        sql.SQL("COMMENT ON TABLE d IS {text}"),
        sql.SQL("CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT '\n\\unrestrict x\n\\! touch PWNED\n' $$"),
        sql.SQL("INSERT INTO d VALUES (1, {text}), (2, E'\\\\.\\n\\\\! touch PWNED\\n'), (3, '\\.')"),
    ]
    run(
        database,
        *(each.format(text=text, label=sql.Literal(evil("label", Path("/tmp"))[:60]), **made).as_string(None) for each in statements),
    )
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}") as captured:
        await baseline(captured)
        planned = await plan(captured, await caught_up(captured, database))
        await restore_to_folder(planned, Reader(captured.store), captured.store, tmp_path / "folder")
    done = psql(postgres, target_database, tmp_path / "folder/restore.sql")
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob("pwned*"))
    rows = "SELECT md5(string_agg(id || v, ',' ORDER BY id)) FROM d"
    assert ask(database, rows) == ask(target_database, rows)
    files = [file for file in (tmp_path / "folder").rglob("*.sql") if file.name != "restore.sql"]
    for file in files:
        lines = file.read_text().splitlines()
        assert lines[0].split()[0] == "\\restrict"
        assert lines[-1] == lines[0].replace("\\restrict", "\\unrestrict")
    assert len({file.read_text().splitlines()[0] for file in files}) == len(files)


@pytest.mark.parametrize("part", ["pre", "post", "last", "view"])
async def test_a_forged_journal_commands_nothing(
    postgres: PostgresServer, database: str, target_database: str, tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever rewrites a dump or a catalog in the bucket gets SQL, and no shell."""
    run(database, "CREATE TABLE d (id int PRIMARY KEY)")
    forged = f"SELECT 1;\n\\! touch {tmp_path}/pwned\n\\unrestrict 0\n\\o |touch {tmp_path}/pwned2\n"
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}") as captured:
        await baseline(captured)
        planned = await plan(captured, await caught_up(captured, database))
        original, gathered = dump_script.script_of, plan_records.gather

        async def script_of(*arguments: object, **more: object) -> Script:
            script = await original(*arguments, **more)  # type: ignore[arg-type]
            return script if part == "view" else dataclasses.replace(script, **{part: getattr(script, part) + forged.encode()})

        async def gather(*arguments: object) -> object:
            material = await gathered(*arguments)  # type: ignore[arg-type]
            if part == "view":
                material.schema.catalog.materialized.append(f"v;\n{forged}")
            return material

        monkeypatch.setattr(to_folder, "script_of", script_of)
        monkeypatch.setattr(to_folder, "gather", gather)
        await restore_to_folder(planned, Reader(captured.store), captured.store, tmp_path / "folder")
    done = psql(postgres, target_database, tmp_path / "folder/restore.sql")
    assert "restricted" in done.stderr
    assert not list(tmp_path.glob("pwned*"))


def test_a_file_of_what_is_left_out_commands_nothing(postgres: PostgresServer, database: str, tmp_path: Path) -> None:
    """Its items and rows are the source's, too."""
    forged = f"SELECT 1;\n\\! touch {tmp_path}/pwned\n"
    left = LeftOutFile(tmp_path, f"db\n\\! touch {tmp_path}/pwned2\n")
    file = left.rows(Table(1, 'a"\n\\! true', "t", "r", "p", "d", 0, "key", [], []), ['c"\n'])
    file.write(b"\\\\! touch x\n")
    item = LeftOutItem(f"TABLE x\n\\! touch {tmp_path}/pwned3", f"why\r\\! touch {tmp_path}/pwned4", forged, 0)
    written = left.write(f"title\n\\! touch {tmp_path}/pwned5", [item], [item], [item])
    left.close()
    done = psql(postgres, database, Path(written))
    assert "restricted" in done.stderr
    assert not list(tmp_path.glob("pwned*"))
