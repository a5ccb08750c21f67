"""Objects from which fields were cut, and lists that say so, as they are stored since then: later versions mean the same by them."""

from __future__ import annotations

import msgspec

from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.records import Listing, Resource
from archiver.kubernetes.redaction_mark import EVERYTHING, redacted_paths

THING = Resource("g.io", "v1", "things", "Thing", namespaced=True)
PLAIN = (
    b'{"resource":{"group":"g.io","version":"v1","plural":"things","kind":"Thing","namespaced":true},"namespace":"","epoch":1,'
    b'"resource_version":"5","count":0,"first":1,"cause":"start"}'
)


def test_a_list_has_its_paths_only_where_there_are_some() -> None:
    """One without is stored as before there were any."""
    listing = Listing(THING, "", 1, "5", 0, 1, "start")
    assert msgspec.json.encode(listing) == PLAIN
    stored = PLAIN[:-1] + b',"redacted":["spec.token"]}'
    redacted = Listing(THING, "", 1, "5", 0, 1, "start", ["spec.token"])
    assert msgspec.json.encode(redacted) == stored
    assert msgspec.json.decode(stored[:-1] + b',"later":1}', type=Listing) == redacted


def test_the_mark_of_an_object() -> None:
    """It stands in ``metadata``; a lone star means everything."""
    body = b'{"metadata":{"name":"a","archiverRedacted":["spec.env[*].value","spec.token"]},"spec":{}}'
    assert redacted_paths(kj.plain(body)) == ["spec.env[*].value", "spec.token"]
    assert redacted_paths(kj.plain(b'{"metadata":{"archiverRedacted":["*"]}}')) == [EVERYTHING]
    assert redacted_paths(kj.plain(b'{"metadata":{"name":"a"}}')) == []
