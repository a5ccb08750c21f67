"""The database half: agents and their runs in PostgreSQL 18 with jsonb and pgvector."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from demo.half import Disaster, Fact, Facts, Question
from demo.postgres_workload import Workload
from tests.servers.postgres import PostgresServer

_SCHEMA = """
CREATE EXTENSION vector;
CREATE TYPE run_state AS ENUM ('queued', 'running', 'succeeded', 'failed');
CREATE TABLE agents (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text NOT NULL UNIQUE, config jsonb NOT NULL, created_at timestamptz DEFAULT now());
CREATE TABLE runs (
    id bigserial PRIMARY KEY, agent_id uuid NOT NULL REFERENCES agents, state run_state NOT NULL DEFAULT 'queued',
    parameters jsonb NOT NULL, result jsonb,
    embedding vector(16), delivery bigint, created_at timestamptz DEFAULT now(), finished_at timestamptz);
CREATE INDEX runs_open ON runs (agent_id) WHERE state IN ('queued', 'running');
CREATE TABLE run_events (run_id bigint REFERENCES runs ON DELETE CASCADE, number int, body jsonb NOT NULL, PRIMARY KEY (run_id, number));
CREATE TABLE memories (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, agent_id uuid REFERENCES agents, content text NOT NULL, embedding vector(256));
CREATE SEQUENCE deliveries;
"""

_SEED = """
INSERT INTO agents (name, config) SELECT 'agent-' || g, jsonb_build_object('model', 'm' || g % 3, 'limits', jsonb_build_object('runs', g))
    FROM generate_series(1, 25) g;
INSERT INTO runs (agent_id, state, parameters, result, embedding, delivery, finished_at)
    SELECT (SELECT id FROM agents WHERE name = 'agent-' || (1 + g % 25)), 'succeeded',
           jsonb_build_object('issue', g, 'text', repeat(md5(g::text), 8)), jsonb_build_object('summary', repeat(md5((-g)::text), 20)),
           (SELECT array_agg(random()::real) FROM generate_series(1, 16) WHERE g > 0)::vector,
           nextval('deliveries'), now() FROM generate_series(1, 5000) g;
INSERT INTO run_events SELECT r.id, n, jsonb_build_object('line', md5(r.id::text || n)) FROM runs r, generate_series(1, 3) n;
INSERT INTO memories (agent_id, content, embedding)
    SELECT (SELECT id FROM agents WHERE name = 'agent-' || (1 + g % 25)), repeat(md5(g::text), 5),
           (SELECT array_agg(random()::real) FROM generate_series(1, 256) WHERE g > 0)::vector FROM generate_series(1, 1000) g;
