"""How much memory a fold takes whose changed rows have no room in it."""

from __future__ import annotations

import subprocess
import sys

import pytest

_CHILD = """
import re, sys
from pathlib import Path
from archiver import memory
from archiver.journal.entry import Kind, Placed, Run
from archiver.postgres.records import Catalog, Column, Schema, Snapshot, Table, TableRows
from archiver.replay.postgres.fold.database import DatabaseFold
from archiver.replay.postgres.write.spill_file import SpillFile
from tests.unit.replay.postgres import wire

memory.give_back()
rows, identity, aside = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "aside"
columns = [Column(1, "id", "bigint", 20), Column(2, "v", "text", 25)]
mode = {"d": "key", "f": "full", "n": "insert"}[identity]
table = Table(1, "public", "t", "r", "p", identity, 1, mode, columns, [1] if mode == "key" else [])
schema = Schema("0/1", "1:1:", 0, "baseline", 160000, "", Catalog([table]))
base = rows // 4
fold = DatabaseFold([schema], spill=SpillFile() if aside else None)
fold.checkpoint(Snapshot("0/1", "1:1:", 0, 0, [TableRows(1, "public", "t", mode, ["id", "v"], [1, 2], [])]))

def row(number, version):
    return [b"%d" % number, b"%d-%d-" % (number, version) + b"x" * 2000]

def change(number):
    if number >= base or mode == "insert":
        return wire.insert(1, row(number, 1))
    return wire.update(1, row(number, 1), row(number, 0) if mode == "full" else None, full=mode == "full")

seq = lsn = 1
relation = wire.relation(1, "t", identity, [("id", 20, True), ("v", 25, mode == "full")])
for first in range(0, rows, 500):
    lsn += 10
    messages = [wire.begin(lsn, lsn, 1), *([relation] if first == 0 else []), *map(change, range(first, first + 500)), wire.commit(lsn, lsn + 1, 1)]
    bodies = [wire.frame(message) for message in messages]
    fold.feed(Placed(seq, 0, 1, 0, Run.of("db", Kind.PG_FRAMES, bodies, observed=0)))
    seq += len(bodies)
fold.finish()
output = fold.table(1).output([1, 2])
found = size = 0
def count(pieces):
    global found, size
    for text in pieces:
        size += len(text)
        found += bytes(text).count(b"-1-")
for first in range(0, base, 5000):
    count(output.part(b"".join(b"%s\\t%s\\n" % tuple(row(number, 0)) for number in range(first, min(first + 5000, base)))))
count(output.rest())
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
print(output.rows, found, size >> 20, peak >> 10)
"""


def measured(identity: str, changed_mib: int, *, aside: bool = True) -> int:
    """The most memory of the process, MiB. All rows are there."""
    rows = changed_mib * 500
    command = [sys.executable, "-c", _CHILD, str(rows), identity, "aside" if aside else "held"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found, new, size, peak = map(int, done.stdout.split())
    base = rows // 4 if identity == "n" else 0
    assert (found, new) == (rows + base, rows)
    assert size >= changed_mib * 9 // 10
    return peak


@pytest.mark.parametrize(("identity", "changed_mib", "bound_mib"), [("d", 400, 400), ("f", 150, 520), ("n", 400, 320)])
def test_memory_is_bounded_whatever_was_changed(identity: str, changed_mib: int, bound_mib: int) -> None:
    """With a key, by the whole row, and without identity: what has no room goes to the temporary folder, and every row comes back once.

    Measured: 250, 350 and 190 MiB; with all in memory 540, 910 and 510.
    """
    assert measured(identity, changed_mib) < bound_mib
