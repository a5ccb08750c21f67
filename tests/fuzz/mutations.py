"""Damage to bytes that were good: what rot, a cut connection, or somebody who knows the format would do."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
"""For each decoder. ``make fuzz`` sets it."""

fuzzing = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

_SIZES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
_WIDTHS = ["<H", ">H", "<I", ">I", "<Q", ">Q"]
_TOKENS = [
    b'"', b"{", b"}", b"[", b"]", b":", b",", b"\\", b"\0", b"\xff", b"\xed\xa0\x80", b"\n", b"\r", b"\t", b"null", b"-1", b"1e999", b"9" * 40, b"9" * 5000,
    b"[" * 3000, b'{"a":' * 3000, b'"\\ud800"', b"\x1b[31m", b"../", b"\xc1", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x91" * 3000, b"\\N", b"\\.\n",
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """One of ``seeds``, changed in one to four places; now and then bytes of no seed at all."""
    data = draw(st.sampled_from(seeds) | st.binary(max_size=40)) if len(seeds) else draw(st.binary(max_size=200))
    for _ in range(draw(st.integers(1, 4))):
        data = _once(draw, data, seeds)
    return data


def _once(draw: st.DrawFn, data: bytes, seeds: Sequence[bytes]) -> bytes:
    at = draw(st.integers(0, max(len(data) - 1, 0)))
    end = min(len(data), at + draw(st.integers(1, 64)))
    match draw(st.sampled_from(["bit", "byte", "cut", "drop", "token", "number", "repeat", "splice"])):
        case "bit" if data:
            return data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]
        case "byte":
            return data[:at] + draw(st.binary(min_size=1, max_size=1)) + data[at + 1 :]
        case "cut":
            return data[:at]
        case "drop":
            return data[:at] + data[end:]
        case "token":
            return data[:at] + draw(st.sampled_from(_TOKENS)) + data[draw(st.sampled_from([at, end])) :]
        case "number":
            width = draw(st.sampled_from(_WIDTHS))
            packed = struct.pack(width, draw(st.sampled_from(_SIZES)) & ((1 << 8 * struct.calcsize(width)) - 1))
            return data[:at] + packed + data[at + len(packed) :]
        case "repeat":
            return data[:at] + data[at:end] * draw(st.sampled_from([2, 3, 500])) + data[end:]
        case _:
            other = draw(st.sampled_from(seeds)) if len(seeds) else b""
            return data[:at] + other[draw(st.integers(0, max(len(other) - 1, 0))) :]


@st.composite
def damaged_lists(draw: st.DrawFn, lists: Sequence[Sequence[bytes]]) -> list[bytes]:
    """One of ``lists`` with elements damaged, left out, repeated or in another order."""
    found = list(draw(st.sampled_from(lists)))
    pool = [each for one in lists for each in one]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(found) - 1, 0)))
        match draw(st.sampled_from(["damage", "damage", "drop", "repeat", "swap", "foreign"])):
            case "damage":
                found[at : at + 1] = [_once(draw, found[at], pool)] if found else []
            case "drop":
                del found[at : at + 1]
            case "repeat":
                found[at:at] = found[at : at + 1]
            case "swap":
                other = draw(st.integers(0, max(len(found) - 1, 0)))
                if found:
                    found[at], found[other] = found[other], found[at]
            case _:
                found[at:at] = [draw(st.sampled_from(pool))]
    return found
