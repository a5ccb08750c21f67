"""Damaged and forged bytes through every decoder: the documented errors and no others, in little time and memory."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import ArchiverError
from tests.fuzz.decoders import DECODERS, SEQUENCES
from tests.fuzz.mutations import damaged, damaged_lists, fuzzing

SECONDS = 5
"""Of processor time that one input may take, on a busy machine."""
BYTES = 48 << 20
"""That it may take beside what it is."""


@contextmanager
def bounded() -> Iterator[None]:
    """What the block does takes no longer and no more than it may."""
    tracemalloc.start()
    began = time.process_time()
    try:
        yield
        assert time.process_time() - began <= SECONDS
        assert tracemalloc.get_traced_memory()[1] <= BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder(name: str) -> None:
    """Whatever the bytes are, they are read or refused by an error that is documented."""
    decoder = DECODERS[name]

    @fuzzing
    @given(data=damaged(list(decoder.seeds)))
    def tried(data: bytes) -> None:
        with bounded(), suppress(*decoder.errors):
            decoder.call(data)

    tried()


@pytest.mark.parametrize("name", DECODERS)
def test_seeds_are_good(name: str) -> None:
    """At least one seed is read whole: otherwise nothing but the first check is ever tried."""
    decoder = DECODERS[name]
    read = 0
    for seed in decoder.seeds:
        try:
            decoder.call(seed)
        except decoder.errors:
            continue
        read += 1
    assert read or not decoder.seeds


@pytest.mark.parametrize("name", SEQUENCES)
def test_a_reader_of_many(name: str) -> None:
    """Bodies that are damaged, missing, repeated or in another order are read, or refused."""
    call, seeds, _ = SEQUENCES[name]

    @fuzzing
    @given(bodies=damaged_lists(seeds))
    def tried(bodies: list[bytes]) -> None:
        with bounded(), suppress(ArchiverError):
            call(bodies)

    tried()


@given(data=st.binary(max_size=20))
def test_text_of_a_point_is_a_point_or_invalid(data: bytes) -> None:
    """Short texts, which damage to good ones seldom gives."""
    with suppress(ArchiverError):
        DECODERS["--at"].call(data)
