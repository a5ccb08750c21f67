"""The start-up probe on a real server, as it is and as one that ignores conditions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import botocore.exceptions
import pytest

from archiver.clock import SystemClock
from archiver.errors import Refused
from archiver.store.open import open_store
from archiver.store.probe import FENCING, probe
from tests.fixtures.fix_s3 import S3Place
from tests.servers.http_proxy import HttpFaultProxy


async def test_passes_on_a_server_that_keeps_its_promises(s3_place: S3Place) -> None:
    """SeaweedFS passes every check, and nothing is left behind."""
    store = await open_store(s3_place.url, s3_place.options())
    try:
        report = await probe(store, SystemClock())
        assert report.fenced
        assert not report.failed
        assert await store.list("") == []
    finally:
        await store.close()


async def test_refuses_a_server_that_overwrites(s3_place: S3Place, http_fault_proxy: Callable[[str, int], HttpFaultProxy]) -> None:
    """A server that never sees ``If-None-Match`` overwrites; it is refused by the name of that check, unless the user insists."""
    server = s3_place.server
    with contextlib.suppress(botocore.exceptions.ClientError):  # an earlier test has created it
        server.create_bucket(server.open_bucket)
    proxy = http_fault_proxy(server.host, server.port)
    proxy.strip_header("if-none-match")
    proxy.strip_header("authorization")  # it covers the other header
    store = await open_store(f"s3://{server.open_bucket}/{s3_place.prefix}", s3_place.options(port=proxy.port))
    try:
        with pytest.raises(Refused, match=r"fails the check 'create-if-absent': the second put of a key overwrote the first") as caught:
            await probe(store, SystemClock())
        assert "allow_unfenced_store" in caught.value.hint
        report = await probe(store, SystemClock(), allow_unfenced=True)
        assert not report.fenced
        assert tuple(name for name, _ in report.failed) == FENCING
        assert await store.list("") == []
    finally:
        await store.close()
