"""Load on a database: transfers between accounts in transactions of changing size, some of them rolled back."""

from __future__ import annotations

import random

import psycopg

SCHEMA = """
CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL, note text, data jsonb DEFAULT '{}');
CREATE TABLE transfer (id bigserial PRIMARY KEY, source bigint REFERENCES account, target bigint REFERENCES account, amount bigint, at timestamptz DEFAULT now());
CREATE TABLE log (who text, what text);
ALTER TABLE log REPLICA IDENTITY FULL;
INSERT INTO account SELECT g, 1000, repeat('x', (g % 300)::int), jsonb_build_object('n', g) FROM generate_series(1, 200) g;
"""


def create_tables(dsn: str) -> None:
    """What ``Transfers`` works on."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(SCHEMA)


class Transfers:
    """``step`` is one transaction; ``pause`` the time to the next. For a ``Worker``; one connection, opened at the first step."""

    def __init__(self, dsn: str, seed: int) -> None:
        self._dsn, self._chance = dsn, random.Random(seed)
        self._connection: psycopg.Connection | None = None
        self.commits = 0

    def pause(self) -> float:
        return self._chance.random() * 0.01

    def step(self) -> None:
        connection = self._connection = self._connection or psycopg.connect(self._dsn)
        try:
            self._transaction(connection)
        except psycopg.errors.DeadlockDetected:
            # Two loads met: one more transaction that is rolled back.
            connection.rollback()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _transaction(self, connection: psycopg.Connection) -> None:
        chance = self._chance
        for _ in range(chance.choice([1, 1, 2, 5, 40])):
            low, high = sorted(chance.sample(range(1, 201), 2))
            amount = chance.randint(1, 50)
            connection.execute("UPDATE account SET balance = balance - %s WHERE id = %s", (amount, low))
            connection.execute("UPDATE account SET balance = balance + %s, note = left(note || 'é\t\\', 400) WHERE id = %s", (amount, high))
            connection.execute("INSERT INTO transfer (source, target, amount) VALUES (%s, %s, %s)", (low, high, amount))
            if chance.random() < 0.2:
                connection.execute("INSERT INTO log VALUES (%s, %s)", (str(low), "x" * chance.randint(0, 50)))
            if chance.random() < 0.1:
                connection.execute("DELETE FROM log WHERE who = %s", (str(high),))
        if chance.random() < 0.1:
            connection.rollback()
        else:
            connection.commit()
            self.commits += 1
