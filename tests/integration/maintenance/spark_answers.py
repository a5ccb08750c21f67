"""Run by a Python that has PySpark and nothing of ours: answers of Spark over one Delta table.

    python spark_answers.py TABLE < questions.json > answers.json

Questions are statements, each with the table and the moment that it asks about; an answer is a list of rows. Times are texts in UTC.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pyspark.sql import SparkSession  # type: ignore[import-not-found, unused-ignore]

DELTA = "io.delta:delta-spark_4.1_2.13:4.4.0"
SETTINGS = {
    "spark.jars.packages": DELTA,
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
}


def main(table: str) -> None:
    """Answer what stands on standard input."""
    builder: Any = SparkSession.builder.master("local[2]")
    for name, value in SETTINGS.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    session.read.format("delta").load(table).cache().createOrReplaceTempView("history")
    session.sql("DECLARE wanted STRING")
    session.sql("DECLARE moment TIMESTAMP")
    answers = []
    for sql, wanted, moment in json.load(sys.stdin):
        # Delta's parser loses parameters of statements.
        session.sql(f"SET VAR wanted = decode(X'{wanted.encode().hex()}', 'UTF-8')")
        session.sql(f"SET VAR moment = TIMESTAMP '{moment}'")
        answers.append([list(row) for row in session.sql(sql).collect()])
    json.dump(answers, sys.stdout, default=str)
    session.stop()


if __name__ == "__main__":
    main(sys.argv[1])
