"""Few keys, much moving: the same changes in batches of any size, merged in any grouping, are the same changes."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from archiver.replay.postgres.decode.relations import Layout
from archiver.replay.postgres.fold.keyed_stage import KeyedStage
from archiver.replay.postgres.fold.passes import CopyText
from archiver.replay.postgres.fold.row_messages import Changes
from tests.unit.replay.postgres import wire

LAYOUT = Layout(3, (1, 2, 3), (0, 1, 2), "key", (1,), (0,))
KEYS = [b"a", b"b", b"c", b"d"]


def changes(messages: list[bytes]) -> Changes:
    """Bodies behind type byte and oid."""
    bodies = [message[5:] for message in messages]
    types = np.frombuffer(b"".join(message[:1] for message in messages), np.uint8)
    return Changes(types, np.frombuffer(b"".join(bodies), np.uint8), np.cumsum([0, *map(len, bodies)]))


def schedule(random: Random, rows: dict[bytes, list[bytes]], count: int) -> list[bytes]:
    """Valid changes of ``rows``, which they change; most updates know half of a row."""
    messages = []
    for number in range(count):
        taken, free = list(rows), [key for key in KEYS if key not in rows]
        what = random.choice(["insert", "update", "move", "move", "delete"])
        if what == "insert" and free:
            key = random.choice(free)
            rows[key] = [b"i%d" % number, b"j%d" % number]
            messages.append(wire.insert(1, [key, *rows[key]]))
        elif taken and what in ("update", "move"):
            key = random.choice(taken)
            values = list(rows[key])
            cells: list[wire.Cell] = [wire.UNCHANGED, wire.UNCHANGED]
            for place in (0, 1):
                if random.random() < 0.4:
                    values[place] = cells[place] = b"u%d" % number
            new = random.choice(free) if free and what == "move" else key
            del rows[key]
            rows[new] = values
            messages.append(wire.update(1, [new, *cells], None if new == key else [key, None, None]))
        elif taken and what == "delete":
            key = random.choice(taken)
            del rows[key]
            messages.append(wire.delete(1, [key, None, None]))
    return messages


@given(random=st.randoms(use_true_random=False), count=st.integers(0, 14), compact=st.sampled_from([1, 3, 100]))
def test_batches_and_groupings_do_not_matter(random: Random, count: int, compact: int) -> None:
    """Whatever the batches, a stage turns the rows before into the rows after."""
    rows = {key: [b"x" + key, b"y" + key] for key in KEYS if random.random() < 0.6}
    before = [b"%s\t%s\t%s\n" % (key, *values) for key, values in rows.items()]
    messages = schedule(random, rows, count)
    stage = KeyedStage(LAYOUT, {}, compact)
    while messages:
        size = random.choice([1, 1, 2, 5])
        stage.add(changes(messages[:size]), LAYOUT)
        messages = messages[size:]
    found = b""
    output = stage.run() if stage._parts else None
    if output is None:
        found = b"".join(before)
    else:
        for part in (before[:2], before[2:]):
            texts = output.part(CopyText((1, 2, 3), np.frombuffer(b"".join(part), np.uint8))) if part else []
            found += b"".join(text.text.tobytes() for text in texts)
        found += b"".join(text.text.tobytes() for text in output.rest())
        assert output.contradictions == 0
    assert sorted(found.splitlines(keepends=True)) == sorted(b"%s\t%s\t%s\n" % (key, *values) for key, values in rows.items())
