-- Rows that change in every way, with identities of every kind.
CREATE TABLE fat (id int PRIMARY KEY, big text, small int);
ALTER TABLE fat ALTER big SET STORAGE EXTERNAL;
INSERT INTO fat SELECT g, repeat(md5(g::text), 2000), g FROM generate_series(1, 30) g;
UPDATE fat SET small = small + 1 WHERE id % 3 = 0;
UPDATE fat SET id = id + 100 WHERE id % 5 = 0;
UPDATE fat SET big = big || 'x' WHERE id = 1;
CREATE TABLE identity_full (a int, j json, big text);
ALTER TABLE identity_full REPLICA IDENTITY FULL;
INSERT INTO identity_full SELECT g % 4, '{"k": 1}', repeat(md5('same'), 200) FROM generate_series(1, 12) g;
UPDATE identity_full SET a = 9 WHERE ctid = (SELECT min(ctid) FROM identity_full WHERE a = 1);
DELETE FROM identity_full WHERE ctid = (SELECT max(ctid) FROM identity_full WHERE a = 2);
CREATE TABLE identity_index (k1 text NOT NULL, k2 int NOT NULL, v text);
CREATE UNIQUE INDEX identity_index_key ON identity_index (k2, k1);
ALTER TABLE identity_index REPLICA IDENTITY USING INDEX identity_index_key;
INSERT INTO identity_index SELECT 'k' || g, g % 3, 'v' FROM generate_series(1, 20) g;
UPDATE identity_index SET k1 = k1 || '''', v = NULL WHERE k2 = 1;
CREATE TABLE keyless (a int, b text);
INSERT INTO keyless SELECT g, 'b' FROM generate_series(1, 20) g;
INSERT INTO keyless SELECT g, 'b' FROM generate_series(1, 5) g;
CREATE TABLE copied (id int PRIMARY KEY, t text, n numeric);
COPY copied FROM STDIN;
1	tab\tand ; semicolon	1.50
2	\N	\N
3	back\\slash \\. "quotes" 'single'	-0.0
\.
COPY copied (id, t) FROM STDIN WITH (FORMAT csv, NULL 'nil');
4,"a ""quoted""
line"
5,nil
\.
BEGIN;
INSERT INTO copied SELECT g, repeat('x', 1000), g FROM generate_series(1000, 9000) g;
SAVEPOINT one;
UPDATE copied SET t = 'rolled back' WHERE id > 8000;
DELETE FROM copied WHERE id < 1010;
ROLLBACK TO one;
SAVEPOINT two;
UPDATE copied SET t = 'kept' WHERE id > 8990;
RELEASE two;
COMMIT;
BEGIN;
INSERT INTO copied VALUES (6, 'never', 0);
ROLLBACK;
DO $$ BEGIN FOR i IN 1..30 LOOP BEGIN INSERT INTO copied VALUES (20000 + i, 'sub', i); IF i % 3 = 0 THEN RAISE 'no'; END IF; EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END $$;
BEGIN;
INSERT INTO copied VALUES (30000, 'prepared', 1);
PREPARE TRANSACTION 'fidelity';
INSERT INTO copied VALUES (30001, 'beside it', 1);
UPDATE copied SET n = n + 1 WHERE id < 1500;
COMMIT PREPARED 'fidelity';
INSERT INTO copied VALUES (1, 'again', 2) ON CONFLICT (id) DO UPDATE SET t = EXCLUDED.t;
MERGE INTO copied c USING (VALUES (2, 'm'), (7, 'm')) s (id, t) ON c.id = s.id WHEN MATCHED THEN UPDATE SET t = s.t WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.t, 0);
CREATE TABLE emptied (id serial PRIMARY KEY, parent int);
CREATE TABLE emptied_too (id int PRIMARY KEY REFERENCES emptied);
INSERT INTO emptied (parent) SELECT g FROM generate_series(1, 30) g;
INSERT INTO emptied_too SELECT id FROM emptied WHERE id % 2 = 0;
TRUNCATE emptied RESTART IDENTITY CASCADE;
INSERT INTO emptied (parent) VALUES (1), (2);
TRUNCATE events_2025;
TRUNCATE ONLY parent;
INSERT INTO parent VALUES (4, 'after truncate');
UPDATE events SET kind = 'it''s bad' WHERE at >= '2026-03-01Z' AND at < '2026-04-01Z';
UPDATE everything SET pl.street = 'changed', ia[1] = 77, jb = jb || '{"new": true}' WHERE id = 7;
DELETE FROM everything WHERE id = 10;
UPDATE everything SET id = DEFAULT WHERE id = 13;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN NEW.v := coalesce(NEW.v, 'stamped; by $$ trigger'); RETURN NEW; END $f$;
CREATE TRIGGER stamped BEFORE INSERT OR UPDATE OF v ON identity_index FOR EACH ROW WHEN (NEW.v IS DISTINCT FROM 'plain') EXECUTE FUNCTION stamp();
INSERT INTO identity_index VALUES ('trigger', 50, NULL), ('plain', 51, 'plain');
ALTER TABLE identity_index DISABLE TRIGGER stamped;
INSERT INTO identity_index VALUES ('disabled', 52, NULL);
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON fat DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
DROP TRIGGER late ON fat;
UPDATE old SET v = 'changed' WHERE id < 20;
DELETE FROM old WHERE id > 1990;
INSERT INTO old_keyless VALUES (77, 'new');
UPDATE old_keyless SET b = 'changed' WHERE a = 3;
DELETE FROM old_keyless WHERE a = 4;
UPDATE old_parts SET k = 'a' WHERE n = 50;
SELECT nextval('old_free');