"""

_MIGRATION = [
    "ALTER TABLE runs ADD COLUMN cost numeric(12, 6) NOT NULL DEFAULT 0",
    "CREATE TABLE budgets (agent_id uuid PRIMARY KEY REFERENCES agents, spent numeric(14, 6) NOT NULL DEFAULT 0)",
    "INSERT INTO budgets (agent_id) SELECT id FROM agents",
]

_RUIN = [
    "UPDATE runs SET state = 'failed', result = NULL",
    "ALTER TABLE runs DROP COLUMN embedding",
    "DROP TABLE memories",
]


class Database:
    """See ``demo.half.Half``."""

    name = "agents-db"
    title = "PostgreSQL"

    def __init__(self) -> None:
        self._source: PostgresServer | None = None
        self._target: PostgresServer | None = None
        self._workload: Workload | None = None
        self._marker = 0
        self._evolved = False

    @property
    def changes(self) -> int:
        """Transactions committed by the workload so far."""
        return self._workload.commits if self._workload else 0

    def prepare(self) -> str:
        """Start the source and fill it."""
        self._source = PostgresServer.start(18, {"max_slot_wal_keep_size": "4GB"})
        self._source.execute("CREATE DATABASE agents")
        self._source.execute(_SCHEMA, _SEED, dbname="agents")
        self._workload = Workload(self._dsn)
        counted = ", ".join(f"{fact.note} in {name.partition(' ')[2]}" for name, fact in self.facts().items() if fact.note.endswith("rows"))
        return f"PostgreSQL {self._source.version} with pgvector; {counted}"

    def settings(self) -> dict[str, Any]:
        """A DSN and quick polls: the demo has no minutes to wait."""
        return {"postgres": {"dsn": self._dsn, "poll_seconds": 0.5}}

    def captured(self, status: dict[str, Any]) -> bool:
        """One line, with a checkpoint."""
        return any(line["name"] == self.name and line["checkpoint"] for line in status.get("sources", []))

    def start(self) -> None:
        """Let the workload run."""
        self._running_workload.go()

    def evolve(self) -> str:
        """An ordinary migration: a column, and a table with rows."""
        self._running_server.execute(*_MIGRATION, dbname="agents")
        self._running_workload.costs = True
        return "a migration adds a column and a table"

    def hold(self) -> None:
        """Wait for open transactions to end."""
        self._running_workload.hold()

    def facts(self) -> Facts:
        """Rows of each table in order, sequences, schema."""
        return facts(self._running_server, "agents")

    def durable(self, status: dict[str, Any]) -> bool:
        """Compare the journal's position with the server's."""
        with self._running_server.connect("agents") as connection:
            if not self._marker:
                self._marker = _number(connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone())
            line: dict[str, Any] = next((line for line in status.get("sources", []) if line["name"] == self.name), {})
            reached = connection.execute("SELECT %s::pg_lsn - '0/0'", [line.get("durable_position") or "0/0"]).fetchone()
            return _number(reached) >= self._marker

    def ruin(self) -> Disaster:
        """A migration that forgot its WHERE."""
        self._running_server.execute("BEGIN; " + "; ".join(_RUIN) + "; COMMIT", dbname="agents")
        return Disaster("a bad migration: UPDATE without WHERE, a column and a table dropped", _RUIN)

    def questions(self, point: str, folder: Path) -> list[Question]:  # noqa: ARG002 -- the protocol's
        """About the migration, one run, and the table that it dropped, which comes back beside the living ones."""
        beside = ["--into-schema", "restored", "--to", self._dsn, "--into-source"]
        kinds = ["--operation", "ddl", "--operation", "drop"]
        return [
            Question("which schema changes were made", ["log", "--source", self.name, *kinds, "--from", point]),
            Question("what became of one run", ["diff", "--table", "public.runs", "--key", "id=1", "--from", point], differs=True),
            Question(
                "the dropped table alone, beside the living ones",
                ["restore", "--at", point, "--source", self.name, "--table", "public.memories", *beside],
            ),
        ]

    def target(self) -> str:
        """A server of its own with nothing in it."""
        self._target = PostgresServer.start(18)
        self._target.execute("CREATE DATABASE fresh")
        return self._target.dsn("fresh")

    def restored(self) -> Facts:
        """The same facts at the fresh server."""
        assert self._target is not None
        return facts(self._target, "fresh")

    def accepts(self, name: str, noted: Fact, restored: Fact) -> bool:
        """A sequence may be ahead: it is not part of the stream, and no number may ever be handed out twice."""
        return name.startswith("sequence") and int(restored.value) >= int(noted.value)

    def close(self) -> None:
        """End workload and servers."""
        if self._workload:
            self._workload.close()
        for server in (self._source, self._target):
            if server:
                server.close()

    @property
    def _dsn(self) -> str:
        return self._running_server.dsn("agents")

    @property
    def _running_server(self) -> PostgresServer:
        assert self._source is not None
        return self._source

    @property
    def _running_workload(self) -> Workload:
        assert self._workload is not None
        return self._workload


def facts(server: PostgresServer, dbname: str) -> Facts:
    """What makes one database equal to another, asked of PostgreSQL itself: nothing of the product is used."""
    found: Facts = {}
    with server.connect(dbname) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").fetchall()
        for (table,) in tables:
            query = sql.SQL("SELECT count(*), md5(coalesce(string_agg(t::text, chr(10) ORDER BY t::text), '')) FROM {} t")
            count, digest = connection.execute(query.format(sql.Identifier(table))).fetchone() or (0, "")
            found[f"table {table}"] = Fact(digest, f"{count} rows")
        sequences = connection.execute(
            "SELECT sequencename, coalesce(last_value, 0) FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1"
        )
        for sequence, value in sequences.fetchall():
            found[f"sequence {sequence}"] = Fact(str(value))
    found["schema"] = Fact(_schema(server, dbname))
    return found


def _schema(server: PostgresServer, dbname: str) -> str:
    command = [str(server.bin / "pg_dump"), "--schema-only", "--schema=public", server.dsn(dbname)]
    dumped = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # Comments name the versions of server and client; \restrict carries a random word.
    kept = [line for line in dumped.splitlines() if line and not line.startswith(("--", "\\"))]
    with psycopg.connect(server.dsn(dbname)) as connection:
        row = connection.execute("SELECT md5(%s)", ["\n".join(kept)]).fetchone()
    assert row is not None
    return str(row[0])


def _number(row: tuple[Any, ...] | None) -> int:
    assert row is not None
    return int(row[0])
