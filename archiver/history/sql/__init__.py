"""SQL over rows and objects as of a point: what a question names is brought back into DuckDB, and nothing else."""
