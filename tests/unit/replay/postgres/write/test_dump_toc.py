"""The table of contents of a dump: read whole, or refused; never more memory than the dump itself is worth."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import ArchiverError, Corrupt, Refused
from archiver.postgres.dump_toc import read_toc
from archiver.replay.postgres.write.dump_items import items_of
from tests.unit.replay.postgres.write.dump_bytes import dump_of, entry

_TABLE = entry(9, b"TABLE", b't"1', b"CREATE TABLE x ();\n", b'DROP TABLE public."t""1";\n', owner=b"al ice")


def test_what_cannot_be_read_is_refused() -> None:
    """Another format, a newer one, an end that comes too early, a count that cannot be."""
    with pytest.raises(Corrupt):
        read_toc(b"SELECT 1;")
    with pytest.raises(Refused, match=r"1\.17"):
        read_toc(dump_of(_TABLE, version=(1, 17)))
    for cut in range(8, len(dump_of(_TABLE))):
        with pytest.raises(Corrupt):
            read_toc(dump_of(_TABLE)[:cut])
    with pytest.raises(Corrupt):
        read_toc(dump_of(_TABLE, count=2**31 - 1))


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_end_in_a_known_error(noise: bytes, at: int) -> None:
    """A dump with bytes put in anywhere."""
    dump = dump_of(_TABLE, _TABLE)
    with contextlib.suppress(ArchiverError):
        list(items_of(dump[:at] + noise + dump[at:]))
