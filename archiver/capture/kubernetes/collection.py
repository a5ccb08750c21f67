"""Asking the API server for one page of a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver.capture.kubernetes.failures import Failure, failure_of
from archiver.errors import Unavailable
from archiver.kubernetes.answer import TooLarge
from archiver.kubernetes.list_pages import ListPages, list_page
from archiver.kubernetes.page_size import SINGLE_BYTES, PageSize
from archiver.untrusted import Unreadable

if TYPE_CHECKING:
    from archiver.kubernetes import json_fields as kj
    from archiver.kubernetes.api import Api

_LIST_SECONDS = 120.0


async def next_page(
    api: Api, path: str, follow: str, size: PageSize, pages: ListPages, *, exact: str = ""
) -> tuple[kj.Page | None, str, Failure | None]:
    """The page of a list that ``follow`` names (empty: the first), of ``size``, which is told what came, as ``pages`` is: the page and the
    token of the next one, or why there is none.

    ``exact``: the list as it was at that resourceVersion.
    """
    place = {"continue": follow} if follow else {"resourceVersion": exact, "resourceVersionMatch": "Exact"} if exact else {}
    while True:
        try:
            page, failure = await page_of(api, path, {"limit": str(size.limit)} | place, size)
            return page, pages.follow(page) if page is not None else "", failure
        except TooLarge as error:
            if not size.too_large():
                return None, "", Failure("unavailable", error.message)
        except Unreadable as error:
            return None, "", no_list(error)


async def page_of(api: Api, path: str, params: dict[str, str], size: PageSize | None = None) -> tuple[kj.Page | None, Failure | None]:
    """One list request: the page, or why there is none. ``TooLarge`` where ``size`` says how much is read."""
    try:
        answer = await api.get(path, params, seconds=_LIST_SECONDS, most=size.most_bytes if size is not None else SINGLE_BYTES)
    except TooLarge as error:
        if size is not None:
            raise
        return None, Failure("unavailable", error.message)
    except Unavailable as error:
        return None, Failure("unavailable", error.message)
    if answer.status != 200:
        return None, failure_of(answer.status, answer.body, answer.retry_after)
    if size is not None:
        size.came(len(answer.body))
    try:
        return list_page(answer.body, path), None
    except Unreadable as error:
        return None, no_list(error)


def no_list(error: Unreadable) -> Failure:
    """An answer, or the pages of several, that are no list for the reason of ``error``."""
    return Failure("unavailable", f"an answer that is not a list: {error}")
