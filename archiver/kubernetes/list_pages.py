"""What an API server answers when it is asked for a list, and the pages that make one list. Pure.

Not everything that answers with status 200 is an API server: a gateway signs people in, or wraps its errors. An error object, read as a
list, is an empty one, and then everything that is known would be gone.
"""

from __future__ import annotations

from archiver.kubernetes import json_fields as kj
from archiver.untrusted import Unreadable

_STATUS = "Status"
"""The kind of an error. It has ``metadata``, as a list has."""


def list_page(body: bytes, path: str) -> kj.Page:
    """``body``, the answer to a list of the collection at ``path``. Raises ``Unreadable`` and nothing else for what is no page of that."""
    page = kj.page.decode(body)
    if page.kind == _STATUS or not page.metadata.resource_version:
        raise Unreadable("it is not a list")
    if page.api_version != api_version(path):
        raise Unreadable("it is a list of another API")
    return page


def api_version(path: str) -> str:
    """The ``apiVersion`` of what is served at ``path``, ``/api/v1/…`` or ``/apis/GROUP/VERSION/…``."""
    _, root, *rest = path.split("/")
    return "/".join(rest[:2]) if root == "apis" else rest[0]


class ListPages:
    """The pages of one list so far."""

    def __init__(self) -> None:
        self.version = ""
        """The resourceVersion of the list; empty before the first page."""
        self._begun: set[tuple[str, str]] = set()

    def follow(self, page: kj.Page) -> str:
        """``page`` came: the token of the next one; empty when the list is complete.

        Raises ``Unreadable`` when this is no page of the same list, or the list begins anew and never ends.
        """
        self.version = self.version or page.metadata.resource_version
        if page.metadata.resource_version != self.version:
            raise Unreadable("its pages are of different resourceVersions")
        if page.metadata.continue_:
            first = kj.listed(page.items[0]) if page.items else kj.Meta()
            if (first.namespace, first.name) in self._begun or not page.items:
                raise Unreadable("it goes on without end")
            self._begun.add((first.namespace, first.name))
        return page.metadata.continue_
