-- What the restore of db at latest left out
-- Mend what each reason names, then: psql -f left-out-db.sql

\set archiver_stop :ON_ERROR_STOP
\set ON_ERROR_STOP on
\restrict known
\unrestrict known
\set ON_ERROR_STOP :archiver_stop
\restrict 68402d7c1d1082a8f0afc0e317e404d3
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET check_function_bodies = off;
SET search_path = '';
SET datestyle = 'ISO, MDY';
SET intervalstyle = 'postgres';
SET lc_monetary = 'C';
SET timezone = 'UTC';

-- 1 rows of public.odd: the target refuses them: UndefinedObject (SQLSTATE 42704)
COPY "public"."odd" ("id", "a", "b", "c", "d", "e", "f", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t") FROM stdin;
1	hh_old=r/postgres	\\200	(1,2)	18446744073709551615	10:20:10,14	$12.34	$."a"[*]	101	1 2 3	1 2	c'x\\	n'\\n	'a' & 'b'	-10 mons -3 days +04:05:06.789	<(1,2),3>	0/FF	10.0.0.0/8	08:00:2b:01:02:03:04:05	12:00:00+05:30:15
\.

\unrestrict 68402d7c1d1082a8f0afc0e317e404d3
