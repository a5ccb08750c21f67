"""What the golden archive holds, taken apart: seeds for damage."""

from __future__ import annotations

import hashlib
from pathlib import Path

from archiver.journal import segment as form
from archiver.journal.entry import Kind
from archiver.journal.keys import IDENTITY, segment_key

FOLDER = Path(__file__).parent.parent / "golden" / "journal-v1"
IDENTITY_BYTES = (FOLDER / IDENTITY).read_bytes()
STORED = [(FOLDER / segment_key(number)).read_bytes() for number in range(7)]
CHANGES = [(FOLDER.parent / "changed-marks-v2" / segment_key(number)).read_bytes() for number in range(2, 6)]
"""With headers that have changed marks."""
SEGMENTS = [form.decode(data, number) for number, data in enumerate(STORED)]
PARTS = [path.read_bytes() for path in sorted((FOLDER / "parts").rglob("*")) if path.is_file()]


def bodies(*kinds: Kind) -> list[bytes]:
    """The bodies of these kinds, forty of each at most."""
    return [body for kind in kinds for body in [b for each in SEGMENTS for run in each.runs if run.kind is kind for b in run.bodies()][:40]]


def resealed(data: bytes) -> bytes:
    """The same segment with a right hash over its stored bytes: what is behind that check is reached."""
    body = data[: -form.END_BYTES + 4]
    return body + hashlib.sha256(body).digest() + data[-8:]
