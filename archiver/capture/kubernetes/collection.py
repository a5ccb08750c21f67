"""Asking the API server for one page of a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver.capture.kubernetes.failures import Failure, failure_of
from archiver.errors import Unavailable
from archiver.kubernetes import json_fields as kj
from archiver.untrusted import Unreadable

if TYPE_CHECKING:
    from archiver.kubernetes.api import Api

_LIST_SECONDS = 120.0


async def page_of(api: Api, path: str, params: dict[str, str]) -> tuple[kj.Page | None, Failure | None]:
    """One list request: the page, or why there is none."""
    try:
        answer = await api.get(path, params, seconds=_LIST_SECONDS)
    except Unavailable as error:
        return None, Failure("unavailable", error.message)
    if answer.status != 200:
        return None, failure_of(answer.status, answer.body, answer.retry_after)
    try:
        return kj.page.decode(answer.body), None
    except Unreadable:
        return None, Failure("unavailable", "an answer that is not a list")
