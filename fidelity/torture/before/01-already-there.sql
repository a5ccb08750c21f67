-- What a database holds when capture begins.
CREATE SCHEMA archiver;
CREATE TABLE archiver.settings (id int PRIMARY KEY, v text);
INSERT INTO archiver.settings VALUES (1, 'a schema of the user that is called as the product is');
CREATE TABLE old (id bigserial PRIMARY KEY, v text, big text);
INSERT INTO old (v, big) SELECT 'v' || g, repeat(md5(g::text), 300) FROM generate_series(1, 2000) g;
DELETE FROM old WHERE id % 10 = 0;
CREATE TABLE old_keyless (a int, b text);
INSERT INTO old_keyless SELECT g % 10, 'b' FROM generate_series(1, 100) g;
CREATE TABLE old_parts (k text, n int) PARTITION BY LIST (k);
CREATE TABLE old_part_a PARTITION OF old_parts FOR VALUES IN ('a');
CREATE TABLE old_part_rest PARTITION OF old_parts DEFAULT;
INSERT INTO old_parts SELECT CASE WHEN g % 3 = 0 THEN 'a' ELSE 'b' || g END, g FROM generate_series(1, 100) g;
CREATE MATERIALIZED VIEW old_count AS SELECT count(*) FROM old;
CREATE UNLOGGED TABLE old_unlogged (id int PRIMARY KEY);
INSERT INTO old_unlogged SELECT generate_series(1, 10);
CREATE SEQUENCE old_free START 100;
SELECT nextval('old_free'), nextval('old_free');
