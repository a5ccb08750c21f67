"""What the journal asks of object storage: five verbs, proved for each store by ``tests/contract``.

Keys are relative to the archive's prefix, ``/``-separated, of ``[A-Za-z0-9._=-]`` per part, never empty, never starting with ``/``.
Every call has a deadline of its own inside the store; when it passes, or the store fails, ``Unavailable`` is raised.
"""

from __future__ import annotations

from typing import Protocol


class Store(Protocol):
    """A flat, strongly consistent key space. Safe for concurrent use by tasks of one event loop."""

    @property
    def url(self) -> str:
        """Where it is, for messages: never with credentials."""
        ...

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create ``key`` with ``data`` unless it exists. Atomic against every other writer.

        True: created by this call and durable. False: the key already existed and is unchanged.
        ``Unavailable``: it is not known whether the object exists; it may still appear later with exactly ``data``.
        Cancellation leaves the same uncertainty.
        """
        ...

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        """Bytes of ``key`` from ``start`` (``length`` at most, or to the end); ``None`` when there is no such key.

        A negative ``start`` counts from the end. A range beyond the end returns what there is, possibly ``b""``.
        """
        ...

    async def size(self, key: str) -> int | None:
        """Size in bytes, or ``None`` when there is no such key."""
        ...

    async def list(self, prefix: str, after: str = "", limit: int | None = None) -> list[str]:
        """Keys that start with ``prefix`` and sort (by code point) after ``after``, in order, ``limit`` at most."""
        ...

    async def delete(self, key: str) -> None:
        """Remove ``key``; no error when it does not exist. The commit path never calls it."""
        ...

    async def close(self) -> None:
        """Release connections. Nothing may be called afterwards."""
        ...
