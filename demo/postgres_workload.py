"""Agents at work: threads that start, advance and finish runs, one short transaction after the other."""

from __future__ import annotations

import json
import random
import threading
import time

import psycopg

_THREADS = 2
_PAUSE_SECONDS = 0.004


class Workload:
    """Threads that work between ``go`` and ``hold``. An error in one of them is raised by the next ``hold`` or ``go``."""

    def __init__(self, dsn: str) -> None:
        self.commits = 0
        self.costs = False
        """Whether ``runs.cost`` and ``budgets`` exist yet."""
        self._dsn = dsn
        self._going = threading.Event()
        self._ended = False
        self._locks = [threading.Lock() for _ in range(_THREADS)]
        self._error: BaseException | None = None
        self._threads = [threading.Thread(target=self._work, args=(number,), daemon=True) for number in range(_THREADS)]

    def go(self) -> None:
        """Work until ``hold``."""
        self._raise()
        self._going.set()
        for thread in self._threads:
            if not thread.is_alive():
                thread.start()

    def hold(self) -> None:
        """Return once no transaction is open; none begins before ``go``."""
        self._going.clear()
        for lock in self._locks:
            with lock:
                pass
        self._raise()

    def close(self) -> None:
        """End the threads."""
        self._ended = True
        self._going.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(10)

    def _raise(self) -> None:
        if self._error:
            raise self._error

    def _work(self, number: int) -> None:
        chance = random.Random(number)
        try:
            with psycopg.connect(self._dsn) as connection:
                while not self._ended:
                    self._going.wait()
                    with self._locks[number]:
                        if self._going.is_set() and not self._ended:
                            self._transaction(connection, chance)
                            self.commits += 1
                    time.sleep(_PAUSE_SECONDS)
        except BaseException as error:  # noqa: BLE001 -- it is raised where somebody waits
            self._error = error

    def _transaction(self, connection: psycopg.Connection, chance: random.Random) -> None:
        with connection.transaction():
            kind = chance.random()
            if kind < 0.4:
                self._begin_run(connection, chance)
            elif kind < 0.9:
                self._advance_run(connection, chance)
            elif kind < 0.96:
                connection.execute("DELETE FROM run_events WHERE run_id = %s", [chance.randint(1, 5000)])
            else:
                text = json.dumps({"seen": chance.random(), "path": "C:\\temp\ttab"})
                connection.execute(
                    "INSERT INTO memories (agent_id, content, embedding) SELECT id, %s, array_fill(%s::real, ARRAY[256])::vector"
                    " FROM agents ORDER BY random() LIMIT 1",
                    [text, chance.random()],
                )

    def _begin_run(self, connection: psycopg.Connection, chance: random.Random) -> None:
        parameters = json.dumps({"issue": chance.randint(1, 10**6), "labels": ["bug", "née", None], "depth": {"n": chance.random()}})
        connection.execute(
            "INSERT INTO runs (agent_id, parameters, delivery, embedding)"
            " SELECT id, %s, nextval('deliveries'), array_fill(%s::real, ARRAY[16])::vector FROM agents WHERE name = %s",
            [parameters, chance.random(), f"agent-{chance.randint(1, 25)}"],
        )

    def _advance_run(self, connection: psycopg.Connection, chance: random.Random) -> None:
        """Take any open run, so that two threads never wait for each other's."""
        row = connection.execute(
            "SELECT id, state::text FROM runs WHERE state IN ('queued', 'running') ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"
        ).fetchone()
        if row is None:
            return
        run, state = row
        if state == "queued":
            connection.execute("UPDATE runs SET state = 'running' WHERE id = %s", [run])
            connection.execute(
                "INSERT INTO run_events SELECT %s, n, jsonb_build_object('at', clock_timestamp(), 'line', repeat('log ', 20))"
                " FROM generate_series(1, %s) n",
                [run, chance.randint(1, 5)],
            )
            return
        result = json.dumps({"summary": "x" * chance.randint(10, 4000), "ok": chance.random() < 0.9})
        connection.execute("UPDATE runs SET state = 'succeeded', result = %s, finished_at = now() WHERE id = %s", [result, run])
        if self.costs:
            cost = round(chance.random(), 6)
            connection.execute("UPDATE runs SET cost = %s WHERE id = %s", [cost, run])
            connection.execute(
                "UPDATE budgets b SET spent = spent + %s FROM runs r WHERE r.id = %s AND b.agent_id = r.agent_id", [cost, run]
            )
