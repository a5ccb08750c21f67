"""Listing all of a prefix, however much there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archiver.store.protocol import Store

_PAGE = 1000


async def all_keys(store: Store, prefix: str) -> list[str]:
    """Every key under ``prefix``, in order, a thousand at each request. Raises as ``Store.list``."""
    found, after = list[str](), ""
    while keys := await store.list(prefix, after=after, limit=_PAGE):
        found += keys
        after = keys[-1]
    return found
