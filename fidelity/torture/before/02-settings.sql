-- Settings of the database that change how values are written: every session that does not say otherwise has them.
DO $$ BEGIN
  EXECUTE format('ALTER DATABASE %I SET datestyle = ''SQL, DMY''', current_database());
  EXECUTE format('ALTER DATABASE %I SET intervalstyle = sql_standard', current_database());
  EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Kathmandu''', current_database());
  EXECUTE format('ALTER DATABASE %I SET extra_float_digits = 0', current_database());
  EXECUTE format('ALTER DATABASE %I SET bytea_output = escape', current_database());
  EXECUTE format('ALTER DATABASE %I SET search_path = nowhere, public', current_database());
  EXECUTE format('ALTER DATABASE %I SET statement_timeout = ''60s''', current_database());
  EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database());
  EXECUTE format('ALTER DATABASE %I SET xmloption = document', current_database());
END $$;
