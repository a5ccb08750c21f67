"""What answers in the place of S3 says what no store says: nothing of it is taken for the archive, and nothing counts as durable by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from archiver.errors import Unavailable
from archiver.store.open import open_store
from archiver.store.protocol import Store
from tests.fixtures.fix_s3 import S3Place
from tests.servers.http_proxy import HttpFaultProxy, Request
from tests.servers.proxy import DOWN

PORTAL = b"<html><body>please sign in</body></html>"
XML = (("content-type", "application/xml"),)
TAG = (("etag", '"0"'),)


@pytest.fixture
def proxy(s3_place: S3Place, http_fault_proxy: Callable[[str, int], HttpFaultProxy]) -> HttpFaultProxy:
    return http_fault_proxy(s3_place.server.host, s3_place.server.port)


@pytest.fixture
async def store(s3_place: S3Place, proxy: HttpFaultProxy) -> AsyncIterator[Store]:
    """A store that reaches its server through ``proxy``."""
    made = await open_store(s3_place.url, s3_place.options(port=proxy.port))
    yield made
    await made.close()


def lists(request: Request) -> bool:
    return "list-type=2" in request.target


def page(*keys: str, token: str = "", cut: bool = False) -> bytes:
    following = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    contents = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in keys)
    said = f"<IsTruncated>{str(cut).lower()}</IsTruncated>{following}{contents}"
    return f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{said}</ListBucketResult>'.encode()


@pytest.mark.parametrize("body", [b"", PORTAL], ids=["nothing", "a gateway that signs people in"])
async def test_an_answer_of_somebody_else(store: Store, proxy: HttpFaultProxy, body: bytes) -> None:
    """Status 200 alone makes no object durable, no object read and no list complete; what does it in the end is told as it is."""
    assert await store.put_if_absent("a/b", b"first")
    proxy.answer(200, body=body, times=None)
    for call in (store.put_if_absent("a/c", b"second"), store.get("a/b"), store.size("a/b"), store.list("a/")):
        with pytest.raises(Unavailable, match="cannot"):
            await call
    proxy.reset()
    assert await store.list("a/") == ["a/b"]
    proxy.answer(200, body=body, times=2)
    assert await store.put_if_absent("a/c", b"second")
    assert await store.get("a/c") == b"second"


@pytest.mark.parametrize(
    "listed",
    [page("{}/a/1", token="round", cut=True), page(token="round", cut=True), page("{}/a/1", cut=True), page("{}/a/1", "other/1")],
    ids=["goes round", "goes round empty", "is cut off", "is of other keys"],
)
async def test_a_list_that_is_none(store: Store, proxy: HttpFaultProxy, s3_place: S3Place, listed: bytes) -> None:
    """A list without end ends; one that is cut off, or of something else, is not taken for all that there is."""
    proxy.answer(200, match=lists, body=listed.replace(b"{}", s3_place.prefix.encode()), times=None, headers=XML)
    async with asyncio.timeout(20):
        with pytest.raises(Unavailable, match="cannot list: a list"):
            await store.list("a/")


async def test_a_list_in_no_order(store: Store, proxy: HttpFaultProxy, s3_place: S3Place) -> None:
    """Keys that come twice, or in another order, are each told once, in order."""
    keys = [f"{s3_place.prefix}/a/{name}" for name in "2212"]
    proxy.answer(200, match=lists, body=page(*keys), headers=XML)
    assert await store.list("a/") == ["a/1", "a/2"]


async def test_more_than_was_asked_for(store: Store, proxy: HttpFaultProxy) -> None:
    """Of an endless answer no more is read than was asked for; another range than that is not taken for it."""
    await store.put_if_absent("a/b", b"0123456789")
    proxy.answer(200, body=b"y" * 50_000_000, headers=TAG)
    proxy.cut_after(10_000_000, DOWN)
    assert await store.get("a/b", 2, 4) == b"yyyy"
    for start in (2, -2):
        proxy.answer(206, body=b"z" * 4, headers=(*TAG, ("content-range", "bytes 5-8/10")))
        assert await store.get("a/b", start, 4) == b"0123456789"[start:][:4]
