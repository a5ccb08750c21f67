-- What the server computes while it makes tables, with functions of others; names that nobody wrote; what 18 brought.
CREATE SCHEMA computed AUTHORIZATION fidelity_owner;
SET ROLE fidelity_owner;
CREATE FUNCTION computed.one("a b" int, t text DEFAULT E'it\'s \\') RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN 1; END $$;
CREATE OPERATOR computed.@@@ (FUNCTION = int4pl, LEFTARG = int, RIGHTARG = int);
CREATE TABLE computed.g (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id + computed.one(1, 'x')) STORED);
INSERT INTO computed.g SELECT generate_series(1, 20);
CREATE TABLE computed.keyed (id int, v int, w int GENERATED ALWAYS AS (v OPERATOR(computed.@@@) 2) STORED) PARTITION BY RANGE ((id + computed.one(1)), (v OPERATOR(computed.@@@) 1));
CREATE TABLE computed.keyed_low PARTITION OF computed.keyed FOR VALUES FROM (MINVALUE, MINVALUE) TO (10, 0);
CREATE TABLE computed.keyed_rest PARTITION OF computed.keyed DEFAULT PARTITION BY LIST ((computed.one(v)));
CREATE TABLE computed.keyed_rest_1 PARTITION OF computed.keyed_rest FOR VALUES IN (1);
INSERT INTO computed.keyed SELECT g, g FROM generate_series(1, 30) g;
CREATE FUNCTION computed.stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER stamped BEFORE INSERT ON computed.keyed FOR EACH ROW EXECUTE FUNCTION computed.stamp();
CREATE INDEX ON computed.keyed (v);
ALTER TABLE computed.keyed_low REPLICA IDENTITY FULL;
UPDATE computed.keyed SET v = v + 1 WHERE id < 4;
UPDATE computed.g SET id = id + 100 WHERE id > 15;
RESET ROLE;
CREATE TABLE computed.root (id int PRIMARY KEY, v text NOT NULL) PARTITION BY RANGE (id);
CREATE TABLE computed."A" PARTITION OF computed.root FOR VALUES FROM (0) TO (10);
CREATE TABLE computed.b PARTITION OF computed.root FOR VALUES FROM (10) TO (20);
INSERT INTO computed.root SELECT g, 'v' FROM generate_series(1, 19) g;
ALTER TABLE computed.root DETACH PARTITION computed."A";
DELETE FROM computed."A" WHERE id > 5;
CREATE TABLE computed.renamed (id int PRIMARY KEY);
ALTER TABLE computed.renamed RENAME TO "before";
CREATE TABLE computed.renamed (id int PRIMARY KEY);
CREATE TABLE computed."line
; \! x" ("	tab
" int PRIMARY KEY, "\." text, "\N" text, "{0}%s$1" int DEFAULT 5);
INSERT INTO computed."line
; \! x" SELECT g, '\.', E'\\N\n' FROM generate_series(1, 9) g;
UPDATE computed."line
; \! x" SET "\." = E'\\.\n' WHERE "	tab
" < 4;
COMMENT ON TABLE computed."line
; \! x" IS E'x\n--\n-- Name: y; Type: TABLE; Schema: z; Owner: o\n--\n\\.\n';
SELECT current_setting('server_version_num')::int >= 180000 AS eighteen \gset
\if :eighteen
CREATE TABLE computed.virtual (id int PRIMARY KEY, a int, v int GENERATED ALWAYS AS (a * 2) VIRTUAL, s int GENERATED ALWAYS AS (a + 1) STORED);
INSERT INTO computed.virtual (id, a) SELECT g, g FROM generate_series(1, 20) g;
UPDATE computed.virtual SET a = a + 100 WHERE id < 5;
ALTER TABLE computed.virtual ADD COLUMN z int GENERATED ALWAYS AS (id * id);
DELETE FROM computed.virtual WHERE id = 9;
\endif
\if :eighteen
CREATE TABLE computed.temporal (id int4range, during daterange, v text, PRIMARY KEY (during, id WITHOUT OVERLAPS));
INSERT INTO computed.temporal SELECT int4range(g, g + 1), '[2020-01-01,2021-01-01)', 'v' FROM generate_series(1, 9) g;
UPDATE computed.temporal SET v = 'u' WHERE id @> 3;
CREATE TABLE computed.loose (id int PRIMARY KEY, a int, b int, CONSTRAINT a_there NOT NULL a, CONSTRAINT large CHECK (a > 100) NOT ENFORCED);
INSERT INTO computed.loose VALUES (1, 1, NULL), (2, 2, NULL);
ALTER TABLE computed.loose ADD CONSTRAINT b_there NOT NULL b NOT VALID;
INSERT INTO computed.loose VALUES (3, 3, 3);
\endif
