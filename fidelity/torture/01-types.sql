-- Values of every kind, at their edges, in tables and columns whose names are hard.
CREATE SCHEMA "Ödd ""schema"". %s";
CREATE TYPE mood AS ENUM ('ok', 'it''s bad', 'ü', '');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN email AS text COLLATE "C" NOT NULL DEFAULT 'a@b' CHECK (VALUE ~ '@');
CREATE TYPE place AS (street text, at point, moods mood[]);
CREATE DOMAIN home AS place CHECK ((VALUE).street <> '');
CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE TABLE everything (
  id bigint GENERATED ALWAYS AS IDENTITY (START 7 INCREMENT 3) PRIMARY KEY,
  b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric, nn numeric(20, 5), m money, c char(7), v varchar(9), t text, nm name, bin bytea,
  d date, tm time, tmz time with time zone, ts timestamp, tsz timestamptz, iv interval, u uuid, j json, jb jsonb, ip inet, ci cidr, mac macaddr,
  bits bit(5), vb varbit, pt point, ln line, sg lseg, bx box, pa path, pg polygon, ck circle, tv tsvector, tq tsquery, ir int4range, nr numrange,
  dr tstzmultirange, sp span, oi oid, rc regclass, rt regtype, lsn pg_lsn, jp jsonpath, md mood, ps positive, em email, pl place, hm home,
  ia int[], ta text[][], ma mood[], pa2 place[], da positive[], low text GENERATED ALWAYS AS (lower(t)) STORED
);
INSERT INTO everything (b, i2, i4, i8, f4, f8, n, nn, m, c, v, t, nm, bin, d, tm, tmz, ts, tsz, iv, u, j, jb, ip, ci, mac, bits, vb, pt, ln, sg, bx, pa, pg,
  ck, tv, tq, ir, nr, dr, sp, oi, rc, rt, lsn, jp, md, ps, pl, hm, ia, ta, ma, pa2, da)
VALUES (true, -32768, 2147483647, -9223372036854775808, 'NaN', 0.1::float8 + 0.2, 'Infinity', 123456789012345.67891, -12.34, 'ab', 'x', E'tab\tnew\nline\\.\r',
  'n', '\x00ff5c', '0044-03-15 BC', '24:00', '23:59:59.999999-15:59', 'infinity', '-infinity', '-1 year 2 mons -3 days 04:05:06.789',
  'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": 1,  "a": 2}', '{"b": [null, 1e400, "\u00e9"]}', '::1/64', '10.0.0.0/8', '08:00:2b:01:02:03',
  B'10101', B'', '(1,-0)', '{1,2,3}', '[(0,0),(1,1)]', '(1,1),(0,0)', '[(0,0),(1,1)]', '((0,0),(1,1),(2,0))', '<(0,0),5>', 'fat:2A cat:1', 'fat & !cat', 'empty',
  '(,5]', '{[2020-01-01,2021-01-01),[2022-01-01,)}', '[1,2)', 4294967295, 'everything', 'mood[]', '16/B374D848', '$.a[*] ? (@ > 1)', 'it''s bad', 1,
  ROW('a "quoted", street', '(1,2)', '{ok,""}'), ROW('s', NULL, NULL), '[0:2]={1,NULL,3}', '{{a,"b,c"},{NULL,"NULL"}}', '{ok,NULL,"it''s bad"}',
  ARRAY[ROW('x', NULL, NULL)::place, NULL], '{1,2}'),
  (NULL, NULL, NULL, NULL, '-Infinity', '-0', 'NaN', NULL, NULL, NULL, '', E'\\N', NULL, '', 'infinity', NULL, NULL, '4714-11-24 00:00 BC', '294276-12-31 23:59Z', '0', NULL,
  'null', 'null', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '', '', '[1,1]', 'empty', '{}', 'empty', NULL, NULL, NULL, NULL, NULL, '', NULL,
  NULL, NULL, '{}', '{}', '{}', '{}', NULL);
INSERT INTO everything DEFAULT VALUES;
CREATE TABLE marked_up (id int PRIMARY KEY, x xml);
INSERT INTO marked_up VALUES (1, '<a>&amp;</a>');
UPDATE everything SET t = E'\u2028\U0001F600 e\u0301', md = 'ü', ia = ia || 4 WHERE id = 7;
CREATE TABLE "Ödd ""schema"". %s"."select ""from"" 'x'\ -- %I $1" ("a b" int PRIMARY KEY, "c""d" text DEFAULT 'it''s', "Ünï" mood, "x.y" int, "%" text);
INSERT INTO "Ödd ""schema"". %s"."select ""from"" 'x'\ -- %I $1" VALUES (1, E'\\', 'ok', 2, '%s'), (2, NULL, '', NULL, '');
CREATE TABLE a234567890123456789012345678901234567890123456789012345678901ü ("order" int PRIMARY KEY, "user" text);
INSERT INTO a234567890123456789012345678901234567890123456789012345678901ü VALUES (1, 'me');
CREATE TABLE no_columns ();
INSERT INTO no_columns DEFAULT VALUES;
INSERT INTO no_columns DEFAULT VALUES;
CREATE TABLE "Ödd ""schema"". %s".no_rows (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id * 2) STORED);
UPDATE "Ödd ""schema"". %s"."select ""from"" 'x'\ -- %I $1" SET "a b" = 3, "c""d" = 'new' WHERE "a b" = 2;
SELECT count(*) > 0 AS vector FROM pg_available_extensions WHERE name = 'vector' \gset
\if :vector
CREATE SCHEMA extensions;
CREATE EXTENSION vector SCHEMA extensions;
CREATE TABLE embedded (id int PRIMARY KEY, e extensions.vector(600), h extensions.halfvec(3));
INSERT INTO embedded SELECT g, array_fill(g / 7.0, ARRAY[600])::extensions.vector, '[1,2,3]' FROM generate_series(1, 50) g;
CREATE INDEX ON embedded USING hnsw (e extensions.vector_cosine_ops);
UPDATE embedded SET h = '[3,2,1]' WHERE id % 2 = 0;
\endif
