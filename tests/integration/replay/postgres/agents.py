"""A database with one of everything that a restore must bring back, and statements that change it."""

SCHEMA = """
CREATE SCHEMA "odd Schema";
CREATE TYPE mood AS ENUM ('fine', 'bad day', 'it''s');
CREATE TYPE pair AS (left_side int, right_side text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE SEQUENCE deliveries INCREMENT 5 START 100;
CREATE SEQUENCE unused;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.touched := coalesce(OLD.touched, 0) + 1;
    RETURN NEW;
END $$;
CREATE TABLE agents (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text NOT NULL UNIQUE, spec jsonb, m mood DEFAULT 'fine', p pair, n positive);
CREATE TABLE runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agent_id uuid REFERENCES agents ON DELETE CASCADE,
    state text NOT NULL DEFAULT 'new' CHECK (state <> ''),
    result text, big text, tags text[], raw bytea, at timestamptz DEFAULT now(), amount numeric(12, 4), ratio float8,
    delivery bigint DEFAULT nextval('deliveries'), touched int,
    words int GENERATED ALWAYS AS (length(coalesce(result, ''))) STORED);
ALTER TABLE runs ALTER big SET STORAGE EXTERNAL;
CREATE TRIGGER runs_touch BEFORE UPDATE ON runs FOR EACH ROW EXECUTE FUNCTION touch();
CREATE INDEX runs_state ON runs (state, at DESC) WHERE state <> 'done';
CREATE INDEX agents_spec ON agents USING gin (spec);
CREATE TABLE "odd Schema"."odd ""table" ("Key 1" text, k2 int, "select" text, PRIMARY KEY (k2, "Key 1"));
CREATE TABLE events (run_id bigint NOT NULL, n int NOT NULL, body text, PRIMARY KEY (run_id, n)) PARTITION BY RANGE (run_id);
CREATE TABLE events_low PARTITION OF events FOR VALUES FROM (MINVALUE) TO (50);
CREATE TABLE events_high PARTITION OF events FOR VALUES FROM (50) TO (MAXVALUE);
CREATE TABLE ledger (who text, what text, amount int);
ALTER TABLE ledger REPLICA IDENTITY FULL;
CREATE TABLE lines (line text, n serial);
CREATE TABLE parent (id int PRIMARY KEY, note text);
CREATE TABLE child (extra text, PRIMARY KEY (id)) INHERITS (parent);
CREATE UNLOGGED TABLE cache (id int PRIMARY KEY, body text);
CREATE TABLE nothing ();
CREATE VIEW open_runs AS SELECT r.id, a.name FROM runs r LEFT JOIN agents a ON a.id = r.agent_id WHERE r.state = 'new';
CREATE MATERIALIZED VIEW per_state AS SELECT state, count(*) AS n FROM runs GROUP BY state;
CREATE UNIQUE INDEX per_state_key ON per_state (state);
CREATE MATERIALIZED VIEW never_filled AS SELECT 1 AS one WITH NO DATA;
COMMENT ON TABLE runs IS 'what ran; it''s all here';
ALTER TABLE runs ADD CONSTRAINT runs_amount CHECK (amount < 1000000) NOT VALID;
"""

FILL = r"""
INSERT INTO agents (name, spec, p, n) SELECT 'agent ' || g, jsonb_build_object('n', g, 'text', E'tab\t "quote" \\ é'), (g, 'x,y"z')::pair, g
    FROM generate_series(1, 20) g;
INSERT INTO runs (agent_id, state, result, big, tags, raw, amount, ratio)
    SELECT a.id, CASE WHEN g % 3 = 0 THEN 'done' ELSE 'new' END, CASE WHEN g % 5 > 0 THEN E'line\none\t' || g END, repeat(md5(g::text), 100),
        ARRAY['a', NULL, 'c,"d"'], decode(md5(g::text), 'hex'), g / 7.0, 1.0 / (g + 2)
    FROM generate_series(1, 100) g JOIN agents a ON a.name = 'agent ' || (1 + g % 20);
INSERT INTO "odd Schema"."odd ""table" SELECT E'k\\' || g, g % 4, NULL FROM generate_series(1, 30) g;
INSERT INTO events SELECT r, n, 'body ' || r FROM generate_series(1, 100) r, generate_series(1, 2) n;
INSERT INTO ledger SELECT 'who' || g % 3, 'what', g % 2 FROM generate_series(1, 30) g;
INSERT INTO lines (line) SELECT 'line ' || g FROM generate_series(1, 10) g;
INSERT INTO parent SELECT g, 'parent' FROM generate_series(1, 5) g;
INSERT INTO child SELECT g, 'child', 'extra' FROM generate_series(6, 9) g;
INSERT INTO cache SELECT g, 'lost' FROM generate_series(1, 5) g;
INSERT INTO nothing DEFAULT VALUES;
REFRESH MATERIALIZED VIEW per_state;
"""

CHANGES = [
    "UPDATE runs SET state = 'failed', result = NULL WHERE id % 4 = 0",
    "UPDATE runs SET big = repeat('y', 9000) WHERE id = 7",
    "DELETE FROM agents WHERE name = 'agent 3'",
    'UPDATE "odd Schema"."odd ""table" SET k2 = k2 + 10, "select" = E\'new\\t\' WHERE k2 = 2',
    "UPDATE events SET run_id = run_id + 1000 WHERE run_id BETWEEN 10 AND 20 AND n = 1",
    "DELETE FROM ledger WHERE ctid IN (SELECT ctid FROM ledger WHERE who = 'who1' LIMIT 2)",
    "UPDATE ledger SET amount = amount + 5 WHERE who = 'who2'",
    "INSERT INTO lines (line) VALUES ('one more')",
    "BEGIN; INSERT INTO parent VALUES (100, 'x'); SAVEPOINT s; INSERT INTO parent VALUES (101, 'rolled back'); ROLLBACK TO s; COMMIT",
    "BEGIN; INSERT INTO parent VALUES (200, 'never'); ROLLBACK",
    "INSERT INTO agents (name, m) VALUES ('é € \U0001f600', 'it''s')",
    "UPDATE child SET extra = 'new' WHERE id = 7",
    "DELETE FROM child WHERE id = 8",
]
