-- Names that are hard in every place, and what is said and allowed of things of every kind.
DO $$ BEGIN CREATE ROLE "fidelity ""odd"" role"; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE fidelity_reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE fidelity_owner; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
CREATE SCHEMA "new
line; DROP SCHEMA public; -- ";
CREATE TABLE "new
line; DROP SCHEMA public; -- "."tab	and
\. ""quote"" 'x' \restrict" ("ключ" int CONSTRAINT "pk ""x""" PRIMARY KEY, "a
b" text DEFAULT E'\\.\n\\.\n', "пользователь" text, "😀" int);
INSERT INTO "new
line; DROP SCHEMA public; -- "."tab	and
\. ""quote"" 'x' \restrict" VALUES (1, E'\\.', NULL, 1), (2, DEFAULT, E'\n\\.\n', 2);
CREATE INDEX "идx ""y"" with a name that is so long that it is cut at 63 bytes, exactly" ON "new
line; DROP SCHEMA public; -- "."tab	and
\. ""quote"" 'x' \restrict" ("a
b");
UPDATE "new
line; DROP SCHEMA public; -- "."tab	and
\. ""quote"" 'x' \restrict" SET "😀" = 3, "a
b" = E'changed\n' WHERE "ключ" = 2;
CREATE SCHEMA "таблица_и_очень_длинное_имя_63_";
CREATE TABLE "таблица_и_очень_длинное_имя_63_"."таблица_и_очень_длинное_имя_63_" ("столбец_и_очень_длинное_имя_63_" serial PRIMARY KEY, "SELECT" int, "a.b" int, "$1" int, "%s" text, "\" text);
INSERT INTO "таблица_и_очень_длинное_имя_63_"."таблица_и_очень_длинное_имя_63_" ("SELECT", "%s") VALUES (1, '%'), (2, '%s %% \');
UPDATE "таблица_и_очень_длинное_имя_63_"."таблица_и_очень_длинное_имя_63_" SET "\" = '\' WHERE "SELECT" = 2;
ALTER TABLE "таблица_и_очень_длинное_имя_63_"."таблица_и_очень_длинное_имя_63_" OWNER TO "fidelity ""odd"" role";
CREATE SCHEMA things;
SET search_path = things, public;
CREATE FUNCTION tricky(a text DEFAULT E'$$;\n') RETURNS text LANGUAGE plpgsql AS $body$
BEGIN
  RETURN '
--
-- Name: forged; Type: TABLE; Schema: public; Owner: postgres
--

\restrict abc
SET transaction_timeout = 0;
SET default_tablespace = '''';
\unrestrict abc
\connect postgres
';
END
$body$;
CREATE TABLE fed (id int PRIMARY KEY, v text DEFAULT tricky());
INSERT INTO fed (id) VALUES (1);
CREATE DOMAIN amount AS numeric CONSTRAINT above CHECK (VALUE > 0);
CREATE TYPE shade AS ENUM ('a');
CREATE STATISTICS fed_stats ON (lower(v)), id FROM fed;
CREATE FUNCTION spoken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER speaking BEFORE UPDATE ON fed FOR EACH ROW EXECUTE FUNCTION spoken();
CREATE TABLE policed (id int PRIMARY KEY, who text DEFAULT current_user);
ALTER TABLE policed ENABLE ROW LEVEL SECURITY;
CREATE POLICY "p ""1""" ON policed FOR UPDATE TO "fidelity ""odd"" role", fidelity_reader USING (who = current_user) WITH CHECK (id > 0);
CREATE POLICY p2 ON policed FOR INSERT WITH CHECK (EXISTS (SELECT FROM fed WHERE fed.id = policed.id));
INSERT INTO policed VALUES (1), (2);
ALTER TABLE policed OWNER TO fidelity_owner;
ALTER TABLE policed FORCE ROW LEVEL SECURITY;
INSERT INTO policed VALUES (3, 'else');
UPDATE policed SET who = 'changed' WHERE id = 1;
CREATE FOREIGN DATA WRAPPER wrapper OPTIONS (debug 'true');
CREATE SERVER "far ""away""" TYPE 't''y' VERSION '1"2' FOREIGN DATA WRAPPER wrapper OPTIONS (host 'h', "odd opt" E'a\\b''c');
CREATE USER MAPPING FOR PUBLIC SERVER "far ""away""" OPTIONS (user 'u''s', password E'p\\w"d');
CREATE USER MAPPING FOR "fidelity ""odd"" role" SERVER "far ""away""";
CREATE FOREIGN TABLE foreign_one (id int OPTIONS (column_name 'x y') NOT NULL, v text COLLATE "C" DEFAULT 'd', CHECK (id > 0)) SERVER "far ""away""" OPTIONS (schema_name 's', table_name 't"t');
ALTER SERVER "far ""away""" OPTIONS (SET host 'other', DROP "odd opt", ADD port '5');
ALTER USER MAPPING FOR PUBLIC SERVER "far ""away""" OPTIONS (SET user 'v');
CREATE PUBLICATION "pub ""one""" FOR TABLE fed WHERE (id > 1), TABLES IN SCHEMA relations_too WITH (publish = 'insert, delete', publish_via_partition_root = true);
CREATE PUBLICATION pub_two FOR TABLE fed (id) WHERE (id > 1 AND length(v) > 1), policed WITH (publish = 'insert, truncate', publish_via_partition_root = true);
COMMENT ON PUBLICATION pub_two IS E'it''s\n"a comment"; DROP';
ALTER PUBLICATION pub_two OWNER TO fidelity_owner;
CREATE PUBLICATION pub_schema FOR TABLES IN SCHEMA things WITH (publish = 'insert');
COMMENT ON PUBLICATION pub_schema IS 'of a schema';
CREATE PUBLICATION pub_empty;
COMMENT ON PUBLICATION pub_empty IS 'to go';
COMMENT ON PUBLICATION pub_empty IS NULL;
CREATE SUBSCRIPTION "sub ""one""" CONNECTION 'host=nowhere dbname=x password=secret' PUBLICATION a, "b c" WITH (connect = false, enabled = false, slot_name = NONE, create_slot = false);
CREATE FUNCTION gtfun(int, int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 > $2';
CREATE OPERATOR >>> (LEFTARG = int, RIGHTARG = int, FUNCTION = gtfun, COMMUTATOR = <<<, RESTRICT = scalargtsel);
CREATE OPERATOR FAMILY many USING btree;
CREATE OPERATOR CLASS backwards FOR TYPE int USING btree FAMILY many AS OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 btint4cmp(int, int);
CREATE CONVERSION recoded FOR 'UTF8' TO 'LATIN1' FROM pg_catalog.utf8_to_iso8859_1;
CREATE TEXT SEARCH PARSER parsed (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype);
CREATE TEXT SEARCH TEMPLATE templated (LEXIZE = dsimple_lexize, INIT = dsimple_init);
CREATE TEXT SEARCH DICTIONARY dictated (TEMPLATE = templated, accept = 'false');
CREATE TEXT SEARCH CONFIGURATION configured (PARSER = parsed);
ALTER TEXT SEARCH CONFIGURATION configured ADD MAPPING FOR asciiword, word WITH dictated, simple;
CREATE TABLE searched (id int PRIMARY KEY, body text, v tsvector GENERATED ALWAYS AS (to_tsvector('things.configured', body)) STORED);
CREATE INDEX searched_v ON searched USING gin (v);
INSERT INTO searched (id, body) VALUES (1, 'Fat Cats'), (2, 'it''s "quoted"');
CREATE FUNCTION agg_step(numeric, VARIADIC int[]) RETURNS numeric LANGUAGE sql AS 'SELECT coalesce($1, 0) + $2[1]';
CREATE AGGREGATE summed (VARIADIC int[]) (SFUNC = agg_step, STYPE = numeric, MSFUNC = agg_step, MINVFUNC = agg_step, MSTYPE = numeric, PARALLEL = SAFE);
CREATE AGGREGATE hypo (float8 ORDER BY anyelement) (SFUNC = ordered_set_transition, STYPE = internal, FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA);
CREATE CAST (shade AS text) WITH INOUT AS ASSIGNMENT;
CREATE PROCEDURE does(IN a int, INOUT b text DEFAULT 'x') LANGUAGE sql SET work_mem = '1MB' SET search_path = things, "$user" AS 'SELECT $2';
CREATE FUNCTION windowed() RETURNS bigint LANGUAGE internal WINDOW AS 'window_row_number';
CREATE FUNCTION leaky(anyelement, OUT x int, OUT y anyarray) LANGUAGE sql COST 5 LEAKPROOF PARALLEL RESTRICTED STRICT AS $$ SELECT 1, ARRAY[$1] $$;
COMMENT ON SCHEMA things IS E'things\n-- Name: x; Type: y; Schema: z; Owner: w';
COMMENT ON DOMAIN amount IS 'domain'; COMMENT ON CONSTRAINT above ON DOMAIN amount IS 'domain''s'; COMMENT ON TYPE shade IS 'type';
COMMENT ON STATISTICS fed_stats IS 'statistics'; COMMENT ON TRIGGER speaking ON fed IS 'trigger'; COMMENT ON POLICY p2 ON policed IS 'policy';
COMMENT ON FOREIGN DATA WRAPPER wrapper IS 'wrapper'; COMMENT ON SERVER "far ""away""" IS 'server'; COMMENT ON FOREIGN TABLE foreign_one IS 'foreign';
COMMENT ON COLUMN foreign_one.id IS 'column'; COMMENT ON OPERATOR >>> (int, int) IS 'operator'; COMMENT ON OPERATOR CLASS backwards USING btree IS 'class';
COMMENT ON OPERATOR FAMILY many USING btree IS 'family'; COMMENT ON CONVERSION recoded IS 'conversion'; COMMENT ON TEXT SEARCH CONFIGURATION configured IS 'configuration';
COMMENT ON TEXT SEARCH DICTIONARY dictated IS 'dictionary'; COMMENT ON AGGREGATE summed (VARIADIC int[]) IS 'aggregate'; COMMENT ON CAST (shade AS text) IS 'cast';
COMMENT ON PROCEDURE does(int, text) IS 'procedure'; COMMENT ON INDEX searched_v IS 'index'; COMMENT ON CONSTRAINT fed_pkey ON fed IS 'constraint';
COMMENT ON EXTENSION plpgsql IS 'a comment of ours'; COMMENT ON LANGUAGE plpgsql IS 'language'; COMMENT ON SUBSCRIPTION "sub ""one""" IS 'subscription';
GRANT USAGE ON SCHEMA things TO fidelity_reader; GRANT USAGE ON TYPE shade TO fidelity_reader WITH GRANT OPTION; REVOKE USAGE ON DOMAIN amount FROM PUBLIC;
GRANT USAGE ON FOREIGN DATA WRAPPER wrapper TO fidelity_reader; GRANT USAGE ON FOREIGN SERVER "far ""away""" TO "fidelity ""odd"" role";
REVOKE EXECUTE ON PROCEDURE does(int, text) FROM PUBLIC; GRANT EXECUTE ON FUNCTION windowed() TO "fidelity ""odd"" role";
GRANT USAGE ON SCHEMA things TO fidelity_owner; GRANT SELECT ON fed TO fidelity_owner WITH GRANT OPTION; SET ROLE fidelity_owner; GRANT SELECT ON things.fed TO fidelity_reader; RESET ROLE;
REVOKE ALL ON searched FROM CURRENT_USER; GRANT INSERT (body), REFERENCES (id) ON searched TO PUBLIC; REVOKE USAGE ON LANGUAGE sql FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE fidelity_owner GRANT USAGE ON TYPES TO fidelity_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE fidelity_owner IN SCHEMA things GRANT ALL ON SEQUENCES TO "fidelity ""odd"" role" WITH GRANT OPTION;
CREATE FUNCTION watches() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO things.fed SELECT 100 + count(*), TG_TAG FROM things.fed; END $$;
CREATE EVENT TRIGGER "watch ""all""" ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'CREATE INDEX') EXECUTE FUNCTION watches();
ALTER EVENT TRIGGER "watch ""all""" ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER "watch ""all""" IS 'event trigger';
CREATE TABLE watched (id int PRIMARY KEY);
INSERT INTO watched VALUES (1);
CREATE INDEX watched_too ON watched (id);
REASSIGN OWNED BY "fidelity ""odd"" role" TO fidelity_owner;
DROP OWNED BY fidelity_reader;
DROP FUNCTION tricky CASCADE;
INSERT INTO fed VALUES (2, 'without default');
RESET search_path;
