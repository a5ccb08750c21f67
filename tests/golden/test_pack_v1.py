"""A pack in format 1, written once and never again: every later version must read it, and make the same bytes of the same segments."""

from __future__ import annotations

from pathlib import Path

from archiver.journal.keys import pack_key, pack_span, segment_key
from archiver.journal.pack import decode_pack, encode_pack
from archiver.journal.segment import decode

FOLDER = Path(__file__).parent
STORED = [(FOLDER / "journal-v1" / segment_key(number)).read_bytes() for number in range(7)]
PACK = (FOLDER / "pack-v1" / "pack").read_bytes()


def test_a_pack_is_read_as_ever() -> None:
    """Each segment byte for byte, and the chain hash after the last one. One of them is void."""
    assert pack_key(0, 6) == "packs/0000000000000000-0000000000000006"
    assert pack_span("packs/0000000000000000-0000000000000006") == (0, 6)
    pack = decode_pack(PACK, 0, 6)
    assert [pack.segment(number) for number in range(7)] == STORED
    assert pack.prove() == decode(STORED[6], 6).footer.chain


def test_two_programs_make_the_same_pack() -> None:
    """What it holds follows from the journal alone."""
    assert encode_pack(decode(STORED[0], 0).header.archive, 0, 6, STORED) == PACK
