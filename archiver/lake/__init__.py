"""lake: the changes of a source as Parquet files with a Delta log, for our own questions and for others' engines."""
