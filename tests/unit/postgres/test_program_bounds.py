"""Running a client program within bounds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from archiver.errors import Unavailable
from archiver.postgres.client_programs import run

SH = Path("/bin/sh")


async def test_output_and_input_within_the_bounds() -> None:
    """Everything goes in, everything comes out, whatever the program reads first."""
    data = b"x" * 3_000_000
    assert await run(SH, ["-c", "cat"], stdin=data, most=3_000_000, seconds=30) == data
    assert await run(SH, ["-c", "exec <&-; echo out"], stdin=data, most=10, seconds=30) == b"out\n"


async def test_a_program_that_gives_too_much_is_ended() -> None:
    """Also one that never ends by itself."""
    with pytest.raises(Unavailable, match="sh gives more than 4 MiB"):
        await run(SH, ["-c", "while :; do echo endless; done"], most=4 << 20, seconds=60)


async def test_a_program_that_takes_too_long_is_ended() -> None:
    """Nothing is waited for beyond its time."""
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"sh did not end within 0\.2 s"):
        await run(SH, ["-c", "exec sleep 60"], most=10, seconds=0.2)
    assert time.monotonic() - began < 30


async def test_a_failure_says_why() -> None:
    """Its first error line, as without bounds."""
    with pytest.raises(Unavailable, match="exit code 3: error: no such thing"):
        await run(SH, ["-c", "echo 'sh: error: no such thing' >&2; exit 3"], most=10, seconds=30)
