"""Bodies that a client of the web port sends."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.integration.service.rig import captured, create_table, database_source
from tests.servers.archiver import Archiver

BODIES = {
    "nested": b'{"x":' + b"[" * 100_000,
    "large": b'{"name":"' + b"n" * 500_000 + b'","archive":"","epoch":1}',
    "not utf-8": b'{"name":"\xff","archive":"","epoch":1}',
    "another form": b"[]",
    "empty": b"",
}


@pytest.mark.postgres(18)
def test_a_body_that_cannot_be_read_is_a_wrong_request(database: str, tmp_path: Path) -> None:
    """The client is told that it is no request for a mark, and nothing is logged as an error of ours."""
    create_table(database)
    with Archiver(tmp_path, {"db": database_source(database)}, serve=True) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        answers = {}
        for what, body in BODIES.items():
            request = urllib.request.Request(f"http://127.0.0.1:{archiver.port}/marks", body, {"Content-Type": "application/json"})
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=10)
            answers[what] = caught.value.code
            caught.value.close()
        assert answers == dict.fromkeys(BODIES, 400)
        assert archiver.live()["last_entry"] > 0
        assert archiver.stop() == 0
